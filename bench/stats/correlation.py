"""Correlations over models: of two columns, and of source accuracy with transfer accuracy in log odds.

What has no value (a correlation of two models, or of numbers that are constant but for rounding) is NaN, never a
warning. Whatever is drawn at random is drawn from `seed`.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from .intervals import chunks
from .over_models import FEWEST_JUDGED, correlation_bounds, orders, p_values
from .regression_lines import FEWEST, least_squares
from .study_values import fractions, log_odds, mean_log_odds, pair, table


@dataclass(frozen=True)
class Correlation:
    """A correlation over models, with its interval, its test and the slope of the least-squares line.

    tasks: how many were averaged, 0 for a plain pair of columns. low and high are NaN for fewer than four models.
    p: two-sided, of a permutation test of no correlation; NaN for fewer than six models, of which nothing is said.
    """

    r: float
    low: float
    high: float
    p: float
    models: int
    tasks: int
    kind: str
    level: float
    slope: float
    intercept: float


# --- A number


def pearson(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Pearson's r; NaN with fewer than three points or where x or y is constant, when it says nothing."""
    return _correlate("pearson", x, y)


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rho, ties sharing their mean rank; NaN as in `pearson`."""
    return _correlate("spearman", x, y)


def kendall(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Kendall's tau-b; NaN as in `pearson`."""
    return _correlate("kendall", x, y)


def _correlate(kind: str, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    x, y = pair(x, y)
    return float(_rowwise(kind)(x[None], y[None])[0]) if len(x) >= FEWEST else np.nan


def _rowwise(kind: str) -> Callable[[Array, Array], Array]:
    known = {"pearson": _pearson_rows, "spearman": _spearman_rows, "kendall": _kendall_rows}
    if kind not in known:
        raise BadInput(f"no correlation named {kind!r}; one of {', '.join(known)}")
    return known[kind]


def _pearson_rows(x: Array, y: Array) -> Array:
    """r of each row of x [r, m] with the same row of y; NaN where either is constant."""
    moving = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    length = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    r = np.divide((x * y).sum(axis=1), length, out=np.full(len(x), np.nan), where=moving & (length > 0))
    return np.clip(r, -1, 1)


def _spearman_rows(x: Array, y: Array) -> Array:
    from scipy.stats import rankdata

    return _pearson_rows(rankdata(x, axis=1), rankdata(y, axis=1))


def _kendall_rows(x: Array, y: Array) -> Array:
    x, y = np.sign(x[:, :, None] - x[:, None]), np.sign(y[:, :, None] - y[:, None])
    untied = np.sqrt((x**2).sum(axis=(1, 2)) * (y**2).sum(axis=(1, 2)))
    return np.divide((x * y).sum(axis=(1, 2)), untied, out=np.full(len(x), np.nan), where=untied > 0)


# --- With an interval


def correlation_interval(
    x: npt.ArrayLike, y: npt.ArrayLike, *, kind: str = "pearson", level: float = 0.95, seed: int = 0
) -> Correlation:
    """Correlation of x [m] and y [m] over m models, with an interval and a permutation test.

    The interval is Fisher's on the scale of atanh(r), or the jackknife's on that scale where it is wider; with fewer
    than four models there is none. Variances of rank correlations: Bonett and Wright 2000 for Spearman's rho,
    Fieller et al. 1957 for Kendall's tau. The test counts how often an order of the models gives as large a
    correlation: exact for any distribution, and of up to seven models over all orders. Measured in
    `benchmarks/coverage.md`: intervals hold the truth in 92 % of studies or more of 4 to 20 models, with heavy tails
    too; at no correlation p is at most 0.05 and the interval lies clear of zero in at most 5 %.
    """
    return _correlation(*pair(x, y), 0, kind=kind, level=level, seed=seed)


def transfer_correlation(
    source: npt.ArrayLike,
    values: npt.ArrayLike,
    n: npt.ArrayLike | None = None,
    *,
    source_n: npt.ArrayLike | None = None,
    kind: str = "pearson",
    level: float = 0.95,
    seed: int = 0,
) -> Correlation:
    """Correlation of logit(source accuracy) with the mean over tasks of the log odds of transfer accuracy.

    source: fractions [models]; values: fractions [models, tasks]; n: test images [tasks] or [models, tasks],
    source_n: those of the source, one number or [models]. Without n the plain logit is taken. After Kornblith et
    al. 2019.

    Interval and test are those of `correlation_interval`, over models: of the accuracies as they were measured, whose
    noise, from finite test sets, is part of their scatter.
    """
    source, values = fractions(source), table(fractions(values))
    if source.shape != values.shape[:1]:
        raise BadInput(f"source: one value per model expected ({len(values)}), {source.shape} found")
    x, y = pair(log_odds(source, source_n), mean_log_odds(values, n))
    return _correlation(x, y, values.shape[1], kind=kind, level=level, seed=seed)


def leave_one_family_out(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    families: Sequence[str],
    *,
    kind: str = "pearson",
) -> dict[str, float]:
    """The correlation without each family of models in turn: does one of them carry it?

    x, y: [models], log odds as a rule; families: one name per model, or each model's own name.
    """
    x, y = pair(x, y)
    if len(families) != len(x):
        raise BadInput(f"families: one per model expected ({len(x)}), {len(families)} found")
    names = np.asarray(families)
    if len(set(families)) == len(x) > FEWEST and kind != "kendall":  # of which all at once would be m^3 pairs
        found = _rowwise(kind)(*_without_each(x, y))
        return dict(zip(map(str, families), found.tolist(), strict=True))
    return {str(left): _correlate(kind, x[names != left], y[names != left]) for left in dict.fromkeys(families)}


def _correlation(x: Array, y: Array, tasks: int, *, kind: str, level: float, seed: int) -> Correlation:
    rowwise, models = _rowwise(kind), len(x)
    slope, intercept = least_squares(x[None], y[None])
    r, low, high, p = _correlate(kind, x, y), np.nan, np.nan, np.nan
    if models > FEWEST and not math.isnan(r):
        without = rowwise(*_without_each(x, y))
        low, high = correlation_bounds(r, without, _variance(kind, r, models), level=level)
    if models >= FEWEST_JUDGED and not math.isnan(r):
        p = _permutation_p(rowwise, x, y, seed)
    return Correlation(
        r=r,
        low=low,
        high=high,
        p=p,
        models=models,
        tasks=tasks,
        kind=kind,
        level=level,
        slope=float(slope[0]),
        intercept=float(intercept[0]),
    )


def _without_each(x: Array, y: Array) -> tuple[Array, Array]:
    """x and y [m] without each of their entries in turn [m, m - 1]."""
    others, left = np.arange(len(x) - 1), np.arange(len(x))[:, None]
    rest = others + (others >= left)
    return x[rest], y[rest]


def _variance(kind: str, r: float, models: int) -> float:
    """Of atanh(r)."""
    if kind == "kendall":
        return 0.437 / (models - 4) if models > 4 else math.inf
    return (1 + r**2 / 2 if kind == "spearman" else 1.0) / (models - 3)


def _permutation_p(rowwise: Callable[[Array, Array], Array], x: Array, y: Array, seed: int) -> float:
    shuffled, start, found = y[orders(len(y), seed)], 0, []
    for size in chunks(len(shuffled), len(y) ** 2):  # of which Kendall's tau makes pairs
        rows = shuffled[start : start + size]
        found.append(abs(rowwise(np.broadcast_to(x, rows.shape), rows)))
        start += size
    return float(p_values(np.concatenate(found))[0])
