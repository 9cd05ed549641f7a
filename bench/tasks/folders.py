"""Class folders and lists of image files on the disk."""

import functools
import os
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.images import Labelled, file_of, image_files


def labelled_files(root: Path, paths: Sequence[str], labels: Iterable[int | tuple[int, ...]], **more: Any) -> Labelled:
    numbers = tuple(label if isinstance(label, tuple) else (int(label),) for label in labels)
    return Labelled(str(root.absolute()), tuple(paths), numbers, **more)


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of a folder's folders, sorted; hidden ones are no classes."""
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def folder_items(root: Path, folder: Path, classes: Sequence[str]) -> Labelled:
    """The images under `folder/<class>`, sorted within each class; paths are seen from root."""
    paths, labels = [], []
    for number, name in enumerate(classes):
        members = folder / name
        found = image_files(members) if members.is_dir() else []
        paths += [f"{members.relative_to(root).as_posix()}/{path}" for path in found]
        labels += [(number,)] * len(found)
    return Labelled(str(root.absolute()), tuple(paths), tuple(labels))


def absent_files(items: Labelled) -> list[int]:
    """The indices of images that are not on the disk."""
    found = functools.cache(os.path.isfile)  # many images may lie in one file
    return [i for i in range(len(items)) if not found(file_of(os.path.join(items.root, items.paths[i])))]


def require_files(items: Labelled) -> None:
    """Raise BadInput with the count and the first of the listed images that are not on the disk."""
    absent = absent_files(items)
    if absent:
        raise BadInput(
            f"{items.root}: {len(items)} listed images expected, {len(items) - len(absent)} found, "
            f"{items.paths[absent[0]]} is not there; the download is partial, fetch and unpack it again"
        )


def require_writable(folder: Path) -> None:
    """Make the folder now, so that who cannot write there learns it before the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise BadInput(f"cannot write {folder}: {error.strerror}; choose another --out") from error
    if not writable:
        raise BadInput(f"cannot write {folder}: no permission; choose another --out")
