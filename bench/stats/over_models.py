"""What may be said of few models: permutation tests, claims judged together, and intervals that cover.

How often the intervals cover and how often a verdict is false is simulated by `benchmarks/coverage.py`.
"""

import functools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from .intervals import tail_of

FEWEST_FAMILIES = 4  # left out in turn
FEWEST_JUDGED = 6  # models: below, a permutation test has hardly a p-value under 0.05, and no verdict is given
ERROR = 0.05  # how often a verdict may be false
ALL_ORDERS = 5040  # of seven models; of more, orders are drawn
DRAWN_ORDERS = 2000


@functools.lru_cache(maxsize=64)
def orders(models: int, seed: int = 0, drawn: int = DRAWN_ORDERS) -> npt.NDArray[np.int64]:
    """Orders of the models [r, models], the given one first: all of up to seven, drawn ones of more.

    Drawn ones make a test that is exact too, as the given order is counted among them (Phipson and Smyth 2010).
    """
    if math.factorial(min(models, 20)) <= ALL_ORDERS:
        every = np.zeros((1, 0), dtype=np.int64)
        for model in range(models):  # put in at every place, the last first, so that the given order comes first
            every = np.concatenate([np.insert(every, place, model, axis=1) for place in range(model, -1, -1)])
        return _shared(every)
    rng = np.random.default_rng(seed)
    shuffled = rng.permuted(np.tile(np.arange(models), (drawn - 1, 1)), axis=1)
    return _shared(np.concatenate([np.arange(models)[None], shuffled]))


def _shared(rows: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """Rows that several callers are given: nobody may write to them."""
    rows.flags.writeable = False
    return rows


def p_values(statistics: Array) -> Array:
    """For each of the statistics [..., r] the share of the r that are as large; the larger, the more it tells."""
    order = np.sort(statistics, axis=-1)
    shares = [
        len(row) - np.searchsorted(row, of - 1e-9, side="left")
        for row, of in zip(order.reshape(-1, order.shape[-1]), statistics.reshape(-1, order.shape[-1]), strict=True)
    ]
    return np.reshape(shares, statistics.shape) / statistics.shape[-1]


def judged_together(statistics: Array) -> Array:
    """p-value of each claim among all of them: any false one at 0.05 has a chance of at most 0.05 [claims].

    statistics: [claims, r], of the data as they are in the first column and of the same r orders of the models in
    the others. Westfall and Young's (1993) smallest p-value: a claim's p is compared with the smallest that any
    claim has in each order, which takes account of how claims hang together.
    """
    if statistics.ndim != 2 or not statistics.size:
        raise BadInput(f"statistics: [claims, orders] expected, {statistics.shape} found")
    each = p_values(statistics)
    return (each.min(axis=0) <= each[:, :1] + 1e-12).mean(axis=1)


def holm(p: Sequence[float]) -> list[float]:
    """The p-values adjusted for one another, whatever they have in common (Holm 1979)."""
    found, largest = np.ones(len(p)), 0.0
    for rank, at in enumerate(np.argsort(p, kind="stable")):
        largest = max(largest, min(1.0, (len(p) - rank) * p[at]))
        found[at] = largest
    return found.tolist()


def jackknife_error(without: npt.ArrayLike) -> float:
    """Standard error of a statistic by its values without each model in turn [models]."""
    without = np.asarray(without, dtype=np.float64)
    models = len(without)
    return float(np.sqrt((models - 1) / models * ((without - without.mean()) ** 2).sum()))


def families_to_leave(families: Sequence[str], models: int) -> list[str]:
    """The families that are to be left out in turn: four or more, of which one has several models; else none."""
    if families and len(families) != models:
        raise BadInput(f"families: one per model expected ({models}), {len(families)} found")
    known = list(dict.fromkeys(families))
    return known if FEWEST_FAMILIES <= len(known) < models else []


def without_each(rowwise: Callable[..., Array], *columns: Array) -> Array:
    """A statistic of rows of columns [r, m - 1] without each of their m entries in turn [m]."""
    others, left = np.arange(len(columns[0]) - 1), np.arange(len(columns[0]))[:, None]
    rest = others + (others >= left)
    return rowwise(*(column[rest] for column in columns))


def without_families(statistic: Callable[..., float], *columns: Array, families: Sequence[str]) -> list[float]:
    """A statistic of columns [m, ...] without each family in turn; none where families say nothing."""
    names = np.asarray(families)
    left = families_to_leave(families, len(columns[0]))
    return [float(statistic(*(column[names != of] for column in columns))) for of in left]


def widened(
    value: float, low: float, high: float, without: npt.ArrayLike, without_family: npt.ArrayLike, level: float
) -> tuple[float, float]:
    """The interval, or the jackknife's over models or over families where that reaches further on a side.

    without, without_family: the statistic without each model and each family; a NaN among them says nothing.
    """
    from scipy.stats import norm

    quantile = float(norm.ppf(1 - tail_of(level)))
    for left_out in (without, without_family):
        others = np.asarray(left_out, dtype=np.float64)
        if len(others) > 1 and np.isfinite(others).all():
            half = quantile * jackknife_error(others)
            low, high = min(low, value - half), max(high, value + half)
    return low, high


def correlation_bounds(
    value: float,
    without: npt.ArrayLike,
    variance: float,
    *,
    level: float = 0.95,
    most: float = 1.0,
    student: bool = True,
    without_family: npt.ArrayLike = (),
) -> tuple[float, float]:
    """Interval of a correlation over models, on the scale of Fisher's z = atanh(r).

    value: of all models; without: of all but each [models]; without_family: of all but each family, where several
    hold more than one. variance: of z where nothing is known of the numbers' distribution, 1 / (models - 3) for
    Pearson's r of normal ones (Fisher 1921). It is too small for heavy tails, and for models that come in families, so
    that a jackknife's error takes its place where that gives more. student: with Student's quantile of models - 2
    degrees of freedom; otherwise with the normal one, as the jackknife's error is too large on average (Efron and
    Stein 1981). most: z is that of at most this value, for correlations of ranks, of which 1 is no certainty.
    """
    from scipy.stats import norm, t

    if abs(value) >= 1 and most >= 1:
        return value, value
    tail, edge = tail_of(level), min(most, float(np.nextafter(1.0, 0.0)))
    normal, half = float(norm.ppf(1 - tail)), 0.0
    for left_out in (without, without_family):
        # Constant without one model: nothing is left of r.
        others = np.nan_to_num(np.asarray(left_out, dtype=np.float64))
        if len(others) > 1:
            error = jackknife_error(np.arctanh(np.clip(others, -edge, edge)))
            half = max(half, error * (float(t.ppf(1 - tail, max(1, len(others) - 2))) if student else normal))
    half = max(normal * math.sqrt(variance), half)
    z = math.atanh(min(max(value, -edge), edge))
    low = -1.0 if value <= -edge else math.tanh(z - half)
    high = 1.0 if value >= edge else math.tanh(z + half)
    return low, high
