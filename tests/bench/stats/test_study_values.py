"""A metric's interval by simulation and by hand; log odds and error bars against their definitions."""

import numpy as np
import pytest
from metric_cases import shifted_classes

from featune.bench.stats import clopper_pearson, interval, log_odds, mean_log_odds, wilson
from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS
from featune.engine.metrics.ranking import roc_auc

# --- A metric's interval


def test_bootstrap_intervals_of_roc_auc_cover_the_true_area():
    from scipy.stats import norm

    true_area = norm.cdf(1 / np.sqrt(2))
    covered = {"percentile": 0, "bca": 0}
    for seed in range(200):
        rng = np.random.default_rng(seed)
        truth = rng.permutation(np.arange(100) % 2)
        scores = np.stack([np.zeros(100), rng.normal(size=100) + truth], axis=1)
        for method in covered:
            low, high = interval(roc_auc, truth, scores, seed=seed, resamples=400, method=method)
            covered[method] += low <= true_area <= high
    # 190 expected; three standard deviations of binomial(200, 0.95) are 9.
    assert all(181 <= count <= 199 for count in covered.values()), covered


def test_a_proportion_gets_an_exact_interval_unless_asked_otherwise():
    truth, scores = shifted_classes(200, 3, 5)
    right = int((scores.argmax(axis=1) == truth).sum())
    assert interval("top1", truth, scores) == clopper_pearson(right, 200)
    assert interval("top1", truth, scores, method="wilson") == wilson(right, 200)
    assert interval("top1", truth, scores, method="bca").method == "bca"
    assert interval("mean_per_class", truth, scores).method == "percentile"
    labels = np.eye(3, dtype=bool)[truth]
    labels[:50] = False
    real = interval("real_accuracy", labels, scores)
    assert real.n == 150
    assert real.value == METRICS["real_accuracy"](labels, scores)


def test_an_interval_is_decided_by_its_seed_and_holds_the_value():
    truth, scores = shifted_classes(150, 4, 6)
    for name, metric in METRICS.items():
        of = truth if metric.single else np.eye(4, dtype=bool)[truth]
        one = interval(name, of, scores, seed=3, resamples=300, method="percentile")
        assert one == interval(name, of, scores, seed=3, resamples=300, method="percentile"), name
        assert one.value == metric(of, scores)
        assert one.low <= one.value <= one.high or name == "ece", name
        assert (one.n, one.resamples, one.undefined) == (150, 300, 0)


def test_resamples_without_a_value_are_left_out_and_counted():
    truth = np.array([1] + [0] * 9)
    scores = np.stack([np.zeros(10), np.arange(10.0)], axis=1)
    found = interval("roc_auc", truth, scores, resamples=4000)
    assert found.undefined == pytest.approx(4000 * 0.9**10, rel=0.1)  # the only positive is not drawn
    assert found.low == found.high == found.value == 0


def test_bca_of_a_value_at_the_edge_is_the_percentile_interval():
    truth, scores = np.arange(30) % 3, np.eye(3)[np.arange(30) % 3]
    perfect = interval("mean_per_class", truth, scores, method="bca", resamples=200)
    assert tuple(perfect) == (1, 1)


def test_intervals_refuse_what_does_not_fit():
    truth, scores = shifted_classes(20, 3, 0)
    with pytest.raises(BadInput, match="no metric named 'top_1'; nearest: top1"):
        interval("top_1", truth, scores)
    with pytest.raises(BadInput, match="mean_per_class is not a proportion; use percentile or bca"):
        interval("mean_per_class", truth, scores, method="wilson")
    with pytest.raises(BadInput, match="no interval method 'normal'"):
        interval("top1", truth, scores, method="normal")
    with pytest.raises(BadInput, match="resamples: 1 or more"):
        interval("ece", truth, scores, resamples=0)


# --- Log odds


def test_log_odds_add_half_a_count_on_each_side():
    assert log_odds([0, 0.5, 1], 9) == pytest.approx([np.log(0.5 / 9.5), 0, np.log(9.5 / 0.5)])
    assert log_odds([[0.9, 0.8]], [10, 100]) == pytest.approx(np.log([[9.5 / 1.5, 80.5 / 20.5]]))
    assert log_odds([0.7], 10**9) == pytest.approx(log_odds([0.7]), abs=1e-8)


def test_log_odds_refuse_what_is_no_fraction():
    with pytest.raises(BadInput, match="divide percentages by 100"):
        log_odds([93.1], 100)
    with pytest.raises(BadInput, match="fractions from 0 to 1"):
        log_odds([-0.1], 100)
    with pytest.raises(BadInput, match="infinite log odds; give n"):
        log_odds([1.0])
    with pytest.raises(BadInput, match=r"NaN at \[\(0, 1\)\]; leave out"):
        mean_log_odds([[0.5, np.nan]], 10)
    with pytest.raises(BadInput, match="1 or more expected; 0"):
        log_odds([0.5], 0)
