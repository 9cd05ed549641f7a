"""Slopes that no single model decides: the median of pairs, and least squares with an interval that covers."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...stats import FEWEST, fit_line, least_squares, pair, tail_of, widened, without_each, without_families

FEWEST_FOR_INTERVAL = 6  # points; below, the exact distribution has no 95 % interval that ends (Sen 1968, table)


@dataclass(frozen=True)
class Slope:
    """A slope with its interval, NaN where there is none; y is intercept + slope x in the middle."""

    slope: float
    low: float
    high: float
    intercept: float
    n: int
    level: float


def line_slope(x: npt.ArrayLike, y: npt.ArrayLike, *, families: Sequence[str] = (), level: float = 0.95) -> Slope:
    """The least-squares slope of y [m] on x [m], with Student's interval, or the jackknife's where that is wider.

    Student's alone holds the truth too seldom where points far out scatter more, or where models come in families
    (benchmarks/coverage.md). families: one name per model. NaN for fewer than three points or a constant x, no
    interval below four.
    """
    x, y = pair(x, y)
    line, m = fit_line(x, y, x, level=level), len(x)
    if m <= FEWEST or math.isnan(line.slope):
        return Slope(line.slope, math.nan, math.nan, line.intercept, m, level)
    alone = without_each(lambda of_x, of_y: least_squares(of_x, of_y)[0], x, y)
    together = without_families(lambda of_x, of_y: least_squares(of_x[None], of_y[None])[0][0], x, y, families=families)
    low, high = widened(line.slope, line.slope_low, line.slope_high, alone, together, level)
    return Slope(line.slope, low, high, line.intercept, m, level)


def theil_sen(x: npt.ArrayLike, y: npt.ArrayLike, *, level: float = 0.95) -> Slope:
    """The median of the slopes of all pairs of points, x and y [m], with Sen's interval.

    Computed by `scipy.stats.theilslopes`; the line goes through the median of y - slope x. NaN for fewer than three
    points or a constant x, and no interval below six points, where Kendall's test on which it rests cannot
    reach 0.05. Sources: Theil 1950; Sen 1968.
    """
    from scipy.stats import theilslopes

    x, y = pair(x, y)
    tail_of(level)
    if len(x) < FEWEST or np.ptp(x) == 0:
        return Slope(math.nan, math.nan, math.nan, math.nan, len(x), level)
    found = theilslopes(y, x, alpha=level, method="joint")
    enough = len(x) >= FEWEST_FOR_INTERVAL
    low, high = (float(found.low_slope), float(found.high_slope)) if enough else (math.nan, math.nan)
    return Slope(float(found.slope), low, high, float(found.intercept), len(x), level)
