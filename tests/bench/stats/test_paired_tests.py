"""Paired tests against scipy, exact enumeration, simulation and numbers worked by hand."""

import itertools

import numpy as np
import pytest

from featune.bench.stats import across_tasks, mcnemar, paired_difference, paired_wald, permutation_test
from featune.engine.errors import BadInput


def test_mcnemar_is_the_sign_test_of_the_examples_that_differ():
    from scipy.stats import binomtest

    for seed in range(200):
        rng = np.random.default_rng(seed)
        a, b = rng.random((2, int(rng.integers(1, 60)))) < rng.random((2, 1))
        found = mcnemar(a, b)
        assert found.a_only == (a & ~b).sum()
        assert found.b_only == (b & ~a).sum()
        differ = found.a_only + found.b_only
        assert found.p == pytest.approx(binomtest(found.a_only, differ).pvalue if differ else 1)
        assert found.p == mcnemar(b, a).p
        assert found.difference == pytest.approx(a.mean() - b.mean())


def test_permutations_of_accuracy_find_mcnemars_p():
    for seed in range(20):
        rng = np.random.default_rng(seed)
        a, b = rng.random((2, 300)) < [[0.8], [0.74]]
        exact, found = mcnemar(a, b), permutation_test(a, b, seed=seed)
        assert found.p == pytest.approx(exact.p, abs=5 * np.sqrt(exact.p / 100_000) + 2e-5)
        assert (found.difference, found.n) == pytest.approx((exact.difference, 300))
        assert found.samples == 100_000


def test_permutations_of_mean_per_class_accuracy_agree_with_all_exchanges():
    classes = np.array([0] * 6 + [1] * 3 + [2])
    a = np.array([1, 1, 1, 0, 1, 1, 1, 1, 0, 1])
    b = np.array([0, 0, 1, 1, 1, 0, 0, 0, 0, 1])

    def gap(first, second):
        return np.mean([first[classes == c].mean() - second[classes == c].mean() for c in range(3)])

    swaps = [np.array(bits, dtype=bool) for bits in itertools.product([0, 1], repeat=10)]
    gaps = [gap(np.where(swap, b, a), np.where(swap, a, b)) for swap in swaps]
    exact = np.mean(np.abs(gaps) >= abs(gap(a, b)) - 1e-12)
    found = permutation_test(a, b, classes=classes)
    assert found.p == pytest.approx(exact, abs=0.006)
    assert found.difference == pytest.approx(gap(a, b))
    with pytest.raises(BadInput, match="one label per example"):
        permutation_test(a, b, classes=classes[:4])


def test_models_that_never_differ_have_p_1_and_very_different_ones_a_p_above_0():
    right = np.arange(50) % 3 > 0
    assert mcnemar(right, right).p == permutation_test(right, right).p == 1
    assert permutation_test(np.ones(200), np.zeros(200)).p == 1 / 100_001


def test_p_values_under_no_difference_are_rarely_small():
    rng = np.random.default_rng(0)
    pairs = rng.random((400, 2, 80)) < 0.7
    assert np.mean([mcnemar(a, b).p <= 0.05 for a, b in pairs]) <= 0.06


def test_a_paired_difference_spreads_by_the_examples_that_differ():
    rng = np.random.default_rng(0)
    a, b = rng.random((2, 1000)) < [[0.8], [0.75]]
    found = paired_difference(a, b)
    d = a.astype(float) - b
    assert found.value == pytest.approx(d.mean())
    expected = d.mean() + np.array([-1.96, 1.96]) * d.std() / np.sqrt(1000)
    assert tuple(found) == pytest.approx(tuple(expected), abs=0.002)
    # The same errors on the same images: far surer than two separate samples would allow.
    close = paired_difference(a, np.where(np.arange(1000) < 5, False, a))
    assert close.high - close.low < 0.02
    assert tuple(paired_difference(a, a)) == (0, 0)


def test_images_that_count_for_neither_model_leave_the_test():
    a, b = np.array([1, 1, 0, np.nan]), np.array([0, 1, 0, np.nan])
    assert mcnemar(a, b).n == permutation_test(a, b, classes=[0, 0, 1, 1]).n == paired_difference(a, b).n == 3
    with pytest.raises(BadInput, match="NaN differs"):
        mcnemar(a, np.array([0, 1, 0, 1]))
    with pytest.raises(BadInput, match="same examples"):
        mcnemar(a, b[:3])
    with pytest.raises(BadInput, match="0 or 1"):
        mcnemar([0.5], [1])


def test_the_test_across_tasks_is_scipys_paired_t_test():
    from scipy.stats import ttest_rel

    for seed in range(50):
        rng = np.random.default_rng(seed)
        a, b = rng.normal(size=(2, int(rng.integers(2, 13))))
        found, theirs = across_tasks(a, b), ttest_rel(a, b)
        assert (found.p, found.t) == pytest.approx((theirs.pvalue, theirs.statistic))
        assert (found.low, found.high) == pytest.approx(tuple(theirs.confidence_interval(0.95)))
        assert found.tasks == len(a)
    assert np.isnan(across_tasks([1], [2]).p)
    assert np.isnan(across_tasks([1, 2], [0, 1]).p)
    assert across_tasks([1, 2], [1, 2]).p == 1


def test_tasks_that_differ_alike_but_for_rounding_have_no_spread():
    found = across_tasks([0.1 + 0.2, 0.5, 0.7], [0.2, 0.4, 0.6])
    assert found.difference == pytest.approx(0.1)
    assert np.isnan(found.p)


def test_shares_of_several_seeds_are_exchanged_image_by_image():
    a, b = np.array([1.0, 0.5, 1.0, 0.5]), np.array([0.0, 0.0, 0.5, 0.5])
    # Differences 1, 1/2, 1/2, 0: of eight signs two part the models as far.
    assert permutation_test(a, b).p == pytest.approx(0.25, abs=0.01)
    with pytest.raises(BadInput, match="0 or 1"):
        mcnemar(a, b)
    with pytest.raises(BadInput, match="0 or 1"):
        permutation_test(a + 1, b)


def test_the_adjusted_difference_is_the_closed_form_and_its_interval_near_the_drawn_one():
    a, b = np.arange(1000) < 700, np.arange(1000) < 650  # fifty more, none fewer
    middle, variance = paired_wald(a, b)
    assert middle == pytest.approx(50 / 1002)
    assert variance == pytest.approx((52 / 1002 - (50 / 1002) ** 2) / 1002)
    drawn = paired_difference(a, b)
    assert middle - 1.96 * variance**0.5 == pytest.approx(drawn.low, abs=0.002)
    seeds = (a.astype(float) + b) / 2  # two seeds
    assert paired_wald(seeds, b)[0] == pytest.approx(25 / 1002)
