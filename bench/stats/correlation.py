"""Correlations over models: of two columns, and of source accuracy with transfer accuracy in log odds.

What has no value (a correlation of two models, or of constant numbers) is NaN, never a warning. Whatever is
drawn at random is drawn from `seed`.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from .intervals import RESAMPLES, tail_of
from .regression_lines import FEWEST, distinct, least_squares, point_draws
from .study_values import fractions, log_odds, mean_log_odds, pair, table


@dataclass(frozen=True)
class Correlation:
    """A correlation over models, with a bootstrap interval and the slope of the least-squares line.

    tasks: how many were averaged, 0 for a plain pair of columns. undefined: resamples left out for having
    fewer than three different models or constant numbers. low and high are NaN for fewer than four models.
    """

    r: float
    low: float
    high: float
    models: int
    tasks: int
    kind: str
    level: float
    slope: float
    intercept: float
    resamples: int
    undefined: int


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
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    kind: str = "pearson",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Correlation:
    """Correlation of x [m] and y [m] with a percentile bootstrap interval over the m models.

    A resample with fewer than three different models, or with constant numbers, has no correlation and is
    left out; `undefined` counts them. With fewer than four models there is no interval: low and high are NaN.
    """
    x, y = pair(x, y)

    def models_only(rows: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return x[rows], y[rows]

    return _correlation(x, y, models_only, 0, kind=kind, level=level, resamples=resamples, seed=seed)


def transfer_correlation(
    source: npt.ArrayLike,
    values: npt.ArrayLike,
    n: npt.ArrayLike | None = None,
    *,
    source_n: npt.ArrayLike | None = None,
    kind: str = "pearson",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    resample_examples: bool = True,
) -> Correlation:
    """Correlation of logit(source accuracy) with the mean over tasks of the log odds of transfer accuracy.

    source: fractions [models]; values: fractions [models, tasks]; n: test images [tasks] or [models, tasks],
    source_n: those of the source, one number or [models]. Without n the plain logit is taken. After Kornblith et
    al. 2019.

    The interval is a percentile bootstrap over models. Where n (or source_n) is given and resample_examples
    holds, each resample also draws its accuracies anew as binomial counts of n: the noise of finite test sets
    comes on top of what the measured numbers hold of it already, so with small test sets the interval leans
    towards 0. Draws are independent between models although they share test images, which errs on the wide
    side; and binomial also for metrics that are no proportions, which is an approximation.
    """
    source, values = fractions(source), table(fractions(values))
    if source.shape != values.shape[:1]:
        raise BadInput(f"source: one value per model expected ({len(values)}), {source.shape} found")
    x, y = log_odds(source, source_n), mean_log_odds(values, n)
    sizes = None if n is None else np.broadcast_to(np.asarray(n), values.shape)
    source_sizes = None if source_n is None else np.broadcast_to(np.asarray(source_n), source.shape)

    def draw(rows: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        noisy_source, noisy = source[rows], values[rows]
        drawn_source_n = None if source_sizes is None else source_sizes[rows]
        if drawn_source_n is not None and resample_examples:
            noisy_source = rng.binomial(drawn_source_n, noisy_source) / drawn_source_n
        if sizes is not None and resample_examples:
            noisy = rng.binomial(sizes[rows], noisy) / sizes[rows]
        drawn_n = None if sizes is None else sizes[rows]
        return log_odds(noisy_source, drawn_source_n), log_odds(noisy, drawn_n).mean(axis=2)

    return _correlation(x, y, draw, values.shape[1], kind=kind, level=level, resamples=resamples, seed=seed)


def leave_one_family_out(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    families: Sequence[str],
    *,
    kind: str = "pearson",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Correlation]:
    """The correlation without each family of models in turn: does one of them carry it?

    x, y: [models], log odds as a rule; families: one name per model.
    """
    x, y = pair(x, y)
    if len(families) != len(x):
        raise BadInput(f"families: one per model expected ({len(x)}), {len(families)} found")
    names = np.asarray(families)
    return {
        str(left): correlation_interval(
            x[names != left], y[names != left], kind=kind, level=level, resamples=resamples, seed=seed
        )
        for left in dict.fromkeys(families)
    }


def _correlation(
    x: Array,
    y: Array,
    draw: Callable[[Array, np.random.Generator], tuple[Array, Array]],
    tasks: int,
    *,
    kind: str,
    level: float,
    resamples: int,
    seed: int,
) -> Correlation:
    """draw: rows of models [r, m] -> x and y [r, m] of a resample."""
    rowwise, rng, tail = _rowwise(kind), np.random.default_rng(seed), tail_of(level)
    models, low, high, undefined = len(x), np.nan, np.nan, 0
    slope, intercept = least_squares(x[None], y[None])
    if models > FEWEST:
        # Kendall's pairs of models and the tasks are what a chunk has to hold.
        drawn = [
            np.where(distinct(rows) >= FEWEST, rowwise(*draw(rows, rng)), np.nan)
            for rows in point_draws(models, resamples, models * max(models, tasks), rng)
        ]
        r = np.concatenate(drawn)
        undefined = int(np.isnan(r).sum())
        if undefined < resamples:
            low, high = np.quantile(r[~np.isnan(r)], [tail, 1 - tail])
    return Correlation(
        r=_correlate(kind, x, y),
        low=float(low),
        high=float(high),
        models=models,
        tasks=tasks,
        kind=kind,
        level=level,
        slope=float(slope[0]),
        intercept=float(intercept[0]),
        resamples=resamples if models > FEWEST else 0,
        undefined=undefined,
    )
