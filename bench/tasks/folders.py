"""Class folders and lists of image files on the disk."""

import collections
import functools
import os
import unicodedata
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.images import Labelled, count_left_out, file_of, image_files, is_hidden, is_image_name

from .class_names import class_order

ARCHIVES = (".zip", ".gz", ".tgz", ".bz2", ".xz", ".zst", ".7z", ".rar")


def labelled_files(root: Path, paths: Sequence[str], labels: Iterable[int | tuple[int, ...]], **more: Any) -> Labelled:
    numbers = tuple(label if isinstance(label, tuple) else (int(label),) for label in labels)
    return Labelled(str(root.absolute()), tuple(paths), numbers, **more)


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of a folder's folders in the order of classes; hidden ones are no classes."""
    return class_order(p.name for p in folder.iterdir() if p.is_dir() and not is_hidden(p.name))


def images_lie_in(folder: Path) -> int:
    """The number of images directly in a folder."""
    return sum(is_image_name(path.name) and path.is_file() for path in folder.iterdir())


def folder_items(
    root: Path, folder: Path, classes: Sequence[str], left_out: collections.Counter[str] | None = None
) -> Labelled:
    """The images under `folder/<class>`, sorted within each class; paths are seen from root.

    left_out: as in `image_files`; images that lie in no class folder are counted, too.
    """
    paths, labels = [], []
    for number, name in enumerate(classes):
        members = folder / name
        found = image_files(members, left_out) if members.is_dir() else []
        paths += [f"{members.relative_to(root).as_posix()}/{path}" for path in found]
        labels += [(number,)] * len(found)
    if left_out is not None:
        count_left_out((path.name for path in folder.iterdir() if path.is_file()), left_out)
        if strays := images_lie_in(folder):
            left_out["images in no class folder"] += strays
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
            f"{items.paths[absent[0]]} is not there{where_else(items.root, items.paths[absent[0]])}; the download is "
            "partial, fetch and unpack it again"
        )


def refuse_file(path: Path) -> None:
    """Raise BadInput for a file where a folder or a table is expected, with what to do with it."""
    if not path.exists() or path.is_dir():
        return
    if path.suffix.lower() in (".csv", ".parquet", ".pq", ".tar"):
        raise BadInput(f"{path}: a file found, a folder expected; give it as csv, parquet or images, not as folder")
    if path.name.lower().endswith(ARCHIVES):
        remedy = "unpack it and give the folder"
    elif is_image_name(path.name):
        remedy = "give the folder that the image lies in"
    else:
        remedy = "save it as one of them"
    raise BadInput(
        f"{path}: a file that is no data by its suffix; expected a folder, or a .csv, .parquet or .tar file; {remedy}"
    )


def where_else(root: str, path: str) -> str:
    """Where a file that is not there lies instead, to be added to what is said of it; nothing where nobody knows."""
    if "\\" in path:
        return "; write / for \\"
    for form in ("NFC", "NFD"):
        if os.path.exists(os.path.join(root, unicodedata.normalize(form, path))):
            return f"; a name of another Unicode form ({form}) is there, rename one"
    parts = file_of(path).split("/")
    for at, part in enumerate(parts[:-1], 1):
        deeper = "/".join([*parts[:at], part])
        if os.path.exists(os.path.join(root, deeper, *parts[at:])):
            return f"; it is one folder deeper, in {deeper}: move what is in there one folder up"
    return ""


def require_writable(folder: Path) -> None:
    """Make the folder now, so that who cannot write there learns it before the work."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        writable = os.access(folder, os.W_OK)
    except OSError as error:
        raise BadInput(f"cannot write {folder}: {error.strerror}; choose another --out") from error
    if not writable:
        raise BadInput(f"cannot write {folder}: no permission; choose another --out")
