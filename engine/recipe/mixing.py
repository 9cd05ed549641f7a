"""Mixup and cutmix of a step's images and labels, by timm's Mixup, drawn from (seed, step) alone."""

import contextlib
from collections.abc import Iterator

import numpy as np
import torch
from torch import Tensor

from .recipe import Recipe

DRAW = 0x6D6978  # apart from the draws of orders and crops, which come from the same seed


def mixes(recipe: Recipe) -> bool:
    return (recipe.mixup > 0 or recipe.cutmix > 0) and recipe.mixup_prob > 0


def mixed(images: Tensor, target: Tensor, classes: int, recipe: Recipe, draw: tuple[int, ...]) -> tuple[Tensor, Tensor]:
    """Images uint8 [b, ...] as floats, each mixed with the one at its place from the end, and labels [b, classes].

    b: even. draw: (seed, step), and the process where there are several. A label that is unknown in one of two images
    is unknown in their mixture.
    """
    from timm.data import Mixup

    several = target.ndim == 2
    mix = Mixup(
        mixup_alpha=recipe.mixup, cutmix_alpha=recipe.cutmix, prob=recipe.mixup_prob,
        switch_prob=recipe.mixup_switch_prob, num_classes=classes, multi_label=several,
        label_smoothing=0.0 if several else recipe.label_smoothing,
    )  # fmt: skip
    with _numpy_seeded((*draw, DRAW)):
        floats, labels = mix(images.float(), target.float().clamp(min=0) if several else target)
    if several:
        unknown = target < 0
        labels = torch.where(unknown | unknown.flip(0), -1.0, labels)
    return floats, labels


@contextlib.contextmanager
def _numpy_seeded(draw: tuple[int, ...]) -> Iterator[None]:
    """timm draws from numpy's one generator for all; it comes back as it was."""
    before = np.random.get_state()  # noqa: NPY002
    np.random.seed(np.random.SeedSequence(draw).generate_state(1)[0])  # noqa: NPY002
    try:
        yield
    finally:
        np.random.set_state(before)  # noqa: NPY002
