"""The 1000 classes of ImageNet-1k in the order of their wnids: names, subsets, and which logits of a model they are."""

import functools
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput, nearest

from ..datasets import known_wnids, timm_list

CLASSES = 1000
# The classes of ImageNet-A (Hendrycks et al. 2021a) and ImageNet-R (2021b), 200 each, as timm ships them.
SUBSETS = {"a": "imagenet_a_synsets.txt", "r": "imagenet_r_synsets.txt"}
DEVKIT = Path(__file__).with_name("devkit_ids.txt")


@functools.cache
def place_of_wnid() -> dict[str, int]:
    return {wnid: place for place, wnid in enumerate(known_wnids())}


@functools.cache
def subset(name: str) -> tuple[int, ...]:
    """The classes of ImageNet-A or -R, rising."""
    return tuple(place_of_wnid()[wnid] for wnid in timm_list(SUBSETS[name]))


@functools.cache
def devkit_order() -> tuple[int, ...]:
    """The class of ILSVRC2012_ID 1, 2 and so on."""
    lines = [line for line in DEVKIT.read_text().splitlines() if not line.startswith("#")]
    return tuple(map(int, " ".join(lines).split()))


@functools.cache
def words_of_classes() -> tuple[tuple[str, ...], ...]:
    """All that each class is called, the usual name first: torchvision's name, then WordNet's words by timm's list."""
    from torchvision.models._meta import _IMAGENET_CATEGORIES

    lemmas = dict(line.split("\t", 1) for line in timm_list("imagenet_synset_to_lemma.txt"))
    return tuple(
        (short, *(word.strip() for word in lemmas[wnid].split(",")))
        for short, wnid in zip(_IMAGENET_CATEGORIES, known_wnids(), strict=True)
    )


def classes_of_names(names: Sequence[str], where: str) -> tuple[NDArray[np.int64], str]:
    """(the class of each name, what is to be said of it): wnids; numbers from 0, or from 1 to 1000; or English names.

    Raises BadInput for a name that is none, or that several classes have.
    """
    if not names:
        raise BadInput(f"{where}: no labels found; give class folders, a table with labels, or --labels FILE")
    if all(name.isdecimal() for name in names):
        numbers = np.array([int(name) for name in names])
        if numbers.max() > CLASSES or (numbers.max() == CLASSES and numbers.min() == 0):
            found = f"{numbers.min()} to {numbers.max()}"
            raise BadInput(f"{where}: class numbers {found} found, 0 to 999 expected; name the classes by their wnids")
        if numbers.max() == CLASSES:
            return numbers - 1, f"{where}: its class numbers are taken to count from 1, in the order of the wnids"
        return numbers, ""
    known = place_of_wnid() if any(name in place_of_wnid() for name in names) else _places_of_words()
    absent = [name for name in names if _plain(name) not in known]
    if absent:
        more = f", and {len(absent) - 1} more" if len(absent) > 1 else ""
        raise BadInput(
            f"{where}: class {absent[0]!r:.80} is none of ImageNet-1k{nearest(absent[0], known)}{more}; expected wnids "
            "(n01440764), numbers 0 to 999, or the classes' English names"
        )
    return np.array([known[_plain(name)] for name in names]), ""


@functools.cache
def _places_of_words() -> dict[str, int]:
    """Usual names first; of WordNet's other words those that only one class has."""
    found = {_plain(words[0]): place for place, words in enumerate(words_of_classes())}
    of: dict[str, set[int]] = {}
    for place, words in enumerate(words_of_classes()):
        for word in words[1:]:
            of.setdefault(_plain(word), set()).add(place)
    return {word: next(iter(places)) for word, places in of.items() if len(places) == 1} | found


def _plain(name: str) -> str:
    return name.replace("_", " ").strip().casefold()


def columns_of(width: int, model: str) -> tuple[NDArray[np.int64], str]:
    """(the column of each class among a model's logits, -1 where it has none; what is to be said of it).

    Of 1001 the first is the background; larger numbers are the ImageNet sets that timm knows, whose classes are found
    by wnid. Raises BadInput for other numbers.
    """
    from timm.data.imagenet_info import ImageNetInfo, infer_imagenet_subset

    if width == CLASSES:
        return np.arange(CLASSES), ""
    if width == CLASSES + 1:
        return np.arange(1, CLASSES + 1), f"{model} has 1001 classes: the first is taken for the background"
    name = infer_imagenet_subset({"num_classes": width})
    if name is None:
        raise BadInput(
            f"{model}: {width} classes found, 1000 expected (or 1001, or those of a larger ImageNet that timm knows); "
            "choose weights of ImageNet-1k"
        )
    places = {wnid: place for place, wnid in enumerate(ImageNetInfo(name).label_names())}
    columns = np.array([places.get(wnid, -1) for wnid in known_wnids()])
    lacking = int((columns < 0).sum())
    wrong = f"; it lacks {lacking} of them, whose images count as wrong" if lacking else ""
    return columns, f"{model} has the {width:,} classes of {name}: the 1000 are taken out by wnid{wrong}"
