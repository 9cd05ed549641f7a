"""The smallest correlation and slope that can be detected, against the verdict itself and scipy."""

import numpy as np
import pytest

from featune.bench.stats import ERROR, correlation_interval
from featune.bench.stats.slopes import detectable_correlation, detectable_slope, significant_correlation
from featune.bench.stats.slopes.detection import verdicts
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


def told(x: np.ndarray, y: np.ndarray) -> bool:
    """Whether the report tells of a positive correlation."""
    one = correlation_interval(x, y)
    return one.p <= ERROR and one.low > 0


def test_a_simulated_verdict_is_that_of_the_interval_and_of_the_permutation_test():
    for models in (6, 9, 20):
        x, e = np.random.default_rng(models).normal(size=(2, 60, models))
        y = 0.6 * x + 0.8 * e
        one_by_one = [told(*of) for of in zip(x, y, strict=True)]
        assert (verdicts(x, y) == one_by_one).mean() > 0.96  # permutations of six or nine are no Student's t
        assert 0 < np.mean(one_by_one) < 1


def test_a_detectable_correlation_is_told_in_four_of_five_studies():
    rho = detectable_correlation(8)
    x, e = np.random.default_rng(0).normal(size=(2, 400, 8))
    shares = np.mean([told(a, rho * a + np.sqrt(1 - rho**2) * b) for a, b in zip(x, e, strict=True)])
    assert shares == pytest.approx(0.8, abs=0.05)


def test_a_detectable_slope_is_told_in_four_of_five_studies():
    x = np.array([0.0, 0.4, 1.0, 1.1, 1.8, 2.5, 3.0])
    slope = detectable_slope(x, 0.5)
    y = slope * x + 0.5 * np.random.default_rng(0).normal(size=(400, 7))
    assert np.mean([told(x, of) for of in y]) == pytest.approx(0.8, abs=0.05)
    assert detectable_slope(x, 1.0) == pytest.approx(2 * slope)
    assert np.isnan(detectable_slope([1] * 6, 1.0))
    assert np.isnan(detectable_slope(x[:5], 1.0))


def test_more_models_detect_less_and_two_detect_nothing():
    found = [detectable_correlation(models) for models in (6, 7, 12, 30, 300)]
    assert found == sorted(found, reverse=True)
    assert all(0 < rho < 1 for rho in found)
    assert all(rho > significant_correlation(models) for rho, models in zip(found, (6, 7, 12, 30, 300), strict=True))
    with pytest.raises(BadInput, match="3 or more"):
        significant_correlation(2)
    with pytest.raises(BadInput, match="6 or more"):
        detectable_correlation(5)
    with pytest.raises(BadInput, match="0 < error < power"):
        detectable_correlation(10, power=0.01)
