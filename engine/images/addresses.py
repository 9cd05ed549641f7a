"""An image's encoded bytes, by its address: a whole file, or a range of bytes in one, as in a tar shard.

The address of a range is `FILE::OFFSET+SIZE`, `shard-0000.tar::1536+20480` for example; any other text is a file.
"""

import hashlib
import os
import re
import stat

Path = str | os.PathLike[str]
RANGE = re.compile(r"(.+)::(\d{1,18})\+(\d{1,18})", re.DOTALL)
MOST = 2 << 30  # bytes of an encoded image; no limit of pixels lets a larger one through


def address(file: Path, offset: int, size: int) -> str:
    """The address of `size` bytes of the file from `offset` on."""
    return f"{os.fspath(file)}::{offset}+{size}"


def parts(path: Path) -> tuple[str, int, int | None]:
    """(file, offset, size) of an address; size None for a whole file."""
    text = os.fspath(path)
    found = RANGE.fullmatch(text) if "::" in text else None
    return (found[1], int(found[2]), int(found[3])) if found else (text, 0, None)


def file_of(path: Path) -> str:
    """The file that the address's bytes lie in."""
    return parts(path)[0]


def encoded(path: Path) -> bytes:
    """The bytes at an address. Raises OSError for what cannot be read, or for a file that ends before its range."""
    file, offset, size = parts(path)
    with open(file, "rb", buffering=0, opener=_opened) as opened:
        there = max(os.fstat(opened.fileno()).st_size - offset, 0)
        if (there if size is None else size) > MOST:
            raise OSError(f"{there if size is None else size} bytes found, {MOST} at most expected of an image")
        if size is None:
            return opened.read()
        opened.seek(offset)
        found = opened.read(min(size, there))
    if len(found) < size:
        raise OSError(f"{size} bytes expected from {offset} on, {len(found)} found; the file is not the one indexed")
    return found


def _opened(file: str, flags: int) -> int:
    """A regular file alone: a pipe would be waited for, and some devices never end."""
    handle = os.open(file, flags | getattr(os, "O_NONBLOCK", 0))
    if stat.S_ISREG(os.fstat(handle).st_mode):
        return handle
    os.close(handle)
    raise OSError("a folder, pipe or device, no file")


def bytes_digest(path: Path) -> str:
    """SHA-256 of the bytes at an address. Raises OSError as `encoded` does."""
    return hashlib.sha256(encoded(path)).hexdigest()
