"""One file of features from the files of index ranges, in the images' order.

The file is byte for byte that of one pass where every batch of that pass lies in one range and no image was skipped:
rows depend on the batch that they were computed in, by rounding, and on nothing else of the pass. `index_range` cuts at
multiples of the batch; that the ranges' files agree in batch and versions is checked, that their processors do is not.
"""

import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..images import Labelled
from ..store import locked, plain
from .files import Part, Stored, is_complete, open_stored
from .requests import FeatureKey

APPENDED = 65_536  # rows that are copied at a time


def index_range(count: int, index: int, shards: int, batch: int) -> range:
    """The images of share `index` (from 1) of so many, whole batches but for the last of all; may be empty."""
    batches = -(-count // batch)
    first, stop = ((number * batches // shards) * batch for number in (index - 1, index))
    return range(min(first, count), min(stop, count))


def merge(
    root: Path, key: FeatureKey, items: Labelled, parts: Sequence[tuple[FeatureKey, range]], label: str = ""
) -> list[str]:
    """Make the key's file of the parts' files, unless it is there; gives notes on what could differ from one pass.

    parts: keys and ranges that follow each other over all items, none empty. Raises BadInput where a part's file is
    absent or damaged, or where parts were made in other batches or by other versions.
    """
    if is_complete(root / key.name) and open_stored(root / key.name):
        return []
    held = [_opened(root, part, indices) for part, indices in parts]
    _require_alike(held)
    skipped = [
        [indices.start + index, items.paths[indices.start + index], reason]
        for stored, (_, indices) in zip(held, parts, strict=True)
        for index, _, reason in stored.skipped
    ]
    record = {
        "key": plain(key), "label": label or held[0].record["label"], "skipped": skipped, "finite": True,
        "pass": held[0].record["pass"] | {"merged": [part.name for part, _ in parts]},
        "versions": held[0].record["versions"],
        "made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime()),
    }  # fmt: skip
    with locked(root / key.name):
        made = Part(root / key.name, save_seconds=60.0)
        try:
            made.rewind(0)
            for stored, (_, indices) in zip(held, parts, strict=True):
                _append(made, stored, indices)
            made.finish(record)
        finally:
            made.close()
    notes = [note for stored in held for note in stored.record["pass"].get("notes", ())]
    if skipped:
        notes.append(
            f"{len(skipped)} images were skipped: rows near them may differ from those of one pass by rounding"
        )
    return notes


def _opened(root: Path, key: FeatureKey, indices: range) -> Stored:
    stored = open_stored(root / key.name)
    if stored is None or stored.record["images"] != len(indices):
        raise BadInput(
            f"{root / key.name}.npy, images {indices.start} to {indices.stop - 1}, is not there whole; run this share "
            "again (--shard), with the same --batch, backend and precision"
        )
    return stored


def _require_alike(held: Sequence[Stored]) -> None:
    """Raises BadInput where parts differ in what rows depend on beside their keys."""
    for name, found in (
        ("batch", [stored.record["pass"]["setting"]["batch"] for stored in held]),
        ("versions", [stored.record["versions"] for stored in held]),
    ):
        if differing := [value for value in found if value != found[0]]:
            raise BadInput(
                f"shares of different {name}: {found[0]} and {differing[0]}; make all shares with the same, so that "
                "the file is that of one pass"
            )


def _append(made: Part, stored: Stored, indices: range) -> None:
    """The rows of a part and the images that have none, in steps that memory holds."""
    bad: list[tuple[int, str]] = [(index, reason) for index, _, reason in stored.skipped]
    rows: Any = stored.rows
    taken = 0
    for start in range(0, len(indices), APPENDED):
        stop = min(start + APPENDED, len(indices))
        lacking = [(indices.start + index, reason) for index, reason in bad if start <= index < stop]
        count = stop - start - len(lacking)
        made.append(indices.start + stop, rows[taken : taken + count], lacking)
        taken += count
