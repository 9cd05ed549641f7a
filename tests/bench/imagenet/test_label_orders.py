"""Labels and outputs in a wrong order are named, by predictions that are constructed to be right."""

import numpy as np
import pytest

from featune.bench.datasets import known_wnids
from featune.bench.imagenet import label_order_fault, orders
from featune.bench.imagenet.class_lists import devkit_order, subset, words_of_classes
from featune.engine.errors import BadInput

N = 2_000
RNG = np.random.default_rng(0)
TRUTH = RNG.integers(0, 1000, N)
PREDICTED = np.where(RNG.random(N) < 0.6, TRUTH, RNG.integers(0, 1000, N))  # a model that is right on six of ten


def named(labels: np.ndarray, predicted: np.ndarray = PREDICTED) -> tuple[str, str]:
    fault = label_order_fault(labels, predicted)
    assert fault is not None
    return fault.order, fault.side


def numbered_by(folders: list[str]) -> np.ndarray:
    """What ImageFolder makes of folders, one for each class in the order of wnids: their places, sorted as text."""
    place = {name: at for at, name in enumerate(sorted(folders))}
    return np.array([place[folders[truth]] for truth in TRUTH])


def test_the_devkits_ids_as_labels_are_named() -> None:
    id_of = {wnid: at for at, wnid in enumerate(devkit_order())}
    assert named(np.array([id_of[truth] for truth in TRUTH])) == ("devkit-ids", "labels")


def test_sorted_class_names_are_named() -> None:
    names = [words[0].replace(" ", "_") for words in words_of_classes()]
    assert named(numbered_by(names)) == ("names", "labels")


def test_v2s_folders_sorted_as_text_are_named() -> None:
    assert named(numbered_by([str(number) for number in range(1000)])) == ("numbers-as-text", "labels")


def test_numbers_as_folder_names_from_one_are_named() -> None:
    assert named(numbered_by([str(number + 1) for number in range(1000)])) == ("numbers-from-1-as-text", "labels")
    id_of = {wnid: at + 1 for at, wnid in enumerate(devkit_order())}
    by_id = numbered_by([str(id_of[place]) for place in range(1000)])
    assert named(by_id) == ("devkit-ids-as-text", "labels")


def test_a_background_class_that_shifts_all_by_one_is_named() -> None:
    assert named(TRUTH + 1) == ("background", "labels")
    fault = label_order_fault(TRUTH, np.minimum(PREDICTED + 1, 999))
    assert fault is not None
    assert (fault.order, fault.side) in [("background", "outputs"), ("one-too-low", "labels")]


def test_places_among_200_classes_are_named() -> None:
    classes = np.array(subset("a"))
    truth = RNG.choice(classes, 500)
    assert named(np.searchsorted(classes, truth), truth) == ("a-places", "labels")


def test_a_model_whose_outputs_are_in_another_order_is_told_from_labels_that_are() -> None:
    output_of = {place: at for at, place in enumerate(orders()["names"].classes)}
    predicted = np.array([output_of[place] for place in PREDICTED])
    assert named(TRUTH, predicted) == ("names", "outputs")


def test_the_remedy_gives_the_accuracy_of_the_right_order() -> None:
    id_of = {wnid: at for at, wnid in enumerate(devkit_order())}
    labels = np.array([id_of[truth] for truth in TRUTH])
    fault = label_order_fault(labels, PREDICTED)
    assert fault is not None
    assert fault.explained == pytest.approx((PREDICTED == TRUTH).mean())
    assert fault.given < 0.01
    assert "meta.mat" in fault.said
    assert "--label-order devkit-ids" in fault.said
    assert np.array_equal(orders()["devkit-ids"].applied(labels), TRUTH)


def test_an_order_that_nobody_knows_is_said_to_be_one() -> None:
    anyhow = np.random.default_rng(1).permutation(1000)
    truth = RNG.integers(0, 1000, 20_000)
    assert named(anyhow[truth], truth) == ("unknown", "labels")


@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 1.0])
def test_right_labels_have_no_fault_however_bad_the_model(share: float) -> None:
    predicted = np.where(RNG.random(N) < share, TRUTH, RNG.integers(0, 1000, N))
    assert label_order_fault(TRUTH, predicted) is None


def test_where_no_image_is_right_a_few_by_chance_accuse_nobody() -> None:
    """As a ResNet-50 on ImageNet-A: none of 7,400 right, and 20 of as many classes predicted one class too low."""
    rng = np.random.default_rng(3)
    truth = rng.choice(np.array(subset("a")), 7_400)
    predicted = (truth + rng.integers(300, 700, 7_400)) % 1000
    _, first = np.unique(truth, return_index=True)
    predicted[first[:20]] = truth[first[:20]] - 1
    assert not (predicted == truth).any()
    assert label_order_fault(truth, predicted) is None


def test_ten_images_are_too_few_to_accuse_anybody() -> None:
    assert label_order_fault(TRUTH[:10] + 1, TRUTH[:10]) is None


def test_every_order_holds_each_class_once() -> None:
    for name, order in orders().items():
        classes = [place for place in order.classes if place >= 0]
        assert len(set(classes)) == len(classes), name
        assert set(classes) <= set(range(1000))


@pytest.mark.parametrize(
    ("number", "place"),
    [(490, 65), (361, 970), (171, 230), (822, 809), (297, 516), (482, 57), (13, 334), (704, 415), (599, 674)],
)
def test_the_devkits_order_is_that_of_its_own_ground_truth(number: int, place: int) -> None:
    """The first nine images: their ids in ILSVRC2012_validation_ground_truth.txt, their places in Caffe's val.txt."""
    assert devkit_order()[number - 1] == place
    assert sorted(devkit_order()) == list(range(len(known_wnids())))


def test_an_unknown_order_is_refused_with_the_nearest_one() -> None:
    from featune.bench.imagenet.label_orders import order_named

    with pytest.raises(BadInput, match="devkit-ids"):
        order_named("devkit-id")
