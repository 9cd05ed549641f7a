"""Which folders are splits, and which are classes that are called so."""

from collections.abc import Iterable
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.images import holds_images

from .folders import class_folders
from .task import SPLITS

# Names of splits, in any case, and what they are called here.
SYNONYMS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
            "test": "test", "testing": "test"}  # fmt: skip


def split_folder(folder: Path, split: str) -> Path | None:
    """train, or Validation for val, where it is a folder."""
    of_split = sorted(name for name in class_folders(folder) if SYNONYMS.get(name.lower()) == split)
    if len(of_split) > 1:
        raise BadInput(
            f"{folder}: {' and '.join(of_split)} found, one folder for {split} expected; join or rename them"
        )
    return folder / of_split[0] if of_split else None


def named_folders(folder: Path) -> dict[str, Path]:
    """The folders that are called as splits are."""
    return {split: path for split in SPLITS if (path := split_folder(folder, split))}


def beside_splits(folder: Path) -> list[str]:
    """The folders with images that are not called as splits are."""
    return [name for name in class_folders(folder) if name.lower() not in SYNONYMS and holds_images(folder / name)]


def split_folders(folder: Path) -> dict[str, Path]:
    """The folders of the splits; none where a folder is a class that is called as a split is: airplane, bus, train.

    Folders are splits where no other folder with images lies beside them, or where train and test are there with class
    folders in them. One alone with images right in it, beside others, is a class. Raises BadInput for the rest.
    """
    named = named_folders(folder)
    others = beside_splits(folder) if named else []
    if not others:
        return named
    called = [path.name for path in named.values()]
    flat = [path for path in named.values() if not any(holds_images(path / name) for name in class_folders(path))]
    if len(named) == 1 and flat:
        return {}
    if {"train", "test"} <= named.keys() and not flat:
        return named
    raise BadInput(
        f"{folder}: {' and '.join(called)} beside {', '.join(others[:3])}, all with images, are splits or classes; "
        "expected train/<class>/* and test/<class>/*, or <class>/* of other names; if they are classes, rename them or "
        "give a table with the columns path and label, if they are splits, move the others away"
    )


def describe_beside(folder: Path, splits: Iterable[Path]) -> str:
    """A sentence on the folders with images that are no splits, or nothing where there are none."""
    known = {path.name for path in splits}
    others = [name for name in beside_splits(folder) if name not in known]
    return f"folders beside the splits are left out: {', '.join(others[:5])}" if others else ""
