"""Images and classes from the layouts in which ImageNet and its variants are passed on."""

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from featune.bench.datasets import known_wnids
from featune.bench.imagenet import Images, imagenet_images
from featune.bench.imagenet.class_lists import classes_of_names, columns_of, devkit_order, subset, words_of_classes
from featune.engine.errors import BadInput

PLACES = (7, 65, 970)
NAMES = tuple(f"ILSVRC2012_val_{number:08d}.JPEG" for number in (1, 2, 3))


def written(folder: Path, *paths: str) -> Path:
    for path in paths:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(b"not looked at here")
    return folder


def labels_of(images: Images) -> dict[str, int]:
    return {Path(path).name: label for path, (label,) in zip(*_columns(images), strict=True)}


def _columns(images: Images) -> tuple[tuple[str, ...], tuple[tuple[int, ...], ...]]:
    return images.data.items.paths, images.data.items.labels


def in_wnid_folders(folder: Path) -> str:
    written(folder, *(f"{known_wnids()[place]}/{name}" for place, name in zip(PLACES, NAMES, strict=True)))
    return str(folder)


def in_a_root_with_val(folder: Path) -> str:
    in_wnid_folders(folder / "val")
    written(folder, "train/n01440764/x.JPEG")
    return str(folder)


def flat_with_a_list(folder: Path) -> str:
    written(folder / "val", *NAMES)
    (folder / "val.txt").write_text("".join(f"{n} {place}\n" for n, place in zip(NAMES, PLACES, strict=True)))
    return str(folder / "val")


def flat_with_the_devkits_ids(folder: Path) -> str:
    written(folder, *NAMES)
    ids = [devkit_order().index(place) + 1 for place in PLACES]
    (folder / "ILSVRC2012_validation_ground_truth.txt").write_text("".join(f"{one}\n" for one in ids))
    return str(folder)


def flat_with_kaggles_solution(folder: Path) -> str:
    written(folder, *NAMES)
    rows = [f"{Path(n).stem},{known_wnids()[p]} 1 2 3 4 " for n, p in zip(NAMES, PLACES, strict=True)]
    (folder / "LOC_val_solution.csv").write_text("\n".join(["ImageId,PredictionString", *reversed(rows), ""]))
    return str(folder)


def a_table_of_wnids(folder: Path) -> str:
    written(folder, *NAMES)
    lines = [f"{name},{known_wnids()[place]}" for name, place in zip(NAMES, PLACES, strict=True)]
    (folder / "val.csv").write_text("\n".join(["path,label", *lines, ""]))
    return str(folder / "val.csv")


def numbered_folders(folder: Path) -> str:
    written(folder, *(f"{place}/{name}" for place, name in zip(PLACES, NAMES, strict=True)))
    return str(folder)


def folders_by_name(folder: Path) -> str:
    names = [words_of_classes()[place][0].replace(" ", "_").upper() for place in PLACES]
    written(folder, *(f"{name}/{image}" for name, image in zip(names, NAMES, strict=True)))
    return str(folder)


@pytest.mark.parametrize(
    "layout",
    [
        in_wnid_folders, in_a_root_with_val, flat_with_a_list, flat_with_the_devkits_ids, flat_with_kaggles_solution,
        a_table_of_wnids, numbered_folders, folders_by_name,
    ],
)  # fmt: skip
def test_every_layout_gives_the_same_classes_and_image_numbers(layout: Callable[[Path], str], tmp_path: Path) -> None:
    images = imagenet_images(layout(tmp_path))
    assert labels_of(images) == dict(zip(NAMES, PLACES, strict=True))
    assert images.kind == "val"
    assert sorted(images.numbers) == [1, 2, 3]
    assert images.numbers == tuple(int(Path(path).stem[-8:]) for path in images.data.items.paths)


@pytest.mark.parametrize("name", ["a", "r"])
def test_200_folders_of_a_and_r_are_known_by_their_classes(name: str, tmp_path: Path) -> None:
    images = imagenet_images(str(written(tmp_path, *(f"{known_wnids()[p]}/1.jpg" for p in subset(name)))))
    assert images.kind == name
    assert images.numbers == ()
    assert sorted(label for (label,) in images.data.items.labels) == list(subset(name))


def test_v2s_thousand_numbered_folders_are_classes_by_number(tmp_path: Path) -> None:
    images = imagenet_images(str(written(tmp_path, *(f"{number}/{number}.jpeg" for number in range(1000)))))
    assert images.kind == "v2"
    assert all(Path(path).stem == str(label) for path, (label,) in zip(*_columns(images), strict=True))


def test_sketches_are_known_by_their_names(tmp_path: Path) -> None:
    assert (
        imagenet_images(str(written(tmp_path, "n01440764/sketch_3.JPEG", "n01443537/sketch_9.JPEG"))).kind == "sketch"
    )


def test_numbers_from_one_to_a_thousand_count_from_one_and_it_is_said() -> None:
    places, said = classes_of_names([str(number) for number in range(1, 1001)], "val")
    assert places.tolist() == list(range(1000))
    assert "count from 1" in said


def test_a_flat_folder_without_labels_asks_for_a_list(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="give --labels"):
        imagenet_images(str(written(tmp_path, *NAMES)))


def test_an_image_that_the_list_lacks_is_named(tmp_path: Path) -> None:
    flat_with_a_list(tmp_path)
    written(tmp_path / "val", "ILSVRC2012_val_00000004.JPEG")
    with pytest.raises(BadInput, match=r"no label for ILSVRC2012_val_00000004.JPEG"):
        imagenet_images(str(tmp_path / "val"))


def test_classes_of_another_data_set_are_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="'granny' is none of ImageNet-1k"):
        imagenet_images(str(written(tmp_path, "granny/1.jpg", "tench/2.jpg")))


def test_a_models_columns_are_found_by_the_number_of_its_classes() -> None:
    """timm's list of 12k classes has 993 of the thousand, its list of 22k 999."""
    assert columns_of(1000, "m")[0].tolist() == list(range(1000))
    assert columns_of(1001, "m")[0].tolist() == list(range(1, 1001))
    columns, said = columns_of(11821, "m")
    assert int((columns >= 0).sum()) == 993
    assert "lacks 7" in said
    with pytest.raises(BadInput, match="10 classes found"):
        columns_of(10, "m")


def test_a_larger_imagenets_columns_are_those_of_the_same_wnid() -> None:
    from timm.data.imagenet_info import ImageNetInfo

    names = np.array(ImageNetInfo("imagenet-22k").label_names())
    columns = columns_of(len(names), "m")[0]
    there = np.flatnonzero(columns >= 0)
    assert names[columns[there]].tolist() == [known_wnids()[place] for place in there]
