"""A Recipe says how to train; its digest is part of a cell's name."""

import dataclasses
from collections.abc import Callable
from typing import Any

import torch

from ..errors import BadInput
from ..images import Augmentation


@dataclasses.dataclass(frozen=True)
class Recipe:
    """How to train. Its digest is part of a cell's name.

    learning_rates: tried in turn and chosen on val, each once; with one there is nothing to choose. warmup: share of
    the steps with a rising rate, before the cosine. epochs: passes over the data, unless `steps` is given.
    amp: bfloat16 autocast on a GPU.
    """

    epochs: int = 20
    steps: int | None = None
    batch: int = 64
    learning_rates: tuple[float, ...] = (0.01,)
    weight_decay: float = 1e-4
    optimizer: str = "sgd"
    momentum: float = 0.9
    warmup: float = 0.1
    label_smoothing: float = 0.0
    augmentation: Augmentation = dataclasses.field(default_factory=Augmentation)
    amp: bool = False

    def __post_init__(self) -> None:
        if self.optimizer not in OPTIMIZERS:
            raise BadInput(f"no optimizer named {self.optimizer!r}; one of {', '.join(OPTIMIZERS)}")
        if self.epochs < 1 or self.batch < 1 or not self.learning_rates or min(self.learning_rates) <= 0:
            raise BadInput("a recipe needs epochs and batch of at least 1 and learning rates above 0")
        names = [f"{rate:g}" for rate in self.learning_rates]  # of checkpoints and in the details of a row
        twice = next((name for name in names if names.count(name) > 1), None)
        if twice:
            raise BadInput(
                f"learning rate {twice} found {names.count(twice)} times, each expected once (rates of the same six "
                "digits count as one); remove the others"
            )

    def total_steps(self, n: int) -> int:
        return self.steps or self.epochs * self.steps_per_epoch(n)

    def steps_per_epoch(self, n: int) -> int:
        """Whole batches only: a last batch of one image would ruin batch statistics."""
        return max(1, n // self.batch)


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Recipe], torch.optim.Optimizer]] = {
    "sgd": lambda groups, recipe: torch.optim.SGD(
        groups, lr=0.0, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    ),
    "adamw": lambda groups, recipe: torch.optim.AdamW(groups, lr=0.0),
}
