"""What holds for every metric of the table: relations, what it takes, and what it refuses."""

import numpy as np
import pytest
from metric_cases import same, scores_of_many_kinds, value_or_none

from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS, Metric, accuracy, calibration, f1, kappa, ranking
from featune.engine.metrics.accuracy import top1, top5
from featune.engine.metrics.calibration import log_loss, softmax
from featune.engine.metrics.f1 import f1_macro, f1_micro
from featune.engine.metrics.ranking import mean_average_precision, roc_auc

# --- Relations


def test_every_metric_of_the_package_is_in_the_table():
    made = {
        id(one)
        for module in (accuracy, calibration, f1, kappa, ranking)
        for one in vars(module).values()
        if isinstance(one, Metric)
    }
    assert made == {id(one) for one in METRICS.values()}
    assert [name for name, one in METRICS.items() if one.name != name] == ["balanced_accuracy"]


def every_metric_and_case(count: int = 40):
    for seed in range(count):
        rng = np.random.default_rng(1000 + seed)
        n, k = int(rng.integers(2, 30)), int(rng.integers(2, 7))
        scores = scores_of_many_kinds(rng, n, k, (0, 1, 4)[seed % 3])
        one, many = rng.integers(0, k, n), rng.random((n, k)) < 0.4
        for name, metric in METRICS.items():
            if metric.single:
                yield rng, name, metric, one, scores
            if metric.multilabel:
                yield rng, name, metric, many, scores


def test_a_weight_is_a_number_of_copies_for_every_metric():
    for rng, name, metric, truth, scores in every_metric_and_case():
        weights = rng.integers(0, 3, size=(len(truth), 4)).astype(float)
        values = metric.statistic(truth, scores)[0](weights)
        for column, value in zip(weights.T.astype(int), values, strict=True):
            copies = [np.repeat(part, column, axis=0) for part in (truth, scores)]
            copied = value_or_none(metric, *copies) if column.any() else None
            assert same(None if np.isnan(value) else float(value), copied), name


def test_counts_in_half_the_bytes_give_the_same_values():
    for rng, name, metric, truth, scores in every_metric_and_case():
        statistic, n = metric.statistic(truth, scores)
        weights = rng.integers(0, 5, size=(n, 3)).astype(np.float32)
        halved, whole = statistic(weights), statistic(weights.astype(np.float64))
        assert np.allclose(halved, whole, rtol=1e-12, atol=0, equal_nan=True), name


def test_no_metric_depends_on_the_order_of_the_images():
    for rng, name, metric, truth, scores in every_metric_and_case():
        order = rng.permutation(len(truth))
        assert same(value_or_none(metric, truth, scores), value_or_none(metric, truth[order], scores[order])), name


def test_a_proportion_is_the_mean_of_its_correct_examples():
    for _, name, metric, truth, scores in every_metric_and_case():
        if metric.is_proportion:
            mean = np.nanmean(metric.per_example(truth, scores))
            assert metric(truth, scores) == pytest.approx(mean), name


def test_perfect_scores_are_best_and_metrics_say_which_way_is_up():
    truth = np.arange(30) % 6
    right, wrong = np.eye(6)[truth] * 80 - 40, np.eye(6)[(truth + 1) % 6] * 80 - 40
    labels = np.eye(6)[truth] > 0
    for name, metric in METRICS.items():
        of = truth if metric.single else labels
        good, bad = metric(of, right), metric(of, wrong)
        assert good == pytest.approx(1 if metric.higher_is_better else 0, abs=1e-12), name
        assert name == "top5" or (good > bad) == metric.higher_is_better, name


def test_every_metric_takes_lists_and_float32_and_half_precision():
    truth = np.arange(12) % 3
    scores = np.random.default_rng(0).normal(size=(12, 3)).astype(np.float16)
    for name, metric in METRICS.items():
        of = truth if metric.single else np.eye(3, dtype=bool)[truth]
        reference = metric(of, scores.astype(np.float64))
        assert metric(of.tolist() if metric.single else of, scores.tolist()) == pytest.approx(reference), name
        for precision in (np.float16, np.float32):
            assert metric(of, scores.astype(precision)) == pytest.approx(reference), name


def test_infinite_scores_rank_above_and_below_all_others():
    inf = np.inf
    assert top1([1, 0], [[0, inf], [0, -inf]]) == 1
    assert top5([6], [[inf, inf, 0, 0, 0, -inf, 1]]) == 1
    assert roc_auc([0, 1, 0, 1], [[0, -inf], [0, inf], [inf, 0], [0, 5]]) == 1
    assert roc_auc([0, 1], [[inf, inf], [0, 0]]) == 0.5  # no difference, twice
    assert mean_average_precision([[True], [False]], [[inf], [-inf]]) == 1
    assert softmax([[inf, inf, 0], [-inf, -inf, -inf], [-inf, 0, 0], [1e308, -1e308, 0]]).tolist() == [
        [0.5, 0.5, 0],
        [1 / 3, 1 / 3, 1 / 3],
        [0, 0.5, 0.5],
        [1, 0, 0],
    ]
    assert log_loss([0], [[-inf, 0]]) == pytest.approx(-np.log(np.finfo(float).eps))
    assert f1_micro([[True, False]], [[inf, -inf]]) == 1


def test_every_metric_explains_itself():
    for metric in METRICS.values():
        assert metric.__doc__
        assert "dataclass" not in metric.__doc__
        assert metric.name in METRICS


# --- Refusals


@pytest.mark.parametrize(
    ("name", "truth", "said"),
    [
        ("roc_auc", [1, 1, 1], "both positive and negative"),
        ("roc_auc", np.ones((3, 2), bool), "both positive and negative"),
        ("map", np.zeros((3, 2), bool), "no class has a positive"),
        ("map_11point", np.zeros((3, 2), bool), "no class has a positive"),
        ("map_voc2010", np.full((3, 2), -1), "no class has a positive"),
        ("f1_macro", np.zeros((3, 2), bool), "no class occurs or is predicted"),
        ("f1_micro", np.zeros((3, 2), bool), "no class occurs or is predicted"),
        ("real_accuracy", np.zeros((3, 2), bool), "no image has a label"),
    ],
)
def test_what_is_undefined_says_why(name, truth, said):
    with pytest.raises(BadInput, match=f"{name} of 3 examples is undefined: .*{said}"):
        METRICS[name](truth, np.full((3, 2), -1.0))


def test_nan_scores_are_refused_with_their_rows():
    scores = np.zeros((9, 2))
    scores[[2, 5], 1] = np.nan
    for metric in METRICS.values():
        truth = np.zeros(9, int) if metric.single else np.ones((9, 2), bool)
        with pytest.raises(BadInput, match="NaN in 2 of 9 rows: 2, 5;"):
            metric(truth, scores)


@pytest.mark.parametrize(
    ("truth", "scores", "said"),
    [
        ([0, 2], np.zeros((2, 2)), "labels 0 to 1 expected; 2 in rows 1"),
        ([0, -1], np.zeros((2, 2)), "labels 0 to 1 expected; -1 in rows 1"),
        ([0, 1, 1], np.zeros((2, 2)), r"int \[2\] or bool \[2, 2\] expected"),
        ([0.0, 1.0], np.zeros((2, 2)), "float64"),
        ([], np.zeros((0, 2)), r"shape \[n, classes\] expected"),
        ([0, 1], [0.2, 0.8], r"shape \[n, classes\] expected, \[2\] found"),
        ([[True, False]], np.zeros((1, 2)), r"top1 takes truth int \[n\]"),
    ],
)
def test_truth_and_scores_that_do_not_fit_are_refused(truth, scores, said):
    with pytest.raises(BadInput, match=said):
        top1(truth, scores)


def test_multi_label_truth_is_refused_where_it_makes_no_sense():
    scores = np.zeros((2, 2))
    with pytest.raises(BadInput, match=r"map takes truth bool \[n, k\]"):
        mean_average_precision([0, 1], scores)
    with pytest.raises(BadInput, match="0, 1, -1"):
        mean_average_precision([[0, 3], [1, 0]], scores)
    with pytest.raises(BadInput, match="average precision only"):
        roc_auc([[0, -1], [1, 0]], scores)
    with pytest.raises(BadInput, match="drop it"):
        f1_macro([0, 1], scores, threshold=0.5)
    with pytest.raises(BadInput, match="ignore: shape"):
        mean_average_precision([[0, 1], [1, 0]], scores, ignore=[True, False])
