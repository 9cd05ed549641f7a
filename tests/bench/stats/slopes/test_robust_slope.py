"""Theil and Sen's slope against its definition and scipy."""

import itertools

import numpy as np
import pytest

from featune.bench.stats.slopes import theil_sen


def test_the_slope_is_the_median_of_the_slopes_of_all_pairs():
    rng = np.random.default_rng(0)
    for m in (3, 6, 11):
        x, y = rng.normal(size=(2, m))
        slopes = [(y[j] - y[i]) / (x[j] - x[i]) for i, j in itertools.combinations(range(m), 2)]
        found = theil_sen(x, y)
        assert found.slope == pytest.approx(np.median(slopes))
        assert found.intercept == pytest.approx(np.median(y - found.slope * x))


def test_one_model_cannot_move_it_as_it_moves_least_squares():
    x = np.arange(9.0)
    y = 2 * x + 1
    y[8] = -100
    assert theil_sen(x, y).slope == pytest.approx(2)
    assert np.polyfit(x, y, 1)[0] < 0


def test_its_interval_is_scipys_and_there_is_none_below_six_points_or_for_a_constant():
    from scipy.stats import theilslopes

    x, y = np.random.default_rng(1).normal(size=(2, 12))
    found, theirs = theil_sen(x, y, level=0.9), theilslopes(y, x, alpha=0.9)
    assert (found.low, found.high) == pytest.approx((theirs.low_slope, theirs.high_slope))
    assert found.low < found.slope < found.high
    assert np.isnan([theil_sen(x[:5], y[:5]).low, theil_sen(x[:5], y[:5]).high]).all()
    assert np.isfinite(theil_sen(x[:5], y[:5]).slope)
    assert np.isnan(theil_sen([1, 1, 1, 1, 1, 1], y[:6]).slope)


def test_the_interval_of_a_slope_is_students_or_the_jackknifes_where_that_is_wider():
    from featune.bench.stats import fit_line, jackknife_error
    from featune.bench.stats.slopes import line_slope

    rng = np.random.default_rng(3)
    x = rng.normal(size=14)
    y = x + 0.3 * rng.normal(size=14)
    y[x.argmax()] += 3  # far out, and off the line
    found, student = line_slope(x, y), fit_line(x, y, [0.0])
    without = [np.polyfit(np.delete(x, at), np.delete(y, at), 1)[0] for at in range(14)]
    half = 1.959964 * jackknife_error(without)
    assert found.slope == pytest.approx(np.polyfit(x, y, 1)[0])
    assert found.low == pytest.approx(min(student.slope_low, found.slope - half))
    assert found.high - found.low > student.slope_high - student.slope_low
    assert np.isnan(line_slope([1, 2, 3], [1, 3, 2]).low)
