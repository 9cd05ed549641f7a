"""Where a user's images lie and which split each belongs to: a folder, or a table of paths and labels."""

import collections
import dataclasses
import functools
import operator
from collections.abc import Mapping, Sequence
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.images import IMAGE_SUFFIXES, Labelled, describe_left_out

from .class_names import class_order
from .folder_splits import SYNONYMS, describe_beside, split_folders
from .folders import absent_files, class_folders, folder_items, images_lie_in, refuse_file, where_else
from .splits import VAL_OF_TRAIN, WHOLE, k_folds, straddling_groups, stratified_split
from .tables import items_of_table, one_spelling, read_table
from .task import SPLITS

# What libraries call their splits, the usual name first.
CALLED = {
    "train": ("train", "training", "trainval"),
    "val": ("val", "validation", "valid", "dev"),
    "test": ("test", "testing"),
}


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a look at the disk found: the splits, the class names in order, and a sentence on the split.

    several: an image may have several labels, or none, even where each of these has one. cut: train, val and test were
    all cut here, so that they may be cut otherwise.
    """

    splits: dict[str, Labelled]
    classes: tuple[str, ...]
    note: str
    several: bool = False
    cut: bool = False

    @property
    def multilabel(self) -> bool:
        return self.several or any(len(labels) != 1 for items in self.splits.values() for labels in items.labels)


def folder_layout(folder: Path, seed: int) -> Layout:
    """`train|val|test/<class>/*`, `train|test/<class>/*` (val is cut from train), or `<class>/*` (cut in three)."""
    refuse_file(folder)
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the folder that holds the images")
    present = split_folders(folder)
    left_out: collections.Counter[str] = collections.Counter()
    if not present:
        classes = class_folders(folder)
        items = folder_items(folder, folder, classes, left_out)
        _require_images(folder, items)
        splits, note = cut_whole(items, str(folder), seed)
        return Layout(splits, classes, _told(note, describe_left_out(left_out)), cut=True)
    flat = [path.name for path in present.values() if images_lie_in(path) and not class_folders(path)]
    if len(flat) == len(present) > 1:
        raise BadInput(
            f"{folder}: {' and '.join(flat)} hold images and no class folders; expected train/<class>/* and "
            "test/<class>/*; where they are classes themselves, rename them or give a table with the columns path and "
            "label"
        )
    missing = [split for split in ("train", "test") if split not in present]
    if missing:
        rename = f"; call {present['val'].name} test, and a val is cut from train" if missing == ["test"] else ""
        raise BadInput(
            f"{folder}: has {' and '.join(present)} but no {' and no '.join(missing)} folder; "
            f"expected train/<class>/* and test/<class>/* (and val), or <class>/* without splits{rename}"
        )
    classes = class_order(name for path in present.values() for name in class_folders(path))
    splits = {split: folder_items(folder, path, classes, left_out) for split, path in present.items()}
    for split, items in splits.items():
        _require_images(present[split], items)
    note = f"{folder}: its own splits"
    if "val" not in splits:
        splits, cut = cut_val(splits, seed, str(folder))
        note += cut
    note = _told(note, describe_beside(folder, present.values()), describe_left_out(left_out))
    return Layout({split: splits[split] for split in SPLITS}, classes, note)


def _told(note: str, *more: str) -> str:
    return "; ".join(filter(None, (note, *more)))


def table_layout(file: Path, seed: int) -> Layout:
    """A table with the columns path and label, and perhaps split (train, val, test) and group.

    Several labels are separated by `|`, or there is a column `label:<class>` of 0 and 1 for each class instead of
    `label` (-1: unknown). Paths are seen from the table's folder. A group never straddles splits.
    """
    table = read_table(file)
    items, classes, several = items_of_table(file, table)
    items = one_spelling(items)
    if "split" in table:
        splits, note = _own_splits(file, table["split"], items, seed)
        _check_table(file, items)
    else:
        _check_table(file, items)
        splits, note = cut_whole(items, str(file), seed)
    return Layout(splits, classes, note, several, cut="split" not in table)


def _own_splits(file: Path, names: list[str], items: Labelled, seed: int) -> tuple[dict[str, Labelled], str]:
    """(splits as the column names them, a sentence on them)."""
    places: dict[str, list[int]] = {split: [] for split in SPLITS}
    unknown = sorted(name for name in set(names) if name.lower() not in SYNONYMS)
    if unknown:
        raise BadInput(f"{file}: split is {', '.join(map(repr, unknown[:5]))}; expected train, val or test")
    for index, name in enumerate(names):
        places[SYNONYMS[name.lower()]].append(index)
    splits = {split: items.take(indices) for split, indices in places.items()}
    straddling = straddling_groups(splits)
    if straddling:
        raise BadInput(
            f"{file}: group {straddling[0]!r} has images in two splits, {len(straddling)} such groups found; give each "
            "group one split, or remove the column split to have them cut by group"
        )
    note = f"{file}: its own splits"
    if not len(splits["val"]) and len(splits["train"]):
        splits, cut = cut_val(splits, seed, str(file))
        note += cut
    for split, part in splits.items():
        if not len(part):
            raise BadInput(f"{file}: no line has split {split}")
    return splits, note


def _check_table(file: Path, items: Labelled) -> None:
    """Every file must be there, and one that is listed twice must have the same labels."""
    if len(set(items.paths)) < len(items):
        labels: dict[str, tuple[int, ...]] = {}
        for path, some in zip(items.paths, items.labels, strict=True):
            if labels.setdefault(path, some) != some:
                raise BadInput(
                    f"{file}: {path} has two lines of different labels; give one of them, or several as a|b in one line"
                )
    absent = absent_files(items)
    if absent:
        path = items.paths[absent[0]]
        raise BadInput(
            f"{file}: {len(items)} images expected under {items.root}, {len(items) - len(absent)} found, {path} is not "
            f"there; paths are seen from the table's folder{where_else(items.root, path)}"
        )


def _together(items: Labelled) -> str:
    return ", groups kept together" if any(items.groups) else ""


def fold_layout(layout: Layout, where: str, number: int, folds: int, seed: int) -> Layout:
    """The layout with fold `number`, from 0, of so many as test, and val cut from the rest."""
    if not layout.cut:
        raise BadInput(f"{where}: its own test split found, {folds} folds asked for; give images without splits")
    whole = functools.reduce(operator.add, layout.splits.values())
    rest, held = k_folds(whole, folds, seed)[number]
    splits, note = cut_val({"train": rest, "test": held}, seed, where)
    note = f"{where}: test is fold {number + 1} of {folds} by class and seed {seed}{note}"
    return dataclasses.replace(layout, splits={split: splits[split] for split in SPLITS}, note=note)


def in_order(layout: Layout, classes: Sequence[str], where: str) -> Layout:
    """The layout with its classes numbered in the order given. Raises BadInput where these are not its classes."""
    if sorted(classes) != sorted(layout.classes) or len(set(classes)) < len(classes):
        raise BadInput(
            f"{where}: the order {', '.join(classes)} given, classes {', '.join(layout.classes)} found; give each of "
            "them once"
        )
    place = [classes.index(name) for name in layout.classes]
    splits = {}
    for split, items in layout.splits.items():
        labels, ignore = (
            tuple(tuple(sorted(place[label] for label in some)) for some in column)
            for column in (items.labels, items.ignore)
        )
        splits[split] = dataclasses.replace(items, labels=labels, ignore=ignore)
    return dataclasses.replace(layout, splits=splits, classes=tuple(classes))


def cut_whole(items: Labelled, where: str, seed: int) -> tuple[dict[str, Labelled], str]:
    """(train, val and test of images that have no splits, a sentence on them)."""
    note = f"{where}: {_shares(WHOLE)} of each class by seed {seed}" + _together(items)
    return _none_empty(stratified_split(items, WHOLE, seed), where, WHOLE, "splits of its own"), note


def cut_val(splits: Mapping[str, Labelled], seed: int, where: str) -> tuple[dict[str, Labelled], str]:
    """(the splits with val cut from train, the rest of a sentence on it)."""
    note = f"; val is {_shares(VAL_OF_TRAIN)} of train by class and seed {seed}" + _together(splits["train"])
    cut = _none_empty(stratified_split(splits["train"], VAL_OF_TRAIN, seed), where, VAL_OF_TRAIN, "a val of its own")
    return {**splits, **cut}, note


def _none_empty(
    splits: dict[str, Labelled], where: str, shares: Mapping[str, float], remedy: str
) -> dict[str, Labelled]:
    """The splits; BadInput where one has no image, as shares of one or two images of a class are rounded."""
    empty = [split for split, items in splits.items() if not len(items)]
    if empty:
        total = sum(map(len, splits.values()))
        classes = len({labels for items in splits.values() for labels in items.labels})
        raise BadInput(
            f"{where}: {total} images of {classes} classes, of which {_shares(shares)} leave {' and '.join(empty)} "
            f"without an image; expected 3 images or more of a class, give more or {remedy}"
        )
    return splits


def read_folder_split(folder: Path, split: str) -> Labelled:
    """One split of a folder, its classes numbered in the order of their names."""
    path = folder / split
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; expected {split}/<class>/*")
    return folder_items(folder, path, class_folders(path))


def _require_images(folder: Path, items: Labelled) -> None:
    if len(items):
        return
    flat = images_lie_in(folder) if folder.is_dir() else 0
    found = f"{flat} images in no class folder found" if flat else "no images found"
    raise BadInput(
        f"{folder}: {found}; expected <class>/<image> files ending in {' '.join(IMAGE_SUFFIXES)}; for labels in a "
        "list, give a table with the columns path and label"
    )


def _shares(fractions: Mapping[str, float]) -> str:
    return " / ".join(f"{share:.0%} {name}" for name, share in fractions.items())
