"""Correlations against scipy, Fisher's interval, published figures and numbers worked by hand."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from featune.bench.stats import (
    correlation_interval,
    kendall,
    leave_one_family_out,
    log_odds,
    mean_log_odds,
    pearson,
    spearman,
    transfer_correlation,
)
from featune.engine.errors import BadInput

PUBLISHED = Path(__file__).parents[3].parent / "shared/data/published/other_SFDA2022_finetune_supervised.csv"


def test_correlations_are_scipys_with_and_without_ties():
    from scipy.stats import kendalltau, pearsonr, spearmanr

    compared = 0
    for seed in range(200):
        rng = np.random.default_rng(seed)
        x, y = rng.normal(size=(2, int(rng.integers(3, 25))))
        if seed % 2:
            x, y = np.round(x), np.round(y)
        if np.ptp(x) == 0 or np.ptp(y) == 0:
            assert np.isnan([pearson(x, y), spearman(x, y), kendall(x, y)]).all()
            continue
        compared += 1
        assert pearson(x, y) == pytest.approx(pearsonr(x, y).statistic)
        assert spearman(x, y) == pytest.approx(spearmanr(x, y).statistic)
        assert kendall(x, y) == pytest.approx(kendalltau(x, y).statistic)
    assert compared > 150


def test_a_correlation_of_two_models_or_of_constant_numbers_is_nan():
    for correlation in (pearson, spearman, kendall):
        assert np.isnan(correlation([], []))
        assert np.isnan(correlation([1, 2], [3, 5]))
        assert np.isnan(correlation([1, 1, 1], [1, 2, 3]))
        assert correlation([1, 2, 3], [5, 6, 7]) == pytest.approx(1)
    with pytest.raises(BadInput, match="finite numbers expected; not so at"):
        pearson([1, 2, np.inf], [1, 2, 3])
    with pytest.raises(BadInput, match="one number each"):
        pearson([1, 2, 3], [1, 2])


def test_resamples_of_fewer_than_three_different_models_are_left_out():
    x, y = [1.0, 2, 3, 4], [1.0, 3, 2, 4]
    found = correlation_interval(x, y, resamples=20_000)
    # Of 256 ordered draws 4 hold one model and 84 hold two.
    assert found.undefined == pytest.approx(20_000 * 88 / 256, rel=0.03)
    every = [
        pearson(np.take(x, rows), np.take(y, rows))
        for rows in itertools.product(range(4), repeat=4)
        if len(set(rows)) >= 3
    ]
    assert (found.low, found.high) == pytest.approx(tuple(np.quantile(every, [0.025, 0.975])), abs=0.02)
    assert (found.models, found.tasks, found.kind, found.resamples) == (4, 0, "pearson", 20_000)


def test_three_models_have_a_correlation_but_no_interval():
    found = correlation_interval([1, 2, 3], [1, 3, 2])
    assert found.r == pytest.approx(0.5)
    assert np.isnan([found.low, found.high]).all()
    constant = correlation_interval([1, 1, 1, 1], [1, 2, 3, 4], resamples=50)
    assert np.isnan([constant.r, constant.low, constant.slope]).all()
    assert constant.undefined == 50


def test_the_interval_of_a_correlation_is_about_fishers_for_many_models():
    x = np.random.default_rng(0).normal(size=400)
    y = 0.6 * x + 0.8 * np.random.default_rng(1).normal(size=400)
    for kind, tolerance in (("pearson", 0.02), ("spearman", 0.03)):
        found = correlation_interval(x, y, kind=kind, resamples=1000)
        fisher = np.tanh(np.arctanh(found.r) + np.array([-1.96, 1.96]) / np.sqrt(397))
        assert (found.low, found.high) == pytest.approx(tuple(fisher), abs=tolerance)
    few = correlation_interval(x[:30], y[:30], kind="kendall", resamples=500)
    assert few.low < few.r < few.high
    with pytest.raises(BadInput, match="no correlation named 'tau'"):
        correlation_interval(x, y, kind="tau")


def sfda() -> tuple[list[str], np.ndarray, np.ndarray]:
    """Models, their ImageNet top-1 [11] and fine-tuned accuracy [11, 11], all fractions."""
    if not PUBLISHED.exists():
        pytest.skip(f"published numbers are not on this machine: {PUBLISHED}")
    with PUBLISHED.open() as lines:
        rows = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    models, tasks = (list(dict.fromkeys(row[column] for row in rows)) for column in ("model", "dataset"))
    value = {(row["model"], row["dataset"]): float(row["finetune_acc"]) / 100 for row in rows}
    source = {row["model"]: float(row["imagenet_top1"]) / 100 for row in rows}
    return (
        models,
        np.array([source[m] for m in models]),
        np.array([[value[m, t] for t in tasks] for m in models]),
    )


def test_published_fine_tuning_of_eleven_models_correlates_as_computed_elsewhere():
    models, source, values = sfda()
    found = transfer_correlation(source, values)
    assert found.r == pytest.approx(0.64952, abs=5e-6)
    assert (found.models, found.tasks) == (11, 11)
    assert found.low < found.r < found.high
    rest = np.array([model != "mnasnet1_0" for model in models])
    assert transfer_correlation(source[rest], values[rest]).r == pytest.approx(0.79487, abs=5e-6)
    left = leave_one_family_out(log_odds(source), mean_log_odds(values), models, resamples=100)
    assert left["mnasnet1_0"].r == pytest.approx(0.79487, abs=5e-6)
    assert len(left) == 11


def transferred(models: int = 8, tasks: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    source = np.linspace(0.6, 0.8, models)
    odds = 2 * log_odds(source)[:, None] + rng.normal(size=tasks) + 0.1 * rng.normal(size=(models, tasks))
    return source, 1 / (1 + np.exp(-odds))


def test_the_slope_of_transfer_is_in_log_odds_per_log_odds():
    source, _ = transferred()
    exact = 1 / (1 + np.exp(-(0.5 + 2 * log_odds(source))))
    found = transfer_correlation(source, np.stack([exact, exact], axis=1), resamples=100)
    assert (found.r, found.slope, found.intercept) == pytest.approx((1, 2, 0.5))
    assert (found.low, found.high) == pytest.approx((1, 1))


def test_small_test_sets_widen_the_interval_and_endless_ones_do_not():
    source, values = transferred()
    plain = transfer_correlation(source, values, resamples=2000)
    endless = transfer_correlation(source, values, [10**9] * 3, source_n=10**9, resamples=2000)
    small = transfer_correlation(source, values, [100, 50, 200], source_n=500, resamples=2000)
    tasks_only = transfer_correlation(source, values, [100, 50, 200], resamples=2000)
    held = transfer_correlation(source, values, [100, 50, 200], resamples=2000, resample_examples=False)
    # The endless one draws other numbers from the same generator, so it agrees within resampling noise.
    assert (endless.r, endless.low, endless.high) == pytest.approx((plain.r, plain.low, plain.high), abs=0.005)
    assert small.high - small.low > 2 * (plain.high - plain.low)
    assert held.high - held.low < (tasks_only.high - tasks_only.low) / 2
    assert tasks_only.high - tasks_only.low < small.high - small.low
    each = transfer_correlation(source, values, [100, 50, 200], source_n=[500] * len(source), resamples=2000)
    assert each == small


def test_accuracies_of_0_and_1_correlate_once_n_is_known():
    found = transfer_correlation([0.5, 0.6, 0.7, 0.8], [[0.0], [0.4], [0.9], [1.0]], [50], resamples=200)
    assert np.isfinite([found.r, found.low, found.high]).all()
    with pytest.raises(BadInput, match="give n"):
        transfer_correlation([0.5, 0.6, 0.7, 0.8], [[0.0], [0.4], [0.9], [1.0]])
    with pytest.raises(BadInput, match="one value per model"):
        transfer_correlation([0.5, 0.6], [[0.1], [0.4], [0.9]])


def test_leaving_out_the_family_that_carries_a_correlation_shows_it():
    x = np.array([1, 2, 1.5, 2, 8, 9.0])
    y = np.array([2, 1, 1.4, 1.6, 8, 9.0])
    families = ["resnet", "resnet", "mobile", "mobile", "vit", "vit"]
    left = leave_one_family_out(x, y, families, resamples=200)
    assert list(left) == ["resnet", "mobile", "vit"]
    assert [found.models for found in left.values()] == [4, 4, 4]
    assert left["vit"].r == pytest.approx(pearson(x[:4], y[:4]))
    assert left["vit"].r < 0 < 0.9 < left["resnet"].r
    with pytest.raises(BadInput, match="one per model"):
        leave_one_family_out(x, y, families[:3])
