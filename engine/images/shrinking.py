"""Images that have more pixels than random crops can use, made smaller once, while they are decoded."""

import dataclasses
import math
from collections.abc import Callable

from PIL import Image

FILTER = Image.Resampling.LANCZOS
GAP = 3.0  # of Pillow: from there on, reducing by whole numbers first cannot be told from resizing alone


@dataclasses.dataclass(frozen=True)
class Shrinking:
    """How small an image may become for a training's crops.

    side: pixels of the squares that crops become. short: the shorter side's pixels that must be left. scale, ratio: of
    the crops, as in `Augmentation`.
    """

    side: int
    short: int
    scale: tuple[float, float]
    ratio: tuple[float, float]

    def size(self, width: int, height: int) -> tuple[int, int] | None:
        """(width, height) at which the smallest crop still has `side` pixels; None for an image that stays as it is.

        A crop of share s and ratio r is sqrt(s r width height) wide and sqrt(s / r width height) high. Since neither
        exceeds the image's, each is at least s of it. Where none fits, the crop is the square in the middle.
        """
        share = min(self.scale)
        narrow = max(math.sqrt(share * width * height * min(self.ratio)), share * width)
        flat = max(math.sqrt(share * width * height / max(self.ratio)), share * height)
        smallest, short = min(narrow, flat, width, height), min(width, height)
        if smallest <= self.side or short <= self.short:
            return None
        factor = max(self.side / smallest, self.short / short)
        size = math.ceil(width * factor), math.ceil(height * factor)
        return size if size != (width, height) else None


def shrunk(image: Image.Image, load: Callable[[Image.Image], Image.Image], shrinking: Shrinking) -> Image.Image:
    """What `load` makes of an opened file, at the size of the shrinking.

    A JPEG is decoded at a half, quarter or eighth where that leaves enough, which takes a fraction of the time
    ("shrink on load", as libvips calls it); the rest is done by an antialiasing filter.
    """
    size, box = shrinking.size(*image.size), None
    if size and image.format in ("JPEG", "MPO") and image.mode in ("L", "RGB"):
        drafted = image.draft(None, size)
        box = drafted and drafted[1]
    loaded = load(image)
    if box is None:  # a TIFF may be turned when it is loaded
        size = shrinking.size(*loaded.size)
    return _resized(loaded, size, box) if size else loaded


def _resized(image: Image.Image, size: tuple[int, int], box: tuple[float, float, float, float] | None) -> Image.Image:
    """Channels other than grey or RGB one by one: Pillow would weight them by the one that it takes for alpha."""
    bands = (image,) if image.mode in ("L", "RGB") else image.split()
    made = [band.resize(size, FILTER, box=box, reducing_gap=GAP) for band in bands]
    return made[0] if len(made) == 1 else Image.merge(image.mode, made)
