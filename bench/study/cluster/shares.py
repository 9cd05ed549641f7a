"""Shares of a study's cells, that processes which never talk to each other agree on."""

import dataclasses
import functools
import re
from collections.abc import Iterable

from featune.engine.errors import BadInput
from featune.engine.store import digest

from ...results import Cell

FORM = re.compile(r"(\d{1,6})/(\d{1,6})", re.ASCII)


@dataclasses.dataclass(frozen=True)
class Shard:
    """The share `index` of `count`, counted from 1."""

    index: int
    count: int


def parsed_shard(text: str) -> Shard:
    """Of `3/8`. Raises BadInput for other forms and numbers."""
    found = FORM.fullmatch(text.strip())
    shard = Shard(int(found[1]), int(found[2])) if found else None
    if shard is None or not 1 <= shard.index <= shard.count:
        raise BadInput(f"--shard {text!r:.40} found, I/N with I from 1 to N expected, for example 3/8")
    return shard


def share(cells: Iterable[Cell], shard: Shard) -> list[Cell]:
    """The shard's cells: every cell is in one share, and sizes differ by one at most.

    Cells of one model and task are neighbours, since they share their features; where a border between two shares
    falls among them, both need those features. Beyond that the order is that of a digest, so that models and regimes
    that take long are spread. It does not depend on the order of the study file.
    """
    return _block(_ordered(cells), shard)


def _ordered(cells: Iterable[Cell]) -> list[Cell]:
    return sorted(cells, key=lambda cell: (_unit(cell.task, cell.model), cell.name))


def _block(ordered: list[Cell], shard: Shard) -> list[Cell]:
    total = len(ordered)
    return ordered[(shard.index - 1) * total // shard.count : shard.index * total // shard.count]


@functools.cache
def _unit(task: str, model: str) -> str:
    return digest([task, model])


def missing_shards(cells: Iterable[Cell], done: Iterable[Cell], count: int) -> list[int]:
    """The shards, of so many, in which a cell is not done."""
    ordered, finished = _ordered(cells), set(done)
    blocks = ((number, _block(ordered, Shard(number, count))) for number in range(1, count + 1))
    return [number for number, block in blocks if any(cell not in finished for cell in block)]


def ranges(numbers: Iterable[int]) -> str:
    """`1,4-7` of 1, 4, 5, 6, 7: as `sbatch --array` takes it."""
    found: list[list[int]] = []
    for number in sorted(set(numbers)):
        if found and found[-1][1] == number - 1:
            found[-1][1] = number
        else:
            found.append([number, number])
    return ",".join(str(first) if first == last else f"{first}-{last}" for first, last in found)
