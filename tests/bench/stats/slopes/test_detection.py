"""The smallest correlation and slope that can be detected, against scipy and simulation."""

import numpy as np
import pytest

from featune.bench.stats.slopes import detectable_correlation, detectable_slope, significant_correlation
from featune.engine.errors import BadInput


def test_the_smallest_significant_correlation_has_a_p_of_five_percent():
    from scipy.stats import pearsonr

    for models in (4, 7, 16):
        r = significant_correlation(models)
        x = np.random.default_rng(models).normal(size=models)
        x = (x - x.mean()) / np.sqrt(((x - x.mean()) ** 2).sum())
        other = np.random.default_rng(1).normal(size=models)
        other -= other.mean() + (other @ x) * x
        other /= np.sqrt((other**2).sum())
        found = pearsonr(x, r * x + np.sqrt(1 - r**2) * other)
        assert found.statistic == pytest.approx(r)
        assert found.pvalue == pytest.approx(0.05)


def test_a_detectable_correlation_is_found_in_four_of_five_simulated_studies():
    for models in (8, 16):
        rho, critical = detectable_correlation(models), significant_correlation(models)
        x, e = np.random.default_rng(0).normal(size=(2, 6000, models))
        y = rho * x + np.sqrt(1 - rho**2) * e
        x, y = (of - of.mean(axis=1, keepdims=True) for of in (x, y))
        r = (x * y).sum(axis=1) / np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
        assert (r >= critical).mean() == pytest.approx(0.8, abs=0.02)


def test_a_detectable_slope_is_found_in_four_of_five_simulated_studies():
    from scipy.stats import t

    x = np.array([0.0, 0.4, 1.0, 1.1, 1.8, 2.5, 3.0])
    slope = detectable_slope(x, 0.5)
    y = slope * x + 0.5 * np.random.default_rng(0).normal(size=(8000, 7))
    apart = x - x.mean()
    found = y @ apart / (apart**2).sum()
    rest = y - y.mean(axis=1, keepdims=True) - found[:, None] * apart
    error = np.sqrt((rest**2).sum(axis=1) / 5 / (apart**2).sum())
    assert (found / error > t.ppf(0.975, 5)).mean() == pytest.approx(0.8, abs=0.02)
    assert detectable_slope(x, 1.0) == pytest.approx(2 * slope)
    assert np.isnan(detectable_slope([1, 1, 1], 1.0))


def test_more_models_detect_less_and_two_detect_nothing():
    found = [detectable_correlation(models) for models in (5, 7, 12, 30)]
    assert found == sorted(found, reverse=True)
    assert all(0 < rho < 1 for rho in found)
    with pytest.raises(BadInput, match="3 or more"):
        significant_correlation(2)
    with pytest.raises(BadInput, match="0 < error < power"):
        detectable_correlation(10, power=0.01)
