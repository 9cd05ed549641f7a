"""What `featune finetune` reads and prints beside its own options: those of a recipe, a step that is repeated."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .recipe_options import RECIPE, with_recipe
    from .replayed import print_replayed
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["RECIPE", "print_replayed", "with_recipe"]
