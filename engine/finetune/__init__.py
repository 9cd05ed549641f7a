"""Full fine-tuning: the Recipe, the training loop, the search for a learning rate."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .loop import Progress, Run, predict, train
    from .rate_search import Finetuned, TrainVal, finetune
    from .recipe import Recipe
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Finetuned", "Progress", "Recipe", "Run", "TrainVal", "finetune", "predict", "train"]
