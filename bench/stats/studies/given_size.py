"""Does transfer follow source accuracy among models of the same size?"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import correlation_bounds, pair, pearson, without_each, without_families


@dataclass(frozen=True)
class Partial:
    """The correlation with what `given` explains taken out of both; NaN where too few models are left for one."""

    r: float
    low: float
    high: float
    p: float
    models: int
    level: float


def partial_correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    given: npt.ArrayLike,
    *,
    families: Sequence[str] = (),
    level: float = 0.95,
) -> Partial:
    """Pearson's r of the residuals of x and y [m] from their regressions on `given` [m] or [m, k].

    Log parameters, or log multiply-adds, as a rule. p is Student's with m - 2 - k degrees of freedom, the interval
    Fisher's with m - 3 - k, or the jackknife's over models, or over families, where that is wider. families: one
    name per model. Source: Fisher 1924, The distribution of the partial correlation coefficient.
    """
    from scipy.stats import t as student

    x, y = pair(x, y)
    given = np.asarray(given, dtype=np.float64)
    given = given[:, None] if given.ndim == 1 else given
    if given.ndim != 2 or len(given) != len(x) or not np.isfinite(given).all():
        raise BadInput(f"given: finite numbers of each of {len(x)} models expected, {given.shape} found")
    m, k = given.shape
    nothing = Partial(math.nan, math.nan, math.nan, math.nan, m, level)
    if m < 3 + k:
        return nothing
    r = _of_residuals(x, y, given)
    if math.isnan(r):
        return nothing
    free = m - 2 - k
    low = high = p = math.nan
    if free > 0 and abs(r) < 1:
        p = float(2 * student.sf(abs(r) * math.sqrt(free / (1 - r**2)), free))
    if free > 1 and abs(r) < 1:
        low, high = correlation_bounds(
            r,
            without_each(_rowwise, np.column_stack([x, y, given])),
            1 / (free - 1),
            level=level,
            student=False,
            without_family=without_families(_of_residuals, x, y, given, families=families),
        )
    return Partial(r, low, high, p, m, level)


def _of_residuals(x: Array, y: Array, given: Array) -> float:
    """NaN where `given` explains a column whole, but for rounding."""
    design = np.concatenate([np.ones((len(x), 1)), given - given.mean(axis=0)], axis=1)
    left = [of - design @ np.linalg.lstsq(design, of, rcond=None)[0] for of in (x, y)]
    if any(np.ptp(rest) <= 1e-9 * max(np.ptp(of), 1e-300) for rest, of in zip(left, (x, y), strict=True)):
        return math.nan
    return pearson(*left)


def _rowwise(rows: Array) -> Array:
    """The same for many at once: rows [r, m, 2 + k] of x, y and given, by the inverse of their covariance."""
    apart = rows - rows.mean(axis=1, keepdims=True)
    size = np.sqrt((apart**2).sum(axis=1, keepdims=True))
    apart = apart / np.where(size > 0, size, 1.0)
    inverse = np.linalg.pinv(np.swapaxes(apart, 1, 2) @ apart, hermitian=True)
    scale = np.sqrt(np.maximum(inverse[:, 0, 0] * inverse[:, 1, 1], 0.0))
    found = np.divide(-inverse[:, 0, 1], scale, out=np.full(len(rows), np.nan), where=scale > 0)
    return np.clip(found, -1, 1)
