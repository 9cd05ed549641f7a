"""Statistics against scipy, exact enumeration, published figures, simulation and numbers worked by hand."""

import csv
import itertools
from pathlib import Path

import numpy as np
import pytest

from bench.stats import (
    _jackknife,
    across_tasks,
    bootstrap,
    clopper_pearson,
    correlation_interval,
    draw_weights,
    fit_line,
    interval,
    kendall,
    leave_one_family_out,
    log_odds,
    mcnemar,
    mean_log_odds,
    paired_difference,
    pearson,
    permutation_test,
    relative_logit,
    resampled,
    slope_above,
    spearman,
    transfer_correlation,
    wilson,
    within_task_errors,
)
from engine.errors import BadInput
from engine.metrics import METRICS, roc_auc

PUBLISHED = Path(__file__).parents[2].parent / "shared/data/published/other_SFDA2022_finetune_supervised.csv"


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


def shifted_classes(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k))
    scores[np.arange(n), truth] += 1
    return truth, scores


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
    monkeypatch.setattr("bench.stats.CHUNK", 1000)
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
    monkeypatch.setattr("bench.stats.CHUNK", 100)
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
    monkeypatch.setattr("bench.stats.JACKKNIFE_GROUPS", 300)
    grouped = bootstrap(mean, 3000, resamples=4000, method="bca")
    assert tuple(grouped) == pytest.approx(tuple(whole), abs=0.05 * (whole.high - whole.low))


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


def test_relative_logits_of_a_task_sum_to_zero_and_ignore_how_hard_it_is():
    values = np.random.default_rng(0).random((5, 3))
    relative = relative_logit(values, [100, 50, 1000])
    assert relative.sum(axis=0) == pytest.approx(0, abs=1e-12)
    odds = log_odds(values)
    harder = 1 / (1 + np.exp(-(odds - [1, 0, 2])))
    assert relative_logit(harder) == pytest.approx(relative_logit(values))
    with pytest.raises(BadInput, match="2 models or more"):
        relative_logit([[0.5, 0.6]], 10)


def test_error_bars_of_two_models_add_up_to_that_of_their_difference():
    values = np.random.default_rng(1).normal(size=(2, 7)) + 5 * np.random.default_rng(2).normal(size=7)
    bars = within_task_errors(values)
    of_difference = (values[0] - values[1]).std(ddof=1) / np.sqrt(7)
    assert np.sqrt((bars.error**2).sum()) == pytest.approx(of_difference)
    assert bars.mean == pytest.approx(values.mean(axis=1))
    assert (bars.models, bars.tasks) == (2, 7)
    assert np.isnan(within_task_errors(values[:, :1]).error).all()


def test_error_bars_of_independent_models_have_the_size_of_plain_standard_errors():
    values = np.random.default_rng(3).normal(size=(4, 4000))
    assert within_task_errors(values).error == pytest.approx(1 / np.sqrt(4000), rel=0.05)


# --- Correlations


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


# --- Lines


def test_a_line_is_scipys_and_its_band_holds_it():
    from scipy.stats import linregress

    rng = np.random.default_rng(0)
    x = rng.random(40)
    y = 0.3 + 0.5 * x + 0.1 * rng.normal(size=40)
    at = np.linspace(0, 1, 11)
    found, theirs = fit_line(x, y, at, resamples=4000), linregress(x, y)
    assert (found.slope, found.intercept) == pytest.approx((theirs.slope, theirs.intercept))
    assert found.line == pytest.approx(theirs.intercept + theirs.slope * at)
    assert (found.low < found.line).all()
    assert (found.line < found.high).all()
    assert found.slope_low < found.slope < found.slope_high
    assert found.slope_high - found.slope_low == pytest.approx(2 * 1.96 * theirs.stderr, rel=0.25)
    # Narrowest around the middle of the points.
    assert np.argmin(found.high - found.low) in (4, 5, 6)
    assert (found.n, found.resamples, found.undefined) == (40, 4000, 0)


def test_points_on_a_line_have_no_band_to_speak_of():
    x = np.arange(6.0)
    found = fit_line(x, 2 * x + 1, [0, 10])
    for edge in (found.low, found.line, found.high):
        assert edge == pytest.approx([1, 21])


def test_a_line_through_fewer_than_three_points_or_a_constant_is_nan():
    for x in ([], [1, 2], [3, 3, 3, 3]):
        found = fit_line(x, np.arange(len(x)), [0, 1], resamples=10)
        assert np.isnan([*found.line, *found.low, found.slope, found.slope_low]).all()
        assert found.n == len(x)
    three = fit_line([0, 1, 2], [0, 1, 2], [3])
    assert three.line == pytest.approx([3])
    assert np.isnan(three.low).all()


def test_the_slope_above_a_threshold_ignores_what_lies_below():
    source = np.array([0.56, 0.62, 0.70, 0.72, 0.76, 0.80, 0.84])
    steep = np.where(source <= 0.70, source * 3, 2.1 + 0.1 * (source - 0.7))
    found = slope_above(source, steep, 0.70)
    assert found.slope == pytest.approx(0.1)
    assert found.n == 4
    assert found.at.tolist() == [0.72, 0.84]
    assert np.isnan(slope_above(source, steep, 0.79).slope)
    assert slope_above(source, steep, 0.9).n == 0
    with pytest.raises(BadInput, match="percentages"):
        slope_above(source * 100, steep, 70)


# --- Paired tests


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
