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


def test_numbers_that_differ_by_rounding_alone_are_constant_or_ties():
    third = 0.1 + 0.2  # 0.30000000000000004
    for correlation in (pearson, spearman, kendall):
        assert np.isnan(correlation([0.3, 0.3, third, 0.3], [1, 2, 3, 5]))
        assert np.isnan(correlation([1, 2, 3, 5], [0.3, 0.3, third, 0.3]))
        assert np.isnan(correlation([1e6 * 0.3, 1e6 * third, 3e5], [1, 2, 3]))
        y = [1, 2, 3, 5, 4]
        assert correlation([0.3, third, 0.5, 0.7, 0.1], y) == correlation([0.3, 0.3, 0.5, 0.7, 0.1], y)
    assert pearson(1e8 + np.arange(4.0), [1, 2, 3, 5]) == pytest.approx(0.9827076)
    assert pearson([0, 1e-100, 3e-100], [1, 2, 4]) == pytest.approx(pearson([0, 1, 3], [1, 2, 4]))
    found = correlation_interval([0.3, 0.3, third, 0.3, 0.3, 0.3], range(6))
    assert np.isnan([found.r, found.low, found.high, found.p, found.slope]).all()


def test_three_models_have_a_correlation_but_no_interval_and_five_no_p():
    found = correlation_interval([1, 2, 3], [1, 3, 2])
    assert found.r == pytest.approx(0.5)
    assert np.isnan([found.low, found.high, found.p]).all()
    five = correlation_interval(range(5), [1, 0, 2, 4, 3])
    assert -1 < five.low < five.r < five.high < 1
    assert np.isnan(five.p)
    constant = correlation_interval([1] * 8, range(8))
    assert np.isnan([constant.r, constant.low, constant.p, constant.slope]).all()


def test_the_interval_of_a_correlation_is_about_fishers_for_many_models():
    x = np.random.default_rng(0).normal(size=400)
    y = 0.6 * x + 0.8 * np.random.default_rng(1).normal(size=400)
    for kind, tolerance in (("pearson", 0.02), ("spearman", 0.03)):
        found = correlation_interval(x, y, kind=kind)
        fisher = np.tanh(np.arctanh(found.r) + np.array([-1.96, 1.96]) / np.sqrt(397))
        assert (found.low, found.high) == pytest.approx(tuple(fisher), abs=tolerance)
    few = correlation_interval(x[:30], y[:30], kind="kendall")
    assert few.low < few.r < few.high
    with pytest.raises(BadInput, match="no correlation named 'tau'"):
        correlation_interval(x, y, kind="tau")


def test_p_counts_every_order_of_few_models_and_agrees_with_students_for_more():
    from scipy.stats import pearsonr

    x, y = [1.0, 2, 4, 3, 7, 5], [2.0, 1, 3, 5, 4, 8]
    r = abs(pearson(x, y))
    as_large = sum(abs(pearson(x, order)) >= r - 1e-12 for order in itertools.permutations(y))
    assert correlation_interval(x, y).p == pytest.approx(as_large / 720)
    rng = np.random.default_rng(3)
    x = rng.normal(size=15)
    y = 0.4 * x + rng.normal(size=15)
    assert correlation_interval(x, y).p == pytest.approx(pearsonr(x, y).pvalue, abs=0.02)
    assert correlation_interval(x, x).p == pytest.approx(1 / 2000)


def test_at_no_correlation_few_studies_have_a_small_p_and_an_interval_without_zero():
    found = 0
    for seed in range(300):
        rng = np.random.default_rng(seed)
        scale = np.sqrt(3 / rng.chisquare(3, 7))  # heavy tails, which x and y share
        one = correlation_interval(rng.normal(size=7) * scale, rng.normal(size=7) * scale)
        found += one.p <= 0.05 and not one.low <= 0 <= one.high
    assert found <= 15  # of 300, at a rate of 1 in 20 at most


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
    left = leave_one_family_out(log_odds(source), mean_log_odds(values), models)
    assert left["mnasnet1_0"] == pytest.approx(0.79487, abs=5e-6)
    assert len(left) == 11


def transferred(models: int = 8, tasks: int = 3, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    source = np.linspace(0.6, 0.8, models)
    odds = 2 * log_odds(source)[:, None] + rng.normal(size=tasks) + 0.1 * rng.normal(size=(models, tasks))
    return source, 1 / (1 + np.exp(-odds))


def test_the_slope_of_transfer_is_in_log_odds_per_log_odds():
    source, _ = transferred()
    exact = 1 / (1 + np.exp(-(0.5 + 2 * log_odds(source))))
    found = transfer_correlation(source, np.stack([exact, exact], axis=1))
    assert (found.r, found.slope, found.intercept) == pytest.approx((1, 2, 0.5))
    assert (found.low, found.high) == pytest.approx((1, 1))


def test_the_interval_of_transfer_is_that_of_its_log_odds():
    source, values = transferred()
    for n, source_n in ((None, None), ([100, 50, 200], 500), ([100, 50, 200], [500] * len(source))):
        found = transfer_correlation(source, values, n, source_n=source_n)
        plain = correlation_interval(log_odds(source, source_n), mean_log_odds(values, n))
        assert (found.r, found.low, found.high, found.p) == (plain.r, plain.low, plain.high, plain.p)
        assert found.tasks == 3


def test_accuracies_of_0_and_1_correlate_once_n_is_known():
    found = transfer_correlation([0.5, 0.6, 0.7, 0.8], [[0.0], [0.4], [0.9], [1.0]], [50])
    assert np.isfinite([found.r, found.low, found.high]).all()
    with pytest.raises(BadInput, match="give n"):
        transfer_correlation([0.5, 0.6, 0.7, 0.8], [[0.0], [0.4], [0.9], [1.0]])
    with pytest.raises(BadInput, match="one value per model"):
        transfer_correlation([0.5, 0.6], [[0.1], [0.4], [0.9]])


def test_leaving_out_the_family_that_carries_a_correlation_shows_it():
    x = np.array([1, 2, 1.5, 2, 8, 9.0])
    y = np.array([2, 1, 1.4, 1.6, 8, 9.0])
    families = ["resnet", "resnet", "mobile", "mobile", "vit", "vit"]
    left = leave_one_family_out(x, y, families)
    assert list(left) == ["resnet", "mobile", "vit"]
    assert left["vit"] == pytest.approx(pearson(x[:4], y[:4]))
    assert left["vit"] < 0 < 0.9 < left["resnet"]
    with pytest.raises(BadInput, match="one per model"):
        leave_one_family_out(x, y, families[:3])


def simulated(slope: float, models: int = 9, studies: int = 400):
    """transfer_correlation of studies of four tasks whose log odds follow the source's with this slope."""
    for seed in range(studies):
        rng = np.random.default_rng([seed, int(slope)])
        source = 1 / (1 + np.exp(-rng.normal(1.0, 0.4, models)))
        odds = slope * log_odds(source)[:, None] + rng.normal(0, 0.2, (models, 1)) + rng.normal(0, 0.3, (models, 4))
        values = rng.binomial(1000, 1 / (1 + np.exp(-odds))) / 1000
        yield transfer_correlation(source, values, [1000] * 4, seed=seed)


def test_without_a_link_p_is_uniform_and_at_most_one_study_in_twenty_finds_one():
    from scipy.stats import kstest

    found = list(simulated(0.0))
    assert kstest([one.p for one in found], "uniform").pvalue > 0.01
    assert sum(one.p <= 0.05 and not one.low <= 0 <= one.high for one in found) <= 20


def test_a_known_slope_is_recovered_and_mostly_found():
    found = list(simulated(1.0, studies=150))
    assert np.mean([one.slope for one in found]) == pytest.approx(1, abs=0.06)
    assert np.mean([one.p <= 0.05 and one.low > 0 for one in found]) > 0.7


def test_families_widen_the_interval_where_there_are_enough_of_them():
    rng = np.random.default_rng(0)
    x, y = np.repeat(rng.normal(size=(2, 6)), 2, axis=1) + 0.1 * rng.normal(size=(2, 12))
    families = [f"f{at // 2}" for at in range(12)]
    alone, together = correlation_interval(x, y), correlation_interval(x, y, families=families)
    assert together.high - together.low > alone.high - alone.low
    few = correlation_interval(x, y, families=[f"f{at // 6}" for at in range(12)])
    assert (few.low, few.high) == (alone.low, alone.high)
    with pytest.raises(BadInput, match="families: one per model"):
        correlation_interval(x, y, families=["a"])
