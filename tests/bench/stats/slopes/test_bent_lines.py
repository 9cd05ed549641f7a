"""Two slopes, broken lines and natural splines against scipy and regressions written out."""

import numpy as np
import pytest

from featune.bench.stats.slopes import broken_line, natural_spline, two_lines
from featune.engine.errors import BadInput


def test_two_lines_are_the_least_squares_lines_of_each_half_of_the_models():
    rng = np.random.default_rng(0)
    x = rng.uniform(50, 90, size=21)
    y = np.where(x < 70, 0.9 * x, 63 + 0.5 * (x - 70)) + rng.normal(size=21)
    found, upper = two_lines(x, y), x >= np.median(x)
    assert found.knot == np.median(x)
    assert (found.below.n, found.above.n) == ((~upper).sum(), upper.sum())
    assert (found.below.slope, found.below.intercept) == pytest.approx(tuple(np.polyfit(x[~upper], y[~upper], 1)))
    assert found.above.slope == pytest.approx(np.polyfit(x[upper], y[upper], 1)[0])
    assert found.change == pytest.approx(found.above.slope - found.below.slope)


def test_the_change_of_slope_is_the_interaction_of_one_regression():
    from scipy.stats import t

    rng = np.random.default_rng(3)
    x, y = rng.normal(size=(2, 14))
    side = x >= 0.1
    design = np.stack([np.ones(14), x, side, x * side], axis=1)
    fit, rest, *_ = np.linalg.lstsq(design, y, rcond=None)
    error = np.sqrt(rest[0] / 10 * np.linalg.inv(design.T @ design)[3, 3])
    found = two_lines(x, y, 0.1)
    assert found.change == pytest.approx(fit[3])
    assert (found.low, found.high) == pytest.approx(
        (fit[3] - t.ppf(0.975, 10) * error, fit[3] + t.ppf(0.975, 10) * error)
    )
    assert found.p == pytest.approx(2 * t.sf(abs(fit[3] / error), 10))


def test_a_half_of_two_models_has_no_slope():
    found = two_lines([1, 2, 3, 4, 5], [1, 2, 3, 5, 4], 2.5)
    assert np.isnan([found.below.slope, found.change, found.p]).all()
    assert found.above.slope == pytest.approx(0.5)
    with pytest.raises(BadInput, match="at least one point"):
        two_lines([], [])


def test_a_broken_line_bends_at_its_knot_and_nowhere_else():
    x = np.linspace(0, 10, 30)
    y = 1 + 2 * x - 1.5 * np.maximum(x - 4, 0)
    found = broken_line(x, y, [0, 4, 10], 4.0)
    assert found.line == pytest.approx([1, 9, 12])
    assert found.explained == pytest.approx(1)


def test_a_natural_spline_through_its_own_knots_is_scipys():
    from scipy.interpolate import CubicSpline

    x, y = np.arange(6.0), np.array([0, 2, 1, 3, 5, 4.0])
    at = np.linspace(0, 5, 41)
    found = natural_spline(x, y, at, knots=6)
    assert found.line == pytest.approx(CubicSpline(x, y, bc_type="natural")(at))
    assert found.explained == pytest.approx(1)
    assert np.isnan(found.low).all()  # nothing is left to judge the scatter by


def test_a_natural_spline_is_straight_beyond_its_outer_knots():
    rng = np.random.default_rng(2)
    x = np.sort(rng.uniform(0, 1, 25))
    y = np.sin(4 * x) + 0.05 * rng.normal(size=25)
    found = natural_spline(x, y, [1.2, 1.4, 1.6, -0.2, -0.4, -0.6], knots=4)
    assert np.diff(found.line[:3], 2) == pytest.approx(0, abs=1e-9)
    assert np.diff(found.line[3:], 2) == pytest.approx(0, abs=1e-9)
    inside = natural_spline(x, y, x, knots=4)
    assert inside.explained > 0.9
    assert (inside.low < inside.line).all()
    # A larger model explains no less than the straight line that it holds.
    assert inside.explained >= np.corrcoef(x, y)[0, 1] ** 2


def test_a_spline_of_too_few_models_is_nan_and_of_two_knots_refused():
    few = natural_spline([1, 2, 3], [1, 3, 2], [1.5], knots=4)
    assert np.isnan(few.line).all()
    assert np.isnan(natural_spline([1, 1, 1, 1, 1], [1, 2, 3, 4, 5], [1.0]).line).all()
    with pytest.raises(BadInput, match="3 or more"):
        natural_spline([1, 2, 3], [1, 3, 2], [1.5], knots=2)
