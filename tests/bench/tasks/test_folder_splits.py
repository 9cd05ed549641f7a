"""Folders that are splits, and those that only are called so; what lies beside them."""

from pathlib import Path

import pytest
from make_layouts import picture

from featune.bench.data import Request, open_data
from featune.bench.tasks import folder_layout, table_layout
from featune.engine.errors import BadInput


def fill(folder: Path, *names: str, count: int = 5, suffix: str = ".png") -> Path:
    for name in names:
        for i in range(count):
            picture(folder / name / f"{i}{suffix}")
    return folder


@pytest.mark.parametrize(
    "classes",
    [("airplane", "bus", "train"), ("calibration", "production", "validation"), ("Testing", "blank"), ("quiz", "test")],
)
def test_a_class_that_is_called_as_a_split_is_a_class(classes: tuple[str, ...], tmp_path: Path) -> None:
    data = open_data(Request(str(fill(tmp_path, *classes))))
    assert (data.classes, len(data.items)) == (tuple(sorted(classes)), 5 * len(classes))
    layout = folder_layout(tmp_path, 0)
    assert layout.classes == tuple(sorted(classes))
    assert sum(map(len, layout.splits.values())) == 5 * len(classes)


@pytest.mark.parametrize(
    "folders",
    [
        ("airplane/a", "bus/a", "train/steam", "train/diesel"),  # a class with folders in it, or a split
        ("test", "train", "other"),
        ("train/a", "train/b", "test", "other"),
    ],
)
def test_what_may_be_splits_or_classes_is_refused_and_says_how_to_mean_either(
    folders: tuple[str, ...], tmp_path: Path
) -> None:
    fill(tmp_path, *folders)
    for read in (lambda: open_data(Request(str(tmp_path))), lambda: folder_layout(tmp_path, 0)):
        with pytest.raises(BadInput, match=r"are splits or classes; expected .* if they are classes, rename them"):
            read()
    asked = open_data(Request(str(tmp_path), split="train"))
    assert len(asked.items) == 5 * sum(name.startswith("train") for name in folders)
    assert "folders beside the splits are left out" in asked.notes[0]


def test_two_classes_train_and_test_alone_are_refused_as_a_task(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"test and train hold images|train and test hold images and no class folders"):
        folder_layout(fill(tmp_path, "train", "test"), 0)


def test_folders_beside_splits_are_told_and_empty_ones_are_not(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b", "test/a", "test/b", "extra/a")
    (tmp_path / "annotations").mkdir()
    layout = folder_layout(tmp_path, 0)
    assert {split: len(items) for split, items in layout.splits.items()} == {"train": 8, "val": 2, "test": 10}
    assert layout.note.endswith("; folders beside the splits are left out: extra")
    assert open_data(Request(str(tmp_path), split="extra")).classes == ("a", "b")


def test_hidden_folders_are_no_classes_and_hold_no_images(tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    fill(tmp_path, ".git", "__MACOSX/a", "a/.ipynb_checkpoints", "b/@eaDir/0.png", "lost+found", "#recycle/b")
    assert len(open_data(Request(str(tmp_path))).items) == 10
    layout = folder_layout(tmp_path, 0)
    assert layout.classes == ("a", "b")
    assert sum(map(len, layout.splits.values())) == 10


def test_files_left_out_are_told_in_folders_with_classes_and_without(tmp_path: Path) -> None:
    fill(tmp_path / "c", "a", "b")
    (tmp_path / "c" / "a" / "x.heic").touch()
    (tmp_path / "c" / "notes.txt").touch()
    picture(tmp_path / "c" / "more.jfif.png")
    note = folder_layout(tmp_path / "c", 0).note
    assert "files left out: 1 .heic, 1 images in no class folder; expected" in note
    (tmp_path / "c" / "a" / "y.tga").touch()
    assert "1 .heic, 1 .tga" in open_data(Request(str(tmp_path / "c" / "a"))).notes[0]


@pytest.mark.parametrize("suffix", [".jfif", ".jpe", ".avif", ".ppm", ".jp2"])
def test_images_of_every_listed_suffix_are_found(suffix: str, tmp_path: Path) -> None:
    fill(tmp_path, "a", "b")
    fill(tmp_path, "a/more", suffix=suffix)
    assert sum(map(len, folder_layout(tmp_path, 0).splits.values())) == 15
    assert len(open_data(Request(str(tmp_path))).items) == 15


def test_a_split_that_rounding_leaves_empty_is_refused_when_the_layout_is_read(tmp_path: Path) -> None:
    fill(tmp_path / "one", "x", "y", "z", count=1)
    fill(tmp_path / "two", "train/x", "train/y", "test/x", "test/y", count=2)
    with pytest.raises(BadInput, match=r"3 images of 3 classes, .* leave val and test without an image; expected 3"):
        folder_layout(tmp_path / "one", 0)
    with pytest.raises(BadInput, match=r"leave val without an image; .* a val of its own"):
        folder_layout(tmp_path / "two", 0)
    lines = [f"train/{name}/{i}.png,{name},train" for name in "xy" for i in range(2)]
    lines += [f"test/{name}/0.png,{name},test" for name in "xy"]
    (tmp_path / "two" / "t.csv").write_text("\n".join(["path,label,split", *lines]))
    with pytest.raises(BadInput, match="leave val without an image"):
        table_layout(tmp_path / "two" / "t.csv", 0)


@pytest.mark.parametrize(
    ("name", "remedy"),
    [
        ("set.zip", "unpack it"),
        ("set.tar.gz", "unpack it"),
        ("photo.jpg", "folder that the image"),
        ("t.xlsx", "save it"),
    ],
)
def test_a_file_that_is_no_data_is_not_called_missing(name: str, remedy: str, tmp_path: Path) -> None:
    (tmp_path / name).touch()
    for read in (lambda: open_data(Request(str(tmp_path / name))), lambda: folder_layout(tmp_path / name, 0)):
        with pytest.raises(BadInput, match=f"a file that is no data by its suffix; expected a folder.*{remedy}"):
            read()


def test_a_test_folder_without_class_folders_is_told_so(tmp_path: Path) -> None:
    fill(tmp_path, "train/a", "train/b", "Test")
    with pytest.raises(BadInput, match=r"Test: 5 images in no class folder found; expected <class>/<image>"):
        folder_layout(tmp_path, 0)


def test_folders_behind_links_are_splits_and_classes_too(tmp_path: Path) -> None:
    fill(tmp_path / "far", "a", "b", "train", "bus")
    (tmp_path / "near").mkdir()
    for split in ("train", "test"):
        (tmp_path / "near" / split).mkdir()
        for name in "ab":
            (tmp_path / "near" / split / name).symlink_to(tmp_path / "far" / name)
    (tmp_path / "near" / "extra").symlink_to(tmp_path / "far")
    layout = folder_layout(tmp_path / "near", 0)
    assert {split: len(items) for split, items in layout.splits.items()} == {"train": 8, "val": 2, "test": 10}
    assert layout.note.endswith("left out: extra")


def test_a_table_given_as_folder_is_told_to_be_a_file(tmp_path: Path) -> None:
    (tmp_path / "t.csv").touch()
    with pytest.raises(BadInput, match="a file found, a folder expected; give it as csv"):
        folder_layout(tmp_path / "t.csv", 0)
