"""Digest a value into a name; write a path whole or not at all, and remove what kills left of that; lock a path."""

import contextlib
import dataclasses
import errno
import functools
import hashlib
import json
import os
import platform
import re
import shutil
import stat
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from filelock import FileLock, Timeout

from .disk import NO_WRITING as NO_WRITING
from .disk import refusals_of as refusals_of
from .disk import unwritable as unwritable
from .errors import BadInput
from .paths import cut

SOON = 0.5  # seconds that a lock is waited for before that is said
# Of a file in the making: .<name>.<place>-<process>.<random>.tmp<suffix>; before, without place and process.
TEMPORARY = re.compile(
    r"\..*?\.((?P<place>[0-9a-f]{8})-(?P<process>\d+)\.)?[a-z0-9_]{8}\.tmp(\.\w{1,20})?", re.ASCII | re.DOTALL
)
NOTED = 3600.0  # seconds, for which a noted use of a file holds
ASKING = threading.Lock()  # a umask can only be asked for by setting another
STALE = 24 * 3600.0  # seconds, after which no one is writing any more, wherever he was


def added(default: Any) -> Any:
    """A dataclass field that came later: `plain` leaves it out at its default, so that older names still hold."""
    return dataclasses.field(default=default, metadata={"added": True})


def plain(value: object) -> Any:
    """The value in JSON's types: dataclasses become objects, tuples lists, paths text."""
    if value is None or isinstance(value, (bool, int, float, str)):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        found = {field: getattr(value, field.name) for field in dataclasses.fields(value)}
        return {
            field.name: plain(item)
            for field, item in found.items()
            if not (field.metadata.get("added") and item == field.default)
        }
    if isinstance(value, Mapping):
        return {str(key): plain(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [plain(item) for item in value]
    if isinstance(value, os.PathLike):
        return os.fspath(value)
    raise TypeError(f"{type(value).__name__} has no place in a digest: {value!r}")


def digest(value: object) -> str:
    """Sixteen hexadecimal digits that name the value; equal values have equal names on every machine."""
    text = json.dumps(plain(value), sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode()).hexdigest()[:16]


def file_digest(path: str | os.PathLike[str]) -> str:
    """SHA-256 of the file's bytes, in hexadecimal."""
    with open(path, "rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextlib.contextmanager
def written_whole(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A temporary path beside `path`, moved there when the block ends well and removed when it does not.

    The bytes are on the disk before the move, so neither a kill nor a power cut leaves half a file.
    Raises BadInput where the folder cannot be written or the disk is full.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        beginning = f".{cut(path.name, 80)}.{_place()}-{os.getpid()}."
        ending = ".tmp" + (path.suffix if re.fullmatch(r"\.\w{1,20}", path.suffix, re.ASCII) else "")
        handle, name = tempfile.mkstemp(prefix=beginning, suffix=ending, dir=path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    os.close(handle)
    temporary = Path(name)
    try:
        with refusals_of(path, temporary):
            yield temporary
        try:
            os.chmod(temporary, 0o666 & ~_umask())
            with open(temporary, "rb") as file:
                os.fsync(file.fileno())
            os.replace(temporary, path)
        except OSError as error:
            raise unwritable(path, error) from error
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def made_beside(path: str | os.PathLike[str]) -> Iterator[Path]:
    """A path of the same name in a folder of its own beside `path`, for a file that takes several steps to make.

    When the block ends well, all that is in the folder moves to beside `path`, that file last; otherwise what was
    there before stays as it was. Raises BadInput where the folder cannot be written.
    """
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        folder = tempfile.mkdtemp(".tmp", f".{cut(path.name, 80)}.{_place()}-{os.getpid()}.", path.parent)
    except OSError as error:
        raise unwritable(path, error) from error
    try:
        made = Path(folder, path.name)
        with refusals_of(path, Path(folder)):
            yield made
        for part in sorted(Path(folder).iterdir(), key=lambda part: part == made):
            os.replace(part, path.with_name(part.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def stale_files(folder: Path) -> list[Path]:
    """Files in the making below the folder whose process is dead, or that are a day old: a kill left them."""
    found = []
    for place, folders, names in os.walk(folder):
        for name in [*names, *folders]:
            known = TEMPORARY.fullmatch(name)
            if known and _is_stale(Path(place, name), known):
                found.append(Path(place, name))
    return sorted(found)


def remove_stale(folder: Path) -> tuple[int, int]:
    """Remove what kills left in the folder and below: (how many files, how many bytes)."""
    count = freed = 0
    for path in stale_files(folder):
        with contextlib.suppress(OSError):  # gone by now, or not ours to remove
            parts = [part for part in path.rglob("*") if part.is_file()] if path.is_dir() else [path]
            sizes = [part.stat().st_size for part in parts]
            if path.is_dir():
                shutil.rmtree(path)
            else:
                path.unlink()
            count, freed = count + len(sizes), freed + sum(sizes)
    return count, freed


def _is_stale(path: Path, known: re.Match[str]) -> bool:
    if known["process"] and known["place"] == _place():
        try:
            os.kill(int(known["process"]), 0)
        except (ProcessLookupError, OverflowError):
            return True
        except PermissionError:  # another user's, and alive
            pass
    try:
        return time.time() - path.stat().st_mtime > STALE
    except OSError:
        return False


@functools.cache
def _place() -> str:
    """Where process numbers mean the same: this machine, or this container of it."""
    try:
        space = os.stat("/proc/self/ns/pid").st_ino
    except OSError:
        space = 0
    return digest([platform.node(), space])[:8]


def note_use(path: str | os.PathLike[str]) -> None:
    """Write down that a file of the cache is used now, which mounts with noatime never do, and others once a day.

    Once an hour at most. A file that is another user's, or lies where nothing can be written, stays as it is.
    """
    with contextlib.suppress(OSError):
        state, now = os.stat(path), time.time_ns()
        if now - state.st_atime_ns > NOTED * 1e9:
            os.utime(path, ns=(now, state.st_mtime_ns))


def check_writable(path: str | os.PathLike[str]) -> None:
    """Raises BadInput where no file of this name can be written: before the work, not after it."""
    path = Path(path)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with contextlib.suppress(FileNotFoundError):
            if stat.S_ISDIR(os.stat(path).st_mode):
                raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR))
        with tempfile.TemporaryFile(dir=path.parent):
            pass
    except OSError as error:
        raise unwritable(path, error) from error


def write_text(path: str | os.PathLike[str], text: str) -> None:
    with written_whole(path) as temporary:
        # Names of files are bytes, and those that are no UTF-8 come back as they were.
        temporary.write_text(text, encoding="utf-8", errors="surrogateescape")


def write_json(path: str | os.PathLike[str], value: object) -> None:
    write_text(path, json.dumps(plain(value), indent=1, sort_keys=True, ensure_ascii=False) + "\n")


def read_json(path: str | os.PathLike[str]) -> Any | None:
    """The file's value, or None where it is absent or not JSON; what is missing can be made again."""
    try:
        return json.loads(Path(path).read_text(encoding="utf-8", errors="surrogateescape"))
    except (FileNotFoundError, NotADirectoryError, ValueError, RecursionError):  # nested too deep to be ours
        return None


@contextlib.contextmanager
def locked(path: str | os.PathLike[str], waiting: Callable[[], None] | None = None) -> Iterator[None]:
    """One process at a time in this block for this path; the operating system frees it after a kill.

    waiting: called once where another one is in it. Raises BadInput where the lock cannot be written.
    """
    path = Path(path)
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            lock.acquire(timeout=SOON)
        except Timeout:
            if waiting:
                waiting()
            lock.acquire()
    except OSError as error:
        raise unwritable(lock.lock_file, error) from error
    try:
        yield
    finally:
        lock.release()


@contextlib.contextmanager
def locked_if_free(path: Path) -> Iterator[bool]:
    """As `locked`, but at once: whether the block has the lock, False where another process has it."""
    lock = FileLock(path.with_name(f"{path.name}.lock"))
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        lock.acquire(timeout=0)
    except Timeout:
        yield False
        return
    except OSError as error:
        raise unwritable(lock.lock_file, error) from error
    try:
        yield True
    finally:
        lock.release()


def cache_dir() -> Path:
    """Where artefacts and features are kept: $FEATUNE_CACHE_DIR, else featune under $XDG_CACHE_HOME.

    Raises BadInput where neither is set and the user has no home.
    """
    given = os.environ.get("FEATUNE_CACHE_DIR")
    if given:
        return Path(given)
    try:
        return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "featune"
    except RuntimeError as error:
        raise BadInput(
            f"user {os.getuid()} has no home folder, where the cache would be; set FEATUNE_CACHE_DIR to a folder that "
            "can be written"
        ) from error


def _umask() -> int:
    with ASKING:
        mask = os.umask(0)
        os.umask(mask)
        return mask
