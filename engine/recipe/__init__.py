"""The Recipe, and what its fields mean for a network and a batch: layers and what learns of them, losses, mixtures."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .auxiliary import Outputs, WithAuxiliaryHead, loss_of
    from .averages import average_of, renew_statistics, tail_of
    from .cutting import Frozen, Learning, Uncut, cut_in_two
    from .depth import first_uses, layers_of
    from .losses import BLOWN_UP, Objective, objective
    from .mixing import mixed, mixes
    from .parts import (
        Parts,
        Phase,
        optimizer_of,
        parameter_groups,
        parts_of,
        phases_of,
        set_learning,
        set_norm_momentum,
    )
    from .rates import rate_share, schedule
    from .recipe import Recipe, recipe_of
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BLOWN_UP",
    "Frozen",
    "Learning",
    "Objective",
    "Outputs",
    "Parts",
    "Phase",
    "Recipe",
    "Uncut",
    "WithAuxiliaryHead",
    "average_of",
    "cut_in_two",
    "first_uses",
    "layers_of",
    "loss_of",
    "mixed",
    "mixes",
    "objective",
    "optimizer_of",
    "parameter_groups",
    "parts_of",
    "phases_of",
    "rate_share",
    "recipe_of",
    "renew_statistics",
    "schedule",
    "set_learning",
    "set_norm_momentum",
    "tail_of",
]
