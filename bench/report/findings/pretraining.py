"""What a timm tag says of a model's pre-training, and the same architecture compared across kinds of it.

A tag is what stands after the dot of a name, `fb_in22k_ft_in1k`: who trained it, with what recipe, on which data, and
after `ft` on what it was tuned. `KINDS` is the whole table; docs/statistics.md shows it.
"""

import dataclasses
import itertools
import re
from collections.abc import Mapping, Sequence

import numpy as np

from ...results import Results

# Kind -> words of a tag, between underscores, that say so. The first kind with a word in the tag is the model's: a CLIP
# model tuned on ImageNet-12k and then 1k is CLIP. Read off the tags of timm 1.0.31; words that end in * are beginnings.
KINDS: Mapping[str, tuple[str, ...]] = {
    "clip": ("clip", "laion2b", "laion400m", "laiona", "openai", "datacomp*", "dfn*", "metaclip*", "webli", "mclip*",
             "tinyclip", "yfcc15m", "cc12m", "merged2b"),
    "self-supervised": ("dino*", "lvd*", "mae", "fcmae", "mim", "ijepa", "seer", "sat493m", "m30m"),
    "web labels": ("ig1b", "swag", "jft", "bamboo", "yfcc100m"),
    "in21k": ("in21k", "in22k", "inw21k"),
    "in12k": ("in12k",),
    "in1k": ("in1k",),
}  # fmt: skip
# Other words of a tag that say which data: metaclip_2pt5b and _400m are two data sets, mim_m38m is a mixture.
DATA = re.compile(r"m?\d+(pt\d+)?[mb]|worldwide")
SIDE = re.compile(r"[rs]?(\d{3,4})")


@dataclasses.dataclass(frozen=True)
class Pretraining:
    """kind: a key of `KINDS`, or empty where the tag does not say. tuned_on: after `ft`.

    data: the words of data before `ft`; side: pixels, 0 where the tag does not say; recipe: the other words before it.
    """

    kind: str
    tuned_on: tuple[str, ...] = ()
    data: tuple[str, ...] = ()
    side: int = 0
    recipe: tuple[str, ...] = ()


def pretraining_of(model: str) -> Pretraining:
    """Of a timm name with its tag; an empty kind for a name without one that the table knows."""
    words = model.partition(".")[2].split("_") if "." in model else []
    kind = next((name for name, known in KINDS.items() if any(_is_one(word, known) for word in words)), "")
    at = words.index("ft") if "ft" in words else len(words)
    data = [word for word in words[:at] if DATA.fullmatch(word) or any(_is_one(word, some) for some in KINDS.values())]
    sides = [int(side[1]) for word in words if (side := SIDE.fullmatch(word))]
    recipe = [word for word in words[:at] if word not in data and not SIDE.fullmatch(word)]
    tuned_on = [word for word in words[at + 1 :] if not SIDE.fullmatch(word)]
    return Pretraining(kind, tuple(tuned_on), tuple(sorted(data)), max(sides, default=0), tuple(recipe))


def _is_one(word: str, known: Sequence[str]) -> bool:
    return any(word.startswith(one[:-1]) if one.endswith("*") else word == one for one in known)


@dataclasses.dataclass(frozen=True)
class Paired:
    """The same architectures pre-trained in two ways, in one regime.

    points: by architecture, the mean over the tasks that both have of `other` less `one`, in points; several sets of
    weights of one kind are averaged first. tasks: how many at most.
    """

    regime: str
    one: str
    other: str
    points: Mapping[str, float]
    tasks: int

    @property
    def mean(self) -> float:
        return float(np.mean(list(self.points.values())))


def pretraining_pairs(results: Results) -> list[Paired]:
    """Every two kinds of pre-training that an architecture of the study has; `other` stands before in `KINDS`."""
    groups: dict[str, dict[str, list[str]]] = {}
    for model in results.models:
        if kind := pretraining_of(model).kind:
            groups.setdefault(model.partition(".")[0], {}).setdefault(kind, []).append(model)
    found = []
    for regime in results.measured_regimes:
        for other, one in itertools.combinations(KINDS, 2):  # the wider data first in the table: they are `other`
            points, tasks = {}, 0
            for architecture, kinds in groups.items():
                if one in kinds and other in kinds:
                    gaps = _gaps(results, regime, kinds[one], kinds[other])
                    if gaps:
                        points[architecture], tasks = float(np.mean(gaps)), max(tasks, len(gaps))
            if points:
                found.append(Paired(regime, one, other, points, tasks))
    return found


def _gaps(results: Results, regime: str, ones: Sequence[str], others: Sequence[str]) -> list[float]:
    """Points of each task that both have."""
    gaps = []
    for task in results.fraction_tasks:
        sides = [
            [value for model in models if (value := results.value(task, model, regime)) is not None]
            for models in (ones, others)
        ]
        if all(sides):
            gaps.append(100 * float(np.mean(sides[1]) - np.mean(sides[0])))
    return gaps


def recipe_pairs(results: Results) -> Mapping[str, list[float]]:
    """By regime, how far every two sets of weights lie apart that are alike in all but the recipe, in points.

    Alike: of one architecture, kind and data of pre-training, data that they were tuned on, and resolution, by the tag.
    How far: the size of the mean gap over tasks, as `Paired.points` are means over tasks.
    """
    same: dict[tuple[str, Pretraining], list[str]] = {}
    for model in results.models:
        of = pretraining_of(model)
        if of.kind:
            same.setdefault((model.partition(".")[0], dataclasses.replace(of, recipe=())), []).append(model)
    found: dict[str, list[float]] = {}
    for regime in results.measured_regimes:
        for models in same.values():
            for one, other in itertools.combinations(models, 2):
                if gaps := _gaps(results, regime, [one], [other]):
                    found.setdefault(regime, []).append(abs(float(np.mean(gaps))))
    return found
