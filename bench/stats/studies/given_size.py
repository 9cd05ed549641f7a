"""Does transfer follow source accuracy among models of the same size?"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput

from ...stats import pair, pearson, tail_of


@dataclass(frozen=True)
class Partial:
    """The correlation with what `given` explains taken out of both; NaN where too few models are left for one."""

    r: float
    low: float
    high: float
    p: float
    models: int
    level: float


def partial_correlation(x: npt.ArrayLike, y: npt.ArrayLike, given: npt.ArrayLike, *, level: float = 0.95) -> Partial:
    """Pearson's r of the residuals of x and y [m] from their regressions on `given` [m] or [m, k].

    Log parameters, or log multiply-adds, as a rule. p is Student's with m - 2 - k degrees of freedom, the interval
    Fisher's with m - 3 - k. Source: Fisher 1924, The distribution of the partial correlation coefficient.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    x, y = pair(x, y)
    given = np.asarray(given, dtype=np.float64)
    given = given[:, None] if given.ndim == 1 else given
    if given.ndim != 2 or len(given) != len(x) or not np.isfinite(given).all():
        raise BadInput(f"given: finite numbers of each of {len(x)} models expected, {given.shape} found")
    tail, (m, k) = tail_of(level), given.shape
    nothing = Partial(math.nan, math.nan, math.nan, math.nan, m, level)
    if m < 3 + k:
        return nothing
    design = np.concatenate([np.ones((m, 1)), given - given.mean(axis=0)], axis=1)
    left = [of - design @ np.linalg.lstsq(design, of, rcond=None)[0] for of in (x, y)]
    # What is left of a column that `given` explains is rounding.
    if any(np.ptp(rest) <= 1e-9 * max(np.ptp(of), 1e-300) for rest, of in zip(left, (x, y), strict=True)):
        return nothing
    r = pearson(*left)
    free = m - 2 - k
    low = high = p = math.nan
    if free > 0 and abs(r) < 1:
        p = float(2 * student.sf(abs(r) * math.sqrt(free / (1 - r**2)), free))
    if free > 1 and abs(r) < 1:
        half = float(norm.ppf(1 - tail)) / math.sqrt(free - 1)
        low, high = math.tanh(math.atanh(r) - half), math.tanh(math.atanh(r) + half)
    return Partial(r, low, high, p, m, level)
