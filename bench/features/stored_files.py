"""What lies in a store of features: listed, looked at, verified, removed, and exported to other formats."""

import contextlib
import dataclasses
import functools
import json
import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featune.engine.errors import BadInput, Missing, nearest
from featune.engine.features import SUFFIXES, Stored, is_complete, open_stored, remove
from featune.engine.store import locked, note_use, read_json, written_whole

from .origins import ASKED, ITEMS, Origin, forget, items_of_origin, origin_of, origins_of

KEY = re.compile(r"[0-9a-f]{16}")
TEMPORARY = re.compile(r"\.[0-9a-f]{16}\..*\.tmp(\.json)?")  # left by a kill


@dataclasses.dataclass(frozen=True)
class Entry:
    """A file of features. state: "complete", or "unfinished" with the images that are done in `images`."""

    key: str
    state: str
    model: str
    backend: str
    precision: str
    data: str
    images: int
    rows: int
    width: int
    skipped: int
    megabytes: float
    made: str


def stored_entries(root: Path) -> list[Entry]:
    """Every file of the store, complete ones in the order of their making, then unfinished ones."""
    complete = [entry for key in _keys(root, "json") if (entry := _complete(root, key))]
    done = {entry.key for entry in complete}
    return sorted(complete, key=lambda entry: entry.made) + [
        _unfinished(root, key) for key in unfinished_keys(root) if key not in done
    ]


def unfinished_keys(root: Path) -> list[str]:
    """The keys of rows in the making, of killed work or of work that goes on, and of rows whose record is gone."""
    lone = {*_keys(root, "npy")} - {*_keys(root, "json")}  # a removal was killed
    return sorted({*_keys(root, "part"), *_keys(root, "part.json"), *lone})


def _keys(root: Path, suffix: str) -> list[str]:
    """What is named otherwise in the folder is not ours."""
    names = (path.name.partition(".") for path in root.glob(f"*.{suffix}"))
    return sorted(key for key, _, rest in names if rest == suffix and KEY.fullmatch(key))


def _complete(root: Path, key: str) -> Entry | None:
    """None for a file of that name that is no record of ours."""
    record: Any = read_json(root / f"{key}.json")
    file = root / f"{key}.npy"
    asked = origins_of(root, key)
    try:
        of = record["key"]
        return Entry(
            key=key,
            state="complete",
            model=record["label"] or of["model"],
            backend=of["backend"],
            precision=of["precision"],
            data=asked[0].data if asked else of["images"],
            images=record["images"],
            rows=record["rows"],
            width=record["width"],
            skipped=len(record["skipped"]),
            megabytes=file.stat().st_size / 1e6 if file.exists() else 0.0,
            made=record["made"],
        )
    except (KeyError, TypeError):
        return None


def full_key(root: Path, text: str) -> str:
    """The one key that begins so. Raises BadInput where none or several do."""
    known = sorted({*_keys(root, "json"), *unfinished_keys(root)})
    found = [key for key in known if key.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} keys begin with {text!r}: {', '.join(found[:5])}; give more of it")
    raise BadInput(f"{root} has no features {text!r}{nearest(text, known)}; see `featune features list`")


def record_of(root: Path, key: str) -> dict[str, Any]:
    """All that the file says of itself: its key, what was skipped, and the verdict of the pass that made it."""
    record = read_json(root / f"{key}.json")
    if isinstance(record, dict):
        return record
    if (root / f"{key}.json").exists():
        raise BadInput(f"{root / key}.json is damaged; run the same `featune extract` again, or remove {key}")
    raise BadInput(f"{key} is unfinished; run the same `featune extract` again")


def opened(root: Path, key: str) -> Stored:
    """The rows, every byte checked. Raises BadInput where the file is damaged."""
    stored = open_stored(root / key)
    if stored is None:
        record_of(root, key)
        raise BadInput(f"{root / key}.npy is damaged or gone; remove {key} and extract it again")
    note_use(root / f"{key}.npy")
    return stored


def recorded_keys(root: Path) -> list[str]:
    """The keys of complete files, those whose record is damaged among them; not files of others with such names."""
    records: list[tuple[str, Any]] = [(key, read_json(root / f"{key}.json")) for key in _keys(root, "json")]
    return [key for key, record in records if record is None or (isinstance(record, dict) and "key" in record)]


def damaged_keys(root: Path, keys: Sequence[str]) -> list[str]:
    """The keys of complete files whose bytes are not the ones that were written."""
    return [key for key in keys if (root / f"{key}.json").exists() and open_stored(root / key) is None]


def remove_stored(root: Path, keys: Sequence[str], *, parts: bool = False, say: Callable[[str], None] = print) -> int:
    """Remove all that there is of the keys, or only rows in the making; gives how many bytes that had.

    A key that another process is at work on is waited for, and `say` is told so; what it has finished by then is no
    part any more.
    """
    freed = 0
    for key in keys:
        with locked(root / key, functools.partial(say, f"{key}: waiting for another process")):
            freed += remove_held(root, key, parts=parts)
    return freed


def remove_held(root: Path, key: str, *, parts: bool = False) -> int:
    """As `remove_stored`, of one key whose lock the caller holds; the lock's file goes too."""
    stays = parts and is_complete(root / key)
    gone = [root / f"{key}{suffix}" for suffix in ((".part.json", ".part") if stays else SUFFIXES)]
    freed = sum(path.stat().st_size for path in gone if path.exists())
    if not stays:  # first, so that what a kill leaves is still listed by its rows or record
        freed += forget(root, key)
    remove(root / key, parts=parts)
    (root / f"{key}.lock").unlink(missing_ok=True)  # who waits for it sees that it is gone, and makes another
    return freed


def clear_store(root: Path, say: Callable[[str], None] = print) -> tuple[int, int]:
    """Remove all that is ours in a store, and nothing else: (how many keys, how many bytes)."""
    keys = sorted({*_keys(root, "json"), *_keys(root, "npy"), *_keys(root, "lock"), *unfinished_keys(root)})
    freed = remove_stored(root, keys, say=say)
    ours = [path for path in root.glob("*") if ITEMS.fullmatch(path.name) or ASKED.fullmatch(path.name)]
    ours += [path for path in root.glob(".*.tmp*") if TEMPORARY.fullmatch(path.name)]
    ours += [path for path in (root / "settings").glob("*.json") if KEY.fullmatch(path.stem)]
    for path in ours:
        freed += path.stat().st_size
        path.unlink()
    with contextlib.suppress(OSError):  # not there, or it holds what is not ours
        (root / "settings").rmdir()
    return len(keys), freed


def export_features(root: Path, key: str, out: Path, kind: str | None = None, data: str | None = None) -> Origin:
    """Write the rows with paths and labels to a .parquet, .npz or .safetensors file.

    label: the class's number, or numbers separated by spaces, empty where there is none; classes: their names. data:
    whose paths and labels, by its name or content; by default the data set's that asked for the key last. Gives which.
    """
    kind = format_of(out, kind)
    stored = opened(root, key)
    origin = origin_of(root, key, data)
    items = items_of_origin(root, origin)
    with written_whole(out) as temporary:
        WRITERS[kind](temporary, stored, _columns(stored, items), items["classes"])
    return origin


def format_of(out: Path, kind: str | None = None) -> str:
    """The format to write, by the file's suffix unless named."""
    kind = kind or out.suffix.lstrip(".")
    if kind not in WRITERS:
        raise BadInput(f"{out}: no format {kind!r} to export features to; one of {', '.join(WRITERS)}")
    return kind


@dataclasses.dataclass(frozen=True)
class _Columns:
    paths: list[str]
    labels: list[str]


def _columns(stored: Stored, items: Mapping[str, Any]) -> _Columns:
    kept = stored.kept.tolist()
    root = Path(items["root"])
    return _Columns(
        [str(root / items["paths"][i]) for i in kept], [" ".join(map(str, items["labels"][i])) for i in kept]
    )


def _write_npz(path: Path, stored: Stored, columns: _Columns, classes: Sequence[str]) -> None:
    arrays: dict[str, Any] = {"rows": stored.rows, "classes": np.array(classes, dtype=str)}
    arrays |= {"path": np.array(columns.paths), "label": np.array(columns.labels)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _write_safetensors(path: Path, stored: Stored, columns: _Columns, classes: Sequence[str]) -> None:
    from safetensors.numpy import save_file

    more = {"path": json.dumps(columns.paths), "label": json.dumps(columns.labels)}
    more |= {"classes": json.dumps(list(classes)), "key": json.dumps(stored.record["key"])}
    save_file({"rows": np.ascontiguousarray(stored.rows)}, str(path), more)


def _write_parquet(path: Path, stored: Stored, columns: _Columns, classes: Sequence[str]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise Missing("pyarrow is not installed; pip install 'featune[parquet]'") from error

    rows = stored.rows
    # Parquet holds UTF-8 alone: what a name has of other bytes is written \xNN.
    paths = [os.fsencode(path).decode(errors="backslashreplace") for path in columns.paths]
    features = pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows)), rows.shape[1])
    table = {"path": pa.array(paths), "label": pa.array(columns.labels), "features": features}
    note = {"featune": json.dumps(stored.record["key"]), "classes": json.dumps(list(classes))}
    pyarrow.parquet.write_table(pa.table(table).replace_schema_metadata(note), path)


WRITERS: dict[str, Callable[[Path, Stored, _Columns, Sequence[str]], None]] = {
    "parquet": _write_parquet,
    "npz": _write_npz,
    "safetensors": _write_safetensors,
}


def _unfinished(root: Path, key: str) -> Entry:
    record = read_json(root / f"{key}.part.json")
    record = record if isinstance(record, dict) else {}
    there = [path for suffix in (".part", ".npy") if (path := root / f"{key}{suffix}").exists()]
    asked = origins_of(root, key)
    done, rows, width = (found if type(found := record.get(name)) is int else 0 for name in ("done", "rows", "width"))
    bad = record.get("bad")
    return Entry(
        key, "unfinished", "", "", "", asked[0].data if asked else "", done, rows, width,
        len(bad) if isinstance(bad, list) else 0, sum(path.stat().st_size for path in there) / 1e6, "",
    )  # fmt: skip
