"""Least-squares lines over models, with bootstrap bands and ranges of their slopes.

Models are resampled as points. What has no value (a line through two points, or over a constant) is NaN.
"""

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.metrics import Array

from .intervals import RESAMPLES, chunks, tail_of
from .study_values import fractions, pair

FEWEST = 3  # points with which a correlation or a slope means something


@dataclass(frozen=True)
class Line:
    """A least-squares line with a bootstrap band: line, low, high at `at`; n points."""

    at: Array
    line: Array
    low: Array
    high: Array
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    n: int
    level: float
    resamples: int
    undefined: int


def fit_line(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    at: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Line:
    """The least-squares line of y [m] on x [m], with a percentile bootstrap band at the points `at`.

    Points (models) are resampled; resamples with fewer than three different points or a constant x are left
    out. Fewer than three points, or a constant x, give NaN throughout; three points give a line but no band.
    """
    x, y = pair(x, y)
    at, tail = np.asarray(at, dtype=np.float64), tail_of(level)
    slope, intercept = (float(part[0]) for part in least_squares(x[None], y[None]))
    slopes, intercepts = np.empty(0), np.empty(0)
    if len(x) > FEWEST:
        rng = np.random.default_rng(seed)
        fits = [
            np.where(distinct(rows) >= FEWEST, np.stack(least_squares(x[rows], y[rows])), np.nan)
            for rows in point_draws(len(x), resamples, len(x), rng)
        ]
        slopes, intercepts = np.concatenate(fits, axis=1)
    fitted = ~np.isnan(slopes)
    shares, none = [tail, 1 - tail], np.full(at.shape, np.nan)
    band, slope_range = (none, none), (np.nan, np.nan)
    if fitted.any():
        band = tuple(np.quantile(intercepts[fitted] + np.multiply.outer(at, slopes[fitted]), shares, axis=-1))
        slope_range = tuple(np.quantile(slopes[fitted], shares))
    return Line(
        at=at,
        line=intercept + slope * at,
        low=band[0],
        high=band[1],
        slope=slope,
        slope_low=float(slope_range[0]),
        slope_high=float(slope_range[1]),
        intercept=intercept,
        n=len(x),
        level=level,
        resamples=len(slopes),
        undefined=int((~fitted).sum()),
    )


def slope_above(
    source: npt.ArrayLike,
    values: npt.ArrayLike,
    threshold: float,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Line:
    """The line of a task's metric on source accuracy over the models above a threshold of it; all fractions.

    Fang et al. 2023, Figure 1: points gained on the task per point of ImageNet accuracy, above 70 %. The line
    runs from the lowest to the highest of these models; NaN with fewer than three. `n` counts them.
    """
    source, values = pair(fractions(source), values)
    above = source > threshold
    x = source[above]
    ends = np.array([x.min(), x.max()]) if len(x) else np.full(2, np.nan)
    return fit_line(x, values[above], ends, level=level, resamples=resamples, seed=seed)


# --- Points drawn with replacement


def least_squares(x: Array, y: Array) -> tuple[Array, Array]:
    """Slope and intercept of each row of x, y [r, m]; NaN where x is constant, or m is below three."""
    if x.shape[1] < FEWEST:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    about, mean = x.mean(axis=1), y.mean(axis=1)
    apart = x - about[:, None]
    spread = np.where(np.ptp(x, axis=1) > 0, (apart**2).sum(axis=1), 0.0)
    shared = (apart * (y - mean[:, None])).sum(axis=1)
    slope = np.divide(shared, spread, out=np.full(len(x), np.nan), where=spread > 0)
    return slope, mean - slope * about


def point_draws(models: int, resamples: int, width: int, rng: np.random.Generator) -> Iterator[Array]:
    for size in chunks(resamples, width):
        yield rng.integers(0, models, size=(size, models))


def distinct(rows: Array) -> Array:
    """How many different numbers each row of [r, m] holds."""
    return 1 + (np.diff(np.sort(rows, axis=1), axis=1) > 0).sum(axis=1)
