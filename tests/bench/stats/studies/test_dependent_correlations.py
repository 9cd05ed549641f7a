"""Comparison of two correlations that share a variable."""

import numpy as np
import pytest

from featune.bench.stats import pearson
from featune.bench.stats.studies import compare_correlations


def drawn(models: int, seed: int, gap: float = 0.0) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    x, shared = rng.normal(size=(2, models))
    one, other = rng.normal(size=(2, models))
    return x, (0.6 + gap) * x + 0.5 * shared + 0.5 * one, (0.6 - gap) * x + 0.5 * shared + 0.5 * other


def test_williams_t_is_that_of_the_determinant_of_the_correlation_matrix():
    from scipy.stats import t as student

    x, a, b = drawn(20, 0, 0.4)
    matrix = np.corrcoef([x, a, b])
    r_a, r_b, r_ab = matrix[0, 1], matrix[0, 2], matrix[1, 2]
    below = 2 * np.linalg.det(matrix) * 19 / 17 + ((r_a + r_b) / 2) ** 2 * (1 - r_ab) ** 3
    t = (r_a - r_b) * np.sqrt(19 * (1 + r_ab) / below)
    found = compare_correlations(x, a, b)
    assert found.t == pytest.approx(t)
    assert found.p == pytest.approx(2 * student.sf(abs(t), 17))
    assert (found.first, found.second) == pytest.approx((pearson(x, a), pearson(x, b)))
    assert found.low < found.difference < found.high


def test_exchanging_the_regimes_turns_the_difference_round():
    x, a, b = drawn(12, 1, 0.2)
    one, other = compare_correlations(x, a, b), compare_correlations(x, b, a)
    assert (one.low, one.high, one.t) == pytest.approx((-other.high, -other.low, -other.t))
    assert one.p == pytest.approx(other.p)


def test_the_same_regime_twice_differs_by_nothing_and_five_models_settle_nothing():
    x, a, b = drawn(12, 2)
    same = compare_correlations(x, a, a)
    assert (same.difference, same.low, same.high, same.p) == (0, 0, 0, 1)
    assert np.isnan(compare_correlations(x[:5], a[:5], b[:5]).p)


def test_equal_correlations_are_told_apart_in_one_study_of_twenty_and_the_interval_holds_the_truth():
    found = [compare_correlations(*drawn(12, seed)) for seed in range(1500)]
    assert np.mean([one.p <= 0.05 for one in found]) == pytest.approx(0.05, abs=0.017)
    assert np.mean([one.low <= 0 <= one.high for one in found]) == pytest.approx(0.95, abs=0.02)
    apart = [compare_correlations(*drawn(12, seed, 0.6)) for seed in range(100)]
    assert np.mean([one.p <= 0.05 for one in apart]) > 0.9
