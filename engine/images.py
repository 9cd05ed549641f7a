"""Labelled image files, and the uint8 squares that models see: eval and train views, in batches, in order."""

import collections
import dataclasses
import functools
import hashlib
import io
import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image, UnidentifiedImageError
from torch import Tensor

from engine.encoded import content_digest, encoded
from engine.errors import BadImages, BadInput
from engine.models import View

IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif")
Pixels = NDArray[np.uint8]


@dataclasses.dataclass(frozen=True)
class Labelled:
    """Image files and their classes, in an order that never changes.

    paths: seen from `root`; files, or ranges of bytes in them (engine/encoded.py). labels: class indices of each
    image; one each unless the task is multi-label. Each of the others is empty or has an entry per image.
    ignore: classes of which nobody can say whether they hold (VOC's "difficult"), left out by metrics that can.
    groups: what must stay on one side of a split (a patient, a place). weights: how much an image counts.
    """

    root: str
    paths: tuple[str, ...]
    labels: tuple[tuple[int, ...], ...]
    ignore: tuple[tuple[int, ...], ...] = ()
    groups: tuple[str, ...] = ()
    weights: tuple[float, ...] = ()

    def __post_init__(self) -> None:
        if len(self.paths) != len(self.labels):
            raise BadInput(f"{len(self.paths)} paths and {len(self.labels)} labels; expected as many of each")
        for name in ("ignore", "groups", "weights"):
            if len(getattr(self, name)) not in (0, len(self.paths)):
                raise BadInput(f"{len(self.paths)} paths and {len(getattr(self, name))} {name}; expected none or all")

    def __len__(self) -> int:
        return len(self.paths)

    def file(self, index: int) -> Path:
        return Path(self.root, self.paths[index])

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

        columns = (self.paths, self.labels, self.ignore, self.groups, self.weights)
        return Labelled(self.root, *map(taken, columns))

    def __add__(self, other: "Labelled") -> "Labelled":
        """Both, one after the other; paths become absolute where the roots differ."""
        columns: list[tuple[Any, ...]] = [self.labels + other.labels]
        for name, absent in (("ignore", ()), ("groups", ""), ("weights", 1.0)):
            mine, others = getattr(self, name), getattr(other, name)
            filled = (mine or (absent,) * len(self)) + (others or (absent,) * len(other))
            columns.append(filled if mine or others else ())
        if self.root == other.root:
            return Labelled(self.root, self.paths + other.paths, *columns)
        paths = [str(items.file(i).absolute()) for items in (self, other) for i in range(len(items))]
        return Labelled("/", tuple(paths), *columns)

    @functools.cached_property
    def content_digest(self) -> str:
        """Names the images by their bytes, in order; labels and file names have no part in it."""
        return hashlib.sha256("".join(self.file_digests()).encode()).hexdigest()[:16]

    def file_digests(self) -> list[str]:
        """SHA-256 of each file, "unreadable" where there is none; each is read once per process."""
        with ThreadPoolExecutor(_default_workers()) as pool:
            return list(pool.map(lambda i: content_digest(self.file(i)), range(len(self))))


def read_image(path: str | os.PathLike[str]) -> Image.Image:
    """The file's first frame in RGB. EXIF orientation is not applied; alpha is dropped, as in timm.

    Raises BadImages with the reason for a file that is missing, empty, truncated or no image.
    """
    data = None
    try:
        data = encoded(path)
        with Image.open(io.BytesIO(data)) as image:
            if image.mode in ("I;16", "I;16B", "I;16L", "I;16N", "I"):
                # Pillow would clip 16-bit grey to 255 instead of scaling it.
                return Image.fromarray((np.asarray(image).astype(np.uint32) >> 8).astype(np.uint8)).convert("RGB")
            if image.mode == "P" and "transparency" in image.info:
                return image.convert("RGBA").convert("RGB")
            return image.convert("RGB")
    except UnidentifiedImageError as error:
        reason = "empty file" if not data else "not an image of a known format"
        raise BadImages([(str(path), reason)]) from error
    except FileNotFoundError as error:
        raise BadImages([(str(path), "no such file")]) from error
    except Exception as error:  # decoders raise OSError, SyntaxError, ValueError, struct.error, ...
        raise BadImages([(str(path), f"{type(error).__name__}: {error}")]) from error


@functools.cache
def eval_view(view: View) -> Callable[[Image.Image], Pixels]:
    """timm's own evaluation transform up to the last step before normalisation: uint8 [3, side, side]."""
    from timm.data import create_transform

    transform = create_transform(
        input_size=(3, view.side, view.side),
        interpolation=view.interpolation,
        crop_pct=view.crop_pct,
        crop_mode=view.crop_mode,
        use_prefetcher=True,  # leaves out the float conversion and normalisation, which the graph does
    )
    return lambda image: np.asarray(transform(image))


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What training does to an image. scale: the crop's share of the area; ratio: its width over height."""

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0


def train_view(image: Image.Image, view: View, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    """A random crop resized to the square and perhaps flipped: uint8 [3, side, side].

    The crop is drawn as in Szegedy et al. 2015 (Inception), section 6; all chance comes from `rng`,
    so that an image's view depends on the seed, the epoch and its index, and on nothing else.
    """
    left, top, width, height = _random_crop(image.width, image.height, augmentation, rng)
    square = image.resize(
        (view.side, view.side),
        _resample(view.interpolation),
        box=(left, top, left + width, top + height),
    )
    pixels = np.asarray(square)
    if rng.random() < augmentation.hflip:
        pixels = pixels[:, ::-1]
    if rng.random() < augmentation.vflip:
        pixels = pixels[::-1]
    return pixels.transpose(2, 0, 1)


def batches(
    items: Labelled,
    view: View,
    size: int,
    *,
    workers: int | None = None,
    start: int = 0,
    make: Callable[[int], Pixels] | None = None,
) -> Iterator[Tensor]:
    """The images from number `start` on, in order: uint8 [b, 3, side, side], b = size but for the last.

    `make` gives image i's pixels; by default its eval view. Threads decode ahead, two batches at most,
    and the order is the items' for any size and any number of workers.
    Raises BadImages at the end of the pass, naming every unreadable file; no batch follows the first of them.
    """
    square = eval_view(view)
    produce = make or (lambda index: square(read_image(items.file(index))))
    bad: list[tuple[str, str]] = []
    ahead: collections.deque[list[Future[Pixels]]] = collections.deque()
    starts = iter(range(start, len(items), size))
    with ThreadPoolExecutor(workers or _default_workers()) as pool:
        try:
            while True:
                while len(ahead) < 2 and (first := next(starts, None)) is not None:
                    ahead.append([pool.submit(produce, i) for i in range(first, min(first + size, len(items)))])
                if not ahead:
                    break
                pixels = []
                for future in ahead.popleft():
                    try:
                        pixels.append(future.result())
                    except BadImages as error:
                        bad.extend(error.problems)
                if not bad:
                    yield torch.from_numpy(np.stack(pixels))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if bad:
        raise BadImages(bad)


def _random_crop(
    width: int, height: int, augmentation: Augmentation, rng: np.random.Generator
) -> tuple[float, float, float, float]:
    for _ in range(10):
        area = width * height * rng.uniform(*augmentation.scale)
        ratio = np.exp(rng.uniform(*np.log(augmentation.ratio)))
        w, h = float(np.sqrt(area * ratio)), float(np.sqrt(area / ratio))
        if w <= width and h <= height:
            return rng.uniform(0, width - w), rng.uniform(0, height - h), w, h
    short = min(width, height)
    return (width - short) / 2, (height - short) / 2, short, short


def _resample(interpolation: str) -> Image.Resampling:
    try:
        return Image.Resampling[interpolation.upper()]
    except KeyError:
        raise BadInput(
            f"no interpolation named {interpolation!r}; one of {', '.join(r.name.lower() for r in Image.Resampling)}"
        ) from None


def _default_workers() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
