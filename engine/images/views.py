"""The uint8 squares that models see, made of decoded images: eval views, exact and fast, and train views."""

import dataclasses
import functools
import math
import warnings
from collections.abc import Callable
from typing import Literal

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch.nn import functional

from ..errors import BadInput
from ..models import View
from ..store import added
from .augmenting import auto_augmented, check_channels_of, erased, jittered

Pixels = NDArray[np.uint8]


@functools.cache
def eval_view(view: View) -> Callable[[Image.Image], Pixels]:
    """timm's own evaluation transform up to the last step before normalisation: uint8 [channels, side, side].

    Channels other than red, green and blue are resized one by one: Pillow would weight them by the one that it takes
    for alpha.
    """
    if view.channels == 3:
        transform = _transform(view, view.fill)
        return lambda image: np.asarray(transform(image))
    each = [_transform(view, view.fill[band : band + 1]) for band in range(view.channels)]
    return lambda image: np.concatenate([transform(band) for transform, band in zip(each, image.split(), strict=True)])


def _transform(view: View, fill: tuple[int, ...]) -> Callable[[Image.Image], Pixels]:
    from timm.data import create_transform

    made: Callable[[Image.Image], Pixels] = create_transform(
        input_size=(view.channels, view.side, view.side),
        interpolation=view.interpolation,
        crop_pct=view.crop_pct,
        crop_mode=view.crop_mode,
        use_prefetcher=True,  # leaves out the float conversion and normalisation, which the graph does
        **({"mean": tuple(level / 255 for level in fill)} if fill else {}),  # what `border` pads with
    )
    return made


@functools.cache
def fast_view(view: View) -> Callable[[Pixels], Pixels] | None:
    """The eval view of decoded pixels (`pixels_of`) by torch's uint8 kernels, vectorised and outside the GIL.

    They antialias as Pillow does, with coefficients of 15 bits in place of 22: the squares differ from the exact
    ones by one grey level in one value of 200, and in bicubic by two in one of a million (measured,
    benchmarks/extract.md). None for views that only the exact way makes: other crops and interpolations.
    """
    if view.crop_mode != "center" or view.interpolation not in ("bilinear", "bicubic"):
        return None
    short, side = math.floor(view.side / view.crop_pct), view.side

    def square(pixels: Pixels) -> Pixels:
        height, width = pixels.shape[:2]
        scale = min(height, width)
        size = [int(short * height / scale), int(short * width / scale)]
        # One call of torch, the rest in numpy: every call gives Python's lock back and waits for it again.
        channels_first = torch.from_numpy(pixels[None].transpose(0, 3, 1, 2))
        if size != [height, width]:
            channels_first = functional.interpolate(channels_first, size=size, mode=view.interpolation, antialias=True)
        resized = channels_first.numpy()[0, : view.channels]
        if min(size) < side:  # the crop reaches beyond the image: black, as in torchvision
            beyond = [(max(side - each, 0) // 2, max(side - each + 1, 0) // 2) for each in size]
            resized = np.pad(resized, [(0, 0), *beyond])
        top, left = (round((each - side) / 2) for each in resized.shape[1:])
        return resized[:, top : top + side, left : left + side]

    return square


def pixels_of(image: Image.Image) -> Pixels:
    """uint8 [height, width, channels] of an image; RGB has a fourth channel that says nothing.

    Pillow keeps RGB in four bytes: copying these takes a third of the time, all of it under Python's lock, that
    packing them into three does.
    """
    raw = image.tobytes("raw", "RGBX") if image.mode == "RGB" else image.tobytes()
    return np.frombuffer(raw, np.uint8).reshape(image.height, image.width, -1)


def _read_only_tensors_are_meant() -> None:
    """torch warns once in a process of an array that it cannot write; here nothing does."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        torch.from_numpy(np.frombuffer(b" ", np.uint8))


_read_only_tensors_are_meant()


AUTO_AUGMENTS = ("none", "randaugment", "trivialaugment", "augmix")


@dataclasses.dataclass(frozen=True)
class Augmentation:
    """What training does to an image, in this order.

    crop: `random`, of scale (its share of the area) and ratio (its width over height), or the one of `eval`.
    hflip, vflip: probabilities. auto_augment: one of AUTO_AUGMENTS; operations and magnitude (0 to 30) are
    RandAugment's. color_jitter: how far brightness, contrast and saturation may go from 1. erasing: the probability
    that a rectangle becomes noise.
    """

    scale: tuple[float, float] = (0.08, 1.0)
    ratio: tuple[float, float] = (3 / 4, 4 / 3)
    hflip: float = 0.5
    vflip: float = 0.0
    crop: Literal["random", "eval"] = added("random")
    auto_augment: Literal["none", "randaugment", "trivialaugment", "augmix"] = added("none")
    operations: int = added(2)
    magnitude: int = added(9)
    color_jitter: float = added(0.0)
    erasing: float = added(0.0)

    def __post_init__(self) -> None:
        for name, known in (("crop", ("random", "eval")), ("auto_augment", AUTO_AUGMENTS)):
            if getattr(self, name) not in known:
                raise BadInput(f"{name}: {getattr(self, name)!r} found, expected one of {', '.join(known)}")
        for name, most in (("hflip", 1), ("vflip", 1), ("erasing", 1), ("color_jitter", 1), ("magnitude", 30)):
            if not 0 <= getattr(self, name) <= most:
                raise BadInput(f"{name}: {getattr(self, name)} found, expected 0 to {most}")
        if self.operations < 1:
            raise BadInput(f"operations: {self.operations} found, expected at least 1")


def train_view(image: Image.Image, view: View, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    """The image cropped, flipped and changed as the augmentation says: uint8 [channels, side, side].

    The crop is drawn as in Szegedy et al. 2015 (Inception), section 6; all chance comes from `rng`,
    so that an image's view depends on the seed, the epoch and its index, and on nothing else.
    """
    if augmentation.crop == "eval":
        pixels = eval_view(view)(image).transpose(1, 2, 0)
    else:
        pixels = _cropped(image, view, augmentation, rng)
    if rng.random() < augmentation.hflip:
        pixels = pixels[:, ::-1]
    if rng.random() < augmentation.vflip:
        pixels = pixels[::-1]
    if augmentation.auto_augment != "none" or augmentation.color_jitter:
        pixels = _recoloured(pixels, augmentation, rng)
    if augmentation.erasing and rng.random() < augmentation.erasing:
        pixels = erased(pixels, rng)
    return pixels.transpose(2, 0, 1)


def _cropped(image: Image.Image, view: View, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    left, top, width, height = _random_crop(image.width, image.height, augmentation, rng)
    size, box = (view.side, view.side), (left, top, left + width, top + height)
    bands = (image,) if view.channels == 3 else image.split()  # as in eval_view
    squares = [np.asarray(band.resize(size, _resample(view.interpolation), box=box)) for band in bands]
    return squares[0] if view.channels == 3 else np.stack(squares, axis=2)


def _recoloured(pixels: Pixels, augmentation: Augmentation, rng: np.random.Generator) -> Pixels:
    auto = augmentation.auto_augment
    check_channels_of("color_jitter" if auto == "none" else auto, pixels.shape[2])
    square = Image.fromarray(np.ascontiguousarray(pixels[:, :, 0] if pixels.shape[2] == 1 else pixels))
    if auto != "none":
        square = auto_augmented(square, auto, augmentation.operations, augmentation.magnitude, rng)
    if augmentation.color_jitter:
        square = jittered(square, augmentation.color_jitter, rng)
    return np.asarray(square).reshape(pixels.shape)


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
