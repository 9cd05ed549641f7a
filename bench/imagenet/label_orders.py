"""Whether labels, or a model's outputs, are in another order than the sorted wnids, and in which.

A wrong order leaves chance, 0.1 % of 1000 classes, and nothing else to see. Each order in which classes are known to
be numbered is tried on the labels and on the model's outputs; the one that explains the predictions is named with its
remedy. Reported by users: github.com/modestyachts/ImageNetV2 issues 4 and 10 (folders 0 to 999 sorted as text),
github.com/huggingface/pytorch-image-models issues 1081 (a flat val folder) and 2456 (ImageNet-A as 0 to 199),
github.com/fra31/sparse-rs issue 4 (the devkit's ids), github.com/pytorch/vision issue 714 (numbers sorted as text).
"""

import dataclasses
import functools
from collections.abc import Mapping
from typing import Any, Literal

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput, nearest

from ..stats import mcnemar
from .class_lists import CLASSES, devkit_order, subset, words_of_classes

Side = Literal["labels", "outputs"]
MORE = 2  # times as many images must be right by the order that is named
EXPLAINED_SHARE = 0.05  # of the images, which an order must get right: where none is right, a dozen look like an order
CHANCE_OF_FAULT = 1e-4  # of the paired test, for some two dozen orders
FEWEST_CLASSES = 10  # with a right image by the order, or all there are: any two orders agree on one or a few by chance
FEWEST_RENAMED = 1_000  # images, before an order that nobody knows is looked for
RENAMED_SHARE = 0.1  # of the images that were kept back, which a renaming of classes must get right


@dataclasses.dataclass(frozen=True)
class Order:
    """classes: the class that each number stands for, in this order. says: what the numbers are. remedy: what to do."""

    says: str
    remedy: str
    classes: tuple[int, ...]

    def applied(self, numbers: npt.NDArray[Any]) -> npt.NDArray[np.int64]:
        """The classes [n] that the numbers [n] stand for, -1 for a number that is none."""
        table = np.array([*self.classes, -1])
        inside = (numbers >= 0) & (numbers < len(self.classes))
        return table[np.where(inside, numbers, len(self.classes))]


@dataclasses.dataclass(frozen=True)
class Fault:
    """An order that explains the predictions, where the one that was given does not.

    order: a key of `orders()`, or "unknown"; side: whose numbers are in it. given, explained: shares of n images that
    are right as given, and by the order.
    """

    order: str
    side: Side
    given: float
    explained: float
    n: int
    said: str


@functools.cache
def orders() -> Mapping[str, Order]:
    """Every order that is tried, by the name that `--label-order` and `--output-order` take."""
    text = np.array(sorted(map(str, range(CLASSES))), dtype=int)
    from_one = np.array(sorted(map(str, range(1, CLASSES + 1))), dtype=int) - 1
    devkit = np.array(devkit_order())
    names = [words[0] for words in words_of_classes()]
    first = [words[1] for words in words_of_classes()]
    by_wnid = "number the classes in the order of their wnids"
    as_text = "sort the folders as numbers, not as text"
    by_name = f"the classes were numbered by their English names; {by_wnid}"
    found = {
        "devkit-ids": ("the devkit's ILSVRC2012_ID less one",
                       "map ids to wnids by the devkit's meta.mat, and number these in their order", devkit),
        "devkit-ids-as-text": ("places of folders that are named by the devkit's ids 1 to 1000 and sorted as text",
                               f"map the ids to wnids by the devkit's meta.mat; {as_text}", devkit[from_one]),
        "numbers-as-text": ("places of folders 0 to 999 sorted as text (0, 1, 10, 100, ...), as of ImageNet V2",
                            as_text, text),
        "numbers-from-1-as-text": ("places of folders 1 to 1000 sorted as text (1, 10, 100, 1000, ...)",
                                   as_text, from_one),
        "names": ("places of class names sorted as text", by_name, _sorted(names)),
        "names-any-case": ("places of class names sorted in any case", by_name, _sorted([n.lower() for n in names])),
        "first-words": ("places of WordNet's first words sorted as text", by_name, _sorted(first)),
        "first-words-any-case": ("places of WordNet's first words sorted in any case", by_name,
                                 _sorted([word.lower() for word in first])),
        "background": ("one too high: 0 is a background class, or they count from 1, as in TensorFlow's 1001 classes",
                       "subtract one, and leave the background out", [-1, *range(CLASSES)]),
        "one-too-low": ("one too low: one was subtracted that was no background", "add one", [*range(1, CLASSES)]),
        "a-places": ("places 0 to 199 among the classes of ImageNet-A", by_wnid, subset("a")),
        "r-places": ("places 0 to 199 among the classes of ImageNet-R", by_wnid, subset("r")),
    }  # fmt: skip
    return {
        name: Order(says, remedy, tuple(int(place) for place in classes))
        for name, (says, remedy, classes) in found.items()
    }


def _sorted(names: list[str]) -> list[int]:
    return sorted(range(len(names)), key=lambda place: names[place].replace(" ", "_"))


def order_named(name: str) -> Order:
    if name not in orders():
        raise BadInput(f"no order of classes {name!r:.80}{nearest(name, orders())}; one of {', '.join(orders())}")
    return orders()[name]


def label_order_fault(labels: npt.ArrayLike, predicted: npt.ArrayLike) -> Fault | None:
    """The order that makes sense of the predictions, or None where the given one does.

    labels, predicted: numbers of classes [n], as they were given. Named is an order by which at least `MORE` times as
    many images are right, beyond chance by the exact McNemar test, of several classes, and at least `EXPLAINED_SHARE`
    of all; where none is known, and a renaming of classes that half of the images tell explains the other half, the
    order is "unknown".
    """
    given, said = np.asarray(labels), np.asarray(predicted)
    right = given == said
    tried = [
        ("labels", name, order.applied(given) == said) for name, order in orders().items()
    ] + [("outputs", name, order.applied(said) == given) for name, order in orders().items()]  # fmt: skip
    side, name, best = max(tried, key=lambda each: int(each[2].sum()))
    shares = float(right.mean()), float(best.mean())
    enough = shares[1] >= EXPLAINED_SHARE and best.sum() >= MORE * max(1, right.sum())
    spread = len(set(given[best].tolist())) >= min(FEWEST_CLASSES, len(set(given.tolist())))
    if enough and spread and mcnemar(best, right).p < CHANCE_OF_FAULT:
        order = orders()[name]
        whose = "the labels are" if side == "labels" else "the model's outputs are"
        option = "--label-order" if side == "labels" else "--output-order"
        text = (
            f"{100 * shares[0]:.2f} % right as given, {100 * shares[1]:.2f} % if {whose} {order.says}; {order.remedy}, "
            f"or give {option} {name}"
        )
        return Fault(name, "labels" if side == "labels" else "outputs", *shares, len(given), text)
    return _renamed(given, said, shares[0])


def _renamed(given: npt.NDArray[Any], said: npt.NDArray[Any], share: float) -> Fault | None:
    """Whether classes are exchanged in a way that nobody knows: the best pairing on half of the images, on the other.

    The pairing gives each number of a label one number of a prediction, so that most images of the half agree.
    """
    from scipy.optimize import linear_sum_assignment

    order = np.random.default_rng(0).permutation(len(given))
    learnt, kept = order[::2], order[1::2]
    if len(given) < FEWEST_RENAMED:
        return None
    counts = np.zeros((CLASSES + 1, CLASSES + 1))
    np.add.at(counts, (given[learnt], said[learnt]), 1)
    pairing = linear_sum_assignment(counts, maximize=True)[1]
    explained = float((pairing[given[kept]] == said[kept]).mean())
    if explained < RENAMED_SHARE or explained < MORE * share:
        return None
    text = (
        f"{100 * share:.2f} % right as given, {100 * explained:.2f} % if each label stands for another class: the "
        "labels or the outputs are in an order that is not known; number the classes in the order of their wnids"
    )
    return Fault("unknown", "labels", share, explained, len(given), text)
