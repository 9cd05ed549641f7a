"""Does transfer follow source accuracy more closely in one regime than in another, on the same models?"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput

from ...stats import pair, pearson, tail_of

FEWEST_COMPARED = 6


@dataclass(frozen=True)
class Compared:
    """r of x with each of two columns, their difference with Zou's interval, Williams's t and its p; NaN below six."""

    first: float
    second: float
    difference: float
    low: float
    high: float
    t: float
    p: float
    models: int
    level: float


def compare_correlations(
    x: npt.ArrayLike, first: npt.ArrayLike, second: npt.ArrayLike, *, level: float = 0.95
) -> Compared:
    """The correlation of x with `first` less that with `second`, all [m], over the same models.

    p: Williams's t with m - 3 degrees of freedom, which Steiger recommends for correlations that share a variable.
    low, high: Zou's interval, from Fisher's intervals of both and the correlation of their estimates. Sources:
    Williams 1959; Steiger 1980, equation 7; Zou 2007, section on overlapping variables.
    """
    from scipy.stats import norm
    from scipy.stats import t as student

    x, a = pair(x, first)
    _, b = pair(x, second)
    m, tail = len(x), tail_of(level)
    r_a, r_b, between = pearson(x, a), pearson(x, b), pearson(a, b)
    none = Compared(r_a, r_b, r_a - r_b, math.nan, math.nan, math.nan, math.nan, m, level)
    if m < FEWEST_COMPARED or not np.isfinite([r_a, r_b, between]).all():
        return none
    if abs(between) >= 1 - 1e-12:  # the same column twice
        return Compared(r_a, r_b, 0.0, 0.0, 0.0, 0.0, 1.0, m, level) if between > 0 else none
    volume = 1 - r_a**2 - r_b**2 - between**2 + 2 * r_a * r_b * between
    middle = (r_a + r_b) / 2
    scale = 2 * (m - 1) / (m - 3) * volume + middle**2 * (1 - between) ** 3
    t = (r_a - r_b) * math.sqrt((m - 1) * (1 + between) / scale) if scale > 0 else math.nan
    p = float(2 * student.sf(abs(t), m - 3)) if math.isfinite(t) else math.nan
    half = float(norm.ppf(1 - tail)) / math.sqrt(m - 3)
    (low_a, high_a), (low_b, high_b) = (_fisher(r, half) for r in (r_a, r_b))
    shared = _shared(r_a, r_b, between)
    below = (r_a - low_a) ** 2 + (high_b - r_b) ** 2 - 2 * shared * (r_a - low_a) * (high_b - r_b)
    above = (high_a - r_a) ** 2 + (r_b - low_b) ** 2 - 2 * shared * (high_a - r_a) * (r_b - low_b)
    low, high = r_a - r_b - math.sqrt(max(0.0, below)), r_a - r_b + math.sqrt(max(0.0, above))
    return Compared(r_a, r_b, r_a - r_b, low, high, t, p, m, level)


def _fisher(r: float, half: float) -> tuple[float, float]:
    z = math.atanh(min(max(r, -1 + 1e-15), 1 - 1e-15))
    return math.tanh(z - half), math.tanh(z + half)


def _shared(r_a: float, r_b: float, between: float) -> float:
    """Correlation of the estimates of two correlations that share a variable (Pearson and Filon 1898)."""
    spread = (1 - r_a**2) * (1 - r_b**2)
    if spread <= 0:
        return 0.0
    found = ((between - r_a * r_b / 2) * (1 - r_a**2 - r_b**2 - between**2) + between**3) / spread
    return min(1.0, max(-1.0, found))


def require_models(m: int) -> None:
    if m < FEWEST_COMPARED:
        raise BadInput(f"models: {FEWEST_COMPARED} or more expected, {m} found; fewer settle no comparison")
