"""Permutation tests, claims judged together, and intervals over few models."""

import itertools

import numpy as np
import pytest

from featune.bench.stats import (
    correlation_bounds,
    holm,
    jackknife_error,
    judged_together,
    orders,
    shuffled_tau,
    tied,
    weighted_tau,
)
from featune.engine.errors import BadInput


def test_orders_are_all_of_few_models_and_drawn_ones_of_more_with_the_given_one_first():
    for models in (1, 4, 6):
        found = orders(models)
        assert {tuple(row) for row in found.tolist()} == set(itertools.permutations(range(models)))
        assert found[0].tolist() == list(range(models))
    drawn = orders(9, seed=1)
    assert drawn[0].tolist() == list(range(9))
    assert (np.sort(drawn, axis=1) == np.arange(9)).all()
    assert (drawn == orders(9, seed=1)).all()
    assert (drawn != orders(9, seed=2)).any()


def test_holm_adjusts_the_smallest_most_and_keeps_the_order():
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([]) == []
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_claims_judged_together_pay_for_each_other_but_not_for_copies():
    rng = np.random.default_rng(0)
    null = rng.normal(size=(1, 2000))
    null[0, 0] = 3.0
    alone = judged_together(null)[0]
    assert alone < 0.005
    assert judged_together(np.repeat(null, 8, axis=0))[0] == pytest.approx(alone)
    others = rng.normal(size=(7, 2000))
    assert judged_together(np.concatenate([null, others]))[0] == pytest.approx(8 * alone, rel=0.5)
    with pytest.raises(BadInput, match="claims"):
        judged_together(np.empty((0, 5)))


def test_at_no_effect_any_of_many_claims_is_false_in_one_study_of_twenty():
    false = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        statistics = rng.normal(size=(10, 200)) + rng.normal(size=200)  # claims that hang together
        false += bool((judged_together(statistics) <= 0.05).any())
    assert false <= 27  # 15 expected; 3 standard errors


def test_tau_of_many_orders_is_that_of_each_without_ties() -> None:
    rng = np.random.default_rng(5)
    x, y = rng.normal(size=(2, 6))
    rows = orders(6)[:100]
    each = [weighted_tau(x, y[row], np.ones((6, 1)))[0] for row in rows]
    assert shuffled_tau(x, y, rows) == pytest.approx(each)
    assert np.isnan(shuffled_tau(x[:2], y[:2], orders(2))).all()


def test_tied_models_may_be_exchanged_without_a_change() -> None:
    x, y = np.array([3.0, 1, 1, 2, 0]), np.array([5.0, 4, 4, 2, 1])
    for row in ([0, 2, 1, 3, 4], [0, 1, 2, 3, 4]):
        assert shuffled_tau(x, y, np.array([row])) == pytest.approx(shuffled_tau(x, y, orders(5)[:1]))
    assert (shuffled_tau(np.ones(5), y, orders(5)) == 0).all()


def test_the_jackknifes_error_of_a_mean_is_the_standard_error():
    values = np.random.default_rng(0).normal(size=12)
    without = (values.sum() - values) / 11
    assert jackknife_error(without) == pytest.approx(values.std(ddof=1) / np.sqrt(12))


def test_one_model_that_carries_a_correlation_widens_its_interval():
    calm = correlation_bounds(0.8, [0.8] * 8, 1 / 5)
    carried = correlation_bounds(0.8, [0.8] * 7 + [0.0], 1 / 5)
    assert np.arctanh(calm) == pytest.approx(np.arctanh(0.8) + 1.96 * np.array([-1, 1]) / np.sqrt(5), abs=1e-3)
    assert carried[0] < 0 < calm[0]
    nothing_left = correlation_bounds(0.8, [0.8] * 7 + [np.nan], 1 / 5)
    assert nothing_left == carried


def test_a_perfect_rank_correlation_of_few_models_is_no_certainty():
    low, high = correlation_bounds(1.0, [1.0] * 6, 0.8 / 3, most=1 - 2 / 30)
    assert 0.3 < low < 0.9
    assert high == 1
    assert correlation_bounds(-1.0, [-1.0] * 6, 0.8 / 3, most=1 - 2 / 30) == pytest.approx((-1, -low))


def test_numbers_apart_by_rounding_become_equal_and_others_stay():
    values = np.array([0.1 + 0.2, 5.0, 0.3, 0.3000001])
    found = tied(values)
    assert found[0] == found[2]
    assert found[[1, 3]].tolist() == [5.0, 0.3000001]
    assert tied(np.empty(0)).tolist() == []
