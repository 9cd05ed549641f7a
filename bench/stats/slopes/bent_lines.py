"""Lines that bend: two slopes at a knot, joined or not, and natural cubic splines."""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import FEWEST, Line, fit_line, pair, tail_of


@dataclass(frozen=True)
class Halves:
    """Lines below and above a knot, and how much the upper slope is less than the lower, with its interval and p.

    NaN where a half has fewer than three points.
    """

    knot: float
    below: Line
    above: Line
    change: float
    low: float
    high: float
    p: float


def two_lines(x: npt.ArrayLike, y: npt.ArrayLike, knot: float | None = None, *, level: float = 0.95) -> Halves:
    """A least-squares line on each side of a knot, the median of x unless given; points at the knot are above.

    The change of slope is Student's with m - 4 degrees of freedom: the interaction of x and side in one regression
    with a common scatter. After Beyer et al. 2020, who fit the earlier and the recent half of models.
    """
    from scipy.stats import t as student

    x, y = pair(x, y)
    tail, m = tail_of(level), len(x)
    if not m:
        raise BadInput("x and y: at least one point expected")
    knot = float(np.median(x)) if knot is None else knot
    upper = x >= knot
    below, above = (fit_line(x[side], y[side], x[side], level=level) for side in (~upper, upper))
    change = above.slope - below.slope
    low = high = p = math.nan
    if m > 4 and math.isfinite(change):
        rest = ((y[~upper] - below.line) ** 2).sum() + ((y[upper] - above.line) ** 2).sum()
        spread = sum(1 / ((x[side] - x[side].mean()) ** 2).sum() for side in (~upper, upper))
        error = float(np.sqrt(rest / (m - 4) * spread))
        half = float(student.ppf(1 - tail, m - 4)) * error
        low, high = change - half, change + half
        p = float(2 * student.sf(abs(change / error), m - 4)) if error > 0 else math.nan
    return Halves(knot, below, above, change, low, high, p)


@dataclass(frozen=True)
class Spline:
    """A fitted curve: its values and band at `at`, and the share of the variance that it explains."""

    at: Array
    line: Array
    low: Array
    high: Array
    knots: tuple[float, ...]
    explained: float
    n: int
    level: float


def broken_line(x: npt.ArrayLike, y: npt.ArrayLike, at: npt.ArrayLike, knot: float, *, level: float = 0.95) -> Spline:
    """Two straight pieces that meet at a knot, by least squares: y on 1, x and the part of x above the knot."""
    x, y = pair(x, y)

    def basis(of: Array) -> Array:
        return np.stack([np.ones_like(of), of, np.maximum(of - knot, 0.0)], axis=1)

    return _fitted(x, y, np.asarray(at, dtype=np.float64), basis, (knot,), level)


def natural_spline(
    x: npt.ArrayLike, y: npt.ArrayLike, at: npt.ArrayLike, *, knots: int = 4, level: float = 0.95
) -> Spline:
    """A natural cubic spline by least squares: cubic between its knots, straight beyond the outer ones.

    knots: how many, at quantiles of x from end to end; as many coefficients are fitted. The basis is that of
    Hastie et al. 2009, equations 5.4 and 5.5. NaN with fewer points than knots + 1, or fewer different x than knots.
    """
    x, y = pair(x, y)
    if knots < 3:
        raise BadInput(f"knots: 3 or more expected, {knots} found; two of them are a straight line, `fit_line`")
    places = np.unique(np.quantile(x, np.linspace(0, 1, knots))) if len(x) else np.empty(0)
    if len(places) < knots:
        places = np.full(knots, math.nan)

    def basis(of: Array) -> Array:
        cubes = [np.maximum(of - place, 0.0) ** 3 for place in places]
        last = places[-1]
        d = [(cube - cubes[-1]) / (last - place) for cube, place in zip(cubes[:-1], places[:-1], strict=True)]
        return np.stack([np.ones_like(of), of, *(each - d[-1] for each in d[:-1])], axis=1)

    return _fitted(x, y, np.asarray(at, dtype=np.float64), basis, tuple(map(float, places)), level)


def _fitted(x: Array, y: Array, at: Array, basis, knots: tuple[float, ...], level: float) -> Spline:  # type: ignore[no-untyped-def]
    """Least squares on a basis, with Student's band; NaN where the points do not fix the coefficients."""
    from scipy.stats import t as student

    tail, m, nothing = tail_of(level), len(x), np.full(at.shape, np.nan)
    none = Spline(at, nothing, nothing, nothing, knots, math.nan, m, level)
    if m < FEWEST or not np.isfinite(knots).all():
        return none
    # About the middle and by the spread, so that cubes of percents do not spoil the arithmetic.
    design = basis(x)
    width = design.shape[1]
    size = abs(design).max(axis=0)
    if m < width or np.linalg.matrix_rank(design / size) < width:
        return none
    found, *_ = np.linalg.lstsq(design / size, y, rcond=None)
    line, rest = (basis(at) / size) @ found, y - (design / size) @ found
    whole = ((y - y.mean()) ** 2).sum()
    low = high = nothing
    if m > width:
        scatter = (rest**2).sum() / (m - width)
        inverse = np.linalg.inv((design / size).T @ (design / size))
        leverage = np.einsum("ij,jk,ik->i", basis(at) / size, inverse, basis(at) / size)
        half = float(student.ppf(1 - tail, m - width)) * np.sqrt(scatter * np.maximum(leverage, 0.0))
        low, high = line - half, line + half
    explained = 1 - float((rest**2).sum() / whole) if whole > 0 else math.nan
    return Spline(at, line, low, high, knots, explained, m, level)
