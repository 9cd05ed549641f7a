"""The rules by which models are dropped and one is chosen: pure functions of scores on the same val images."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS, Statistic
from featune.engine.search import Round, grid, halving

from ..stats import bootstrap, draw_weights, holm, mcnemar
from ..stats.studies import no_worse

ERROR = 0.05
FROZEN, FINETUNED = "frozen", "fine-tuned"
MOST_TUNED = 3  # models that are fine-tuned at most
LEAST_PASSES, LEAST_STEPS = 2, 50  # of a fine-tuning that is worth starting
FIRST_IMAGES, GROWTH = 1000, 4  # of train in the first round of probes, and how much larger each next round is
RESAMPLES = 2000


@dataclasses.dataclass(frozen=True)
class Tried:
    """One model in one regime on val. good: the metric as a value of which more is better. ms: of one image.

    scores: [n_val, classes]. options: of the metric, such as the threshold that was chosen with these scores.
    """

    model: str
    regime: str
    good: float
    scores: NDArray[Any]
    ms: float
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)


def best(tried: Sequence[Tried]) -> Tried:
    """The highest value on val; of equals the frozen one, then the faster one."""
    return min(tried, key=lambda one: (-one.good, one.regime != FROZEN, one.ms, one.model))


def clearly_worse(
    metric: str, truth: NDArray[Any], tried: Sequence[Tried], leader: Tried, seed: int = 0
) -> dict[str, float]:
    """{model: p} of those that a paired test on the same images calls worse than the leader, at 5 % for all of a round.

    McNemar's exact test of a proportion, else the bootstrap of the difference; Holm's adjustment, for all pairs.
    """
    others = [one for one in tried if one is not leader]
    if not others:
        return {}
    raw = [_p(metric, truth, leader, one, seed) for one in others]
    # Any of them could have come out as the leader, so that all pairs count: k / 2 times as many as those tested.
    adjusted = [min(1.0, float(p) * len(tried) / 2) for p in holm(raw)]
    return {one.model: p for one, p in zip(others, adjusted, strict=True) if p <= ERROR and one.good < leader.good}


def most_better(metric: str, truth: NDArray[Any], tried: Sequence[Tried], winner: Tried, seed: int = 0) -> float:
    """By how much any other one may be better than the winner, at most: 95 % for all of them together.

    A proportion: Tango's score test, inverted; else the bootstrap. At ERROR over the number of ordered pairs, since
    any of them could have come out as the winner (Bonferroni). A fraction; 0 where nothing else was tried.
    """
    others = [one for one in tried if one is not winner]
    tail = ERROR / (len(tried) * max(1, len(others)))
    return max((_bound(metric, truth, winner, one, tail, seed) for one in others), default=0.0)


def _bound(metric: str, truth: NDArray[Any], winner: Tried, other: Tried, tail: float, seed: int) -> float:
    kind = METRICS[metric]
    if kind.is_proportion and kind.per_example is not None:
        right = [kind.per_example(truth, each.scores) for each in (winner, other)]
        low, high = 0.0, 1.0
        while high - low > 1e-5:
            middle = (low + high) / 2
            settled = no_worse(right[0], right[1], margin=middle).p_no_worse <= tail
            low, high = (low, middle) if settled else (middle, high)
        return high
    statistic, n = _difference(metric, truth, other, winner)
    found = bootstrap(statistic, n, level=1 - 2 * tail, seed=seed, resamples=max(RESAMPLES, math.ceil(20 / tail)))
    return max(0.0, found.high)


def _p(metric: str, truth: NDArray[Any], leader: Tried, other: Tried, seed: int) -> float:
    kind = METRICS[metric]
    if kind.is_proportion and kind.per_example is not None:
        return mcnemar(kind.per_example(truth, leader.scores), kind.per_example(truth, other.scores)).p
    statistic, n = _difference(metric, truth, leader, other)
    drawn = statistic(draw_weights(n, RESAMPLES, np.random.default_rng(seed)))
    return min(1.0, 2 * (1 + int((drawn <= 0).sum())) / (1 + RESAMPLES))


def _difference(metric: str, truth: NDArray[Any], one: Tried, other: Tried) -> tuple[Statistic, int]:
    """How much better one is, as a statistic of example weights."""
    kind = METRICS[metric]
    first, n = kind.statistic(truth, one.scores, **one.options)
    second, _ = kind.statistic(truth, other.scores, **other.options)
    sign = 1 if kind.higher_is_better else -1
    return (lambda weights: sign * (first(weights) - second(weights))), n


# --- Rounds of probes


def rounds_of(images: int) -> list[int]:
    """Train images of each round of probes: a thousand, four times as many and so on, the last round all of them.

    A round that is more than half of the next one would only cost time, so small data sets have one round.
    """
    found, at = [], FIRST_IMAGES
    while at * 2 < images:
        found.append(at)
        at *= GROWTH
    return [*found, images]


# --- Fine-tuning


@dataclasses.dataclass(frozen=True)
class Cost:
    """Seconds: before the first step, of a step with its share of the looks at val, of one more look."""

    start: float
    step: float
    look: float = 0.0


def least_steps(full: int, per_pass: int) -> int:
    """Steps below which fine-tuning is not started: two passes over train and 50 steps, or the whole recipe."""
    return min(full, max(LEAST_PASSES * per_pass, LEAST_STEPS))


def halving_rounds(models: int, steps: int) -> tuple[Round, ...]:
    return halving(models, steps) if models > 1 else grid(1, steps)


def seconds_of(costs: Sequence[Cost], rounds: Sequence[Round]) -> float:
    """Of a search at most: the slowest models are those that go on."""
    total = math.fsum(cost.start + cost.look for cost in costs)
    slow, before = sorted(costs, key=lambda cost: -cost.step), 0
    for each in rounds:
        total += math.fsum((each.steps - before) * cost.step + cost.look for cost in slow[: each.candidates])
        before = each.steps
    return total


def steps_within(costs: Sequence[Cost], seconds: float, full: int) -> int:
    """The longest training, of `full` steps at most, with which a search over the models takes so long; 0 for none."""
    low, high = 0, full
    while low < high:
        middle = (low + high + 1) // 2
        fits = _fits(costs, middle, seconds)
        low, high = (middle, high) if fits else (low, middle - 1)
    return low


def _fits(costs: Sequence[Cost], steps: int, seconds: float) -> bool:
    try:
        return seconds_of(costs, halving_rounds(len(costs), steps)) <= seconds
    except BadInput:  # too few steps for halving, which is to be found too long, as it cannot be
        return False


def survivors(costs: Sequence[Cost], seconds: float, full: int, least: int) -> tuple[int, int]:
    """(how many of the models, best first, are fine-tuned; the steps of a whole training); (0, 0) for not at all.

    As many as can be given `least` steps; a model that cannot by itself should be left out before.
    """
    for count in range(len(costs), 0, -1):
        steps = steps_within(costs[:count], seconds, full)
        if steps >= least:
            return count, steps
    return 0, 0
