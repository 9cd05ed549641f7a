"""The traps of Kornblith et al.'s twelve data sets."""

import pickle
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_layouts import (
    Counts,
    aircraft,
    birdsnap,
    caltech101,
    cars,
    cifar10,
    cifar100,
    dtd,
    flowers102,
    food101,
    pets,
    sun397,
    voc2007,
)
from scipy.io import loadmat

from featune.bench.datasets import prepare_official
from featune.bench.stats import interval
from featune.bench.tasks import Task
from featune.engine.errors import BadInput
from featune.engine.images import Labelled, read_image
from featune.engine.metrics import METRICS


def prepared(name: str, tmp_path: Path, counts: Counts, variant: str = "default") -> Task:
    return prepare_official(name, tmp_path, tmp_path / "out", counts=counts, variant=variant)


def named(made: Task, items: Labelled) -> dict[str, str]:
    """Class name of each path."""
    return {path: made.classes[label] for path, (label,) in zip(items.paths, items.labels, strict=True)}


def test_food_is_in_order_of_paths_whatever_the_order_of_the_json(tmp_path: Path) -> None:
    made = prepared("food101", tmp_path, food101(tmp_path))
    for split in ("train", "val", "test"):
        items = made.load(split)
        assert list(items.paths) == sorted(items.paths)
        assert all(f"/{name}/" in path for path, name in named(made, items).items())


@pytest.mark.parametrize(("name", "make"), [("cifar10", cifar10), ("cifar100", cifar100)])
def test_cifars_planes_become_pixels_in_rgb(name: str, make, tmp_path: Path) -> None:
    made = prepared(name, tmp_path, make(tmp_path))
    image = np.asarray(read_image(made.load("test").file(0)))
    assert image.shape == (32, 32, 3)
    assert (image == [250, 120, 10]).all()


def test_cifar100_has_fine_labels(tmp_path: Path) -> None:
    made = prepared("cifar100", tmp_path, cifar100(tmp_path))
    assert made.classes == ("apple", "aquarium_fish")
    assert {label for labels in made.load("test").labels for label in labels} == {0, 1}


def test_a_pickle_that_would_run_code_is_refused(tmp_path: Path) -> None:
    counts = cifar10(tmp_path)

    class Trap:
        def __reduce__(self):
            return print, ("run",)

    (tmp_path / "cifar-10-batches-py" / "data_batch_3").write_bytes(pickle.dumps({"data": Trap()}))
    with pytest.raises(BadInput, match=r"a pickle asks for builtins\.print"):
        prepared("cifar10", tmp_path, counts)


def test_half_a_pickle_is_refused(tmp_path: Path) -> None:
    counts = cifar10(tmp_path)
    file = tmp_path / "cifar-10-batches-py" / "test_batch"
    file.write_bytes(file.read_bytes()[:1000])
    with pytest.raises(BadInput, match="test_batch: not a whole pickle"):
        prepared("cifar10", tmp_path, counts)


def test_birdsnaps_dead_links_are_counted_and_its_folders_found_in_any_case(tmp_path: Path) -> None:
    made = prepared("birdsnap", tmp_path, birdsnap(tmp_path))
    assert made.counts["train"] + made.counts["val"] == 19
    assert made.counts["test"] == 3
    assert [note.rpartition(": ")[2] for note in made.notes] == ["1 of 20", "1 of 4"]
    assert named(made, made.load("test"))["Acorn_Woodpecker/1.jpg"] == "Acorn Woodpecker"


def test_a_sun_class_is_its_folder_and_not_a_part_of_a_name(tmp_path: Path) -> None:
    made = prepared("sun397", tmp_path, sun397(tmp_path))
    assert made.classes == ("bar", "barn", "church/outdoor")
    for split in ("train", "val", "test"):
        for path, name in named(made, made.load(split)).items():
            assert path.rpartition("/")[0].partition("/")[2] == name
    assert all("in_no_partition" not in path for split in made.counts for path in made.load(split).paths)


def test_a_sun_class_that_is_not_listed_is_refused(tmp_path: Path) -> None:
    counts = sun397(tmp_path)
    (tmp_path / "SUN397" / "ClassName.txt").write_text("/b/bar\n/b/barn\n")
    with pytest.raises(BadInput, match=r"class /c/church/outdoor found, which ClassName\.txt lacks"):
        prepared("sun397", tmp_path, counts)


def test_cars_are_numbered_from_1_in_the_file_and_from_0_here(tmp_path: Path) -> None:
    made = prepared("cars", tmp_path, cars(tmp_path))
    assert made.load("test").labels == ((0,), (1,), (2,), (0,), (1,), (2,))
    assert made.classes[2] == "smart fortwo Convertible 2012"


def test_test_labels_of_cars_may_lie_in_the_devkit_but_must_be_labels(tmp_path: Path) -> None:
    counts = cars(tmp_path)
    folder, name = tmp_path / "stanford_cars", "cars_test_annos_withlabels.mat"
    (folder / name).rename(folder / "devkit" / name)
    assert prepared("cars", tmp_path, counts).counts["test"] == 6
    (folder / "devkit" / "cars_test_annos.mat").rename(folder / "devkit" / name)
    with pytest.raises(BadInput, match="no classes in it"):
        prepared("cars", tmp_path, counts)


def deeper(folder: Path) -> None:
    """Put all that is in a folder into one of the same name in it, as archives that are unpacked twice leave it."""
    folder.rename(folder.with_name("aside"))
    folder.mkdir()
    folder.with_name("aside").rename(folder / folder.name)


@pytest.mark.parametrize(
    ("name", "make", "folder"),
    [
        ("cars", cars, "cars_train"), ("pets", pets, "images"), ("flowers102", flowers102, "jpg"),
        ("voc2007", voc2007, "JPEGImages"),
    ],
)  # fmt: skip
def test_images_one_folder_deeper_are_named_by_their_place(name: str, make: Any, folder: str, tmp_path: Path) -> None:
    counts = make(tmp_path)
    deeper(next(path for path in tmp_path.rglob(folder) if path.is_dir()))
    with pytest.raises(BadInput, match=f"it is one folder deeper, in .*{folder}/{folder}: move what is in there"):
        prepared(name, tmp_path, counts)


def test_a_copys_source_one_folder_deeper_is_named_by_its_place(tmp_path: Path) -> None:
    counts = aircraft(tmp_path)
    deeper(next(path for path in tmp_path.rglob("images") if path.is_dir()))
    with pytest.raises(BadInput, match="images/images: move what is in there"):
        prepared("aircraft", tmp_path, counts, "no_banner")


def test_aircraft_names_keep_their_spaces_and_strokes(tmp_path: Path) -> None:
    made = prepared("aircraft", tmp_path, aircraft(tmp_path))
    assert made.classes == ("707-320", "DC-3", "F/A-18", "Model B200")
    assert Counter(named(made, made.load("train")).values()) == dict.fromkeys(made.classes, 2)


def test_the_banner_goes_where_that_is_asked_for(tmp_path: Path) -> None:
    counts = aircraft(tmp_path)
    whole, cut = (prepared("aircraft", tmp_path, counts, v).load("test") for v in ("default", "no_banner"))
    assert read_image(whole.file(0)).size == (30, 50)
    image = np.asarray(read_image(cut.file(0)))
    assert image.shape == (30, 30, 3)
    assert np.array_equal(image, np.asarray(read_image(whole.file(0)))[:30])


def test_difficult_images_are_ignored_and_in_the_variant_negative(tmp_path: Path) -> None:
    counts = voc2007(tmp_path)
    ours, other = prepared("voc2007", tmp_path, counts), prepared("voc2007", tmp_path, counts, "difficult_negative")
    dog = ours.classes.index("dog")
    test = ours.load("test")
    assert test.labels[0] == ()
    assert test.ignore[0] == (dog,)
    assert not any(any(other.load(split).ignore) for split in other.counts)
    judged = test.truth(20, multilabel=True, masked=True)
    assert judged[:, dog].tolist() == [-1, 1, 0, 1, 0, 1, 0]
    assert test.truth(20, multilabel=True)[:, dog].tolist() == [False, True, False, True, False, True, False]
    assert other.load("test").truth(20, multilabel=True, masked=True).dtype == bool


def test_a_difficult_image_ranked_first_costs_nothing_unless_it_is_a_negative(tmp_path: Path) -> None:
    """By hand: dogs at ranks 2, 3, 4 of which rank 1 is the difficult image: AP 1, or precisions 1/2, 2/3, 3/4."""
    counts = voc2007(tmp_path)
    values = {}
    for variant in ("default", "difficult_negative"):
        test = prepared("voc2007", tmp_path, counts, variant).load("test")
        dog = (11,)
        truth = test.truth(20, multilabel=True, masked=True)[:, dog]
        scores = np.array([9.0, 8, 0, 7, -1, 6, -2])[:, None]
        values[variant] = METRICS["map_11point"](truth, scores)
        low, high = interval("map_11point", truth, scores, seed=0, resamples=200)
        assert 0 <= low <= values[variant] <= high <= 1
    assert values == {"default": 1.0, "difficult_negative": pytest.approx(3 / 4)}


def test_dtd_is_its_first_split(tmp_path: Path) -> None:
    made = prepared("dtd", tmp_path, dtd(tmp_path))
    assert dict(made.counts) == {"train": 6, "val": 6, "test": 6}
    assert all(Path(path).parent.name == name for path, name in named(made, made.load("val")).items())


def test_pets_names_keep_all_but_the_number(tmp_path: Path) -> None:
    made = prepared("pets", tmp_path, pets(tmp_path))
    assert made.classes == ("Abyssinian", "american bulldog", "Bengal")
    for path, name in named(made, made.load("test")).items():
        assert Path(path).stem.rpartition("_")[0].replace("_", " ") == name


def test_caltech_draws_thirty_different_images_of_each_of_its_classes_background_among_them(tmp_path: Path) -> None:
    made = prepared("caltech101", tmp_path, caltech101(tmp_path))
    assert made.classes[0] == "BACKGROUND_Google"
    drawn = [made.load(split) for split in ("train", "val")]
    assert [Counter(named(made, items).values())["Faces"] for items in drawn] == [24, 6]
    assert Counter(named(made, made.load("test")).values()) == {"BACKGROUND_Google": 3, "Faces": 4, "accordion": 5}
    first_thirty = {f"Faces/image_{i:04}.jpg" for i in range(1, 31)}
    assert {path for items in drawn for path in items.paths if path.startswith("Faces")} != first_thirty


def test_caltech_with_replacement_draws_fewer_and_without_background_has_a_class_less(tmp_path: Path) -> None:
    counts = caltech101(tmp_path)
    again = prepared("caltech101", tmp_path, counts, "with_replacement")
    per_class = Counter(path.partition("/")[0] for split in ("train", "val") for path in again.load(split).paths)
    assert all(count < 30 for count in per_class.values())
    assert sum(again.counts.values()) == 102
    bare = prepared("caltech101", tmp_path, counts | {"classes": 2}, "no_background")
    assert bare.classes == ("Faces", "accordion")


def test_flowers_are_numbered_from_1_in_the_files_and_from_0_here(tmp_path: Path) -> None:
    made = prepared("flowers102", tmp_path, flowers102(tmp_path))
    ids = loadmat(tmp_path / "flowers-102" / "setid.mat", squeeze_me=True)
    test = made.load("test")
    assert list(test.paths) == [f"jpg/image_{i:05}.jpg" for i in ids["tstid"]]
    assert [label for (label,) in test.labels] == [(i - 1) % 3 for i in ids["tstid"]]
    assert made.classes == ("pink primrose", "hard-leaved pocket orchid", "canterbury bells")
