"""How much smaller a correlation is because accuracies come from finite test sets, and what it would be without."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import fractions, pair, pearson


@dataclass(frozen=True)
class Corrected:
    """r as measured and with the test sets' noise taken out; reliability: the share of a variance that is no noise.

    corrected is at most 1 in size, and NaN where a reliability is not above 0: the noise is as large as the spread.
    """

    r: float
    corrected: float
    reliability_x: float
    reliability_y: float


def log_odds_error(values: npt.ArrayLike, n: npt.ArrayLike) -> Array:
    """Standard error of log odds of fractions k / n from n test images, same shape as values.

    sqrt(1 / (k + 1/2) + 1 / (n - k + 1/2)), which goes with log((k + 1/2) / (n - k + 1/2)). Source: Gart and
    Zweifel 1967.
    """
    values, n = fractions(values), np.asarray(n, dtype=np.float64)
    if not (n >= 1).all():
        raise BadInput(f"n: test images, 1 or more expected; {n.min()} found")
    return np.sqrt(1 / (values * n + 0.5) + 1 / ((1 - values) * n + 0.5))


def corrected_correlation(
    x: npt.ArrayLike, y: npt.ArrayLike, error_x: npt.ArrayLike = 0.0, error_y: npt.ArrayLike = 0.0
) -> Corrected:
    """Pearson's r of x and y [m] divided by the root of both reliabilities.

    error_x, error_y: standard errors of each number [m], or one for all. Reliability is 1 less the mean of
    their squares over the variance of the numbers. Errors of different models count as independent: models share
    test images, which makes their true noise smaller and the correction too large, never too small.
    Source: Spearman 1904.
    """
    x, y = pair(x, y)
    r = pearson(x, y)
    reliable = []
    for numbers, error in ((x, error_x), (y, error_y)):
        errors = np.asarray(error, dtype=np.float64)
        if errors.shape not in ((), numbers.shape) or not (errors >= 0).all():
            raise BadInput(f"errors: one of at least 0 per model expected ({len(numbers)}), {errors.shape} found")
        spread = float(numbers.var(ddof=1)) if len(numbers) > 1 else 0.0
        reliable.append(1 - float((errors**2).mean()) / spread if spread > 0 else math.nan)
    corrected = r / math.sqrt(reliable[0] * reliable[1]) if min(reliable) > 0 and not math.isnan(r) else math.nan
    return Corrected(r, float(np.clip(corrected, -1, 1)), *reliable)
