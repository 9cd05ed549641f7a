"""Room on the disk, in shared memory and for open files; the folders of caches and of the token."""

import contextlib
import dataclasses
import os
import resource
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from featune.engine.errors import BadInput
from featune.engine.store import cache_dir

from .check import Check, fault, fine, note

LEAST_DISK, LITTLE_DISK = 1e9, 10e9  # bytes: a graph of a large model; features of a few models
LITTLE_SHARED = 1e9  # bytes; Docker gives 64 MB unless told otherwise
LEAST_FILES, FEW_FILES = 256, 1024
YES = ("1", "ON", "YES", "TRUE")  # as huggingface_hub reads its switches


class Room(NamedTuple):
    """Free bytes, and files that can still be made, of a file system; None where it does not count them."""

    bytes: int
    files: int | None = None


@dataclasses.dataclass(frozen=True)
class Limits:
    """How this system answers; tests give their own."""

    def room(self, folder: Path) -> Room:
        counted = os.statvfs(folder)
        return Room(shutil.disk_usage(folder).free, counted.f_favail if counted.f_files else None)

    def open_files(self) -> int:
        return resource.getrlimit(resource.RLIMIT_NOFILE)[0]

    def refusal(self, folder: Path) -> str:
        """Why no file can be written in a folder, or nothing; the folder itself is not made."""
        try:
            with tempfile.TemporaryFile(dir=existing(folder)):
                return ""
        except OSError as error:
            return error.strerror or str(error)


def existing(folder: Path) -> Path:
    """The folder, or the nearest one above it that is there."""
    folder = folder.absolute()
    return next((each for each in (folder, *folder.parents) if each.is_dir()), Path("/"))


def folder_checks(environment: Mapping[str, str], limits: Limits, shared: Path = Path("/dev/shm")) -> list[Check]:
    """Room, limits, and the folders that the environment names."""
    checks = []
    try:
        cache = cache_dir()
    except BadInput as error:
        checks.append(fault("cache", str(error), "set FEATUNE_CACHE_DIR to a folder that can be written"))
    else:
        origin = next((n for n in ("FEATUNE_CACHE_DIR", "XDG_CACHE_HOME") if environment.get(n)), "by default")
        checks += [
            _written("cache", cache, origin, limits, "set FEATUNE_CACHE_DIR to a folder that you can write"),
            _disk(cache, limits),
        ]
    offline = environment.get("HF_HUB_OFFLINE", "").upper() in YES
    for name, folder in hub_folders(environment).items():
        check = _written(name, folder, "", limits, f"set {name} to a folder that you can write")
        if check.state == "fault" and folder.is_dir() and os.access(folder, os.R_OK | os.X_OK):
            check = note(name, f"{check.found}; what is in it can be used", check.remedy)
        checks.append(check)
    said = "HF_HUB_OFFLINE is set: nothing is fetched, what is not in HF_HOME fails"
    checks.append(note("hub", said) if offline else fine("hub", "fetches what is missing (HF_HUB_OFFLINE is not set)"))
    checks.append(token_check(environment))
    if shared.is_dir():
        checks.append(_shared(shared, limits))
    checks.append(_files(limits.open_files()))
    return checks


def hub_folders(environment: Mapping[str, str]) -> dict[str, Path]:
    """Where weights are kept, by the variables of huggingface_hub and torch."""
    home = Path(environment.get("XDG_CACHE_HOME") or Path(environment.get("HOME") or "/").expanduser() / ".cache")
    return {
        "HF_HOME": Path(environment.get("HF_HOME") or home / "huggingface"),
        "TORCH_HOME": Path(environment.get("TORCH_HOME") or home / "torch"),
    }


def _written(subject: str, folder: Path, origin: str, limits: Limits, remedy: str) -> Check:
    said = f"{folder}" + (f" ({origin})" if origin else "")
    if refusal := limits.refusal(folder):
        return fault(subject, f"{said} cannot be written: {refusal}", remedy)
    return fine(subject, said)


def _disk(cache: Path, limits: Limits) -> Check:
    room = limits.room(existing(cache))
    said = f"{shown_size(room.bytes)} free for {cache}"
    remedy = "make room, see `featune cache du`, or set FEATUNE_CACHE_DIR to another disk"
    if room.files == 0:
        return fault("disk", f"{said}, but no more files can be made (no free inodes)", remedy)
    if room.bytes < LEAST_DISK:
        return fault("disk", f"{said}, {shown_size(LEAST_DISK)} expected", remedy)
    if room.bytes < LITTLE_DISK:
        return note("disk", f"{said}; features and plans of several models need more", remedy)
    return fine("disk", said)


def _shared(place: Path, limits: Limits) -> Check:
    with contextlib.suppress(OSError):
        free = limits.room(place).bytes
        said = f"{shown_size(free)} free in {place}"
        if free < LITTLE_SHARED:
            remedy = "start the container with --shm-size=2g, or keep to --decode-in threads"
            return note("shared memory", f"{said}; decoding in processes puts its batches there", remedy)
        return fine("shared memory", said)
    return note("shared memory", f"{place} cannot be read")


def _files(limit: int) -> Check:
    said = "no limit" if limit == resource.RLIM_INFINITY else f"{limit:,} at a time"
    if limit != resource.RLIM_INFINITY and limit < FEW_FILES:
        remedy = f"ulimit -n {4 * FEW_FILES}, or docker run --ulimit nofile={4 * FEW_FILES}"
        return (fault if limit < LEAST_FILES else note)("open files", f"{said}, {FEW_FILES:,} expected", remedy)
    return fine("open files", said)


def token_check(environment: Mapping[str, str]) -> Check:
    """Whether there is a token of the hub, and from where; never the token."""
    for name in ("HF_TOKEN", "HUGGING_FACE_HUB_TOKEN"):
        if environment.get(name):
            odd = environment[name] != environment[name].strip() or " " in environment[name].strip()
            said = f"given by {name}"
            remedy = f"set {name} again, without spaces or line ends"
            return note("token", f"{said}, with white space in it", remedy) if odd else fine("token", said)
    file = Path(environment.get("HF_TOKEN_PATH") or hub_folders(environment)["HF_HOME"] / "token")
    try:
        mode = file.stat().st_mode
    except OSError:
        return note("token", "none; models that ask for one, and many fetches at once, are refused by the hub")
    if mode & (stat.S_IRGRP | stat.S_IROTH):
        return note("token", f"in {file}, which other users can read", f"chmod 600 {file}")
    return fine("token", f"in {file}")


def shown_size(count: float) -> str:
    """Bytes for people: 512 B, 3.2 MB, 1.5 TB."""
    for unit in ("B", "kB", "MB", "GB"):
        if count < 1000:
            return f"{count:.0f} {unit}" if unit == "B" else f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.1f} TB"
