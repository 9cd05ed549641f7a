"""What to say where the system refuses to write, in whatever words a library tells of it."""

import contextlib
import errno
import os
import re
from collections.abc import Iterator
from pathlib import Path

from .errors import BadInput, FeatuneError

FULL = (errno.ENOSPC, errno.EDQUOT)
NO_WRITING = (*FULL, errno.EROFS, errno.EFBIG)  # errors that only writing meets
ELSEWHERE = "choose another --out, --store or FEATUNE_CACHE_DIR"
PROBE = 1 << 20  # bytes


def unwritable(path: str | os.PathLike[str], error: OSError) -> BadInput:
    """What to say where the system refuses to write: the path, its reason, and the way out."""
    remedy = "make room and run again" if error.errno in FULL else ELSEWHERE
    return BadInput(f"cannot write {path}: {error.strerror or error}; {remedy}")


@contextlib.contextmanager
def refusals_of(path: str | os.PathLike[str], made: Path) -> Iterator[None]:
    """For a block that writes `made`, a file or a folder of files: BadInput about `path` where the system refused that.

    Libraries that write for themselves have words of their own for a full disk: torch says "unexpected pos 640 vs
    598", numpy "300000 requested and 102368 written", safetensors raises no OSError. So the system is asked again: by
    writing on where the library stopped. Other errors are raised as they are.
    """
    try:
        yield
    except FeatuneError:
        raise
    except Exception as error:
        numbered = isinstance(error, OSError) and error.errno is not None
        found = error if numbered else _told_by_rust(error) or _refusal(made)
        if not isinstance(found, OSError) or found.errno not in NO_WRITING:
            raise  # the block may read other files, whose errors say nothing of this one
        raise unwritable(path, found) from error


def _told_by_rust(error: Exception) -> OSError | None:
    """Of libraries such as safetensors, which may have removed the file that did not fit."""
    told = re.search(r"\(os error (\d+)\)", str(error))
    return OSError(int(told[1]), os.strerror(int(told[1]))) if told else None


def _refusal(made: Path) -> OSError | None:
    try:
        if made.is_dir():
            files = [each for each in made.iterdir() if each.is_file()]
            if not files:
                return None
            made = max(files, key=lambda each: each.stat().st_size)
        with open(made, "ab") as file:
            file.write(bytes(PROBE))
            file.flush()
            os.fsync(file.fileno())
    except OSError as error:
        return error
    return None
