"""Labelled image files, in an order that never changes, and what names their content."""

import dataclasses
import functools
import hashlib
import os
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..errors import BadInput
from .decoding import check_channels
from .file_names import IMAGE_SUFFIXES, image_files
from .fingerprints import content_digests

COLUMNS = ("paths", "labels", "ignore", "groups", "weights")  # of Labelled: an entry per image each


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Image files and their classes, in an order that never changes.

    paths: seen from `root`; files, or ranges of bytes in them (`addresses.py`). labels: class indices of each
    image; one each unless the task is multi-label. Each of the others is empty or has an entry per image.
    ignore: classes that are unknown for an image (VOC's "difficult"); metrics that can leave them out do so.
    groups: what must stay on one side of a split (a patient, a place). weights: how much an image counts.
    channels: as which the files are read, all of them: 1 to 4, see `decoding.py`.
    """

    root: str
    paths: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    ignore: tuple[tuple[int, ...], ...] = ()
    groups: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()
    channels: int = 3

    def __post_init__(self) -> None:
        check_channels(self.channels)
        if len(self.paths) != len(self.labels):
            raise BadInput(f"{len(self.paths)} paths and {len(self.labels)} labels; expected as many of each")
        for name in ("ignore", "groups", "weights"):
            if len(getattr(self, name)) not in (0, len(self.paths)):
                raise BadInput(f"{len(self.paths)} paths and {len(getattr(self, name))} {name}; expected none or all")

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> Path:
        return Path(self.root, self.paths[index])

    def require_channels(self, channels: int) -> None:
        """Raises BadInput where a model of images of so many channels is to see these."""
        if channels != self.channels:
            raise BadInput(
                f"the model takes images of {channels} channel(s), the data under {self.root} is of {self.channels}; "
                f"choose a model of {self.channels}, or have the images read as {channels} with --in-chans"
            )

    def truth(self, classes: int, multilabel: bool = False, *, masked: bool = False) -> NDArray[Any]:
        """int64 [n], or bool [n, classes] where the task is multi-label.

        masked: int8 with -1 at the ignored pairs, if there are any, which are False otherwise.
        """
        if not multilabel:
            return np.array([label for (label,) in self.labels], dtype=np.int64)
        truth = np.zeros((len(self), classes), dtype=bool)
        for row, labels in zip(truth, self.labels, strict=True):
            row[list(labels)] = True
        if not (masked and any(self.ignore)):
            return truth
        judged = truth.astype(np.int8)
        for marks, ignored in zip(judged, self.ignore, strict=True):
            marks[list(ignored)] = -1
        return judged

    def take(self, indices: Sequence[int]) -> "Labelled":
        def taken(column: tuple[Any, ...]) -> tuple[Any, ...]:
            return tuple(column[i] for i in indices) if column else ()

        columns: dict[str, Any] = {name: taken(getattr(self, name)) for name in COLUMNS}
        return dataclasses.replace(self, **columns)

    def __add__(self, other: "Labelled") -> "Labelled":
        """Both, one after the other; paths become absolute where the roots differ."""
        if self.channels != other.channels:
            raise BadInput(f"images of {self.channels} and of {other.channels} channels; expected the same of both")
        columns: dict[str, Any] = {"labels": self.labels + other.labels}
        for name, absent in (("ignore", ()), ("groups", ""), ("weights", 1.0)):
            mine, others = getattr(self, name), getattr(other, name)
            filled = (mine or (absent,) * len(self)) + (others or (absent,) * len(other))
            columns[name] = filled if mine or others else ()
        if self.root == other.root:
            return dataclasses.replace(self, paths=self.paths + other.paths, **columns)
        paths = [str(items.file(i).absolute()) for items in (self, other) for i in range(len(items))]
        return dataclasses.replace(self, root="/", paths=tuple(paths), **columns)

    @functools.cached_property
    def content_digest(self) -> str:
        """Names the images by their bytes, in order; labels and file names have no part in it."""
        return name_of_content(self.file_digests())

    def file_digests(self) -> list[str]:
        """SHA-256 of each image's bytes, "unreadable" where there are none."""
        return content_digests([os.path.abspath(self.file(i)) for i in range(len(self))])


def name_of_content(files: Sequence[str]) -> str:
    """`content_digest` of images whose `file_digests` are known."""
    return hashlib.sha256("".join(files).encode()).hexdigest()[:16]


def folder_items(folder: Path) -> Labelled:
    """Every image file below a folder, in sorted order, without labels. Raises BadInput where there is none."""
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the folder that holds the images")
    paths = image_files(folder)
    if not paths:
        raise BadInput(f"{folder} holds no image files; expected {', '.join(IMAGE_SUFFIXES)}; add some or name another")
    return Labelled(str(folder), tuple(paths), ((),) * len(paths))
