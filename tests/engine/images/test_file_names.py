"""Which files of a folder are images: hidden ones are none, and what is left out is counted."""

import collections
from pathlib import Path

import pytest

from featune.engine.images import describe_left_out, image_files, is_hidden


def touch(folder: Path, *names: str) -> None:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).touch()


@pytest.mark.parametrize(
    "hidden",
    [
        ".ipynb_checkpoints/0-checkpoint.png", "a/.thumbnails/large/0.png", "a/.git/objects/0.png",
        "@eaDir/0.png/SYNOPHOTO_THUMB_M.jpg", "__MACOSX/a/0.png", "#recycle/0.png", "$RECYCLE.BIN/S-1/0.jpg",
        ".Trashes/501/0.png", "a/._0.png", ".hidden.png",
    ],
)  # fmt: skip
def test_nothing_below_a_hidden_folder_is_an_image(hidden: str, tmp_path: Path) -> None:
    touch(tmp_path, "0.png", "a/1.png", hidden)
    assert image_files(tmp_path) == ["0.png", "a/1.png"]
    assert is_hidden(hidden)


def test_a_hidden_folder_that_is_given_itself_is_read(tmp_path: Path) -> None:
    touch(tmp_path, ".cache/set/0.png")
    assert image_files(tmp_path / ".cache") == ["set/0.png"]
    assert not is_hidden("./a/../0.png")


def test_files_left_out_for_their_suffix_are_counted_and_companions_are_not(tmp_path: Path) -> None:
    touch(tmp_path, "a.JPG", "b.jfif", "c.heic", "d.HEIC", "sub/e.tga", "noname", "labels.csv", "README", ".x.heic")
    left_out: collections.Counter[str] = collections.Counter()
    assert image_files(tmp_path, left_out) == ["a.JPG", "b.jfif"]
    assert left_out == {".heic": 2, ".tga": 1, "no suffix": 1}
    assert "files left out: 2 .heic, 1 .tga, 1 no suffix; expected" in describe_left_out(left_out)
    assert describe_left_out({}) == ""
