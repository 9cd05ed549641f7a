"""What lies in a store of features: listed, looked at, verified, removed, and exported to other formats."""

import dataclasses
import json
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from engine.errors import BadInput, Missing, nearest
from engine.feature_files import Stored, open_stored, remove
from engine.store import locked, read_json, written_whole

ITEMS = ".items.json"  # beside the features: the paths, labels and classes of a set of images


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


def entries(root: Path) -> list[Entry]:
    """Every file of the store, complete ones in the order of their making, then unfinished ones."""
    complete = [entry_of(root, path.name.removesuffix(".json")) for path in root.glob("*.json") if _is_record(path)]
    parts = [path.name.removesuffix(".part.json") for path in root.glob("*.part.json")]
    done = {entry.key for entry in complete}
    return sorted(complete, key=lambda entry: entry.made) + [
        _unfinished(root, key) for key in sorted(parts) if key not in done
    ]


def entry_of(root: Path, key: str) -> Entry:
    record: dict[str, Any] = read_json(root / f"{key}.json") or {}
    file = root / f"{key}.npy"
    of = record["key"]
    return Entry(
        key=key,
        state="complete",
        model=record["label"] or of["model"],
        backend=of["backend"],
        precision=of["precision"],
        data=(read_json(root / f"{of['images']}{ITEMS}") or {}).get("data", of["images"]),
        images=record["images"],
        rows=record["rows"],
        width=record["width"],
        skipped=len(record["skipped"]),
        megabytes=file.stat().st_size / 1e6 if file.exists() else 0.0,
        made=record["made"],
    )


def full_key(root: Path, text: str) -> str:
    """The one key that begins so. Raises BadInput where none or several do."""
    known = sorted({path.name.split(".")[0] for path in root.glob("*.json") if ITEMS not in path.name})
    found = [key for key in known if key.startswith(text)]
    if len(found) == 1:
        return found[0]
    if found:
        raise BadInput(f"{len(found)} keys begin with {text!r}: {', '.join(found[:5])}; give more of it")
    raise BadInput(f"{root} has no features {text!r}{nearest(text, known)}; see `featune features list`")


def record_of(root: Path, key: str) -> dict[str, Any]:
    """All that the file says of itself: its key, what was skipped, and the verdict of the pass that made it."""
    record = read_json(root / f"{key}.json")
    if record is None:
        raise BadInput(f"{key} is unfinished; run the same `featune extract` again")
    return record


def opened(root: Path, key: str) -> Stored:
    """The rows, every byte checked. Raises BadInput where the file is damaged."""
    stored = open_stored(root / key)
    if stored is None:
        record_of(root, key)
        raise BadInput(f"{root / key}.npy is damaged or gone; remove {key} and extract it again")
    return stored


def damaged(root: Path, keys: Sequence[str]) -> list[str]:
    """The keys of complete files whose bytes are not the ones that were written."""
    return [key for key in keys if (root / f"{key}.json").exists() and open_stored(root / key) is None]


def removed(root: Path, keys: Sequence[str]) -> int:
    """Remove the files of the keys, none of which another process is writing; gives how many bytes they had."""
    freed = 0
    for key in keys:
        with locked(root / key):
            freed += sum(path.stat().st_size for path in root.glob(f"{key}.*") if path.suffix != ".lock")
            remove(root / key)
    return freed


def export_features(root: Path, key: str, out: Path, kind: str | None = None) -> None:
    """Write the rows with paths and labels to a .parquet, .npz or .safetensors file.

    label: the class's number, or numbers separated by spaces, empty where there is none; classes: their names.
    """
    kind = format_of(out, kind)
    stored = opened(root, key)
    items = read_json(root / f"{stored.record['key']['images']}{ITEMS}")
    columns = _columns(stored, items)
    with written_whole(out) as temporary:
        WRITERS[kind](temporary, stored, columns, items["classes"] if items else [])


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


def _columns(stored: Stored, items: Any) -> _Columns | None:
    if items is None:
        return None
    kept = stored.kept.tolist()
    root = Path(items["root"])
    return _Columns(
        [str(root / items["paths"][i]) for i in kept], [" ".join(map(str, items["labels"][i])) for i in kept]
    )


def _write_npz(path: Path, stored: Stored, columns: _Columns | None, classes: Sequence[str]) -> None:
    arrays: dict[str, Any] = {"rows": stored.rows, "classes": np.array(classes, dtype=str)}
    if columns:
        arrays |= {"path": np.array(columns.paths), "label": np.array(columns.labels)}
    with open(path, "wb") as file:
        np.savez(file, **arrays)


def _write_safetensors(path: Path, stored: Stored, columns: _Columns | None, classes: Sequence[str]) -> None:
    from safetensors.numpy import save_file

    more = {"path": json.dumps(columns.paths), "label": json.dumps(columns.labels)} if columns else {}
    more |= {"classes": json.dumps(list(classes)), "key": json.dumps(stored.record["key"])}
    save_file({"rows": np.ascontiguousarray(stored.rows)}, str(path), more)


def _write_parquet(path: Path, stored: Stored, columns: _Columns | None, classes: Sequence[str]) -> None:
    try:
        import pyarrow as pa
        import pyarrow.parquet
    except ImportError as error:
        raise Missing("pyarrow is not installed; pip install 'featune[parquet]'") from error

    rows = stored.rows
    table = {"features": pa.FixedSizeListArray.from_arrays(pa.array(np.ravel(rows)), rows.shape[1])}
    if columns:
        # Parquet holds UTF-8 alone: what a name has of other bytes is written \xNN.
        paths = [os.fsencode(path).decode(errors="backslashreplace") for path in columns.paths]
        table = {"path": pa.array(paths), "label": pa.array(columns.labels)} | table
    note = {"featune": json.dumps(stored.record["key"]), "classes": json.dumps(list(classes))}
    pyarrow.parquet.write_table(pa.table(table).replace_schema_metadata(note), path)


WRITERS: dict[str, Callable[[Path, Stored, "_Columns | None", Sequence[str]], None]] = {
    "parquet": _write_parquet,
    "npz": _write_npz,
    "safetensors": _write_safetensors,
}


def _is_record(path: Path) -> bool:
    return not path.name.endswith((".part.json", ITEMS))


def _unfinished(root: Path, key: str) -> Entry:
    record: dict[str, Any] = read_json(root / f"{key}.part.json") or {}
    part = root / f"{key}.part"
    return Entry(
        key, "unfinished", "", "", "", "", record["done"], record["rows"], record["width"], len(record["bad"]),
        part.stat().st_size / 1e6 if part.exists() else 0.0, "",
    )  # fmt: skip
