"""Which cells of a study are meant, by names and wildcards of its models, tasks, regimes and seeds."""

import dataclasses
import fnmatch
from collections.abc import Iterable, Mapping, Sequence

from featune.engine.errors import BadInput, nearest

from .rows import Cell

AXES = ("model", "task", "regime", "seed")
SHOWN = 20  # names that an error lists


@dataclasses.dataclass(frozen=True)
class Only:
    """names: by axis, those that are meant; an axis that was not asked about has all of its own."""

    names: Mapping[str, frozenset[str]]

    def __contains__(self, cell: Cell) -> bool:
        return all(str(getattr(cell, axis)) in names for axis, names in self.names.items())


def only(asked: Sequence[str], known: Mapping[str, Iterable[object]]) -> Only:
    """What `--only` means: `model=resnet*`, or several in one text, `task=pets seed=0`.

    Names of one axis add up, those of different axes must all hold. known: every name, by axis. Raises BadInput for an
    axis or a name that is not there.
    """
    has = {axis: [str(name) for name in known[axis]] for axis in AXES}
    chosen: dict[str, set[str]] = {}
    for word in (word for text in asked for word in _words(text)):
        axis, equals, pattern = word.partition("=")
        if not equals or axis not in AXES:
            near = nearest(axis, AXES) if equals else f"; write model={word} if a model is meant"
            raise BadInput(f"--only {word!r:.200}: expected model=, task=, regime= or seed= and a name{near}")
        found = {name for name in has[axis] if name == pattern or fnmatch.fnmatchcase(name, pattern)}
        if not found:
            raise BadInput(f"--only {word}: no {axis} of this name{nearest(pattern, has[axis])}; {_listed(has[axis])}")
        chosen.setdefault(axis, set()).update(found)
    return Only({axis: frozenset(chosen.get(axis, has[axis])) for axis in AXES})


def axes_of(cells: Iterable[Cell]) -> dict[str, list[object]]:
    """The names of the cells by axis, each once, in their order."""
    found: dict[str, dict[object, None]] = {axis: {} for axis in AXES}
    for cell in cells:
        for axis, names in found.items():
            names[getattr(cell, axis)] = None
    return {axis: list(names) for axis, names in found.items()}


def _words(text: str) -> list[str]:
    """The parts of `task=pets seed=0`; a name with a blank is one text of its own."""
    words = text.split()
    several = len(words) > 1 and all(word.partition("=")[0] in AXES and "=" in word for word in words)
    return words if several else [text.strip()]


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - SHOWN} more" if len(names) > SHOWN else ""
    return f"the study has {', '.join(names[:SHOWN])}{more}"
