"""Averages of the weights over the steps: the recipe's, which comes out, and one that tells early what will."""

from collections.abc import Iterable
from typing import TYPE_CHECKING

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm

from .parts import set_learning
from .recipe import Recipe

if TYPE_CHECKING:
    from timm.utils import ModelEmaV3

TAIL = 5.0  # the newest weights count TAIL / (step + TAIL - 1), so that the mean age is a sixth of the steps


def average_of(model: nn.Module, recipe: Recipe) -> "ModelEmaV3 | None":
    """The recipe's `ema`; None where it has none."""
    if recipe.ema is None:
        return None
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=recipe.ema, use_warmup=recipe.ema_warmup)


def tail_of(model: nn.Module) -> "ModelEmaV3":
    """An average that forgets in step with the training: polynomial decay, Shamir and Zhang 2013.

    A training whose rate has not come down yet is worth more than its weights show. This average stands near where
    they would come to rest, at any step, whatever the number of steps.
    """
    from timm.utils import ModelEmaV3

    return ModelEmaV3(model, decay=1.0, use_warmup=True, warmup_gamma=TAIL, warmup_power=1.0)


@torch.no_grad()
def renew_statistics(model: nn.Module, learning: frozenset[str], recipe: Recipe, batches: Iterable[Tensor]) -> None:
    """Batch norm's statistics anew, of these batches, where the training learns them; the model ends in eval mode.

    Running ones lag behind weights that move fast, and those of an average are of no weights at all. Source: Wu and
    Johnson 2021, precise batch norm; `torch.optim.swa_utils.update_bn`, which knows nothing of what is frozen.
    """
    set_learning(model, learning, recipe)
    norms = [each for each in model.modules() if isinstance(each, _BatchNorm) and each.training]
    model.eval()
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.train()
        norm.reset_running_stats()
        norm.momentum = None  # the mean of all batches
    for images in batches if norms else ():
        model(images)
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum
    model.eval()
