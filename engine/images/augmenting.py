"""What training does to a square after it was cropped: automatic augmentation, colour jitter, erasing.

The operations are torchvision's. The draws are ours, from a generator that is given: torchvision's come from torch's
one generator for all threads, so that an image would depend on what other threads do.
"""

import functools
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput

Pixels = NDArray[np.uint8]
Operation = tuple[str, NDArray[np.float64], bool]  # name, its magnitudes, whether a sign is drawn
BINS = 31  # of magnitudes, as in torchvision
SEVERITY, WIDTH, DEEPEST = 3, 3, 3  # of AugMix, as in torchvision and in Hendrycks et al. 2020
ERASED_AREA, ERASED_RATIO, TRIES = (0.02, 1 / 3), (0.3, 1 / 0.3), 10  # as in Zhong et al. 2020 and in timm


def check_channels_of(name: str, channels: int) -> None:
    if channels not in (1, 3):
        raise BadInput(
            f"{name}: images of {channels} channels found, expected grey or RGB, whose colours it changes; leave it out"
        )


def auto_augmented(image: Image.Image, kind: str, count: int, magnitude: int, rng: np.random.Generator) -> Image.Image:
    """RandAugment, TrivialAugment (wide) or AugMix of a square, in grey or RGB."""
    if kind == "augmix":
        return _augmix(image, rng)
    wide = kind == "trivialaugment"
    for _ in range(1 if wide else count):
        image = _changed(image, _operations(kind, image.size), BINS if wide else magnitude, rng, drawn=wide)
    return image


def jittered(image: Image.Image, strength: float, rng: np.random.Generator) -> Image.Image:
    """Brightness, contrast and saturation in random order, each times a factor of 1 - strength to 1 + strength."""
    from torchvision.transforms import functional

    changes = (functional.adjust_brightness, functional.adjust_contrast, functional.adjust_saturation)
    for number in rng.permutation(len(changes)):
        image = changes[number](image, rng.uniform(max(0.0, 1 - strength), 1 + strength))
    return image


def erased(pixels: Pixels, rng: np.random.Generator) -> Pixels:
    """A copy of the square [h, w, channels] in which a random rectangle holds noise."""
    height, width = pixels.shape[:2]
    for _ in range(TRIES):
        area = height * width * rng.uniform(*ERASED_AREA)
        ratio = np.exp(rng.uniform(*np.log(ERASED_RATIO)))
        h, w = round(np.sqrt(area * ratio)), round(np.sqrt(area / ratio))
        if 0 < h < height and 0 < w < width:
            top, left = rng.integers(height - h + 1), rng.integers(width - w + 1)
            pixels = pixels.copy()
            pixels[top : top + h, left : left + w] = rng.integers(0, 256, (h, w, pixels.shape[2]), dtype=np.uint8)
            return pixels
    return pixels


@functools.cache
def _operations(kind: str, size: tuple[int, int]) -> Sequence[Operation]:
    from torchvision.transforms import autoaugment

    side = size[::-1]
    space: dict[str, Any] = {
        "randaugment": lambda: autoaugment.RandAugment()._augmentation_space(BINS, side),
        "trivialaugment": lambda: autoaugment.TrivialAugmentWide()._augmentation_space(BINS),
        "augmix": lambda: autoaugment.AugMix()._augmentation_space(10, side),
    }[kind]()
    return [(name, magnitudes.double().reshape(-1).numpy(), signed) for name, (magnitudes, signed) in space.items()]


def _changed(
    image: Image.Image, operations: Sequence[Operation], most: int, rng: np.random.Generator, *, drawn: bool
) -> Image.Image:
    """One operation at random, at magnitude number `most`, or at one drawn below it."""
    from torchvision.transforms import InterpolationMode
    from torchvision.transforms.autoaugment import _apply_op

    name, magnitudes, signed = operations[int(rng.integers(len(operations)))]
    number = 0 if len(magnitudes) == 1 else int(rng.integers(most)) if drawn else most
    sign = -1.0 if signed and rng.random() < 0.5 else 1.0
    return _apply_op(image, name, sign * float(magnitudes[number]), InterpolationMode.BILINEAR, None)


def _augmix(image: Image.Image, rng: np.random.Generator) -> Image.Image:
    kept, changed = rng.dirichlet((1.0, 1.0))
    weights = rng.dirichlet((1.0,) * WIDTH) * changed
    mixed = kept * np.asarray(image, np.float64)
    for weight in weights:
        chain = image
        for _ in range(rng.integers(1, DEEPEST + 1)):
            chain = _changed(chain, _operations("augmix", image.size), SEVERITY, rng, drawn=True)
        mixed += weight * np.asarray(chain, np.float64)
    return Image.fromarray(mixed.astype(np.uint8))
