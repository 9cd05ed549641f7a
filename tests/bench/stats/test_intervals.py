"""Intervals against scipy, simulation and numbers worked by hand."""

import numpy as np
import pytest
from metric_cases import shifted_classes

from featune.bench.stats import bootstrap, clopper_pearson, wilson
from featune.bench.stats.intervals import _jackknife, draw_weights, resampled
from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS

# --- Binomial intervals


def test_binomial_intervals_are_scipys():
    from scipy.stats import binomtest

    rng = np.random.default_rng(0)
    for _ in range(200):
        n = int(rng.integers(1, 300))
        k, level = int(rng.choice([0, n, rng.integers(0, n + 1)])), float(rng.choice([0.8, 0.95, 0.99]))
        test = binomtest(k, n)
        for ours, method in ((clopper_pearson, "exact"), (wilson, "wilson")):
            theirs = test.proportion_ci(level, method)
            assert tuple(ours(k, n, level)) == pytest.approx((theirs.low, theirs.high), abs=1e-9)


def test_clopper_pearson_never_covers_less_than_it_says_and_wilson_does_on_average():
    from scipy.stats import binom

    for n in (10, 50):
        exact, score = ([tuple(f(k, n)) for k in range(n + 1)] for f in (clopper_pearson, wilson))
        chances = np.linspace(0.02, 0.98, 97)
        likely = binom.pmf(np.arange(n + 1)[:, None], n, chances)

        def coverage(intervals, chances=chances, likely=likely):
            low, high = np.array(intervals).T[:, :, None]
            return (likely * ((low <= chances) & (chances <= high))).sum(axis=0)

        assert coverage(exact).min() >= 0.95
        assert coverage(score).mean() == pytest.approx(0.95, abs=0.01)


def test_nothing_right_out_of_n_is_bounded_by_the_rule_of_three():
    none = clopper_pearson(0, 100)
    assert (none.value, none.low, none.n) == (0, 0, 100)
    assert none.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert clopper_pearson(100, 100).low == pytest.approx(0.025 ** (1 / 100))


@pytest.mark.parametrize(("k", "n", "level"), [(5, 4, 0.95), (-1, 4, 0.95), (0, 0, 0.95), (1.5, 4, 0.95), (1, 4, 95)])
def test_impossible_counts_and_levels_are_refused(k, n, level):
    with pytest.raises(BadInput, match="expected"):
        clopper_pearson(k, n, level)


# --- The bootstrap


def test_weights_are_draws_with_replacement():
    weights = draw_weights(50, 4000, np.random.default_rng(0))
    assert weights.shape == (50, 4000)
    assert (weights.sum(axis=0) == 50).all()
    # Each is binomial(50, 1/50): mean 1, variance 0.98, and none 0.98^50 of the time.
    assert weights.mean(axis=1) == pytest.approx(1, abs=0.08)
    assert weights.var() == pytest.approx(0.98, abs=0.02)
    assert (weights == 0).mean() == pytest.approx(0.98**50, abs=0.01)


def test_vectorised_resampling_spreads_like_drawing_examples_one_by_one():
    truth, scores = shifted_classes(80, 3, 0)
    rng = np.random.default_rng(1)
    for name in ("mean_per_class", "roc_auc", "quadratic_kappa"):
        metric = METRICS[name]
        rows = rng.integers(0, 80, size=(400, 80))
        slow = np.array([metric(truth[at], scores[at]) for at in rows])
        fast = resampled(*metric.statistic(truth, scores), resamples=4000)
        assert fast.mean() == pytest.approx(slow.mean(), abs=4 * slow.std() / 20)
        assert fast.std() == pytest.approx(slow.std(), rel=0.2)


def test_the_bootstrap_of_a_proportion_has_the_binomial_spread():
    truth, scores = shifted_classes(500, 4, 2)
    drawn = resampled(*METRICS["top1"].statistic(truth, scores), resamples=5000)
    p = METRICS["top1"](truth, scores)
    assert drawn.std() == pytest.approx(np.sqrt(p * (1 - p) / 500), rel=0.06)


def test_chunks_of_resamples_are_independent_draws(monkeypatch):
    monkeypatch.setattr("featune.bench.stats.intervals.CHUNK", 1000)
    truth, scores = shifted_classes(100, 4, 2)
    drawn = resampled(*METRICS["log_loss"].statistic(truth, scores), resamples=505)
    assert drawn.shape == (505,)
    assert len(np.unique(drawn)) == 505


def test_percentile_and_bca_intervals_are_scipys():
    from scipy.stats import bootstrap as scipys

    skewed = np.random.default_rng(4).exponential(size=60) ** 1.5

    def mean(weights):
        return skewed @ weights / weights.sum(axis=0)

    for method, theirs_method in (("percentile", "percentile"), ("bca", "BCa")):
        ours = bootstrap(mean, 60, resamples=20_000, method=method, seed=1)
        theirs = scipys(
            (skewed,), np.mean, n_resamples=20_000, method=theirs_method, rng=np.random.default_rng(2)
        ).confidence_interval
        width = theirs.high - theirs.low
        assert tuple(ours) == pytest.approx((theirs.low, theirs.high), abs=0.03 * width)
        assert ours.value == pytest.approx(skewed.mean())
    # Of a mean of skewed numbers BCa moves both ends outwards along the tail.
    percentile, bca = (bootstrap(mean, 60, method=method) for method in ("percentile", "bca"))
    assert bca.low > percentile.low
    assert bca.high > percentile.high


def test_the_jackknife_leaves_each_example_out_once_over_many_chunks(monkeypatch):
    monkeypatch.setattr("featune.bench.stats.intervals.CHUNK", 100)
    values = np.random.default_rng(0).normal(size=30)

    def mean(weights):
        return values @ weights / weights.sum(axis=0)

    expected = [np.delete(values, i).mean() for i in range(30)]
    assert sorted(_jackknife(mean, 30, seed=0)) == pytest.approx(sorted(expected))


def test_a_jackknife_in_groups_finds_the_same_interval(monkeypatch):
    skewed = np.random.default_rng(4).exponential(size=3000) ** 3

    def mean(weights):
        return skewed @ weights / weights.sum(axis=0)

    whole = bootstrap(mean, 3000, resamples=4000, method="bca")
    monkeypatch.setattr("featune.bench.stats.intervals.JACKKNIFE_GROUPS", 300)
    grouped = bootstrap(mean, 3000, resamples=4000, method="bca")
    assert tuple(grouped) == pytest.approx(tuple(whole), abs=0.05 * (whole.high - whole.low))
