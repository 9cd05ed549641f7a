"""Where a user's images lie and which split each belongs to: a folder, or a table of paths and labels."""

import dataclasses
import functools
import operator
from collections.abc import Mapping
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.images import IMAGE_SUFFIXES, Labelled

from .folders import absent_files, class_folders, folder_items
from .splits import k_folds, straddling_groups, stratified_split
from .tables import items_of_table, read_table
from .task import SPLITS

WHOLE = {"train": 0.6, "val": 0.2, "test": 0.2}  # of one folder that has no splits
VAL_OF_TRAIN = {"train": 0.8, "val": 0.2}  # Kornblith's re-implementations hold out 20 %
# Names of splits, in any case, and what they are called here.
SYNONYMS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
            "test": "test", "testing": "test"}  # fmt: skip

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
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the folder that holds the images")
    present = {split: split_folder(folder, split) for split in SPLITS}
    found = [split for split, path in present.items() if path]
    if not found:
        classes = class_folders(folder)
        items = folder_items(folder, folder, classes)
        _require_images(folder, items)
        splits, note = cut_whole(items, str(folder), seed)
        return Layout(splits, classes, note, cut=True)
    missing = [split for split in ("train", "test") if not present[split]]
    if missing:
        raise BadInput(
            f"{folder}: has {' and '.join(found)} but no {' and no '.join(missing)} folder; "
            "expected train/<class>/* and test/<class>/* (and val), or <class>/* without splits"
        )
    classes = tuple(sorted({name for path in present.values() if path for name in class_folders(path)}))
    splits = {split: folder_items(folder, path, classes) for split, path in present.items() if path}
    for split, items in splits.items():
        _require_images(folder / split, items)
    note = f"{folder}: its own splits"
    if "val" not in splits:
        splits, cut = cut_val(splits, seed)
        note += cut
    return Layout({split: splits[split] for split in SPLITS}, classes, note)


def table_layout(file: Path, seed: int) -> Layout:
    """A table with the columns path and label, and perhaps split (train, val, test) and group.

    Several labels are separated by `|`, or there is a column `label:<class>` of 0 and 1 for each class instead of
    `label` (-1: unknown). Paths are seen from the table's folder. A group never straddles splits.
    """
    table = read_table(file)
    items, classes, several = items_of_table(file, table)
    if "split" in table:
        splits, note = _own_splits(file, table["split"], items, seed)
    else:
        splits, note = cut_whole(items, str(file), seed)
    _check_table(file, items)
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
        splits, cut = cut_val(splits, seed)
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
        slash = "; write / for \\" if "\\" in path else ""
        raise BadInput(
            f"{file}: {len(items)} images expected under {items.root}, {len(items) - len(absent)} found, {path} is not "
            f"there; paths are seen from the table's folder{slash}"
        )


def _together(items: Labelled) -> str:
    return ", groups kept together" if any(items.groups) else ""


def fold_layout(layout: Layout, where: str, number: int, folds: int, seed: int) -> Layout:
    """The layout with fold `number`, from 0, of so many as test, and val cut from the rest."""
    if not layout.cut:
        raise BadInput(f"{where}: its own test split found, {folds} folds asked for; give images without splits")
    whole = functools.reduce(operator.add, layout.splits.values())
    rest, held = k_folds(whole, folds, seed)[number]
    splits, note = cut_val({"train": rest, "test": held}, seed)
    note = f"{where}: test is fold {number + 1} of {folds} by class and seed {seed}{note}"
    return dataclasses.replace(layout, splits={split: splits[split] for split in SPLITS}, note=note)


def cut_whole(items: Labelled, where: str, seed: int) -> tuple[dict[str, Labelled], str]:
    """(train, val and test of images that have no splits, a sentence on them)."""
    note = f"{where}: {_shares(WHOLE)} of each class by seed {seed}" + _together(items)
    return stratified_split(items, WHOLE, seed), note


def cut_val(splits: Mapping[str, Labelled], seed: int) -> tuple[dict[str, Labelled], str]:
    """(the splits with val cut from train, the rest of a sentence on it)."""
    note = f"; val is {_shares(VAL_OF_TRAIN)} of train by class and seed {seed}" + _together(splits["train"])
    return {**splits, **stratified_split(splits["train"], VAL_OF_TRAIN, seed)}, note


def split_folder(folder: Path, split: str) -> Path | None:
    """train, or Validation for val, where it is a folder."""
    of_split = sorted(name for name in class_folders(folder) if SYNONYMS.get(name.lower()) == split)
    if len(of_split) > 1:
        raise BadInput(
            f"{folder}: {' and '.join(of_split)} found, one folder for {split} expected; join or rename them"
        )
    return folder / of_split[0] if of_split else None


def read_folder_split(folder: Path, split: str) -> Labelled:
    """One split of a folder, its classes numbered in the order of their names."""
    path = folder / split
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; expected {split}/<class>/*")
    return folder_items(folder, path, class_folders(path))


def _require_images(folder: Path, items: Labelled) -> None:
    if not len(items):
        suffixes = " ".join(IMAGE_SUFFIXES)
        raise BadInput(f"{folder}: no images found; expected <class>/<image> files ending in {suffixes}")


def _shares(fractions: dict[str, float]) -> str:
    return " / ".join(f"{share:.0%} {name}" for name, share in fractions.items())
