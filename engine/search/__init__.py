"""Recipes by name, and the search over recipes: a grid, or successive halving."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .named import RECIPES, Facts, Named, recipe_named
    from .searching import Round, Searched, Trial, TrialFailed, grid, halving, longest_within, search, total_steps
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "RECIPES",
    "Facts",
    "Named",
    "Round",
    "Searched",
    "Trial",
    "TrialFailed",
    "grid",
    "halving",
    "longest_within",
    "recipe_named",
    "search",
    "total_steps",
]
