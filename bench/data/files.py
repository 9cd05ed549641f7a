"""Images that lie as files: a folder, a table of paths and labels, a prepared task."""

import functools
import operator
import posixpath
from collections.abc import Iterable
from pathlib import Path

from featune.engine.errors import BadInput, nearest
from featune.engine.images import IMAGE_SUFFIXES, image_files

from ..tasks import (
    CLASS,
    SPLITS,
    SYNONYMS,
    Table,
    class_folders,
    folder_items,
    items_of_table,
    load_task,
    paths_of,
    read_table,
    split_folder,
)
from .request import ALL, Data, Request, unlabelled


def chosen_splits(request: Request, found: Iterable[str]) -> list[str]:
    """The names of the splits that are asked for, of those found; none where there are none and none is asked for.

    In any case of letters, and under any usual name: `validation` finds `Val`. Raises BadInput where one is asked for
    that is not there, or none of several.
    """
    known = list(found)
    if request.split in known:
        return [request.split]
    if request.split is not None:
        for called in (str.lower, _meant):
            alike = [name for name in known if called(name) == called(request.split)]
            if len(alike) == 1:
                return alike
    if request.split == ALL or (request.split is None and len(known) < 2):
        return known
    listed = ", ".join((*(name or "'' (blank)" for name in known), ALL)) if known else ""
    if request.split is None:
        raise BadInput(f"{request.text}: {len(known)} splits found; give --split, one of {listed}")
    expected = f"; one of {listed}" if known else ", it has no splits; leave --split out"
    raise BadInput(f"{request.text}: no split {request.split!r}{nearest(request.split, known)}{expected}")


def read_folder(request: Request, folder: Path) -> Data:
    """`train|val|test/<class>/*` (or other names of splits), `<class>/*`, or images without classes.

    Classes are numbered in the order of their names over all splits, so that a split's numbers are the task's.
    """
    there = {split: path for split in SPLITS if (path := split_folder(folder, split))}
    asked = request.split
    if asked and asked != ALL and SYNONYMS.get(asked.lower(), asked) not in there and (folder / asked).is_dir():
        there[asked] = folder / asked
    splits = [there[name] for name in chosen_splits(request, there)] or [folder]
    if any(_has_images(path) for path in splits):
        within = [(path.relative_to(folder).as_posix(), path) for path in splits]
        paths = (posixpath.normpath(f"{name}/{image}") for name, path in within for image in image_files(path))
        return Data(request.name, unlabelled(folder.absolute(), paths))
    classes = tuple(sorted({name for path in there.values() or splits for name in class_folders(path)}))
    items = functools.reduce(operator.add, (folder_items(folder, path, classes) for path in splits))
    if not len(items):
        raise BadInput(f"{folder}: no images found; expected files ending in {' '.join(IMAGE_SUFFIXES)}")
    return Data(request.name, items, classes)


def read_csv(request: Request, file: Path) -> Data:
    """A CSV or Parquet table; label, group, weight and split are columns that it may have."""
    table = _renamed(request, file, read_table(file))
    items, classes = unlabelled(file.parent.absolute(), paths_of(file, table)), tuple[str, ...]()
    if "label" in table or any(column.startswith(CLASS) for column in table):
        items, classes, _ = items_of_table(file, table)
    notes: tuple[str, ...] = ()
    if "split" in table or request.split:
        names = table.get("split", [])
        wanted = dict.fromkeys(_alike(request, list(dict.fromkeys(names))))
        items = items.take([at for at, name in enumerate(names) if name in wanted])
        if len(wanted) > 1 and request.split != ALL:
            notes = (f"{file}: split {request.split} is the lines of {', '.join(wanted)}",)
    return Data(request.name, items, classes, notes)


def read_task(request: Request, folder: Path) -> Data:
    """A prepared folder: task.json and a CSV per split."""
    task = load_task(folder)
    parts = [task.load(split) for split in chosen_splits(request, task.counts)]
    return Data(request.name, functools.reduce(operator.add, parts), task.classes, task.notes)


def _meant(name: str) -> str:
    """A split's name as this house calls it."""
    return SYNONYMS.get(name.lower(), name.lower())


def _alike(request: Request, known: list[str]) -> list[str]:
    """The names in a table's column that mean the split that is asked for, all of them, as studies join them."""
    alike = [name for name in known if request.split is not None and _meant(name) == _meant(request.split)]
    return alike or chosen_splits(request, known)


def _has_images(folder: Path) -> bool:
    """Whether images lie directly in it."""
    return any(p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".") for p in folder.iterdir())


def _renamed(request: Request, file: Path, table: Table) -> Table:
    """The table with the columns that the keys name under the names that the house reads."""
    named = {request.input_key: "path"} if request.input_key else {}
    if request.target_fields:
        named |= {field: f"{CLASS}{field}" for field in request.target_fields}
    elif request.target_key:
        named[request.target_key] = "label"
    for column in named:
        _column(file, table, str(column))
    targets = set(named.values())
    lost = {"label"} if request.target_key is not None else set()
    kept = {
        column: values
        for column, values in table.items()
        if column in named or not (column in targets | lost or (lost and column.startswith(CLASS)))
    }
    return {named.get(column, column): values for column, values in kept.items()}


def _column(file: Path, table: Table, name: str) -> list[str]:
    if name not in table:
        raise BadInput(f"{file}: no column {name}; found {', '.join(table) or 'nothing'}")
    return table[name]
