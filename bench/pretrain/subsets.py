"""A subset of a source task by a rule and a seed: which classes, which images of each, which labels; and its file."""

import csv
import dataclasses
import hashlib
import io
import itertools
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featune.engine.errors import BadInput, nearest
from featune.engine.images import Labelled
from featune.engine.store import added, digest, plain, write_text

from ..tasks import class_order
from .hierarchy import Hierarchy, coarse_labels

MOST_LISTED = 5


@dataclasses.dataclass(frozen=True)
class Rule:
    """What of a source task is learned from; the defaults take all of it.

    drop: classes that are left out, or names of the hierarchy, which leave out all classes below them. classes: so
    many of the others. choose: `random`, by the seed, or `minimal`: whole branches of the hierarchy one after the
    other, in an order by the seed, so that what is chosen shares as few ancestors as may be with what is not.
    images_per_class: so many training images of each class; images: so many of all, the same number of each class.
    Smaller subsets of one seed lie in the larger ones. coarse: `leaf-to-root:N` or `root-to-leaf:N`, labels of N
    classes by the hierarchy; the classes and images are chosen before it.
    """

    classes: int | None = None
    choose: Literal["random", "minimal"] = "random"
    images_per_class: int | None = None
    images: int | None = None
    coarse: str = ""
    drop: tuple[str, ...] = ()
    seed: int = 0
    near: int | None = added(None)  # bits, of images too near to a target's; see near_duplicates.py
    away_from: tuple[str, ...] = added(())  # digests of the targets' images

    def __post_init__(self) -> None:
        for name, least in (("classes", 2), ("images_per_class", 1), ("images", 2)):
            value = getattr(self, name)
            if value is not None and value < least:
                raise BadInput(f"{name}: {value} found, at least {least} expected; raise it")
        if self.images is not None and self.images_per_class is not None:
            raise BadInput("images and images_per_class: both found, one expected; remove one of them")
        if self.choose not in ("random", "minimal"):
            raise BadInput(
                f"choose: {self.choose!r} found{nearest(self.choose, ('random', 'minimal'))}; random or minimal"
            )
        if self.choose == "minimal" and self.classes is None:
            raise BadInput("choose: minimal found without classes; say how many classes are chosen")

    def words(self) -> str:
        """For people and for the subset's file."""
        parts = [f"drop {'|'.join(self.drop)}"] if self.drop else []
        parts += [f"{self.classes} classes by {self.choose} choice"] if self.classes else ["all classes"]
        if self.near is not None:
            how = "of the same bytes" if self.near < 0 else f"within {self.near} bits"
            parts.append(f"no image {how} of a target's")
        each = f"{self.images_per_class} images of each" if self.images_per_class else "all images of each"
        parts.append(f"{self.images} images in equal parts" if self.images else each)
        parts += [f"labels {self.coarse}"] if self.coarse else []
        return ", ".join(parts)


@dataclasses.dataclass(frozen=True)
class Subset:
    """splits: train, and val and test where the source has them, with labels of `classes`; val and test hold all
    images of the classes that are kept. removed: training images too near to a target's."""

    splits: Mapping[str, Labelled]
    classes: tuple[str, ...]
    fine: tuple[str, ...]
    removed: int = 0

    @property
    def digest(self) -> str:
        """Names the images' bytes, their labels and the splits."""
        return digest([{split: [of.content_digest, of.labels] for split, of in self.splits.items()}, self.classes])


def subset_of(
    splits: Mapping[str, Labelled],
    classes: Sequence[str],
    rule: Rule,
    hierarchy: Hierarchy | None = None,
    near: Sequence[int] = (),
) -> Subset:
    """The part of a source task that the rule takes.

    splits: with labels of `classes`, one each. near: indices of training images that are left out. Raises BadInput
    for a class that is not there, a rule that needs a hierarchy without one, and more images than a class has.
    """
    if hierarchy is None and (rule.coarse or rule.choose == "minimal"):
        wanted = f"coarse {rule.coarse}" if rule.coarse else "choose: minimal"
        raise BadInput(f"{wanted} needs a hierarchy of the classes; give a file of child,parent as hierarchy")
    if any(len(labels) != 1 for items in splits.values() for labels in items.labels):
        raise BadInput("images of several labels found, one each expected of a source task; give another source")
    kept = _chosen(classes, rule, hierarchy)
    train = splits["train"]
    left_out = set(near)
    members: dict[str, list[int]] = {name: [] for name in kept}
    number = {classes.index(name): name for name in kept}
    for index, (label,) in enumerate(train.labels):
        if label in number and index not in left_out:
            members[number[label]].append(index)
    taken = _images(train, members, rule)
    coarse = dict(zip(kept, kept, strict=True))
    if rule.coarse:
        assert hierarchy is not None
        direction, count = parsed_coarse(rule.coarse)
        coarse = coarse_labels(hierarchy, kept, direction, count)
    names = class_order(set(coarse.values()))
    if len(names) < 2:
        raise BadInput(f"{len(names)} class left ({', '.join(names)}), at least 2 expected to learn from; keep more")
    place = {classes.index(name): names.index(coarse[name]) for name in kept}
    found = {}
    for split, items in splits.items():
        chosen = taken if split == "train" else [i for i, (label,) in enumerate(items.labels) if label in place]
        part = items.take(chosen)
        found[split] = dataclasses.replace(part, labels=tuple((place[label],) for (label,) in part.labels))
    gone = sum(train.labels[index][0] in place for index in left_out)
    return Subset(found, tuple(names), tuple(kept), gone)


def parsed_coarse(text: str) -> tuple[str, int]:
    """("leaf-to-root", 79) of `leaf-to-root:79`."""
    direction, _, count = text.partition(":")
    if not count.isdigit():
        raise BadInput(f"coarse: {text!r} found, leaf-to-root:N or root-to-leaf:N expected, N classes; write it so")
    return direction, int(count)


def _chosen(classes: Sequence[str], rule: Rule, hierarchy: Hierarchy | None) -> list[str]:
    """The classes that are kept, in the order of the source's."""
    dropped: set[str] = set()
    for name in rule.drop:
        below = hierarchy.below(name, classes) if hierarchy else [one for one in classes if one == name]
        if not below:
            where = "of the source or its hierarchy" if hierarchy else "of the source"
            raise BadInput(f"drop: {name!r} is no class {where}{nearest(name, classes)}; mend or remove it")
        dropped |= set(below)
    left = [name for name in classes if name not in dropped]
    if rule.classes is None:
        return left
    if rule.classes > len(left):
        raise BadInput(f"classes: {rule.classes} asked for, {len(left)} are there; lower it")
    order = _shuffled(left, rule.seed, "classes")
    if rule.choose == "minimal":
        assert hierarchy is not None
        order = _by_branches(left, hierarchy, rule.seed)
    wanted = set(order[: rule.classes])
    return [name for name in left if name in wanted]


def _by_branches(classes: Sequence[str], hierarchy: Hierarchy, seed: int) -> list[str]:
    """All classes, branch by branch: those of one node stand together, at every level; orders are by the seed."""
    children: dict[str, set[str]] = {}
    roots = set()
    for name in classes:
        path = hierarchy.path(name)
        roots.add(path[-1])
        for child, parent in itertools.pairwise(path):
            children.setdefault(parent, set()).add(child)
    known, found = set(classes), []
    waiting = _shuffled(sorted(roots), seed, "branches")[::-1]
    while waiting:
        name = waiting.pop()
        if name in known:
            found.append(name)
        waiting += _shuffled(sorted(children.get(name, ())), seed, "branches")[::-1]
    return found


def _images(train: Labelled, members: Mapping[str, list[int]], rule: Rule) -> list[int]:
    """The indices of the training images, class by class in the order of the source."""
    each = rule.images_per_class
    more = 0  # classes that have one image more, of a budget that leaves a rest
    if rule.images is not None:
        each, more = divmod(rule.images, len(members))
    if each == 0:
        raise BadInput(f"images: {rule.images} found for {len(members)} classes, at least one each expected; raise it")
    if each is None:
        lacking = [name for name, of in members.items() if not of]
        if lacking:
            raise BadInput(f"no training image of class {lacking[0]} is left; drop the class, or remove fewer images")
        return sorted(index for of in members.values() for index in of)
    found: list[int] = []
    short = []
    for at, (name, of) in enumerate(members.items()):
        wanted = each + (at < more)
        short += [f"{name} has {len(of)}"] if len(of) < wanted else []
        order = _shuffled([train.paths[index] for index in of], rule.seed, name)
        place = {train.paths[index]: index for index in of}
        found += [place[path] for path in order[:wanted]]
    if short:
        raise BadInput(
            f"{each} training images of each class asked for; {', '.join(short[:MOST_LISTED])}"
            f"{f' and {len(short) - MOST_LISTED} more have too few' if len(short) > MOST_LISTED else ''}; lower it"
        )
    return sorted(found)


def _shuffled(names: Sequence[str], seed: int, of: str) -> list[str]:
    """In an order of the seed that one more or one less name leaves as it is for the others."""
    keys = {name: hashlib.sha256(f"{seed}\0{of}\0{name}".encode("utf-8", "surrogateescape")).digest() for name in names}
    return sorted(names, key=lambda name: (keys[name], name))


def write_subset(subset: Subset, source: str, rule: Rule, file: Path) -> None:
    """A table of path, label and split, which every command takes as data; what made it stands above it.

    Paths are seen from the file's folder. The same source, rule, seed and places give the same bytes.
    """
    text = io.StringIO()
    said: dict[str, Any] = {
        "source": source, "rule": rule.words(), "seed": rule.seed, "digest": subset.digest,
        "settings": plain(rule),
    }  # fmt: skip
    for name, value in said.items():
        text.write(f"# {name}: {' '.join(str(value).split())}\n")
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(("path", "label", "split"))
    for split, items in subset.splits.items():
        for index, (label,) in enumerate(items.labels):
            path = os.path.relpath(items.file(index).absolute(), file.parent.absolute())
            writer.writerow((path, subset.classes[label], split))
    write_text(file, text.getvalue())


def counts_of(subset: Subset) -> dict[str, int]:
    """Training images of each class."""
    counts = np.bincount([label for (label,) in subset.splits["train"].labels], minlength=len(subset.classes))
    return dict(zip(subset.classes, counts.tolist(), strict=True))
