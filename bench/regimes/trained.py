"""Regimes that train all weights: fine-tuning, and training from scratch."""

import dataclasses
from collections.abc import Mapping
from typing import Any

from featune.engine.finetune import Recipe, Run, TrainVal, finetune
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec

from ..tasks import Task
from ..training_log import steps_to_odds
from .contract import Bench, Regime, Scorer
from .selection import Goodness


def finetune_regime(bench: Bench, recipe: Recipe) -> Regime:
    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        data = TrainVal(train, val, len(task.classes), task.multilabel)
        good = Goodness(task.metric, val.truth(len(task.classes), task.multilabel, masked=True))
        tuned = finetune(
            spec, data, good, recipe, seed, Run(bench.device, bench.work), try_all=good.has_threshold,
            found_by=lambda: good.details(len(good.thresholds) - 1),
        )  # fmt: skip
        looks = [{"step": step, "val": value} for step, value in tuned.details.get("looks", ())]
        if (converged := steps_to_odds(looks, len(val), task.metric)) is not None:
            tuned = dataclasses.replace(
                tuned, details={**tuned.details, "steps_to_90_percent_of_final_odds": converged}
            )  # fmt: skip
        if not good.has_threshold or recipe.keep == "best":
            return tuned
        chosen = _call_of_the_chosen(tuned.details)
        return dataclasses.replace(tuned, details={**tuned.details, **good.details(chosen)})

    return regime


def _call_of_the_chosen(details: Mapping[str, Any]) -> int:
    """Which call of the validation the choice was made by, counted from 0; what diverged called none."""
    if "grid" in details:
        trials = [(rate, decay) for rate, decay, _ in details["grid"]]
        return trials.index((details["learning_rate"], details["weight_decay"]))
    return list(details["tried"]).index(f"{details['learning_rate']:g}")


def scratch_regime(bench: Bench, recipe: Recipe) -> Regime:
    """The same training from random weights: what the architecture does without its pre-training."""
    trained = finetune_regime(bench, recipe)

    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        return trained(spec.with_random_weights(seed), task, train, val, seed)

    return regime
