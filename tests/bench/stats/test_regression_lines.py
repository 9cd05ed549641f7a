"""Lines against scipy, simulation and numbers worked by hand."""

import numpy as np
import pytest

from featune.bench.stats import fit_line
from featune.bench.stats.regression_lines import slope_above
from featune.engine.errors import BadInput


def test_a_line_is_scipys_and_its_band_holds_it():
    from scipy.stats import linregress, t

    rng = np.random.default_rng(0)
    x = rng.random(40)
    y = 0.3 + 0.5 * x + 0.1 * rng.normal(size=40)
    at = np.linspace(0, 1, 11)
    found, theirs = fit_line(x, y, at), linregress(x, y)
    assert (found.slope, found.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    assert found.line == pytest.approx(theirs.intercept + theirs.slope * at)
    assert (found.low < found.line).all()
    assert (found.line < found.high).all()
    assert found.slope_low < found.slope < found.slope_high
    quantile = t.ppf(0.975, 38)
    assert found.slope_high - found.slope_low == pytest.approx(2 * quantile * theirs.stderr)
    at_zero = float(found.high[0] - found.line[0])  # the intercept's own error
    assert at_zero == pytest.approx(quantile * theirs.intercept_stderr)
    # Narrowest around the middle of the points.
    assert np.argmin(found.high - found.low) in (4, 5, 6)
    assert found.n == 40


def test_points_on_a_line_have_no_band_to_speak_of():
    x = np.arange(6.0)
    found = fit_line(x, 2 * x + 1, [0, 10])
    for edge in (found.low, found.line, found.high):
        assert edge == pytest.approx([1, 21])


def test_a_line_through_fewer_than_three_points_or_a_constant_is_nan():
    for x in ([], [1, 2], [3, 3, 3, 3], [0.3, 0.1 + 0.2, 0.3, 0.3]):
        found = fit_line(x, np.arange(len(x)), [0, 1])
        assert np.isnan([*found.line, *found.low, found.slope, found.slope_low]).all()
        assert found.n == len(x)
    three = fit_line([0, 1, 2], [0, 1, 2], [3])
    assert three.line == pytest.approx([3])
    assert np.isnan(three.low).all()


def test_the_slope_from_a_bound_on_takes_the_models_at_the_bound():
    source = np.array([0.56, 0.62, 0.70, 0.72, 0.76, 0.80, 0.84])
    steep = np.where(source < 0.70, source * 3, 2.1 + 0.1 * (source - 0.7))
    found = slope_above(source, steep, 0.70)
    assert found.slope == pytest.approx(0.1)
    assert found.n == 5
    assert found.at.tolist() == [0.70, 0.84]
    assert slope_above(source, steep, 7 * 0.1).n == 5  # 0.7000000000000001
    assert np.isnan(slope_above(source, steep, 0.79).slope)
    assert slope_above(source, steep, 0.9).n == 0
    with pytest.raises(BadInput, match="percentages"):
        slope_above(source * 100, steep, 70)
