"""Where the head alone learns and views do not change, the frozen part's features, computed once."""

from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..recipe import Recipe, mixes
from .decoded import Steps


def features_suffice(recipe: Recipe) -> bool:
    """Whether every epoch gives the head the same rows: the eval views, and a body that does not learn."""
    fixed = (recipe.augmentation.crop, recipe.augmentation.hflip, recipe.augmentation.vflip) == ("eval", 0, 0)
    plain = recipe.augmentation.auto_augment == "none" and not recipe.augmentation.color_jitter
    still = recipe.trained == "head" and recipe.start_size is None and not mixes(recipe)
    return still and fixed and plain and not recipe.augmentation.erasing


class Rows(Steps):
    """The steps' rows of features [b, width] in place of their images."""

    rows: Tensor

    def images(self, first: int, last: int) -> Iterator[Tensor]:
        for step in range(first, last):
            yield self.rows[torch.from_numpy(self.indices(step))]


def body_of(model: nn.Module) -> nn.Module:
    """All of a classifier but its last child, the head."""
    return nn.Sequential(*list(model.children())[:-1])


def head_of(model: nn.Module) -> nn.Module:
    return list(model.children())[-1]
