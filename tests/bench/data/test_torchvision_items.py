"""`torch/NAME`: what torchvision reads, through its own classes, on tiny copies of their layouts."""

import csv
import io
import sys
import types
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torchvision.datasets as sets
from make_layouts import caltech101, picture, voc2007
from PIL import Image

from featune.bench.data import Data, Request, open_data
from featune.bench.progress import Lines
from featune.engine.errors import BadInput, Missing
from featune.engine.images import read_image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def seen(data: Data) -> list[np.ndarray]:
    return [np.asarray(read_image(data.items.file(i))) for i in range(len(data.items))]


def test_caltechs_files_are_used_where_they_lie_without_being_read(tmp_path: Path, cache: Path) -> None:
    caltech101(tmp_path)
    data = open_data(Request("torch/caltech101", root=tmp_path))
    assert data.classes == ("Faces", "accordion")
    assert data.items.paths[0] == str(tmp_path / "caltech101/101_ObjectCategories/Faces/image_0001.jpg")
    assert [data.items.labels.count((k,)) for k in (0, 1)] == [34, 35]
    assert not list(cache.rglob("*.tar"))
    (tmp_path / "caltech101/101_ObjectCategories/Faces/image_0002.jpg").write_bytes(b"broken")
    assert open_data(Request("torch/caltech101", root=tmp_path)).items == data.items


def test_pillow_reads_files_again_afterwards(tmp_path: Path) -> None:
    caltech101(tmp_path)
    reader = Image.open
    open_data(Request("torch/caltech101", root=tmp_path, limit=2))
    assert Image.open is reader


def test_celebas_attributes_are_several_labels(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "celeba"
    names = [picture(folder / "img_align_celeba" / f"{i:06}.jpg").name for i in range(1, 6)]
    bald = zip(names, (-1, 1, -1, 1, 1), strict=True)
    tables = {
        "list_attr_celeba.txt": ["5", "Bald Smiling Young ", *(f"{name} {is_bald} -1  1" for name, is_bald in bald)],
        "identity_CelebA.txt": [f"{name} 7" for name in names],
        "list_bbox_celeba.txt": ["5", "x y w h", *(f"{name} 1 2 3 4" for name in names)],
        "list_landmarks_align_celeba.txt": ["5", "a b", *(f"{name} 1 2" for name in names)],
        "list_eval_partition.txt": [f"{name} {part}" for name, part in zip(names, (0, 0, 1, 1, 2), strict=True)],
    }  # fmt: skip
    for file, lines in tables.items():
        (folder / file).write_text("\n".join(lines) + "\n")
    monkeypatch.setattr(sets.CelebA, "file_list", [(name, None, name) for name in tables])
    data = open_data(Request("torch/celeba", split="train", root=tmp_path))
    assert data.classes == ("Bald", "Smiling", "Young")
    assert data.items.labels == ((2,), (0, 2))
    assert [Path(path).name for path in data.items.paths] == names[:2]
    val = open_data(Request("torch/celeba", split="validation", root=tmp_path))  # which it calls valid
    assert [Path(path).name for path in val.items.paths] == names[2:4]


def test_voc_needs_its_annotations_left_out(tmp_path: Path) -> None:
    voc2007(tmp_path)
    folder = tmp_path / "VOCdevkit" / "VOC2007"
    (folder / "Annotations").mkdir()
    for name in (folder / "ImageSets" / "Main" / "train.txt").read_text().split():
        (folder / "Annotations" / f"{name}.xml").write_text("<annotation><folder>VOC2007</folder></annotation>")
    found = sets.VOCDetection(str(tmp_path), year="2007", image_set="train")
    with pytest.raises(BadInput, match="the target is dict, no class; leave it out by --target-key ''"):
        listed_of(found, tmp_path)
    assert len(listed_of(found, tmp_path, target_key="")[0]) == 6


def listed_of(found: Any, root: Path, **more: Any) -> tuple[list[str], list[Any]]:
    from featune.bench.data.torchvision_items import listed
    from featune.bench.progress import Silent

    return listed(Request("torch/vocdetection", root=root, **more), found, len(found), Silent())


def test_images_in_a_table_of_numbers_are_packed_with_progress(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (5, 48, 48), dtype=np.uint8)
    (tmp_path / "fer2013").mkdir()
    with open(tmp_path / "fer2013" / "train.csv", "w", newline="") as file:
        lines = csv.writer(file)
        lines.writerow(("emotion", "pixels"))
        lines.writerows((i % 3, " ".join(map(str, image.ravel()))) for i, image in enumerate(pixels))
    monkeypatch.setitem(sets.FER2013._RESOURCES, "train", ("train.csv", None))
    stream = io.StringIO()
    data = open_data(Request("torch/fer2013", split="train", root=tmp_path), Lines(stream, every=0))
    assert [np.array_equal(image[..., 0], own) for image, own in zip(seen(data), pixels, strict=True)] == [True] * 5
    assert data.items.labels == ((0,), (1,), (2,), (0,), (1,))
    assert "packing fer2013" in stream.getvalue()
    (tar,) = cache.rglob("00000.tar")
    assert tar.parent.name.startswith("fer2013-")
    again = io.StringIO()
    assert open_data(Request("torch/fer2013", split="train", root=tmp_path), Lines(again, every=0)).items == data.items
    assert "packing" not in again.getvalue()


def test_images_in_a_file_that_is_opened_for_each_are_named_by_the_files_state(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cache: Path
) -> None:
    """PCAM's HDF5 files, read by a stand-in for h5py that finds numpy's arrays in them."""
    pixels = np.random.default_rng(0).integers(0, 256, (3, 96, 96, 3), dtype=np.uint8)
    h5py = types.ModuleType("h5py")
    h5py.File = lambda path: np.load(str(path))  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, "h5py", h5py)
    folder = tmp_path / "pcam"
    folder.mkdir()

    def write(images: np.ndarray) -> None:
        for key, part in (("x", images), ("y", np.array([0, 1, 1]).reshape(3, 1, 1, 1))):
            with open(folder / f"camelyonpatch_level_2_split_valid_{key}.h5", "wb") as file:
                np.savez(file, **{key: part})

    write(pixels)
    data = open_data(Request("torch/pcam", split="validation", root=tmp_path))
    assert np.array_equal(seen(data), pixels)
    assert data.items.labels == ((0,), (1,), (1,))
    assert open_data(Request("torch/pcam", split="val", root=tmp_path, limit=2)).items.root == data.items.root
    write(255 - pixels)
    assert np.array_equal(seen(open_data(Request("torch/pcam", split="val", root=tmp_path))), 255 - pixels)


def test_what_torchvision_needs_for_a_data_set_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "h5py", None)
    with pytest.raises(Missing, match="torch/pcam: h5py is not found"):
        open_data(Request("torch/pcam", split="val", root=tmp_path))


@pytest.mark.parametrize("name", ["cocodetection", "fakedata", "ucf101", "flickr8k", "datasetfolder"])
def test_a_class_that_needs_more_than_a_folder_is_refused(name: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"needs more than a folder and a split; give a folder or a table"):
        open_data(Request(f"torch/{name}", split="train", root=tmp_path))


def test_pairs_of_images_are_refused(tmp_path: Path) -> None:
    found = [(Image.new("RGB", (2, 2)), Image.new("RGB", (2, 2)), None)]
    with pytest.raises(BadInput, match="an image and its target expected of each item, Image, Image, NoneType found"):
        listed_of(found, tmp_path)
