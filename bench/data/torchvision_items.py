"""What a data set of torchvision holds: its images as an array, as files, or drawn one by one; its targets."""

import contextlib
import hashlib
import io
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featune.engine.errors import BadInput
from featune.engine.store import digest

from ..progress import Progress
from .request import Request
from .tar_members import Pack

SHOWN = 256  # images between two signs of progress, which would cost more than the images


def pixels_of(found: Any) -> np.ndarray | None:
    """The images as one array, where the data set holds them so."""
    data = getattr(found, "data", None)
    if data is None or not (isinstance(data, np.ndarray) or type(data).__module__ == "torch"):
        return None
    return np.ascontiguousarray(data) if len(data) == len(found) else None


def listed(request: Request, found: Any, count: int, progress: Progress) -> tuple[list[str], list[Any]]:
    """(file of each image, target of each); no files where the data set opens none.

    Raises BadInput for a data set whose items are no image and target, such as videos or pairs of images.
    """
    paths, targets = [], []
    with progress.stage(f"listing {request.text}") as advance, _files_unread() as opened:
        for number in range(count):
            opened.clear()
            image, target = _image_and_target(request, found[number])
            if not isinstance(image, Image.Image):
                opened.insert(0, os.fspath(image))
            paths += [os.path.abspath(path) for path in opened[:1]]
            targets.append(None if request.target_key == "" else _class(request, target))
            if number % SHOWN == 0 or number + 1 == count:
                advance(number + 1, count)
    if len(paths) not in (0, count):
        raise BadInput(f"{request.text}: {count} files expected, {len(paths)} found; give a folder or a table of them")
    return paths, targets


def _image_and_target(request: Request, item: Any) -> tuple[Any, Any]:
    """(image or its path, target), or BadInput for what has neither."""
    parts = item if isinstance(item, tuple) else (item,)
    if len(parts) != 2 or not isinstance(parts[0], (str, os.PathLike, Image.Image)):
        found = ", ".join(type(part).__name__ for part in parts)
        raise BadInput(
            f"{request.text}: an image and its target expected of each item, {found} found; give a folder or a table "
            "of its images"
        )
    return parts[0], parts[1]


@contextlib.contextmanager
def _files_unread() -> Iterator[list[str]]:
    """In this block Pillow notes the files that it is to open instead of reading them, and gives one pixel.

    Many of torchvision's classes open an image where they take it, and keep its path nowhere.
    """
    opened: list[str] = []
    read = Image.open

    def note(file: Any, *more: Any, **named: Any) -> Image.Image:
        if not isinstance(file, (str, os.PathLike)):
            return read(file, *more, **named)
        opened.append(os.fspath(file))
        return Image.new("RGB", (1, 1))

    Image.open = note  # type: ignore[assignment]
    try:
        yield opened
    finally:
        Image.open = read


def _class(request: Request, value: Any) -> Any:
    """A class, or several: a column of 0 and 1 as CelebA's attributes are the numbers of its ones."""
    if hasattr(value, "ndim"):
        array = np.asarray(value)
        if array.ndim == 0:
            return array.item()
        if array.ndim == 1 and np.isin(array, (0, 1)).all():
            return np.flatnonzero(array).tolist()
    elif value is None or isinstance(value, (str, int)):
        return value
    raise BadInput(f"{request.text}: the target is {type(value).__name__}, no class; leave it out by --target-key ''")


def pack_of(found: Any, pixels: np.ndarray | None, count: int, progress: Progress) -> Pack:
    """How to write the images that no file holds, under a name that says what they depend on."""

    def draw(number: int) -> tuple[str, bytes]:
        encoded = io.BytesIO()
        found[number][0].save(encoded, "PNG", compress_level=1)
        return f"{number:08}.png", encoded.getvalue()

    folder, total = getattr(found, "_base_folder", None), len(found)
    if pixels is not None:
        content: list[Any] = [hashlib.sha256(pixels.data).hexdigest(), pixels.shape]
    elif folder is not None:  # a file that is opened anew for every image, as PCAM's: its state stands for it
        content = [_state(Path(folder)), getattr(found, "_split", None)]
    else:
        content, total = [_drawn(found, count, progress), count], count
    return Pack(f"{type(found).__name__.lower()}-{digest(content)}", total, draw)


def _state(folder: Path) -> list[tuple[str, int, int]]:
    """Name, size and time of every file below."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return [(str(path.relative_to(folder)), path.stat().st_size, path.stat().st_mtime_ns) for path in files]


def _drawn(found: Any, count: int, progress: Progress) -> str:
    """SHA-256 of the pixels of the first images."""
    seen = hashlib.sha256()
    with progress.stage(f"hashing {type(found).__name__}") as advance:
        for number in range(count):
            pixels = np.asarray(found[number][0])
            seen.update(f"{pixels.shape}{pixels.dtype}".encode() + pixels.tobytes())
            if number % SHOWN == 0 or number + 1 == count:
                advance(number + 1, count)
    return seen.hexdigest()


def targets_of(found: Any) -> list[Any]:
    """The targets that lie beside the array, or None for each."""
    targets = getattr(found, "targets", None)
    targets = getattr(found, "labels", None) if targets is None else targets
    return np.asarray(targets).tolist() if targets is not None else [None] * len(found)


def names_of(found: Any) -> list[str] | None:
    """The classes' names, under the attribute that the data set has."""
    for attribute in ("classes", "categories", "attr_names"):
        names = getattr(found, attribute, None)
        if isinstance(names, (list, tuple)) and names:
            return [name if isinstance(name, str) else ", ".join(name) for name in names if name]
    return None
