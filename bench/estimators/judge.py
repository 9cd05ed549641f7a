"""Cheap scores of models judged by the transfer that was measured: do they rank models, and what does following
their first choice cost? Pure functions of results, estimates and speeds.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from featune.engine.metrics import Array, Statistic

from ..results import Estimate, Results, Speed, without_holes
from ..stats import FEWEST_RANKED, Interval, bootstrap, weighted_spearman, weighted_tau
from .table import ESTIMATORS

# What every estimator has to beat, beside the estimators' own names.
SOURCE, TIME, CHANCE = "source_accuracy", "time_per_image", "chance"
Scores = Mapping[tuple[str, str], float]  # (model, task) -> value, the higher the better


@dataclasses.dataclass(frozen=True)
class OnTask:
    """A score on one task. tau: weighted; rho: Spearman's; None where they say nothing.

    regret: percentage points of the metric that its first choice is short of the best model. chosen: that choice;
    where several models are first the regret is their mean.
    """

    task: str
    tau: float | None
    rho: float | None
    regret: float
    chosen: tuple[str, ...]
    best: str


@dataclasses.dataclass(frozen=True)
class Judged:
    """How well one score predicts one regime's transfer over models; all numbers are means over tasks.

    tau: Kendall's weighted tau; rho: Spearman's; ahead: the tau less that of source accuracy on the same models.
    Each has a 95 % bootstrap interval over models, NaN for fewer than four, and is None where it says nothing.
    left_out: models that have a result and the score on some task, but not on all.
    """

    regime: str
    score: str
    models: tuple[str, ...]
    tau: Interval | None
    rho: Interval | None
    ahead: Interval | None
    by_task: tuple[OnTask, ...]
    left_out: int

    @property
    def regret(self) -> float:
        """Percentage points that are lost on average by taking the score's first choice."""
        return math.fsum(one.regret for one in self.by_task) / len(self.by_task)

    @property
    def worst(self) -> OnTask:
        return max(self.by_task, key=lambda one: one.regret)


def judged(
    results: Results, estimates: Sequence[Estimate], speeds: Sequence[Speed] = (), seed: int = 0
) -> list[Judged]:
    """Every score in every measured regime that starts from source weights, the best rank correlation first.

    Only tasks whose metric is a share to be maximised count. Empty where no estimate has a value.
    """
    if not any(one.value is not None for one in estimates):
        return []
    scores = all_scores(results, estimates, speeds)
    found: list[Judged] = []
    for regime in results.regimes:
        if regime != "scratch" and " [" not in regime:  # no source weights there; published numbers
            of_regime = [_judge(results, regime, name, values, seed) for name, values in scores.items()]
            known = [one for one in of_regime if one is not None]
            found += sorted(known, key=lambda one: -one.tau.value if one.tau else math.inf)
    return found


def all_scores(results: Results, estimates: Sequence[Estimate], speeds: Sequence[Speed]) -> dict[str, Scores]:
    """The estimates by name; source accuracy; the time per image, as a larger model is often the better one; and
    a score that knows nothing."""
    pairs = [(model, task) for model in results.models for task in results.tasks]
    times = _times(speeds)
    scores: dict[str, Scores] = {
        name: {(one.model, one.task): one.value for one in estimates if one.name == name and one.value is not None}
        for name in ESTIMATORS
    }
    scores[SOURCE] = {at: results.source_top1[at[0]] for at in pairs if at[0] in results.source_top1}
    scores[TIME] = {at: times[at[0]] for at in pairs if at[0] in times}
    scores[CHANCE] = dict.fromkeys(pairs, 0.0)
    return {name: values for name, values in scores.items() if values}


def _times(speeds: Sequence[Speed]) -> Mapping[str, float]:
    """Milliseconds per image of each model, by the way of running that has most of the models."""
    kinds: dict[tuple[str, ...], dict[str, float]] = {}
    for one in speeds:
        kind = (one.backend, one.precision, one.device, str(one.batch), str(one.threads), one.scope)
        kinds.setdefault(kind, {})[one.model] = one.median_ms / one.batch
    return max((kinds[kind] for kind in sorted(kinds)), key=len, default={})


# --- One score in one regime


def _judge(results: Results, regime: str, name: str, values: Scores, seed: int) -> Judged | None:
    def missing(model: str, task: str) -> bool:
        return (model, task) not in values or results.value(task, model, regime) is None

    tasks = [task for task in results.fraction_tasks if not all(missing(model, task) for model in results.models)]
    known = [model for model in results.models if not all(missing(model, task) for task in tasks)]
    models, tasks = without_holes(known, tasks, missing)
    if len(models) < 2 or not tasks:
        return None
    truth = np.array([[results.value(task, model, regime) for task in tasks] for model in models], dtype=np.float64)
    score = np.array([[values[model, task] for task in tasks] for model in models])
    tau, ahead = mean_over_tasks(weighted_tau, score, truth), None
    if name not in (SOURCE, CHANCE) and all(model in results.source_top1 for model in models):
        source = np.array([[results.source_top1[model]] * len(tasks) for model in models])
        of_source = mean_over_tasks(weighted_tau, source, truth)
        ahead = _interval(lambda counts: tau(counts) - of_source(counts), len(models), seed)
    return Judged(
        regime=regime,
        score=name,
        models=tuple(models),
        tau=_interval(tau, len(models), seed),
        rho=_interval(mean_over_tasks(weighted_spearman, score, truth), len(models), seed),
        ahead=ahead,
        by_task=tuple(_on_task(models, task, score[:, at], truth[:, at]) for at, task in enumerate(tasks)),
        left_out=len(known) - len(models),
    )


def mean_over_tasks(rank_correlation: Callable[[Array, Array, Array], Array], score: Array, truth: Array) -> Statistic:
    """Over resamples of models, the same for every task."""

    def statistic(counts: Array) -> Array:
        pairs = zip(score.T, truth.T, strict=True)
        return np.mean([rank_correlation(x, y, counts) for x, y in pairs], axis=0)

    return statistic


def _interval(statistic: Statistic, models: int, seed: int) -> Interval | None:
    value = float(statistic(np.ones((models, 1)))[0])
    if math.isnan(value):
        return None
    if models <= FEWEST_RANKED:
        return Interval(value, math.nan, math.nan, models, 0.95, "none")
    return bootstrap(statistic, models, value=value, seed=seed)


def _on_task(models: Sequence[str], task: str, score: Array, truth: Array) -> OnTask:
    first, once = score == score.max(), np.ones((len(models), 1))
    tau, rho = (float(of(score, truth, once)[0]) for of in (weighted_tau, weighted_spearman))
    return OnTask(
        task=task,
        tau=None if math.isnan(tau) else tau,
        rho=None if math.isnan(rho) else rho,
        regret=100 * float(truth.max() - truth[first].mean()),
        chosen=tuple(model for model, chosen in zip(models, first, strict=True) if chosen),
        best=models[int(truth.argmax())],
    )
