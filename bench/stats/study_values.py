"""A study's values: one with its interval, and a table of them in log odds.

Values are fractions; a table of results is [models, tasks]. Pure functions of arrays, and whatever is drawn at
random is drawn from `seed`. What has no value is NaN, never a warning; what makes no sense (a percentage, a NaN
from a failed cell) is BadInput.
"""

from typing import Any

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput, nearest
from featune.engine.metrics import METRICS, Array, Metric

from .intervals import BOOTSTRAP_METHODS, PROPORTION_METHODS, RESAMPLES, Interval, bootstrap

ROUNDING = 1e-13  # of the largest number: what arithmetic alone may part


def interval(
    metric: str | Metric,
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    method: str | None = None,
    **options: Any,
) -> Interval:
    """A metric's value and interval over test examples like these.

    method: clopper_pearson or wilson (proportions only), percentile or bca (bootstrap over examples); unless
    given, clopper_pearson for a proportion and percentile for the rest. n counts the examples that count.
    options go to the metric.
    """
    if isinstance(metric, str):
        if metric not in METRICS:
            raise BadInput(f"no metric named {metric!r}{nearest(metric, METRICS)}")
        metric = METRICS[metric]
    method = method or ("clopper_pearson" if metric.is_proportion else "percentile")
    value = metric(truth, scores, **options)
    if method in PROPORTION_METHODS:
        if not metric.is_proportion or metric.per_example is None:
            raise BadInput(f"{metric.name} is not a proportion; use {' or '.join(BOOTSTRAP_METHODS)}")
        right = metric.per_example(np.asarray(truth), np.asarray(scores))
        right = right[~np.isnan(right)]
        return PROPORTION_METHODS[method](int(right.sum()), len(right), level)
    statistic, n = metric.statistic(truth, scores, **options)
    return bootstrap(statistic, n, value=value, level=level, seed=seed, resamples=resamples, method=method)


# --- What comes in


def fractions(values: npt.ArrayLike) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if np.isnan(values).any():
        where = [tuple(map(int, at)) for at in np.argwhere(np.isnan(values))[:5]]
        raise BadInput(f"values: NaN at {where}; leave out models or tasks with failed cells")
    if ((values < 0) | (values > 1)).any():
        worst = values[(values < 0) | (values > 1)][0]
        raise BadInput(f"values: fractions from 0 to 1 expected, {worst} found; divide percentages by 100")
    return values


def table(values: npt.ArrayLike, fewest_models: int = 1) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < fewest_models or values.shape[1] < 1:
        raise BadInput(f"values: [models, tasks] with {fewest_models} models or more expected, {values.shape} found")
    return values


def pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise BadInput(f"x and y: one number each per model expected, {x.shape} and {y.shape} found")
    if not (np.isfinite(x) & np.isfinite(y)).all():
        raise BadInput(f"x and y: finite numbers expected; not so at {np.flatnonzero(~np.isfinite(x + y)).tolist()}")
    return tied(x), tied(y)


def tied(values: Array) -> Array:
    """The numbers [m] with those made equal that differ by rounding alone, which no statistic may take for more.

    Rounding: 1e-13 of the largest size, as scipy's `pearsonr` warns of nearly constant numbers.
    """
    if not values.size:
        return values
    order = np.argsort(values, kind="stable")
    steps = np.diff(values[order]) > ROUNDING * abs(values).max()
    group = np.concatenate([[0], np.cumsum(steps)])
    first = values[order][np.searchsorted(group, np.arange(group[-1] + 1))]
    return np.asarray(first[group][np.argsort(order, kind="stable")])


# --- Log odds


def log_odds(values: npt.ArrayLike, n: npt.ArrayLike | None = None) -> Array:
    """logit of (k + 1/2) / (n + 1) for fractions k / n, so that 0 and 1 stay finite.

    n: test images, broadcast against values. Without n, for published numbers that lack it, the plain logit;
    then 0 and 1 raise BadInput.
    """
    values = fractions(values)
    if n is None:
        if ((values == 0) | (values == 1)).any():
            raise BadInput("a value of exactly 0 or 1 has infinite log odds; give n, the number of test images")
        return np.log(values) - np.log1p(-values)
    n = np.asarray(n, dtype=np.float64)
    if not (n >= 1).all():
        raise BadInput(f"n: test images, 1 or more expected; {n.min()} found")
    return np.log(values * n + 0.5) - np.log((1 - values) * n + 0.5)


def mean_log_odds(values: npt.ArrayLike, n: npt.ArrayLike | None = None) -> Array:
    """Log odds averaged over tasks [models]; values: fractions [models, tasks], n: test images [tasks]."""
    return log_odds(table(values), n).mean(axis=1)
