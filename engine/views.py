"""The uint8 squares that models see, made of decoded images: eval views, exact and fast, and train views."""

import dataclasses
import functools
import math
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from engine.errors import BadInput
from engine.models import View

Pixels = NDArray[np.uint8]


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


@functools.cache
def fast_view(view: View) -> Callable[[Tensor], Pixels] | None:
    """The eval view of decoded pixels uint8 [3, height, width] by torchvision's uint8 kernels, outside the GIL.

    They antialias as Pillow does, with coefficients of 15 bits in place of 22: the squares differ from the exact
    ones by one grey level in one value of 200, and in bicubic by two in one of a million (measured,
    benchmarks/extract.md). None for views that only the exact way makes: other crops and interpolations.
    """
    if view.crop_mode != "center" or view.interpolation not in ("bilinear", "bicubic"):
        return None
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.v2 import functional

    short = math.floor(view.side / view.crop_pct)
    mode = InterpolationMode(view.interpolation)

    def square(pixels: Tensor) -> Pixels:
        resized = functional.resize(pixels, [short], interpolation=mode, antialias=True)
        return functional.center_crop(resized, [view.side, view.side]).numpy()

    return square


def pixels_of(image: Image.Image) -> Tensor:
    """uint8 [3, height, width] of an RGB image, its channels last in memory."""
    return torch.from_numpy(np.array(image)).permute(2, 0, 1)


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
