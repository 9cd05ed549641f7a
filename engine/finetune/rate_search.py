"""Fine-tuning with a learning rate and weight decay that are chosen on val, and the classifier that it gives."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
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
from .checkpoints import BestState
from .decoded import Decoded, shrinking_of
from .health import Diverged, check_weights
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
    found_by: Callable[[], Mapping[str, Any]] = dict,
) -> Finetuned:
    """Train all weights from the spec's; choose rate and weight decay on val; train the last on train + val.

    With `keep: best` of the recipe nothing is trained again: the weights are those of the best look at val, before
    training and after each epoch, of the best rate. validation: the value of scores on `data.val`. try_all: try a
    single rate on val too, for a validation that chooses something else. found_by: what else the last validation
    chose, kept among the details. Raises FeatuneError where every rate diverges.
    """
    spec = sized(with_channels(spec, data.train.channels), recipe)
    candidates, tried = recipe.candidates(), dict[int, float]()  # value on val by place
    kept: dict[int, tuple[BestState, Trained]] = {}
    keeps_best = recipe.keep == "best"
    choosing = len(candidates) > 1 or try_all or keeps_best
    if (choosing or recipe.start == "probe") and not len(data.val):
        raise BadInput(
            "no validation images found, some expected to choose by; give a val split, or one learning rate, "
            "start: zero and keep: last"
        )
    run = dataclasses.replace(run, spec=run.spec or spec, decoded=run.decoded or Decoded())

    def fit(items: Labelled, one: Recipe, name: str) -> Trained:
        return fit_once(spec, data, items, validation, one, seed, dataclasses.replace(run, name=name))

    if choosing:
        for place, one in enumerate(candidates):
            name = f"lr{one.learning_rates[0]:g}"
            name += f"-wd{one.weight_decay:g}" if len(recipe.weight_decays) > 1 else ""
            with contextlib.suppress(Diverged):
                if keeps_best:
                    kept[place] = _best_looks(
                        spec, data, validation, one, seed, dataclasses.replace(run, name=name), found_by
                    )
                    tried[place] = kept[place][0].known["value"]
                    continue
                model = fit(data.train, one, name).model
                tried[place] = validation(predict(model, data.val, spec.view, run.device, decoded=run.decoded))
        if not tried:
            raise Diverged(f"every learning rate of {recipe.learning_rates} diverged; give lower ones")
    # Of equals the lowest rate, then the first decay.
    best = candidates[max(tried, key=lambda at: (tried[at], -candidates[at].learning_rates[0])) if tried else 0]
    more: Mapping[str, Any] = {}
    if keeps_best:
        state, trained = kept[candidates.index(best)]
        trained.model.load_state_dict(state.weights())
        more = {
            "kept": {key: state.known[key] for key in ("step", "value")}, "looks": state.known.get("looks", []),
            **state.known["details"],
        }  # fmt: skip
    else:
        trained = fit(data.train + data.val, best, "final")
    if run.work:
        forget(run.work)
    details = {
        "learning_rate": best.learning_rates[0],
        **_tried([(candidates[at], value) for at, value in tried.items()], best, recipe),
        "rates": list(recipe.learning_rates),
        "recipe": plain(recipe),
        "training": {"steps": trained.steps, **trained.details},
        **more,
        **_train_accuracy(trained.model, data.train, spec.view, run.device, data.truth),
    }
    return Finetuned(trained.model, spec.view, details, run.device, spec)


def _best_looks(
    spec: ModelSpec, data: TrainVal, validation: Validation, recipe: Recipe, seed: int, run: Run,
    found_by: Callable[[], Mapping[str, Any]],
) -> tuple[BestState, Trained]:  # fmt: skip
    """One training on train, with its best state on val; goes on where a killed one stopped."""
    best, step, told = BestState(run.work, run.name), [0], run.progress
    best.require_weights()

    def look(model: nn.Module) -> dict[str, float]:
        value = validation(predict(model, data.val, spec.view, run.device, decoded=run.decoded))
        best.look(model, step[0], value, found_by())
        return {"val": value}

    def advance(done: int, total: int) -> None:
        step[0] = done
        if told:
            told(done, total)

    run = dataclasses.replace(run, evaluate=look, progress=advance)
    if not best.known:
        look(fit_once(spec, data, data.train, validation, recipe, seed, dataclasses.replace(run, until=0)).model)
    return best, fit_once(spec, data, data.train, validation, recipe, seed, run)


def _tried(tried: Sequence[tuple[Recipe, float]], best: Recipe, recipe: Recipe) -> dict[str, Any]:
    """The value on val by rate, of its best weight decay; of a grid every trial too, in order, and the decay chosen."""
    by_rate: dict[str, float] = {}
    for one, value in tried:
        rate = f"{one.learning_rates[0]:g}"
        by_rate[rate] = max(value, by_rate.get(rate, value))
    if not (recipe.weight_decays or recipe.decay_over_rate):
        return {"tried": by_rate}
    trials = [[one.learning_rates[0], one.weight_decay, value] for one, value in tried]
    return {"tried": by_rate, "weight_decay": best.weight_decay, "grid": trials}


def fit_once(
    spec: ModelSpec, data: TrainVal, items: Labelled, validation: Validation, recipe: Recipe, seed: int, run: Run = HERE
) -> Trained:
    """One training on the items, train or train + val, from the recipe's start, at its first learning rate.

    spec: with the data's channels and the recipe's side (`sized`). Val is looked at only where the start is a probe.
    """
    model = fresh(spec, data.classes, seed, recipe)
    _, body, _ = model.children()
    check_weights(body, spec.checkpoint or spec.name)  # before a probe, which would see wrong features alone
    if recipe.start == "probe" and not (run.checkpoint and run.checkpoint.exists()):
        start_head(model, data, items, validation, spec.view, run, shrinking_of(recipe, spec.view))
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
