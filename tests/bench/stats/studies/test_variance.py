"""Variance shares: by hand, against scipy's F and simulated components; and the noise floor."""

import numpy as np
import pytest

from featune.bench.stats.studies import noise_floor, variance_shares
from featune.engine.errors import BadInput


def test_one_factor_is_scipys_analysis_of_variance():
    from scipy.stats import f_oneway

    values = np.random.default_rng(0).normal(size=(5, 4)) + np.arange(5)[:, None]
    found = {one.factors: one for one in variance_shares(values, ("model",))}
    model, seed = found[("model",)], found[()]
    assert model.mean_square / seed.mean_square == pytest.approx(f_oneway(*values).statistic)
    assert model.component == pytest.approx((model.mean_square - seed.mean_square) / 4)
    assert sum(one.share for one in found.values()) == pytest.approx(1)


def test_two_factors_worked_by_hand():
    # Two models on two tasks, two seeds. Means: models 2 and 4, tasks 2 and 4, cells 1, 3, 3, 5.
    values = np.array([[[0.0, 2], [2, 4]], [[2, 4], [4, 6]]])
    found = {one.factors: one for one in variance_shares(values, ("model", "task"))}
    # SS model = 8 * 1, SS task = 8 * 1, SS interaction = 0, SS seeds = 8 * 1 with 4 degrees of freedom.
    assert [found[of].mean_square for of in [("model",), ("task",), ("model", "task"), ()]] == pytest.approx(
        [8, 8, 0, 2]
    )
    assert found[("model", "task")].component == 0  # (0 - 2) / 2 is below 0
    # (MS model - MS interaction) / 4: the interaction's estimate is (0 - 2) / 2, which stays in the sum.
    assert found[("model",)].component == pytest.approx(8 / 4)
    assert found[()].component == 2
    assert [one.free for one in found.values()].count(1) == 3


def test_simulated_components_of_four_sources_are_found():
    rng, found = np.random.default_rng(1), []
    for _ in range(60):
        values = (2 * rng.normal(size=(12, 1, 1, 1)) + 3 * rng.normal(size=(1, 10, 1, 1))
                  + rng.normal(size=(12, 10, 1, 1)) + 0.5 * rng.normal(size=(12, 10, 2, 3)))  # fmt: skip
        shares = {one.factors: one.component for one in variance_shares(values, ("model", "task", "regime"))}
        found.append(
            [shares[("model",)], shares[("task",)], shares[("model", "task")], shares[("regime",)], shares[()]]
        )
    assert np.mean(found, axis=0) == pytest.approx([4, 9, 1, 0, 0.25], rel=0.25, abs=0.05)


def test_the_sums_of_squares_add_up_to_the_whole():
    values = np.random.default_rng(2).normal(size=(3, 4, 2, 5))
    found = variance_shares(values, ("model", "task", "regime"))
    whole = ((values - values.mean()) ** 2).sum()
    assert sum(one.mean_square * one.free for one in found) == pytest.approx(whole)
    assert sum(one.free for one in found) == values.size - 1


def test_one_seed_leaves_the_interaction_of_all_factors_as_noise():
    values = np.random.default_rng(3).normal(size=(4, 5, 1)) + 3 * np.arange(4)[:, None, None]
    found = {one.factors: one for one in variance_shares(values, ("model", "task"))}
    assert set(found) == {("model",), ("task",), ()}
    assert found[()].free == 12
    assert found[("model",)].share > 0.8
    with pytest.raises(BadInput, match="two levels or more"):
        variance_shares(np.zeros((1, 3, 2)), ("model", "task"))


def test_the_noise_floor_pools_the_seeds_of_cells():
    assert noise_floor([[1, 3], [10, 10, 10], [5]]) == (pytest.approx(np.sqrt(2 / 3)), 3)
    value, free = noise_floor([[1], []])
    assert np.isnan(value)
    assert free == 0
