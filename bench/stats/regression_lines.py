"""Least-squares lines over models, with the bands and the ranges of their slopes that Student's t gives.

What has no value (a line through two points, or over a constant) is NaN.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.metrics import Array

from .intervals import tail_of
from .study_values import ROUNDING, fractions, pair

FEWEST = 3  # points with which a correlation or a slope means something


@dataclass(frozen=True)
class Line:
    """A least-squares line with its band: line, low, high at `at`; n points."""

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


def fit_line(x: npt.ArrayLike, y: npt.ArrayLike, at: npt.ArrayLike, *, level: float = 0.95) -> Line:
    """The least-squares line of y [m] on x [m], with the band that holds the true line at each of `at`.

    Band and slope are Student's with m - 2 degrees of freedom: exact where points scatter normally about the line,
    whatever x is. Fewer than three points, or a constant x, give NaN throughout; three points give a line but no band.
    """
    from scipy.stats import t

    x, y = pair(x, y)
    at, tail, m = np.asarray(at, dtype=np.float64), tail_of(level), len(x)
    slope, intercept = (float(part[0]) for part in least_squares(x[None], y[None]))
    line, half, slope_half = intercept + slope * at, np.full(at.shape, np.nan), np.nan
    if m > FEWEST and not np.isnan(slope):
        apart = x - x.mean()
        scatter = np.sqrt(((y - intercept - slope * x) ** 2).sum() / (m - 2))
        quantile = float(t.ppf(1 - tail, m - 2))
        slope_half = quantile * scatter / np.sqrt((apart**2).sum())
        half = quantile * scatter * np.sqrt(1 / m + (at - x.mean()) ** 2 / (apart**2).sum())
    return Line(
        at=at,
        line=line,
        low=line - half,
        high=line + half,
        slope=slope,
        slope_low=float(slope - slope_half),
        slope_high=float(slope + slope_half),
        intercept=intercept,
        n=m,
        level=level,
    )


def slope_above(source: npt.ArrayLike, values: npt.ArrayLike, threshold: float, *, level: float = 0.95) -> Line:
    """The line of a task's metric on source accuracy over the models at or above a bound of it; all fractions.

    Fang et al. 2023, Figure 1: points gained on the task per point of ImageNet accuracy, from 70 % on. The line
    runs from the lowest to the highest of these models; NaN with fewer than three. `n` counts them.
    """
    source, values = pair(fractions(source), values)
    above = source >= threshold - ROUNDING
    x = source[above]
    ends = np.array([x.min(), x.max()]) if len(x) else np.full(2, np.nan)
    return fit_line(x, values[above], ends, level=level)


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
