"""What lies in the cache folder, as items: files that live and die together."""

import contextlib
import dataclasses
import os
import re
import stat
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from featune.engine.store import stale_files

# Kinds that make up the size, by their folder. Each can be made again by the command that made it.
KINDS: Mapping[str, str] = {
    "features": "rows of images, one file for each model and data set",
    "graphs": "exported ONNX files with their verdicts",
    "plans": "TensorRT plans and timings",
    "provider": "engines of ONNX Runtime's TensorRT provider",
    "tuned": "bodies of fine-tuned checkpoints",
    "data": "images that were packed from downloads",
}
RECORDS = "records"  # files of all other folders, verdicts and models' entries for example, and what is not ours
HEX = "[0-9a-f]{16}"
KEY = re.compile(HEX)
# Names of what is ours, and no other name: a folder may hold what its user put there. The group is the item's name.
FILES = {
    "graphs": re.compile(rf"({HEX}(?:\.\w+-\w+(?:-{HEX})?)?\.onnx)(?:\.data)?", re.ASCII),
    "plans": re.compile(rf"({HEX}\.plan|timing-{HEX}\.cache|faster-{HEX}\.json)"),
    "tuned": re.compile(rf"({HEX}\.safetensors)"),
}
# Folders that are items, by their name and the names of their files; one that holds any other file is none.
FOLDERS = {
    "provider": (KEY, re.compile(r"[^.].*")),
    "data": (re.compile(rf".+-{HEX}"), re.compile(r"\d{5}\.tar", re.ASCII)),
}


@dataclasses.dataclass(frozen=True)
class Item:
    """name: of a key, file or folder. used: seconds since 1970 at which a file of it was last read or written.

    Where the disk is mounted with relatime, `used` is up to 24 hours too early; with noatime, it is when it was
    written, or opened by Featune (`note_use`), HELD kinds as a command begins. uid: whose it is; of several,
    one that is not this user.
    """

    kind: str
    name: str
    paths: tuple[Path, ...]
    bytes: int
    used: float
    uid: int


@dataclasses.dataclass(frozen=True)
class Totals:
    kind: str
    items: int
    bytes: int
    used: float | None


def contents(cache: Path) -> list[Item]:
    """Every item, the largest first; what other processes remove meanwhile is left out. Links are not followed."""
    stale = set(stale_files(cache))
    places = [
        path.relative_to(cache)
        for path in _files(cache)
        if not path.name.endswith(".lock") and path not in stale and not any(above in stale for above in path.parents)
    ]
    mixed = {place.parts[:2] for place in places if _group(place)[0] == RECORDS and len(place.parts) > 2}
    groups: dict[tuple[str, str], list[Path]] = {}
    for place in places:
        group = _group(place)
        is_mixed = group[0] in FOLDERS and group in mixed
        groups.setdefault((RECORDS, str(place)) if is_mixed else group, []).append(cache / place)
    found = [item for (kind, name), paths in groups.items() if (item := _item(kind, name, paths))]
    return sorted(found, key=lambda item: (-item.bytes, item.kind, item.name))


def _files(folder: Path) -> Iterator[Path]:
    for place, _, names in os.walk(folder):
        yield from (Path(place, name) for name in names)


def _group(path: Path) -> tuple[str, str]:
    """(kind, name) of a file, by its place below the cache."""
    kind = path.parts[0]
    if kind not in KINDS or len(path.parts) < 2:
        return RECORDS, str(path)
    first = path.parts[1]
    if kind == "features":
        key = first.partition(".")[0]
        is_row = KEY.fullmatch(key) and not first.endswith(".items.json") and len(path.parts) == 2
        return (kind, key) if is_row else (RECORDS, str(path))
    if kind in FOLDERS:
        names = FOLDERS[kind]
        is_ours = len(path.parts) == 3 and all(n.fullmatch(part) for n, part in zip(names, path.parts[1:], strict=True))
        return (kind, first) if is_ours else (RECORDS, str(path))
    known = FILES[kind].fullmatch(first) if len(path.parts) == 2 else None
    return (kind, known[1]) if known else (RECORDS, str(path))


def _item(kind: str, name: str, paths: Iterable[Path]) -> Item | None:
    states = []
    for path in paths:
        with contextlib.suppress(OSError):
            state = path.lstat()
            if stat.S_ISREG(state.st_mode):
                states.append((path, state))
    if not states:
        return None
    others = [state.st_uid for _, state in states if state.st_uid != os.getuid()]
    return Item(
        kind,
        name,
        tuple(path for path, _ in states),
        sum(state.st_size for _, state in states),
        max(max(state.st_atime, state.st_mtime) for _, state in states),
        (others or [os.getuid()])[0],
    )


def used_since(item: Item) -> bool:
    """Whether a file of the item was read, written, replaced or removed after it was listed."""
    now = _item(item.kind, item.name, item.paths)
    return now is None or (now.paths, now.bytes, now.used) != (item.paths, item.bytes, item.used)


def totals(items: Iterable[Item]) -> list[Totals]:
    """By kind, in the order of KINDS."""
    by_kind: dict[str, list[Item]] = {kind: [] for kind in [*KINDS, RECORDS]}
    for item in items:
        by_kind[item.kind].append(item)
    return [
        Totals(kind, len(of), sum(item.bytes for item in of), min((item.used for item in of), default=None))
        for kind, of in by_kind.items()
    ]
