"""Fine-tuning with a learning rate that is chosen on val, and the classifier that it gives."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import BadInput
from ..images import Labelled
from ..models import ModelSpec, View, with_channels
from ..recipe import Recipe
from ..store import plain
from .decoded import Decoded
from .health import Diverged
from .loop import HERE, Run, Trained, predict, train
from .prefix import forget
from .starts import fresh, sized, start_head

TRAIN_SAMPLE = 1000  # training images on which a trained model is looked at, drawn evenly
Validation = Callable[[NDArray[np.float32]], float]  # scores [n_val, classes] -> a value, more is better


@dataclasses.dataclass(frozen=True)
class TrainVal:
    """What is learned. multilabel: several of the classes may hold for one image."""

    train: Labelled
    val: Labelled
    classes: int
    multilabel: bool = False

    def truth(self, items: Labelled) -> Tensor:
        """int64 [n], or [n, classes] with -1 for unknown."""
        return torch.from_numpy(items.truth(self.classes, self.multilabel, masked=True))


@dataclasses.dataclass(frozen=True)
class Finetuned:
    """A trained classifier. Called with items it gives their class scores, float32 [n, classes].

    spec: what it was trained from, at the side that it was trained at.
    """

    model: nn.Module
    view: View
    details: Mapping[str, Any]
    device: str = "cpu"
    spec: ModelSpec | None = None

    def __call__(self, items: Labelled) -> NDArray[np.float32]:
        return predict(self.model, items, self.view, self.device)


def finetune(
    spec: ModelSpec,
    data: TrainVal,
    validation: Validation,
    recipe: Recipe,
    seed: int,
    run: Run = HERE,
    *,
    try_all: bool = False,
) -> Finetuned:
    """Train all weights from the spec's; choose the learning rate on val; train the last on train + val.

    validation: the value of scores on `data.val`. try_all: try a single rate on val too, for a validation that
    chooses something else. Raises FeatuneError where every rate diverges.
    """
    spec = sized(with_channels(spec, data.train.channels), recipe)
    rates, tried = recipe.learning_rates, {}
    choosing = len(rates) > 1 or try_all
    if (choosing or recipe.start == "probe") and not len(data.val):
        raise BadInput(
            "no validation images found, some expected to choose by; give a val split, or one learning rate and "
            "start: zero"
        )
    run = dataclasses.replace(run, spec=run.spec or spec, decoded=run.decoded or Decoded())

    def fit(items: Labelled, rate: float, name: str) -> Trained:
        at_rate = dataclasses.replace(recipe, learning_rates=(rate,))
        return fit_once(spec, data, items, validation, at_rate, seed, dataclasses.replace(run, name=name))

    if choosing:
        for rate in rates:
            with contextlib.suppress(Diverged):
                model = fit(data.train, rate, f"lr{rate:g}").model
                tried[rate] = validation(predict(model, data.val, spec.view, run.device, decoded=run.decoded))
        if not tried:
            raise Diverged(f"every learning rate of {rates} diverged; give lower ones")
    best = max(tried, key=lambda rate: (tried[rate], -rate)) if tried else rates[0]
    trained = fit(data.train + data.val, best, "final")
    if run.work:
        forget(run.work)
    details = {
        "learning_rate": best,
        "tried": {f"{rate:g}": value for rate, value in tried.items()},
        "rates": list(rates),
        "recipe": plain(recipe),
        "training": {"steps": trained.steps, **trained.details},
        **_train_accuracy(trained.model, data.train, spec.view, run.device, data.truth),
    }
    return Finetuned(trained.model, spec.view, details, run.device, spec)


def fit_once(
    spec: ModelSpec, data: TrainVal, items: Labelled, validation: Validation, recipe: Recipe, seed: int, run: Run = HERE
) -> Trained:
    """One training on the items, train or train + val, from the recipe's start, at its first learning rate.

    spec: with the data's channels and the recipe's side (`sized`). Val is looked at only where the start is a probe.
    """
    model = fresh(spec, data.classes, seed, recipe)
    if recipe.start == "probe" and not (run.checkpoint and run.checkpoint.exists()):
        start_head(model, data, items, validation, spec.view, run)
    return train(model, items, data.truth(items), spec.view, recipe, seed, run)


def _train_accuracy(
    model: nn.Module, train: Labelled, view: View, device: str, truth: Callable[[Labelled], Tensor]
) -> dict[str, Any]:
    """The share of the train images (of `TRAIN_SAMPLE` at most) that the model gets right: did it learn them?

    Of several classes per image, the share of the image's known classes that it tells from the others at 0.
    """
    chosen = np.unique(np.linspace(0, len(train) - 1, min(len(train), TRAIN_SAMPLE)).round().astype(np.int64))
    items = train.take(chosen.tolist())
    known, scores = truth(items).numpy(), predict(model, items, view, device)
    if known.ndim == 1:
        return {"train_top1": float((scores.argmax(axis=1) == known).mean()), "train_images": len(items)}
    judged = known >= 0
    right = ((scores > 0) == (known > 0)) & judged
    return {"train_label_accuracy": float(right.sum() / max(1, judged.sum())), "train_images": len(items)}
