"""Images that lie as files: a folder, a tar of one, a table of paths and labels, a prepared task."""

import collections
import dataclasses
import functools
import operator
import posixpath
from collections.abc import Iterable, Sequence
from pathlib import Path, PurePosixPath

from featune.engine.errors import BadInput, nearest
from featune.engine.images import (
    IMAGE_SUFFIXES,
    address,
    count_left_out,
    describe_left_out,
    image_files,
    is_hidden,
    is_image_name,
)

from ..generated import generated_folder, splits_of
from ..progress import Progress
from ..tasks import (
    CLASS,
    SYNONYMS,
    Table,
    class_folders,
    class_order,
    describe_beside,
    folder_items,
    items_of_table,
    load_task,
    named_folders,
    paths_of,
    read_table,
    split_folders,
)
from .request import ALL, Data, Request, numbered, unlabelled
from .tar_members import Member, members


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
    asked = request.split
    there = named_folders(folder) if asked else split_folders(folder)
    if asked and asked != ALL and SYNONYMS.get(asked.lower(), asked) not in there and (folder / asked).is_dir():
        there[asked] = folder / asked
    splits = [there[name] for name in chosen_splits(request, there)] or [folder]
    left_out: collections.Counter[str] = collections.Counter()
    classes: tuple[str, ...] = ()
    if any(_has_images(path) for path in splits):
        within = [(path.relative_to(folder).as_posix(), path) for path in splits]
        paths = (
            posixpath.normpath(f"{name}/{image}") for name, path in within for image in image_files(path, left_out)
        )
        items = unlabelled(folder.absolute(), paths)
    else:
        classes = class_order(name for path in there.values() or splits for name in class_folders(path))
        items = functools.reduce(operator.add, (folder_items(folder, path, classes, left_out) for path in splits))
    told = (describe_beside(folder, there.values()) if there else "", describe_left_out(left_out))
    if not len(items):
        raise BadInput(
            f"{folder}: no images found; expected files ending in {' '.join(IMAGE_SUFFIXES)}"
            f"{f', {told[1]}' if told[1] else ''}"
        )
    return Data(request.name, items, classes, tuple(filter(None, told)))


def read_generated(request: Request, progress: Progress) -> Data:
    """`generated/NAME[:SEED]`, drawn where it is not there yet."""
    return dataclasses.replace(read_folder(request, generated_folder(request.rest)), name=request.name)


def generated_splits(request: Request, progress: Progress) -> list[str]:
    return splits_of(request.rest)


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


def read_tars(request: Request, path: Path, progress: Progress) -> Data:
    """A tar, or a folder of tars, of images: the class is an image's folder in it, else the tar's name if several.

    Splits are the tars, where all are called so, or the first folders in them, where these are and hold class folders.
    """
    left_out: collections.Counter[str] = collections.Counter()
    found = _images_of_tars(path, progress, left_out)
    root = path if path.is_dir() else path.parent
    split_of, note = _splits_of_tars([(tar, PurePosixPath(member.name).parts[:-1]) for tar, member in found])
    wanted = chosen_splits(request, dict.fromkeys(split_of))
    several = len({tar for tar, _ in found}) > 1 and not {tar.stem.lower() for tar, _ in found} <= SYNONYMS.keys()
    paths, names = [], []
    for (tar, member), split in zip(found, split_of or [""] * len(found), strict=True):
        if not split_of or split in wanted:
            paths.append(address(tar.name, member.offset, member.size))
            names.append(PurePosixPath(member.name).parent.name or (tar.stem if several else None))
    told = tuple(filter(None, (note, describe_left_out(left_out))))
    if not paths:
        more = "".join(f", {one}" for one in told)
        raise BadInput(f"{path}: no images found; expected files ending in {' '.join(IMAGE_SUFFIXES)}{more}")
    labels, classes = numbered(request.text, names)
    return Data(request.name, dataclasses.replace(unlabelled(root.absolute(), paths), labels=labels), classes, told)


def tar_splits(request: Request, progress: Progress) -> list[str]:
    """The splits of a tar, or a folder of tars; none where it has none."""
    found = _images_of_tars(Path(request.text), progress, collections.Counter())
    split_of, _ = _splits_of_tars([(tar, PurePosixPath(member.name).parts[:-1]) for tar, member in found])
    return list(dict.fromkeys(split_of))


def _images_of_tars(path: Path, progress: Progress, left_out: collections.Counter[str]) -> list[tuple[Path, Member]]:
    """(tar, member) of each image, those of a tar in the order of their names; hidden ones are none."""
    tars = sorted(tar for tar in path.glob("*.tar") if not is_hidden(tar.name)) if path.is_dir() else [path]
    found = []
    with progress.stage(f"listing {path.name}") as advance:
        for number, tar in enumerate(tars, 1):
            seen = [one for one in sorted(members(tar), key=lambda one: one.name) if not is_hidden(one.name)]
            found += [(tar, one) for one in seen if is_image_name(PurePosixPath(one.name).name)]
            count_left_out((PurePosixPath(one.name).name for one in seen), left_out)
            advance(number, len(tars))
    return found


def _splits_of_tars(places: Sequence[tuple[Path, tuple[str, ...]]]) -> tuple[list[str], str]:
    """(the split of each image by its tar or folders, none where there are none; a sentence on what is no split)."""
    tars, folders = {tar for tar, _ in places}, [parts for _, parts in places]
    if len(tars) > 1 and {tar.stem.lower() for tar in tars} <= SYNONYMS.keys():
        _require_one_each({tar.stem for tar in tars})
        return [SYNONYMS[tar.stem.lower()] for tar, _ in places], ""
    depth = 0  # of the first folder that is not the same for all
    while folders and all(len(parts) > depth and parts[depth] == folders[0][depth] for parts in folders):
        depth += 1
    names = {parts[depth] for parts in folders if len(parts) > depth}
    called = sorted(name for name in names if name.lower() in SYNONYMS)
    classes_below = all(len(parts) > depth + 1 for parts in folders)
    if len(called) > 1 and len(called) == len(names) and classes_below:
        _require_one_each(names)
        return [SYNONYMS[parts[depth].lower()] for parts in folders], ""
    if not called or (len(called) == 1 and len(names) > 1 and not classes_below):
        return [], ""  # one class of several that is called so
    return [], f"the folders {' and '.join(called)} in it are not taken as splits, for want of class folders in all"


def _require_one_each(names: set[str]) -> None:
    meant = collections.Counter(SYNONYMS[name.lower()] for name in names)
    twice = [split for split, count in meant.items() if count > 1]
    if twice:
        alike = sorted(name for name in names if SYNONYMS[name.lower()] == twice[0])
        raise BadInput(f"{' and '.join(alike)} found, one folder or tar for {twice[0]} expected; join or rename them")


def _meant(name: str) -> str:
    """A split's name as this house calls it."""
    return SYNONYMS.get(name.lower(), name.lower())


def _alike(request: Request, known: list[str]) -> list[str]:
    """The names in a table's column that mean the split that is asked for, all of them, as studies join them."""
    alike = [name for name in known if request.split is not None and _meant(name) == _meant(request.split)]
    return alike or chosen_splits(request, known)


def _has_images(folder: Path) -> bool:
    """Whether images lie directly in it."""
    return any(is_image_name(path.name) for path in folder.iterdir())


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
