"""What so many models could have shown: the smallest correlation and slope that a study of them can detect."""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import ERROR

POWER = 0.8
SPREADS = 200  # quantiles of the spread of x that the power is averaged over


def significant_correlation(models: int, *, error: float = ERROR) -> float:
    """The smallest |r| of so many models that is significant: Student's t with models - 2 degrees of freedom.

    A study whose true correlation is this one finds it half of the time only; `detectable_correlation` asks for more.
    """
    from scipy.stats import t

    _check(models, error, POWER)
    quantile = float(t.ppf(1 - error / 2, models - 2))
    return quantile / math.sqrt(models - 2 + quantile**2)


def detectable_correlation(models: int, *, power: float = POWER, error: float = ERROR) -> float:
    """The true correlation that so many models show as significant, in its direction, in a share `power` of studies.

    Exact for numbers that are normal together: given the spread of x, Student's t is noncentral, and that spread is
    chi-squared with models - 1 degrees of freedom, over whose quantiles the power is averaged. Source: Cohen 1988,
    chapter 3, has tables of it.
    """
    from scipy.optimize import brentq
    from scipy.stats import chi2, t

    _check(models, error, power)
    free = models - 2
    quantile = float(t.ppf(1 - error / 2, free))
    spread = np.sqrt(chi2.ppf((np.arange(SPREADS) + 0.5) / SPREADS, models - 1))

    def short_of(z: float) -> float:
        rho = math.tanh(z)
        return float(_found(quantile, free, rho / math.sqrt(1 - rho**2) * spread).mean()) - power

    return math.tanh(float(brentq(short_of, 0.0, _beyond(short_of, 1.0), xtol=1e-6)))


def detectable_slope(x: npt.ArrayLike, scatter: float, *, power: float = POWER, error: float = ERROR) -> float:
    """The true slope that models at x [m] show as significant, in its direction, in a share `power` of studies.

    scatter: standard deviation of y about the line, in units of y; the slope is in units of y per unit of x. By the
    noncentral t distribution with m - 2 degrees of freedom: exact for normal scatter. NaN for fewer than three models
    or constant x.
    """
    from scipy.optimize import brentq
    from scipy.stats import t

    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or not scatter >= 0:
        raise BadInput(f"x: finite numbers [m] and scatter of at least 0 expected, {x.shape} and {scatter} found")
    if len(x) < 3 or np.ptp(x) == 0:
        return math.nan
    _check(len(x), error, power)
    free, quantile = len(x) - 2, float(t.ppf(1 - error / 2, len(x) - 2))

    def short_of(shift: float) -> float:
        return float(_found(quantile, free, np.array([shift]))[0]) - power

    shift = float(brentq(short_of, 0.0, _beyond(short_of, quantile), xtol=1e-9))
    return shift * scatter / float(np.sqrt(((x - x.mean()) ** 2).sum()))


def _found(quantile: float, free: int, shift: Array) -> Array:
    """The chance that a noncentral t lies above the quantile; of shifts that scipy has no number for it is certain."""
    from scipy.stats import nct

    with np.errstate(all="ignore"):
        return np.nan_to_num(nct.sf(quantile, free, shift), nan=1.0)


def _beyond(short_of: Callable[[float], float], start: float) -> float:
    """A value at which nothing is short any more."""
    while short_of(start) < 0:
        start *= 2
    return start


def _check(models: int, error: float, power: float) -> None:
    if models < 3:
        raise BadInput(f"models: 3 or more expected, {models} found; fewer have no correlation to detect")
    if not 0 < error < power < 1:
        raise BadInput(f"error and power: 0 < error < power < 1 expected, {error} and {power} found")
