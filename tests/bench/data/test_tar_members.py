"""Tar shards: their members' addresses, and packs that are written whole or not at all."""

import gzip
import io
import os
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from featune.bench.data.tar_members import Pack, _listed, members, packed
from featune.engine.errors import BadInput
from featune.engine.images import encoded
from featune.engine.store import cache_dir, locked_if_free


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def write_tar(path: Path, contents: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, data in contents.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def test_a_tars_members_lie_where_the_index_says(tmp_path: Path) -> None:
    contents = {"a/one.txt": b"one", f"a/{'long' * 60}.txt": b"x" * 1500, "two": b""}
    shard = write_tar(tmp_path / "s.tar", contents)
    found = members(shard)
    assert {m.name: encoded(f"{shard}::{m.offset}+{m.size}") for m in found} == contents


def test_the_index_is_made_once_and_again_when_the_tar_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    shard = write_tar(tmp_path / "s.tar", {"one": b"one"})
    other = write_tar(tmp_path / "other.tar", {"two": b"two", "three": b"three"})
    listed: list[Path] = []
    monkeypatch.setattr(
        "featune.bench.data.tar_members._listed", lambda path, size: listed.append(path) or _listed(path, size)
    )
    assert members(shard) == members(shard)
    assert len(listed) == 1
    os.replace(other, shard)
    assert [member.name for member in members(shard)] == ["two", "three"]
    assert len(listed) == 2


def test_a_compressed_a_cut_off_and_an_absent_tar_are_refused(tmp_path: Path) -> None:
    shard = write_tar(tmp_path / "s.tar", {"one": os.urandom(3000), "two": os.urandom(3000)})
    (tmp_path / "z.tar").write_bytes(gzip.compress(shard.read_bytes()))
    (tmp_path / "cut.tar").write_bytes(shard.read_bytes()[:5500])
    for name, reason in (("z", "uncompressed"), ("cut", "fetch"), ("none", "No such file")):
        with pytest.raises(BadInput, match=reason):
            members(tmp_path / f"{name}.tar")


def counting(total: int, drawn: list[int]) -> Callable[[int], tuple[str, bytes]]:
    def draw(number: int) -> tuple[str, bytes]:
        drawn.append(number)
        return f"{number:08}.bin", b"%d" % number

    return draw


def test_a_pack_writes_each_image_once_and_only_the_shards_that_are_asked_for() -> None:
    drawn: list[int] = []
    pack = Pack("numbers", 25, counting(25, drawn), each=10)
    folder, paths = packed(pack, 3)
    assert [encoded(folder / path) for path in paths] == [b"0", b"1", b"2"]
    assert drawn == list(range(10))
    folder, paths = packed(pack, 25)
    assert [encoded(folder / path) for path in paths] == [b"%d" % i for i in range(25)]
    assert drawn == list(range(25))
    assert sorted(path.name for path in folder.glob("*.tar")) == ["00000.tar", "00001.tar", "00002.tar"]


def test_packed_images_that_are_asked_for_again_are_noted_as_used() -> None:
    """A disk that is mounted with noatime does not write down that they are read."""
    pack = Pack("numbers", 25, counting(25, []), each=10)
    folder, _ = packed(pack, 25)
    for shard in folder.iterdir():
        os.utime(shard, ns=(10**12, shard.stat().st_mtime_ns))  # and the list of its members is not made again
    packed(pack, 15)
    used = {shard.name: shard.stat().st_atime > 1000.0 for shard in folder.glob("*.tar")}
    assert used == {"00000.tar": True, "00001.tar": True, "00002.tar": False}


def test_a_killed_packing_leaves_no_partial_shard_and_goes_on_after_the_whole_ones() -> None:
    drawn: list[int] = []
    draw = counting(25, drawn)

    def killed(number: int) -> tuple[str, bytes]:
        if number == 17:
            raise KeyboardInterrupt
        return draw(number)

    with pytest.raises(KeyboardInterrupt):
        packed(Pack("numbers", 25, killed, each=10), 25)
    drawn.clear()
    folder, paths = packed(Pack("numbers", 25, draw, each=10), 25)
    assert drawn == list(range(10, 25))
    assert encoded(folder / paths[17]) == b"17"
    assert not [path for path in folder.iterdir() if "tmp" in path.name]


def test_a_pack_in_the_making_is_locked_as_a_whole_so_that_prune_leaves_it() -> None:
    free = []
    drawn = counting(3, [])

    def draw(number: int) -> tuple[str, bytes]:
        with locked_if_free(cache_dir() / "data" / "locked") as found:
            free.append(found)
        return drawn(number)

    packed(Pack("locked", 3, draw, each=2), 3)
    assert set(free) == {False}
