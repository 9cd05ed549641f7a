"""An image's bytes by its address: a file, or a range of bytes in one."""

import hashlib
import os
import tarfile
from pathlib import Path

import numpy as np
import pytest

from featune.engine.errors import BadImages
from featune.engine.images import Labelled, address, batches, encoded, file_of, read_image
from featune.engine.images.addresses import bytes_digest
from featune.engine.images.fingerprints import content_digests
from featune.engine.models import View


def packed(items: Labelled, tar: Path) -> Labelled:
    """The same images as members of a tar."""
    with tarfile.open(tar, "w") as archive:
        for path in items.paths:
            archive.add(items.file(items.paths.index(path)), path)
    with tarfile.open(tar) as archive:
        paths = tuple(address(tar.name, member.offset_data, member.size) for member in archive)
    return Labelled(str(tar.parent), paths, items.labels)


def test_a_member_of_a_tar_is_read_in_place_as_its_file_is(items: Labelled, tmp_path: Path) -> None:
    members = packed(items, tmp_path / "items.tar")
    for i in range(len(items)):
        assert encoded(members.file(i)) == items.file(i).read_bytes() == encoded(items.file(i))
        assert np.array_equal(np.asarray(read_image(members.file(i))), np.asarray(read_image(items.file(i))))
    assert members.content_digest == items.content_digest
    view = View(32, 1.0, "center", "bicubic")
    for one, other in zip(batches(members, view, 4), batches(items, view, 4), strict=True):
        assert one.equal(other)


def test_an_address_names_its_file(tmp_path: Path) -> None:
    assert file_of(address(tmp_path / "a::b.tar", 512, 7)) == str(tmp_path / "a::b.tar")
    assert file_of(tmp_path / "a::b.png") == str(tmp_path / "a::b.png")


def test_a_digest_is_of_the_range_alone_and_sees_the_file_change(tmp_path: Path) -> None:
    file = tmp_path / "some.tar"
    file.write_bytes(b"0123456789")
    assert bytes_digest(f"{file}::2+3") == hashlib.sha256(b"234").hexdigest()
    assert bytes_digest(file) == hashlib.sha256(b"0123456789").hexdigest()
    file.write_bytes(b"01x3456789")
    assert bytes_digest(f"{file}::2+3") == hashlib.sha256(b"x34").hexdigest()
    with pytest.raises(OSError, match="30 bytes expected"):
        bytes_digest(f"{file}::2+30")
    assert content_digests([f"{file}::2+30", f"{tmp_path}/none.tar::0+1"]) == ["unreadable"] * 2


def test_a_pipe_is_no_file_and_nobody_waits_for_it(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(OSError, match="no file"):
        encoded(tmp_path / "pipe.jpg")
    assert content_digests([str(tmp_path / "pipe.jpg")]) == ["unreadable"]


@pytest.mark.parametrize(
    ("where", "reason"),
    [("some.tar::8+5", "5 bytes expected"), ("none.tar::0+5", "no such file"), ("some.tar::0+0", "empty file"),
     ("some.tar::0+5", "not an image")],
)  # fmt: skip
def test_a_range_that_is_no_image_is_refused_with_its_reason(tmp_path: Path, where: str, reason: str) -> None:
    (tmp_path / "some.tar").write_bytes(b"0123456789")
    with pytest.raises(BadImages, match=reason):
        read_image(tmp_path / where)


@pytest.mark.parametrize("where", ["0+99999999999999", "99999999999999+5", "0+1000000000", "0+" + "9" * 5000])
def test_a_range_beyond_its_file_is_refused_before_memory_is_asked_for(where: str, tmp_path: Path) -> None:
    (tmp_path / "x.jpg").write_bytes(b"jpg")
    with pytest.raises(OSError):  # noqa: PT011, what the system says of an offset is its own
        encoded(f"{tmp_path / 'x.jpg'}::{where}")


def test_a_file_that_is_too_large_for_an_image_is_refused(tmp_path: Path) -> None:
    with open(tmp_path / "x.jpg", "wb") as file:
        file.truncate(3 << 30)  # a hole, which takes no room on the disk
    with pytest.raises(OSError, match="3221225472 bytes found, 2147483648 at most expected"):
        encoded(tmp_path / "x.jpg")
    assert content_digests([str(tmp_path / "x.jpg")]) == ["unreadable"]
