"""How transfer follows source accuracy in each regime: correlations of log odds over models, from the results."""

import dataclasses
import functools
import math
from collections import Counter
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from ..stats import ERROR, clopper_pearson, leave_one_family_out, log_odds, mean_log_odds, transfer_correlation
from .table import Entry, Results, complete_block

Array = NDArray[np.float64]


CARRIED = 0.5  # of r, which less than that is left of
WITHOUT_N = 10**12  # test images of a published number that comes without them: its log odds are the plain ones


@dataclasses.dataclass(frozen=True)
class Without:
    """The correlation without one model, or without one family of several."""

    name: str
    family: bool
    r: float


@dataclasses.dataclass(frozen=True)
class Transfer:
    """How one regime's transfer follows source accuracy, over models; task is empty for the mean over tasks.

    r: Pearson's, between log odds; low, high: its 95 % interval; p: of a permutation test of no correlation; None
    where there are too few models. x, y: log odds of the source and of the transfer accuracy [models]. left_out:
    models that miss a task. without: r without each model, and without each family of several, in turn.
    """

    regime: str
    task: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    x: Array
    y: Array
    r: float | None = None
    low: float | None = None
    high: float | None = None
    p: float | None = None
    slope: float | None = None
    intercept: float | None = None
    left_out: int = 0
    without: tuple[Without, ...] = ()


def correlations(results: Results, seed: int = 0, *, means_only: bool = False) -> list[Transfer]:
    """Per regime: over the mean of the tasks first, then task by task unless the means alone are asked for."""
    found = []
    for regime in results.regimes:
        tasks = results.fraction_tasks
        known = [model for model in results.models if model in results.source_top1]
        measured = [m for m in known if any(results.value(task, m, regime) is not None for task in tasks)]
        mean = results.kept.get((regime, seed))  # page and terminal both ask
        if mean is None:
            block = complete_block(results, regime, measured, tasks)
            mean = _transfer(results, regime, "", *block, len(measured) - len(block[0]), seed)
            results.kept[regime, seed] = mean
        found.append(mean)
        for task in () if means_only else tasks:
            models = [model for model in known if results.value(task, model, regime) is not None]
            found.append(_transfer(results, regime, task, models, [task], 0, seed))
    return [one for one in found if one.models]


def _transfer(
    results: Results,
    regime: str,
    task: str,
    models: Sequence[str],
    tasks: Sequence[str],
    left_out: int,
    seed: int,
) -> Transfer:
    if not models or not tasks:
        return Transfer(regime, task, (), (), np.empty(0), np.empty(0))
    entries = [[results.entries[of, model, regime] for of in tasks] for model in models]
    sizes = [results.source_n[model] for model in models] if results.source_n else None
    source = np.array([results.source_top1[model] for model in models])
    source = source if sizes else _inside(source)
    values = np.array([[entry.value for entry in line] for line in entries], dtype=np.float64)
    n = np.array([[entry.n or WITHOUT_N for entry in line] for line in entries])
    fit = transfer_correlation(source, values, n, source_n=sizes, seed=seed)
    bare = Transfer(
        regime,
        task,
        tuple(models),
        tuple(tasks),
        log_odds(source, sizes),
        mean_log_odds(values, n),
        left_out=left_out,
    )
    r, low, high, p, slope, intercept = map(_finite, (fit.r, fit.low, fit.high, fit.p, fit.slope, fit.intercept))
    return dataclasses.replace(
        bare, r=r, low=low, high=high, p=p, slope=slope, intercept=intercept, without=_without(results, bare)
    )


def _without(results: Results, one: Transfer) -> tuple[Without, ...]:
    families = [results.family.get(model, "") or model for model in one.models]
    several = {name for name, count in Counter(families).items() if 1 < count < len(families)}
    alone = leave_one_family_out(one.x, one.y, one.models)
    together = leave_one_family_out(one.x, one.y, families) if several else {}
    return (
        *(Without(name, False, r) for name, r in alone.items() if math.isfinite(r)),
        *(Without(name, True, r) for name, r in together.items() if name in several and math.isfinite(r)),
    )


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def verdict(one: Transfer) -> str:
    """Does transfer follow source accuracy: yes, no, open (it may be chance) or none (fewer than six models).

    Yes and no want a permutation test at 0.05 and an interval without 0, so that at no correlation at most one verdict
    in twenty is false, whatever the distribution of the accuracies (measured in benchmarks/coverage.md).
    """
    if one.r is None or one.low is None or one.high is None or one.p is None:
        return "none"
    if one.p > ERROR or one.low <= 0 <= one.high:
        return "open"
    return "yes" if one.r > 0 else "no"


def carrier(one: Transfer) -> Without | None:
    """The model or family without which less than half of the correlation is left, or one of the other sign."""
    if one.r is None or not one.without:
        return None
    sign = math.copysign(1.0, one.r)
    least = min(one.without, key=lambda left: (sign * left.r, left.family))
    return least if sign * least.r < CARRIED * abs(one.r) else None


# --- Log odds of the results


def _inside(values: Array | float) -> Array:
    """Where a source accuracy comes without its n; off the very ends its log odds are finite."""
    return np.clip(values, 1e-4, 1 - 1e-4)


def source_log_odds(results: Results, model: str) -> tuple[float, float | None, float | None]:
    """Log odds of the source accuracy and of the ends of its exact 95 % interval, if its n is known."""
    value, n = results.source_top1[model], results.source_n.get(model)
    if n is None:
        return float(log_odds(_inside(value))), None, None
    return float(log_odds(value, n)), *_end_log_odds(round(value * n), n)


@functools.cache
def _end_log_odds(right: int, n: int) -> tuple[float, float]:
    """Of the ends of the exact interval; asked for once for each model, panel and regime."""
    low, high = clopper_pearson(right, n)
    return float(log_odds(low, n)), float(log_odds(high, n))


def entry_log_odds(entry: Entry) -> tuple[float, float | None, float | None]:
    """Log odds of the value and of the ends of its interval, if it has one."""
    assert entry.value is not None, "a failed cell has no log odds"
    ends, n = (entry.low, entry.high), entry.n or WITHOUT_N
    low, high = (None if end is None else _one_log_odds(min(max(end, 0.0), 1.0), n) for end in ends)
    return _one_log_odds(entry.value, n), low, high


def _one_log_odds(value: float, n: int) -> float:
    """`log_odds` of one number: an array of one takes fifty times as long, and a figure has thousands."""
    return math.log(value * n + 0.5) - math.log((1 - value) * n + 0.5)


def mean_interval(entries: Sequence[Entry]) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of the mean log odds over tasks, whose test splits are independent."""
    below, above, middle = 0.0, 0.0, 0.0
    for entry in entries:
        at, low, high = entry_log_odds(entry)
        if low is None or high is None:
            return None, None
        middle, below, above = middle + at, below + (at - low) ** 2, above + (high - at) ** 2
    count = len(entries)
    return (middle - math.sqrt(below)) / count, (middle + math.sqrt(above)) / count
