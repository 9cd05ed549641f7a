"""Tar shards read in place: the addresses of their members, and the packing of images that no file holds."""

import dataclasses
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.images import address
from featune.engine.store import cache_dir, digest, locked, note_use, read_json, write_json, written_whole

from ..progress import Progress, Silent

IMAGES_PER_SHARD = 1000


@dataclasses.dataclass(frozen=True)
class Member:
    """A file in a tar: its name, and its bytes as a range of the tar's."""

    name: str
    offset: int
    size: int


def members(shard: Path) -> list[Member]:
    """The files in an uncompressed tar, in their order.

    The list is made once and kept under the cache folder until the tar's size or time changes.
    Raises BadInput for what is no such tar.
    """
    try:
        status = os.stat(shard)
    except OSError as error:
        raise BadInput(f"{shard}: {error.strerror}; give the path of a tar file") from error
    state = [status.st_size, status.st_mtime_ns]
    record = cache_dir() / "tars" / f"{digest(os.path.abspath(shard))}.json"
    kept = read_json(record)
    if not (isinstance(kept, dict) and kept.get("state") == state):
        kept = {"state": state, "members": _listed(shard, status.st_size)}
        write_json(record, kept)
    return [Member(*member) for member in kept["members"]]


def _listed(shard: Path, size: int) -> list[tuple[str, int, int]]:
    found = []
    try:
        with tarfile.open(shard, "r:") as archive:
            for member in archive:
                if member.sparse:
                    raise BadInput(f"{shard}: {member.name} is stored sparse; pack the tar again without --sparse")
                if member.isreg():
                    found.append((member.name, member.offset_data, member.size))
    except tarfile.TarError as error:
        reason = f"{error}; expected an uncompressed tar, whose members can be read in place"
        raise BadInput(f"{shard}: {reason}: gunzip it, or fetch it again") from error
    if found and found[-1][1] + found[-1][2] > size:
        raise BadInput(f"{shard}: {size} bytes found, {found[-1][0]} ends after them; fetch the tar again")
    return found


@dataclasses.dataclass(frozen=True)
class Pack:
    """Images to be written once, as tar shards under the cache folder.

    key: names the source with all that its images depend on. total: images in the source. draw: image i as
    (file name, encoded bytes). each: images per shard.
    """

    key: str
    total: int
    draw: Callable[[int], tuple[str, bytes]]
    each: int = IMAGES_PER_SHARD


def packed(pack: Pack, count: int, progress: Progress | None = None) -> tuple[Path, list[str]]:
    """(folder, addresses of the first `count` images seen from it).

    Each shard is written whole or not at all, so that a killed run goes on with the first that is not there.
    """
    folder = cache_dir() / "data" / pack.key
    starts = range(0, count, pack.each)
    shards = [folder / f"{start // pack.each:05}.tar" for start in starts]
    absent = [(start, shard) for start, shard in zip(starts, shards, strict=True) if not shard.exists()]
    if absent:
        # Of the folder, which `featune cache prune` asks for.
        with (progress or Silent()).stage(f"packing {pack.key}") as advance, locked(folder):
            for start, shard in absent:
                if not shard.exists():
                    _write(shard, range(start, min(start + pack.each, pack.total)), pack.draw)
                advance(start + pack.each, count)
    for shard in shards:
        note_use(shard)
    found = [address(shard.name, member.offset, member.size) for shard in shards for member in members(shard)]
    return folder, found[:count]


def _write(shard: Path, numbers: range, draw: Callable[[int], tuple[str, bytes]]) -> None:
    with written_whole(shard) as temporary, tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as archive:
        for number in numbers:
            name, data = draw(number)
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
