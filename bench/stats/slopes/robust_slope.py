"""Theil and Sen's slope: the median slope of all pairs of models, which no single model can move far."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ...stats import FEWEST, pair, tail_of

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
