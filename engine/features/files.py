"""The files of features: one `<key>.npy` of rows and one `<key>.json` that vouches for it, complete or absent.

Rows of unfinished work lie in `<key>.part`, with a `<key>.part.json` that counts those which are safely on the disk.
The part has room for the header of an .npy file before its rows, so that finishing writes only that.
"""

import contextlib
import dataclasses
import hashlib
import io
import os
import re
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeGuard

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from ..store import file_digest, read_json, unwritable, write_json

Rows = NDArray[Any]
CHUNK = 1 << 22  # bytes that are read at a time
DTYPE = re.compile(r"[<>|=][fiu][1248]")
FIRST_SECONDS = 0.5  # until the first safe point
HEADER = 128  # bytes of the header of an .npy file of rows
SUFFIXES = (".npy", ".json", ".part", ".part.json")


@dataclasses.dataclass(frozen=True)
class Stored:
    """A complete file, verified: its rows [n, width] as a read-only memmap, and its record.

    skipped: (index, path, reason) of the images that have no row.
    """

    rows: Rows
    record: Mapping[str, Any]

    @property
    def skipped(self) -> list[tuple[int, str, str]]:
        return [(int(index), path, reason) for index, path, reason in self.record["skipped"]]

    @property
    def kept(self) -> NDArray[np.int64]:
        """The index of the image of each row."""
        return np.setdiff1d(np.arange(self.record["images"]), [index for index, _, _ in self.skipped])


def open_stored(path: Path) -> Stored | None:
    """The file `<path>.npy`, or None where it is absent, unfinished or damaged: every byte is checked."""
    file, record = _with(path, ".npy"), read_json(_with(path, ".json"))
    if not isinstance(record, dict) or not file.exists() or file_digest(file) != record.get("sha256"):
        return None
    try:
        rows = np.load(file, mmap_mode="r", allow_pickle=False)
    except (ValueError, OSError):  # the record vouches for what is no array
        return None
    return Stored(rows, record) if _is_record_of(record, rows) else None


def _is_record_of(record: Mapping[str, Any], rows: Rows) -> bool:
    """Whether a record has what is read from it, and says of the rows what they are."""
    images, skipped = record.get("images"), record.get("skipped")
    if type(images) is not int or not isinstance(skipped, list) or rows.ndim != 2:
        return False
    indices = _indices(skipped, (int, str, str), images)
    return indices is not None and len(rows) + len(indices) == images


def _indices(entries: Any, kinds: tuple[type, ...], count: int) -> set[int] | None:
    """The images that entries (index, ...) are of, each once and below `count`; None where they are none such."""
    if not isinstance(entries, list):
        return None
    for entry in entries:
        if not isinstance(entry, list) or tuple(map(type, entry)) != kinds or not 0 <= entry[0] < count:
            return None
    found = {entry[0] for entry in entries}
    return found if len(found) == len(entries) else None


class Part:
    """A file of rows in the making. It is the caller who holds the key's lock.

    done: images that are accounted for: a row, or an entry in `bad`, a list of (index, reason).
    """

    def __init__(self, path: Path, save_seconds: float):
        self.path, self.save_seconds = path, save_seconds
        part = _with(path, ".part")
        self.done = self.rows = self.width = 0
        self.dtype = ""
        self.bad: list[tuple[int, str]] = []
        record: Any = read_json(_with(path, ".part.json"))
        if _is_part_record(record):
            self.done, self.rows, self.width, self.dtype = (record[name] for name in ("done", "rows", "width", "dtype"))
            self.bad = [(index, reason) for index, reason in record["bad"]]
        self._seen = self._digest(part)
        if self.done and self._seen.hexdigest() != record["sha256"]:
            self._forget()
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if not self.done:  # or a count that is of other rows would vouch for the new ones
                _with(path, ".part.json").unlink(missing_ok=True)
            self.file = open(part, "r+b" if self.done else "wb")  # noqa: SIM115, closed by close()
            self._cut()
        except OSError as error:
            raise unwritable(part, error) from error
        # The first safe point comes soon, so that a run which is killed again and again gets on.
        self._due = time.monotonic() + min(FIRST_SECONDS, save_seconds)

    def append(self, stop: int, rows: Rows, bad: Sequence[tuple[int, str]]) -> None:
        """The rows of the images up to `stop`, and those that have none."""
        if len(rows) + len(bad) != stop - self.done:
            raise BadInput(
                f"{len(rows)} rows found for {stop - self.done - len(bad)} images in {self.path}; "
                "the runner must give one row for each image"
            )
        if len(rows):
            rows = np.ascontiguousarray(rows)
            if self.rows and (rows.shape[1], rows.dtype.str) != (self.width, self.dtype):
                raise BadInput(
                    f"rows of {rows.shape[1]} {rows.dtype} found, {self.width} {self.dtype} expected in {self.path}; "
                    "the runner gives rows of changing width"
                )
            self.width, self.dtype = rows.shape[1], rows.dtype.str
            with self._writing():
                self.file.write(rows.data)
            self._seen.update(rows.reshape(-1).view(np.uint8).data)
            self.rows += len(rows)
        self.done = stop
        self.bad += bad
        if time.monotonic() > self._due:
            self.save()

    def rewind(self, index: int) -> None:
        """Forget the images from `index` on, which is one that is done."""
        self.bad = [each for each in self.bad if each[0] < index]
        self.done, self.rows = index, index - len(self.bad)
        with self._writing():
            self._cut()
        self._seen = self._digest(_with(self.path, ".part"))
        self.save()  # the count on the disk is of rows that are gone

    def save(self) -> None:
        """All that was appended is on the disk when this returns."""
        with self._writing():
            self.file.flush()
            os.fsync(self.file.fileno())
        record = {"done": self.done, "rows": self.rows, "width": self.width, "dtype": self.dtype, "bad": self.bad}
        record["sha256"] = self._seen.hexdigest()  # of the rows alone
        write_json(_with(self.path, ".part.json"), record)
        self._due = time.monotonic() + self.save_seconds

    def finish(self, record: Mapping[str, Any]) -> None:
        """Give the rows their header, their record and, last, their name; killed in between, it is done again."""
        part = _with(self.path, ".part")
        shape = {"rows": self.rows, "width": self.width, "dtype": self.dtype, "images": self.done}
        with self._writing():
            self.file.seek(0)
            self.file.write(_header((self.rows, self.width), self.dtype))
            self.file.flush()
            os.fsync(self.file.fileno())
            self.close()
            write_json(_with(self.path, ".json"), {**record, **shape, "sha256": file_digest(part)})
            os.replace(part, _with(self.path, ".npy"))
            _with(self.path, ".part.json").unlink()

    def discard(self) -> None:
        """Remove what there is."""
        self.close()
        for suffix in (".part.json", ".part"):
            _with(self.path, suffix).unlink(missing_ok=True)

    def close(self) -> None:
        with contextlib.suppress(OSError):  # it writes what the disk refused before; what counts was saved
            self.file.close()

    def _cut(self) -> None:
        """The file as long as its rows, to be written behind them."""
        self.file.truncate(self._size())
        self.file.seek(0, os.SEEK_END)

    @contextlib.contextmanager
    def _writing(self) -> Iterator[None]:
        try:
            yield
        except OSError as error:
            raise BadInput(f"cannot write {self.path}: {error.strerror}; make room and run again to resume") from error

    def _forget(self) -> None:
        self.done, self.rows, self.bad, self._seen = 0, 0, [], hashlib.sha256()

    def _digest(self, part: Path) -> "hashlib._Hash":
        """SHA-256 of the rows in the file, as many as are counted, or of none where it is shorter."""
        seen, left = hashlib.sha256(), self._size() - HEADER
        if left <= 0 or not part.exists() or part.stat().st_size < self._size():
            return seen
        with open(part, "rb") as file:
            file.seek(HEADER)
            while left and (chunk := file.read(min(left, CHUNK))):
                seen.update(chunk)
                left -= len(chunk)
        return seen

    def _size(self) -> int:
        return HEADER + self.rows * self.width * (np.dtype(self.dtype).itemsize if self.dtype else 0)


def _is_part_record(record: Any) -> TypeGuard[dict[str, Any]]:
    """Whether a record of rows in the making has what is read from it, in numbers that agree."""
    if not isinstance(record, dict) or not isinstance(record.get("sha256"), str):
        return False
    done, rows, width = (record.get(name) for name in ("done", "rows", "width"))
    for number in (done, rows, width):
        if type(number) is not int or not 0 <= number < 2**40:
            return False
    assert isinstance(done, int)
    assert isinstance(rows, int)
    bad = _indices(record.get("bad"), (int, str), done)
    return bad is not None and rows + len(bad) == done and (not rows or bool(DTYPE.fullmatch(str(record.get("dtype")))))


def remove(path: Path, *, parts: bool = False) -> None:
    """All files of a key; the record goes first, so that nothing half removed is taken for whole.

    parts: rows in the making alone, a record that was written for them before they had their name, and rows whose
    record is gone, which a killed removal leaves.
    """
    if parts and is_complete(path):
        gone: tuple[str, ...] = (".part.json", ".part")
    else:
        gone = (".json", ".part.json", ".npy", ".part")
    for suffix in gone:
        _with(path, suffix).unlink(missing_ok=True)


def is_complete(path: Path) -> bool:
    """Whether a key's rows and their record are there, whole or damaged."""
    return _with(path, ".npy").exists() and _with(path, ".json").exists()


def _with(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def _header(shape: tuple[int, int], dtype: str) -> bytes:
    held = io.BytesIO()
    np.lib.format.write_array_header_1_0(held, {"descr": dtype, "fortran_order": False, "shape": shape})
    header = held.getvalue()
    assert len(header) == HEADER, f"{len(header)} bytes of header, {HEADER} were kept"
    return header
