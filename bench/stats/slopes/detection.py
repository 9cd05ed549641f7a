"""What so many models could have shown: the smallest correlation and slope of which a verdict is likely.

By simulation of the verdict that is printed (`featune.bench.results.verdict`): a test at 0.05 and an interval of r
clear of 0, which is Fisher's or the jackknife's over models where that is wider. Student's t alone finds smaller ones.
"""

import math
from collections.abc import Callable

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import ERROR, FEWEST_JUDGED

POWER = 0.8
STUDIES = 4000  # simulated, fewer of many models; of 4000 the share that is found is known to +-0.012
NUMBERS = 60_000  # of models of all studies, at most, where that leaves 400 studies
HALVINGS = 12


def significant_correlation(models: int, *, error: float = ERROR) -> float:
    """The smallest |r| of so many models that is significant: Student's t with models - 2 degrees of freedom.

    A study whose true correlation is this one finds it half of the time only; `detectable_correlation` asks for more.
    """
    from scipy.stats import t

    _check(models, error, POWER, 3)
    quantile = float(t.ppf(1 - error / 2, models - 2))
    return quantile / math.sqrt(models - 2 + quantile**2)


def detectable_correlation(models: int, *, power: float = POWER, error: float = ERROR) -> float:
    """The true correlation of which a share `power` of studies of so many models gives a verdict, in its direction.

    Numbers are normal together and models independent. The permutation test is taken to say what Student's says.
    """
    _check(models, error, power, FEWEST_JUDGED)
    x, e = np.random.default_rng(models).normal(size=(2, _studies(models), models))

    def found(angle: float) -> float:
        return float(verdicts(x, math.sin(angle) * x + math.cos(angle) * e, error=error).mean())

    return math.sin(_smallest(found, power, math.pi / 2))


def detectable_slope(x: npt.ArrayLike, scatter: float, *, power: float = POWER, error: float = ERROR) -> float:
    """The true slope of which models at x [m] give a verdict, in its direction, in a share `power` of studies.

    scatter: standard deviation of y about the line, normal, in units of y; the slope is in units of y per unit of x.
    NaN for fewer than six models, which get no verdict, for constant x, or where one model lies so far out that no
    slope is found.
    """
    x = np.asarray(x, dtype=np.float64)
    if x.ndim != 1 or not np.isfinite(x).all() or not scatter >= 0:
        raise BadInput(f"x: finite numbers [m] and scatter of at least 0 expected, {x.shape} and {scatter} found")
    if len(x) < FEWEST_JUDGED or np.ptp(x) == 0:
        return math.nan
    _check(len(x), error, power, FEWEST_JUDGED)
    at = (x - x.mean()) / x.std()
    e = np.random.default_rng(len(x)).normal(size=(_studies(len(x)), len(x)))

    def found(slope: float) -> float:
        return float(verdicts(np.broadcast_to(at, e.shape), slope * at + e, error=error).mean())

    most = 1.0
    while found(most) < power:
        most *= 2
        if most > 1e6:
            return math.nan
    return _smallest(found, power, most) * scatter / float(x.std())


def verdicts(x: Array, y: Array, *, error: float = ERROR) -> npt.NDArray[np.bool_]:
    """Which studies [r] of models at x and y [r, m] would be told to have a positive correlation."""
    from scipy.stats import norm

    models, quantile = x.shape[1], float(norm.ppf(1 - error / 2))
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    xx, yy, xy = ((a * b).sum(axis=1, keepdims=True) for a, b in ((x, x), (y, y), (x, y)))
    r = (xy / np.sqrt(xx * yy))[:, 0]
    # Without each model in turn: what its centred x and y leave of the sums.
    share = models / (models - 1)
    without = (xy - share * x * y) / np.sqrt((xx - share * x**2) * (yy - share * y**2))
    edge = np.nextafter(1.0, 0.0)
    z = np.arctanh(np.clip(without, -edge, edge))
    jackknife = np.sqrt((models - 1) / models * ((z - z.mean(axis=1, keepdims=True)) ** 2).sum(axis=1))
    half = quantile * np.maximum(jackknife, 1 / math.sqrt(models - 3))
    return (r >= significant_correlation(models, error=error)) & (np.arctanh(np.clip(r, -edge, edge)) > half)


def _studies(models: int) -> int:
    return max(400, min(STUDIES, NUMBERS // models))


def _smallest(found: Callable[[float], float], power: float, most: float) -> float:
    """The smallest effect of which the share is found, between 0 and one of which it is."""
    low, high = 0.0, most
    for _ in range(HALVINGS):
        middle = (low + high) / 2
        low, high = (low, middle) if found(middle) >= power else (middle, high)
    return high


def _check(models: int, error: float, power: float, fewest: int) -> None:
    if models < fewest:
        raise BadInput(f"models: {fewest} or more expected, {models} found; fewer have no correlation to detect")
    if not 0 < error < power < 1:
        raise BadInput(f"error and power: 0 < error < power < 1 expected, {error} and {power} found")
