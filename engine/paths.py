"""Names that come from users, files and servers, on their way to becoming paths: checked, or changed until safe."""

import functools
import os
from collections.abc import Iterable
from pathlib import Path, PurePosixPath

from .errors import BadInput

LONGEST = 255  # bytes of a name, the limit of most file systems


def check_name(what: str, name: str) -> str:
    """The name, which may become a file or folder. what: whose it is, for the message.

    Raises BadInput for an empty one, `.` and `..`, separators and NUL, and more than 255 bytes.
    """
    fault = _fault(name)
    if fault:
        raise BadInput(f"{what} {name[:60]!r}{'...' * (len(name) > 60)} {fault}; give it another `name`")
    return name


def inside(folder: Path, address: str, what: str) -> Path:
    """The path of an address below a folder, its parts separated by /. Raises BadInput for one that leads outside."""
    parts = address.split("/")
    fault = next((fault for part in parts if (fault := _fault(part))), "")
    if fault:
        raise BadInput(f"{what} {address[:200]!r}: a part of it {fault}; it would lie outside {folder} or have no name")
    return folder.joinpath(*parts)


@functools.lru_cache(maxsize=10_000)
def as_name(text: str, longest: int = 100) -> str:
    """The text as part of a file's name: letters, digits, `-_.` and no other, at most so many bytes."""
    safe = "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in text).lstrip(".")
    return cut(safe, longest) or "_"


def cut(name: str, longest: int) -> str:
    """The name's beginning, of at most so many bytes and no half letter."""
    return os.fsencode(name)[:longest].decode("utf-8", "ignore") if len(os.fsencode(name)) > longest else name


def is_below(path: Path, folders: Iterable[Path]) -> bool:
    """Whether a path lies in one of the folders, links followed."""
    found = path.resolve()
    return any(found.is_relative_to(folder.resolve()) for folder in folders)


def is_there(path: Path) -> bool:
    """Whether a file or folder is there; a name that no file can have is not."""
    try:
        return path.exists()
    except (OSError, ValueError):
        return False


def _fault(name: str) -> str:
    """What is wrong with a name, or nothing."""
    if not name.strip():
        return "is empty"
    if name in (".", ".."):
        return "is no name but a way to another folder"
    if PurePosixPath(name).is_absolute() or any(mark in name for mark in "/\\\0"):
        return "has a separator of paths in it"
    try:
        size = len(os.fsencode(name))
    except UnicodeEncodeError:
        return "has half a character in it"
    return f"has {size} bytes, {LONGEST} at most expected" if size > LONGEST else ""


def refuse_devices(path: Path) -> None:
    """Raises BadInput for a pipe, socket or device, which may have no end; a missing file is left to who opens it."""
    if path.exists() and not path.is_file() and not path.is_dir():
        raise BadInput(f"{path}: a pipe, socket or device found, a file expected; give the path of a file")
