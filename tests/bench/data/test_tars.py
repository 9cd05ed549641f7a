"""Tars and shards: their splits, hidden members, what is left out, and names with dots."""

import io
import tarfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from featune.bench.data import Request, Source, look, open_data
from featune.engine.errors import BadInput

HIDDEN = ("a/.ipynb_checkpoints/0.png", "__MACOSX/a/._0.png", "a/@eaDir/0.png/T.jpg", ".git/0.png", "a/._0.png")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))


def tar(path: Path, names: Iterable[str]) -> Path:
    """A tar of such members, small images and all of them different."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name in names:
            held = io.BytesIO()
            pixels = np.random.default_rng([ord(letter) for letter in path.name + name]).integers(0, 256, (5, 6, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(held, "PNG")
            member = tarfile.TarInfo(name)
            member.size = len(held.getvalue())
            archive.addfile(member, io.BytesIO(held.getvalue()))
    return path


def within(*folders: str, count: int = 6) -> list[str]:
    return [f"{folder}/{i}.png" for folder in folders for i in range(count)]


def counts(path: Path) -> dict[str, int]:
    return {split: len(items) for split, items in look(Source("t", images=Request(str(path)))).splits.items()}


@pytest.mark.parametrize("prefix", ["", "./", "set/", "a/b/"])
def test_a_tars_own_splits_are_kept(prefix: str, tmp_path: Path) -> None:
    splits = ("Train/x", "Train/y", "val/x", "val/y", "test/x", "test/y")
    file = tar(tmp_path / "set.tar", [prefix + name for name in within(*splits)])
    assert counts(file) == {"train": 12, "val": 12, "test": 12}
    data = open_data(Request(str(file), split="validation"))
    assert (data.classes, len(data.items)) == (("x", "y"), 12)
    with pytest.raises(BadInput, match="3 splits found; give --split"):
        open_data(Request(str(file)))


def test_tars_that_are_called_as_splits_are_splits(tmp_path: Path) -> None:
    for split in ("train", "test"):
        tar(tmp_path / "set" / f"{split}.tar", within("x", "y"))
    assert counts(tmp_path / "set") == {"train": 10, "val": 2, "test": 12}


def test_a_class_in_a_tar_that_is_called_as_a_split_is_a_class(tmp_path: Path) -> None:
    data = open_data(Request(str(tar(tmp_path / "v.tar", within("airplane", "bus", "train")))))
    assert (data.classes, len(data.items), data.notes) == (("airplane", "bus", "train"), 18, ())
    for split in ("train", "bus"):
        tar(tmp_path / "set" / f"{split}.tar", ["0.png", "1.png"])
    assert open_data(Request(str(tmp_path / "set"))).classes == ("bus", "train")


@pytest.mark.parametrize(
    "folders", [("train", "test"), ("train/x", "train/y", "test/x", "extra/y"), ("train/x", "b/y")]
)
def test_folders_in_a_tar_that_are_not_taken_as_splits_are_told(folders: tuple[str, ...], tmp_path: Path) -> None:
    data = open_data(Request(str(tar(tmp_path / "s.tar", within(*folders)))))
    assert len(data.items) == 6 * len(folders)
    assert "not taken as splits" in data.notes[0]


def test_one_split_under_two_names_in_a_tar_is_refused(tmp_path: Path) -> None:
    file = tar(tmp_path / "s.tar", within("train/x", "training/x", "test/x"))
    with pytest.raises(BadInput, match="train and training found, one folder or tar for train expected"):
        open_data(Request(str(file), split="train"))


@pytest.mark.parametrize("prefix", ["", "./"])
def test_hidden_members_of_tars_and_shards_are_no_images(prefix: str, tmp_path: Path) -> None:
    file = tar(tmp_path / "s.tar", [prefix + name for name in (*within("a", "b", count=2), *HIDDEN)])
    assert len(open_data(Request(str(file))).items) == 4
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    assert len(open_data(Request("wds/s.tar", root=tmp_path)).items) == 4


def test_members_left_out_for_their_suffix_are_told(tmp_path: Path) -> None:
    file = tar(tmp_path / "s.tar", [*within("a", "b", count=2), "a/x.heic", "b/y.HEIC", "a/z.txt", "b/more.jfif"])
    data = open_data(Request(str(file)))
    assert len(data.items) == 5
    assert "files left out: 2 .heic; expected" in data.notes[0]
    with pytest.raises(BadInput, match=r"no images found.*files left out: 1 .heic"):
        open_data(Request(str(tar(tmp_path / "none.tar", ["a/x.heic"]))))


# --- WebDataset's names


def shard(tmp_path: Path, *names: str) -> Request:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    tar(tmp_path / "s.tar", names)
    return Request("wds/s.tar", root=tmp_path)


def test_images_with_dots_in_their_names_are_counted_and_the_rule_is_named(tmp_path: Path) -> None:
    nine = [f"photo.{i:04}.png" for i in range(9)]
    with pytest.raises(
        BadInput, match=r"9 images whose names have a dot .* cuts names at their first dot; .*rename them"
    ):
        open_data(shard(tmp_path, *nine))
    data = open_data(shard(tmp_path, *nine, "last.png"))
    assert len(data.items) == 1
    assert "9 images whose names have a dot" in data.notes[0]
    data = open_data(shard(tmp_path, "v1.png", "v1.5.png", "v1.6.png"))
    assert "2 images whose names have a dot" in data.notes[0]


def test_dots_in_folders_and_masks_beside_images_do_no_harm(tmp_path: Path) -> None:
    for names in (["v1.0/0.png", "v1.0/1.png"], ["0.png", "0.seg.png", "1.png", "1.seg.png"]):
        data = open_data(shard(tmp_path, *names))
        assert (len(data.items), data.notes) == (2, ())
    asked = shard(tmp_path, "0.left.png", "0.right.png")
    assert len(open_data(Request(asked.text, root=tmp_path, input_key="left.png")).items) == 1


def test_samples_without_an_image_are_told_by_what_they_hold(tmp_path: Path) -> None:
    data = open_data(shard(tmp_path, "0.png", "1.heic", "2.jfif"))
    assert (len(data.items), data.notes) == (2, ("1 samples without an image are left out, with heic",))


def test_shards_without_the_word_of_a_split_are_told(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    for name in ("Train-0", "train-1", "test-0", "airplane-0"):
        tar(tmp_path / "w" / f"{name}.tar", ["0.png"])
    data = open_data(Request("wds/w", root=tmp_path, split="train"))
    assert len(data.items) == 2
    assert data.notes == ("1 shards whose names have no word of a split are left out: airplane-0.tar",)


def test_hidden_shards_and_tars_are_left_alone(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    for name in ("a", "b"):
        tar(tmp_path / "w" / f"{name}.tar", ["0.png"])
        (tmp_path / "w" / f"._{name}.tar").write_bytes(bytes(20))
    for text in ("wds/w", str(tmp_path / "w")):
        assert len(open_data(Request(text, root=tmp_path)).items) == 2


def test_samples_in_folders_that_are_called_as_splits_are_told(tmp_path: Path) -> None:
    told = open_data(shard(tmp_path, *within("train", "test", count=1))).notes
    assert told == (
        "the folders test and train in the shards are not taken as splits; give tars without wds/ for that",
    )
    assert open_data(shard(tmp_path, *within("airplane", "train", count=1))).notes == ()
