"""Full fine-tuning: the Recipe, the training loop, the search for a learning rate, a bad step repeated."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ..recipe import Recipe, layers_of, recipe_of
    from .checkpoints import BestState
    from .decoded import Decoded
    from .health import Diverged
    from .loop import Log, Progress, Run, Trained, predict, train
    from .prefix import forget, why_not
    from .processes import agreed, any_of, joined, place, summed, wait
    from .rate_search import Finetuned, TrainVal, Validation, finetune, fit_once
    from .replaying import Replayed, replay
    from .starts import sized
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BestState",
    "Decoded",
    "Diverged",
    "Finetuned",
    "Log",
    "Progress",
    "Recipe",
    "Replayed",
    "Run",
    "TrainVal",
    "Trained",
    "Validation",
    "agreed",
    "any_of",
    "finetune",
    "fit_once",
    "forget",
    "joined",
    "layers_of",
    "place",
    "predict",
    "recipe_of",
    "replay",
    "sized",
    "summed",
    "train",
    "wait",
    "why_not",
]
