"""Cheap scores of models judged by the transfer that was measured: do they rank models, and what does following
their first choice cost? Pure functions of results, estimates and speeds.
"""

import dataclasses
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np

from featune.engine.metrics import Array, Statistic

from ..results import Estimate, Results, Speed, without_holes
from ..stats import (
    ERROR,
    FEWEST_JUDGED,
    FEWEST_RANKED,
    Interval,
    correlation_bounds,
    jackknife_error,
    judged_together,
    orders,
    shuffled_tau,
    tied,
    weighted_spearman,
    weighted_tau,
)
from .table import ESTIMATORS

# What every estimator has to beat, beside the estimators' own names.
SOURCE, TIME, CHANCE = "source_accuracy", "time_per_image", "chance"
Scores = Mapping[tuple[str, str], float]  # (model, task) -> value, the higher the better
# Variances of atanh of the two rank correlations where nothing is to be found, times models - 3: of the weighted tau
# on one task as simulated (0.7 to 0.9 for 6 to 20 models), of Spearman's rho after Fieller et al. 1957.
TAU_VARIANCE, RHO_VARIANCE = 0.8, 1.06


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
    Each has a 95 % interval over models, the jackknife's, NaN for fewer than four, and is None where it says nothing.
    p: of no relation between score and transfer, against a positive one; ahead_p: of no difference to source
    accuracy. Both are judged together with those of every other score and regime; None for fewer than six models.
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
    p: float | None = None
    ahead_p: float | None = None

    @property
    def beats_chance(self) -> bool:
        return self.p is not None and self.p <= ERROR

    @property
    def settled_ahead(self) -> int:
        """1 where it ranks models better than source accuracy, -1 where worse, 0 where that is not settled."""
        if self.ahead is None or self.ahead_p is None or self.ahead_p > ERROR:
            return 0
        return int(np.sign(self.ahead.value))

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
    rows = orders(len(results.models), seed)
    found: list[Judged] = []
    claims: list[Claims] = []
    for regime in results.regimes:
        if regime != "scratch" and " [" not in regime:  # no source weights there; published numbers
            known_source: dict[tuple[str, ...], Array] = {}
            of_regime = [_judge(results, regime, name, values, rows, known_source) for name, values in scores.items()]
            known = [one for one in of_regime if one is not None]
            order = sorted(known, key=lambda one: -one[0].tau.value if one[0].tau else math.inf)
            found += [one for one, _ in order]
            claims += [of for _, of in order]
    return _with_p(found, claims)


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


Claims = tuple[Array | None, Array | None]  # tau, and the size of what it is ahead, in every order of the models [r]


def _judge(
    results: Results, regime: str, name: str, values: Scores, rows: Array, known_source: dict[tuple[str, ...], Array]
) -> tuple[Judged, Claims] | None:
    """rows: orders of all models [r, models], by which those of the score are shuffled.

    known_source: the taus of source accuracy in these orders, by models and tasks, which scores share.
    """

    def missing(model: str, task: str) -> bool:
        return (model, task) not in values or results.value(task, model, regime) is None

    tasks = [task for task in results.fraction_tasks if not all(missing(model, task) for model in results.models)]
    known = [model for model in results.models if not all(missing(model, task) for task in tasks)]
    models, tasks = without_holes(known, tasks, missing)
    if len(models) < 2 or not tasks:
        return None
    truth = _columns([[results.value(task, model, regime) for task in tasks] for model in models])
    score = _columns([[values[model, task] for task in tasks] for model in models])
    tau, ahead, source = mean_over_tasks(weighted_tau, score, truth), None, None
    if name not in (SOURCE, CHANCE) and all(model in results.source_top1 for model in models):
        source = _columns([[results.source_top1[model]] * len(tasks) for model in models])
        of_source = mean_over_tasks(weighted_tau, source, truth)
        ahead = _difference(lambda counts: tau(counts) - of_source(counts), len(models))
    judged = Judged(
        regime=regime,
        score=name,
        models=tuple(models),
        tau=rank_interval(tau, len(models), TAU_VARIANCE),
        rho=rank_interval(mean_over_tasks(weighted_spearman, score, truth), len(models), RHO_VARIANCE),
        ahead=ahead,
        by_task=tuple(_on_task(models, task, score[:, at], truth[:, at]) for at, task in enumerate(tasks)),
        left_out=len(known) - len(models),
    )
    if len(models) < FEWEST_JUDGED or judged.tau is None:
        return judged, (None, None)
    # An order of all models is one of any of them: as they stand in it.
    own = np.argsort(np.argsort(rows[:, [results.models.index(model) for model in models]], axis=1), axis=1)
    taus = _shuffled(score, truth, own)
    if ahead is None or source is None:
        return judged, (taus, None)
    of = (*models, "", *tasks)
    if of not in known_source:
        known_source[of] = _shuffled(source, truth, own)
    return judged, (taus, abs(taus - known_source[of]))


def _with_p(found: Sequence[Judged], claims: Sequence[Claims]) -> list[Judged]:
    """All claims of the report judged together: that any of them is false has a chance of at most ERROR."""
    made = [(at, which) for at, of in enumerate(claims) for which in (0, 1) if of[which] is not None]
    if not made:
        return list(found)
    statistics = np.stack([claim for at, which in made if (claim := claims[at][which]) is not None])
    p = dict(zip(made, judged_together(statistics).tolist(), strict=True))
    return [dataclasses.replace(one, p=p.get((at, 0)), ahead_p=p.get((at, 1))) for at, one in enumerate(found)]


def _columns(values: Sequence[Sequence[float | None]]) -> Array:
    """[models, tasks]; numbers that differ by rounding alone are ties."""
    return np.apply_along_axis(tied, 0, np.array(values, dtype=np.float64))


def _shuffled(score: Array, truth: Array, rows: Array) -> Array:
    return np.mean([shuffled_tau(x, y, rows) for x, y in zip(score.T, truth.T, strict=True)], axis=0)


def mean_over_tasks(rank_correlation: Callable[[Array, Array, Array], Array], score: Array, truth: Array) -> Statistic:
    """Over resamples of models, the same for every task."""

    def statistic(counts: Array) -> Array:
        pairs = zip(score.T, truth.T, strict=True)
        return np.mean([rank_correlation(x, y, counts) for x, y in pairs], axis=0)

    return statistic


def rank_interval(statistic: Statistic, models: int, variance: float) -> Interval | None:
    """A mean rank correlation with its interval over models; None where it says nothing.

    variance: of its atanh where nothing is to be found, times models - 3.
    """
    value, without = _with_and_without(statistic, models)
    if math.isnan(value):
        return None
    if models <= FEWEST_RANKED:
        return Interval(value, math.nan, math.nan, models, 0.95, "none")
    # One pair of models in the other order is the least that could be found, so that 1 is taken for half of that.
    most = 1 - 2 / (models * (models - 1))
    low, high = correlation_bounds(value, without, variance / (models - 3), most=most)
    return Interval(value, low, high, models, 0.95, "jackknife")


def _difference(statistic: Statistic, models: int) -> Interval | None:
    """Of two mean taus on the same models."""
    from scipy.stats import t

    value, without = _with_and_without(statistic, models)
    if math.isnan(value):
        return None
    if models <= FEWEST_RANKED:
        return Interval(value, math.nan, math.nan, models, 0.95, "none")
    half = float(t.ppf(0.975, models - 2)) * jackknife_error(np.nan_to_num(without))
    return Interval(value, max(-2.0, value - half), min(2.0, value + half), models, 0.95, "jackknife")


def _with_and_without(statistic: Statistic, models: int) -> tuple[float, Array]:
    """The statistic of all models, and without each of them [models]."""
    found = statistic(np.concatenate([np.ones((models, 1)), 1 - np.eye(models)], axis=1))
    return float(found[0]), found[1:]


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
