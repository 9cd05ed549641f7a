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
