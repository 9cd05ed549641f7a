"""ImageNet's validation images in their three layouts, ReaL labels, ImageNet V2."""

import os
from pathlib import Path

import numpy as np
import pytest
from make_layouts import REAL, VAL_LABELS, WNIDS, imagenet, imagenet_flat, imagenet_real, imagenet_train, imagenet_v2

from featune.bench.datasets import prepare_official
from featune.bench.datasets.imagenet import known_wnids, label_list, real_labels, real_of_labels
from featune.bench.tasks import Task
from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS


def prepared(name: str, tmp_path: Path, counts: dict[str, int], variant: str = "default") -> Task:
    return prepare_official(name, tmp_path, tmp_path / "out", counts=counts, variant=variant)


@pytest.mark.parametrize("layout", ["folders", "devkit", "list"])
def test_three_layouts_of_the_validation_images_give_the_same_labels(layout: str, tmp_path: Path) -> None:
    counts = imagenet(tmp_path) if layout == "folders" else imagenet_flat(tmp_path, devkit=layout == "devkit")
    made = prepared("imagenet", tmp_path, counts)
    test = made.load("test")
    assert made.classes == WNIDS
    assert [label for (label,) in test.labels] == list(VAL_LABELS)
    assert [Path(path).stem[-1] for path in test.paths] == list("123456")


def test_the_original_labels_are_right_in_four_of_five_judged_images(tmp_path: Path) -> None:
    assert real_of_labels(VAL_LABELS, REAL) == (4, 5)


def test_an_image_without_a_real_label_leaves_the_accuracy(tmp_path: Path) -> None:
    made = prepared("imagenet_real", tmp_path, imagenet_real(tmp_path))
    test = made.load("test")
    assert test.labels == ((2,), (), (0, 1), (0,), (0,), (2, 1))
    assert "1 have none" in made.source
    scores = np.eye(3)[list(VAL_LABELS)]
    truth = test.truth(3, multilabel=True)
    assert METRICS["real_accuracy"](truth, scores) == pytest.approx(4 / 5)
    scores[1] = scores[1][::-1]  # whatever is said of the image without a label
    assert METRICS["real_accuracy"](truth, scores) == pytest.approx(4 / 5)


def test_without_a_real_json_the_labels_are_timms_copy(tmp_path: Path) -> None:
    """Counts of the published file: 50,000 images, 46,837 of them with labels, 57,553 labels."""
    labels = real_labels(tmp_path)
    assert len(labels) == 50_000
    assert sum(map(bool, labels)) == 46_837
    assert sum(map(len, labels)) == 57_553


def test_real_accuracy_of_imagenets_own_labels_is_the_published_one(tmp_path: Path) -> None:
    """42,164 / 46,837 = 90.0228 %; FEATUNE_IMAGENET_LABELS names a list of `ILSVRC2012_val_00000001.JPEG 65` lines."""
    given = os.environ.get("FEATUNE_IMAGENET_LABELS")
    if not given:
        pytest.skip("ImageNet's list of original labels is not part of the project; set FEATUNE_IMAGENET_LABELS to one")
    right, judged = real_of_labels(label_list(Path(given)), real_labels(tmp_path))
    assert (right, judged) == (42_164, 46_837)
    assert round(100 * right / judged, 4) == 90.0228


def test_a_list_of_other_length_is_refused() -> None:
    with pytest.raises(BadInput, match="5 labels and 6 lists found"):
        real_of_labels(VAL_LABELS[:5], REAL)


def test_a_list_with_a_hole_is_refused(tmp_path: Path) -> None:
    file = tmp_path / "val.txt"
    file.write_text("ILSVRC2012_val_00000001.JPEG 65\nILSVRC2012_val_00000003.JPEG 970\n")
    with pytest.raises(BadInput, match="one line for each image from 1 expected, 2 found"):
        label_list(file)


def test_v2s_folders_are_numbers_and_not_words(tmp_path: Path) -> None:
    made = prepared("imagenet_v2", tmp_path, imagenet_v2(tmp_path))
    test = made.load("test")
    assert made.classes == known_wnids()
    of_folder = {int(Path(path).parent.name): label for path, (label,) in zip(test.paths, test.labels, strict=True)}
    assert of_folder == {0: 0, 1: 1, 2: 2, 10: 10}


def test_the_full_variant_has_train_images_and_cuts_val_from_them(tmp_path: Path) -> None:
    made = prepared("imagenet", tmp_path, imagenet_train(tmp_path), "full")
    assert dict(made.counts) == {"train": 177, "val": 3, "test": 6}
    assert {label for (label,) in made.load("val").labels} == {0, 1, 2}


def test_known_wnids_are_sorted_and_a_thousand() -> None:
    wnids = known_wnids()
    assert len(wnids) == 1000
    assert list(wnids) == sorted(wnids)
    assert wnids[:3] == WNIDS
