import contextlib
import hashlib
import os
import sqlite3
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

import featune.engine.images.fingerprints
from featune.engine.images.fingerprints import content_digests
from featune.engine.store import cache_dir


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Five files that were written long ago, as their clock says, and a cache of their own."""
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    paths = [tmp_path / "files" / f"{i}.bin" for i in range(5)]
    for i, path in enumerate(paths):
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(bytes([i]) * 100)
    monkeypatch.setattr(featune.engine.images.fingerprints, "SETTLED_NS", -(10**9))
    return [str(path) for path in paths]


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The addresses that were read."""
    found: list[str] = []
    read = featune.engine.images.fingerprints.bytes_digest

    def counted(address: str) -> str:
        found.append(address)
        return read(address)

    monkeypatch.setattr(featune.engine.images.fingerprints, "bytes_digest", counted)
    return found


def expected(files: list[str]) -> list[str]:
    return [hashlib.sha256(Path(file).read_bytes()).hexdigest() for file in files]


def test_files_are_read_once_and_remembered(files: list[str], reads: list[str]) -> None:
    assert content_digests(files) == expected(files)
    assert content_digests(files[::-1]) == expected(files[::-1])
    assert sorted(reads) == files


def test_a_changed_file_is_read_again_even_with_its_old_size_and_time(files: list[str], reads: list[str]) -> None:
    content_digests(files)
    before = os.stat(files[2])
    Path(files[2]).write_bytes(b"x" * 100)
    os.utime(files[2], ns=(before.st_atime_ns, before.st_mtime_ns))
    reads.clear()
    assert content_digests(files) == expected(files)
    assert reads == [files[2]]


def test_a_replaced_file_is_read_again(files: list[str], reads: list[str]) -> None:
    content_digests(files)
    other = Path(files[0]).with_name("other")
    other.write_bytes(b"y" * 100)
    os.replace(other, files[0])
    reads.clear()
    assert content_digests(files) == expected(files)
    assert reads == [files[0]]


def test_a_file_that_was_only_just_written_is_not_trusted(
    files: list[str], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(featune.engine.images.fingerprints, "SETTLED_NS", 60 * 10**9)
    for _ in range(2):
        content_digests(files)
    assert len(reads) == 10
    assert time.time_ns() - os.stat(files[0]).st_ctime_ns < 60 * 10**9


def test_a_missing_file_is_unreadable_and_found_when_it_comes_back(files: list[str]) -> None:
    content_digests(files)
    data = Path(files[1]).read_bytes()
    Path(files[1]).unlink()
    assert content_digests(files)[1] == "unreadable"
    Path(files[1]).write_bytes(data)
    assert content_digests(files) == expected(files)


def test_without_a_usable_memory_every_file_is_read(files: list[str], reads: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    (tmp_path / "cache" / "fingerprints.sqlite").write_bytes(b"this is no database, whatever its name says" * 100)
    for _ in range(2):
        assert content_digests(files) == expected(files)
    assert len(reads) == 10


def test_a_table_of_another_shape_is_not_believed(files: list[str], tmp_path: Path) -> None:
    (tmp_path / "cache").mkdir()
    with sqlite3.connect(tmp_path / "cache" / "fingerprints.sqlite") as other:
        other.execute("create table files (name text)")
    assert content_digests(files) == expected(files)


def test_names_and_inodes_that_sqlite_does_not_hold_are_no_error(
    files: list[str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    odd = os.fsdecode(bytes(tmp_path) + b"/caf\xe9.bin")
    try:
        Path(odd).write_bytes(b"odd")
    except OSError:
        pytest.skip("this file system refuses such names")
    assert content_digests([*files, odd]) == expected([*files, odd])
    real = os.stat

    def large(address: str, **more: Any) -> Any:
        found = real(address, **more)
        return found if more else SimpleNamespace(st_size=1, st_mtime_ns=1, st_ctime_ns=1, st_ino=2**63 + 5)

    with monkeypatch.context() as patch:
        patch.setattr(os, "stat", large)
        found = content_digests(files)
    assert found == expected(files)


def test_many_files_come_in_their_own_order(
    files: list[str], reads: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(featune.engine.images.fingerprints, "AT_ONCE", 2)
    order = [files[i] for i in (3, 0, 4, 0, 1, 2)]
    for _ in range(2):
        assert content_digests(order) == expected(order)
    assert len(reads) == 5 or len(reads) == 6  # the one that comes twice may be read twice, in one go


def test_a_remembered_digest_that_is_none_is_not_believed(files: list[str], reads: list[str]) -> None:
    right = content_digests(files)
    with contextlib.closing(sqlite3.connect(Path(cache_dir(), "fingerprints.sqlite"))) as memory, memory:
        memory.execute("update files set sha256 = ?", ("no digest",))
    assert content_digests(files) == right
    assert len(reads) == 2 * len(files)
