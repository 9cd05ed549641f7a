"""Metrics against scikit-learn, plain loops over the definitions, and numbers worked by hand."""

import os
from collections.abc import Iterator
from fractions import Fraction

import numpy as np
import pytest

from engine.errors import BadInput
from engine.metrics import (
    METRICS,
    brier,
    choose_threshold,
    ece,
    f1_macro,
    f1_micro,
    f1_samples,
    log_loss,
    map_11point,
    map_voc2010,
    mean_average_precision,
    mean_per_class,
    predicted,
    probabilities,
    quadratic_kappa,
    real_accuracy,
    roc_auc,
    softmax,
    top1,
    top5,
)

CASES = int(os.environ.get("FEATUNE_METRIC_CASES", "250"))  # per metric


def scores_of_many_kinds(rng: np.random.Generator, n: int, k: int, kind: int) -> np.ndarray:
    """Smooth, tied, extreme, constant or nearly decided scores."""
    scores = rng.normal(size=(n, k)) * 2
    if kind == 1:
        return np.round(scores)
    if kind == 2:
        return np.sign(scores) * 10.0 ** rng.integers(-300, 300, size=(n, k))
    if kind == 3:
        return np.zeros((n, k))
    if kind == 4:
        return scores * 200
    return scores


def single_label_cases(fewest: int = 2, most: int = 8) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """truth [n] of some of the k classes, and scores [n, k]."""
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(1, 40)), int(rng.integers(fewest, most + 1))
        present = rng.choice(k, size=rng.integers(1, k + 1), replace=False)
        yield rng.choice(present, size=n), scores_of_many_kinds(rng, n, k, seed % 5)


def multi_label_cases() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """truth [n, k] with rare, absent and universal classes, and scores [n, k]."""
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(1, 40)), int(rng.integers(1, 6))
        truth = rng.random((n, k)) < rng.choice([0, 0.1, 0.5, 0.9, 1], size=k)
        yield truth, scores_of_many_kinds(rng, n, k, seed % 5)


def mean_or_none(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def value_or_none(metric, truth, scores, **options):
    try:
        return metric(truth, scores, **options)
    except BadInput:
        return None


def same(ours: float | None, theirs: float | None) -> bool:
    return ours is theirs is None or ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)


# --- Against scikit-learn


def test_top1_is_sklearns_accuracy():
    from sklearn.metrics import accuracy_score

    for truth, scores in single_label_cases():
        assert same(top1(truth, scores), accuracy_score(truth, scores.argmax(axis=1)))


def test_top5_is_sklearns_top_k_accuracy_with_the_lower_class_first():
    from sklearn.metrics import top_k_accuracy_score

    for truth, scores in single_label_cases(fewest=6, most=12):
        k = scores.shape[1]
        # scikit-learn lets the higher of tied classes come first, so the classes are counted from the end.
        theirs = top_k_accuracy_score(k - 1 - truth, scores[:, ::-1], k=5, labels=np.arange(k))
        assert same(top5(truth, scores), theirs)


def test_mean_per_class_is_sklearns_recall_over_the_classes_present():
    from sklearn.metrics import balanced_accuracy_score, recall_score

    for truth, scores in single_label_cases():
        said, present = scores.argmax(axis=1), np.unique(truth)
        theirs = recall_score(truth, said, labels=present, average="macro", zero_division=0)
        assert same(mean_per_class(truth, scores), theirs)
        if set(said) <= set(present) and len(present) > 1:
            assert same(METRICS["balanced_accuracy"](truth, scores), balanced_accuracy_score(truth, said))


def test_quadratic_kappa_is_sklearns_over_all_declared_classes():
    from sklearn.metrics import cohen_kappa_score

    for truth, scores in single_label_cases():
        said = scores.argmax(axis=1)
        if len(np.unique(truth)) == 1 and set(said) == set(truth):
            theirs = 0.0  # undefined there
        else:
            theirs = cohen_kappa_score(truth, said, weights="quadratic", labels=np.arange(scores.shape[1]))
        assert same(quadratic_kappa(truth, scores), theirs)


def test_single_label_f1_is_sklearns_default():
    from sklearn.metrics import f1_score

    for truth, scores in single_label_cases():
        said = scores.argmax(axis=1)
        assert same(f1_macro(truth, scores), f1_score(truth, said, average="macro", zero_division=0))
        assert same(f1_micro(truth, scores), f1_score(truth, said, average="micro", zero_division=0))


def test_multi_label_f1_is_sklearns_with_empty_classes_left_out():
    from sklearn.metrics import f1_score

    for truth, scores in multi_label_cases():
        threshold = float(np.median(scores))
        said = scores >= threshold
        if scores.shape[1] == 1:
            continue  # scikit-learn reads one column as two classes
        something = (truth | said).any()
        macro = f1_score(truth, said, average="macro", zero_division=np.nan) if something else None
        micro = f1_score(truth, said, average="micro", zero_division=0) if something else None
        samples = f1_score(truth, said, average="samples", zero_division=1)
        assert same(value_or_none(f1_macro, truth, scores, threshold=threshold), macro)
        assert same(value_or_none(f1_micro, truth, scores, threshold=threshold), micro)
        assert same(f1_samples(truth, scores, threshold=threshold), samples)


def test_map_is_sklearns_average_precision_over_the_classes_with_positives():
    from sklearn.metrics import average_precision_score

    for truth, scores in multi_label_cases():
        theirs = [
            average_precision_score(truth[:, c], scores[:, c]) for c in range(truth.shape[1]) if truth[:, c].any()
        ]
        assert same(value_or_none(mean_average_precision, truth, scores), mean_or_none(theirs))


def test_multi_label_roc_auc_is_sklearns_over_the_classes_with_both_kinds():
    from sklearn.metrics import roc_auc_score

    for truth, scores in multi_label_cases():
        theirs = [
            roc_auc_score(truth[:, c], scores[:, c])
            for c in range(truth.shape[1])
            if 0 < truth[:, c].sum() < len(truth)
        ]
        assert same(value_or_none(roc_auc, truth, scores), mean_or_none(theirs))


def test_binary_roc_auc_is_sklearns():
    from sklearn.metrics import roc_auc_score

    for truth, scores in single_label_cases(fewest=2, most=2):
        theirs = roc_auc_score(truth, scores[:, 1] - scores[:, 0]) if 0 < truth.sum() < len(truth) else None
        assert same(value_or_none(roc_auc, truth, scores), theirs)


def test_one_against_rest_roc_auc_is_sklearns():
    from sklearn.metrics import roc_auc_score

    whole = 0
    for truth, scores in single_label_cases(fewest=3, most=5):
        chances, k = softmax(scores), scores.shape[1]
        found = [c for c in range(k) if 0 < (truth == c).sum() < len(truth)]
        theirs = [roc_auc_score(truth == c, chances[:, c]) for c in found]
        assert same(value_or_none(roc_auc, truth, scores), mean_or_none(theirs))
        if len(found) == k:
            whole += 1
            assert same(roc_auc(truth, scores), roc_auc_score(truth, chances, multi_class="ovr"))
    assert whole > 20


def test_log_loss_is_sklearns():
    import sklearn.metrics

    for truth, scores in single_label_cases():
        theirs = sklearn.metrics.log_loss(truth, softmax(scores), labels=np.arange(scores.shape[1]))
        assert log_loss(truth, scores) == pytest.approx(theirs, rel=1e-9, abs=1e-12)


def test_brier_is_the_mean_squared_distance_and_sklearns():
    import sklearn
    from sklearn.metrics import brier_score_loss

    many_classes = tuple(map(int, sklearn.__version__.split(".")[:2])) >= (1, 7)
    for truth, scores in single_label_cases():
        chances, k = softmax(scores), scores.shape[1]
        distance = sum(((chances[i] - np.eye(k)[t]) ** 2).sum() for i, t in enumerate(truth)) / len(truth)
        assert same(brier(truth, scores), distance / 2 if k == 2 else distance)
        if k == 2:
            assert same(brier(truth, scores), brier_score_loss(truth, chances[:, 1], pos_label=1))
        elif many_classes:
            assert same(brier(truth, scores), brier_score_loss(truth, chances, labels=np.arange(k)))


def test_softmax_is_scipys():
    from scipy.special import softmax as scipys

    for _, scores in single_label_cases():
        with np.errstate(over="ignore"):
            assert np.allclose(softmax(scores), scipys(scores, axis=1), rtol=1e-12, atol=0)


def test_calibration_error_is_torchmetrics_where_it_is_installed_and_no_confidence_lies_on_an_edge():
    classification = pytest.importorskip("torchmetrics.functional.classification")
    import torch

    for truth, scores in single_label_cases(fewest=3, most=6):
        chances, k = softmax(scores), scores.shape[1]
        steps = chances.max(axis=1) * 15
        if np.abs(steps - np.round(steps)).min() < 1e-5:
            continue  # its bins are [a, b), with one of their own for 1
        theirs = classification.multiclass_calibration_error(
            torch.tensor(chances), torch.tensor(truth), num_classes=k, n_bins=15, norm="l1"
        )
        assert ece(truth, chances) == pytest.approx(float(theirs), abs=1e-5)


# --- Against plain loops over a definition


def devkit_11point(truth: np.ndarray, scores: np.ndarray) -> Fraction | None:
    """VOCevalcls.m in exact fractions: truth 1, 0 or -1 (difficult) [n]; tied images in the order given."""
    ranked = sorted(range(len(truth)), key=lambda i: -scores[i])
    positives = sum(label == 1 for label in truth)
    if not positives:
        return None
    hits = misses = 0
    curve = []
    for i in ranked:
        hits += truth[i] == 1
        misses += truth[i] == 0
        if hits + misses:
            curve.append((Fraction(int(hits), int(positives)), Fraction(int(hits), int(hits + misses))))
    total = Fraction(0)
    for step in range(11):
        total += max((p for recall, p in curve if recall >= Fraction(step, 10)), default=Fraction(0))
    return total / 11


def area_2010(truth: np.ndarray, scores: np.ndarray) -> float | None:
    """VOCap.m of the devkit from 2010 on: true, from the right, precision made to fall; then the area."""
    ranked = sorted(range(len(truth)), key=lambda i: -scores[i])
    positives = sum(label == 1 for label in truth)
    if not positives:
        return None
    hits = misses = 0
    recall, precision = [0.0], [0.0]
    for i in ranked:
        hits += truth[i] == 1
        misses += truth[i] == 0
        if hits + misses:
            recall.append(hits / positives)
            precision.append(hits / (hits + misses))
    recall.append(1.0)
    precision.append(0.0)
    for i in range(len(precision) - 2, -1, -1):
        precision[i] = max(precision[i], precision[i + 1])
    return sum((recall[i] - recall[i - 1]) * precision[i] for i in range(1, len(recall)))


def with_difficult(truth: np.ndarray, seed: int) -> np.ndarray:
    marked = truth.astype(int)
    return np.where(np.random.default_rng(seed).random(truth.shape) < 0.2, -1, marked)


def test_11_point_and_2010_average_precision_are_the_voc_devkits():
    for seed, (clean, scores) in enumerate(multi_label_cases()):
        truth = with_difficult(clean, seed)
        old, new = [], []
        for c in range(truth.shape[1]):
            misses_first = np.argsort(truth[:, c] == 1, kind="stable")
            label, score = truth[misses_first, c], scores[misses_first, c]
            old.append(devkit_11point(label, score))
            new.append(area_2010(label, score))
        old = mean_or_none([float(area) for area in old if area is not None])
        new = mean_or_none([area for area in new if area is not None])
        assert same(value_or_none(map_11point, truth, scores), old)
        assert same(value_or_none(map_voc2010, truth, scores), new)


def test_11_point_precision_of_ties_is_the_devkits_lowest_over_file_orders():
    truth, scores = np.array([1, 0, 1, 0, 1]), np.array([2.0, 1.0, 1.0, 1.0, 0.0])
    orders = [np.random.default_rng(seed).permutation(5) for seed in range(50)]
    lowest = min(devkit_11point(truth[order], scores[order]) for order in orders)
    assert map_11point(truth[:, None], scores[:, None]) == pytest.approx(float(lowest))


def test_recall_of_three_in_ten_reaches_the_level_of_three_tenths():
    truth = np.array([1, 1, 1, 0] + [0] * 10 + [1] * 7)[:, None]
    scores = -np.arange(21.0)[:, None]
    # Levels 0 to 0.3 are reached at precision 1; then the best is at full recall, 10 of 21.
    assert map_11point(truth, scores) == pytest.approx((4 * 1 + 7 * 10 / 21) / 11)


def test_a_difficult_image_counts_neither_way_by_mark_or_by_mask():
    truth = np.array([[1], [0], [1], [0]])
    scores = np.array([[4.0], [3.0], [2.0], [1.0]])
    assert mean_average_precision(truth, scores) == pytest.approx((1 + 2 / 3) / 2)
    marked = np.array([[1], [-1], [1], [0]])
    for metric in (mean_average_precision, map_11point, map_voc2010):
        assert metric(marked, scores) == metric(truth, scores, ignore=marked < 0) == 1


def test_calibration_error_is_its_definition_in_a_loop():
    for truth, scores in single_label_cases():
        chances = softmax(scores)
        total = 0.0
        for b in range(15):
            inside = [i for i in range(len(truth)) if b / 15 < chances[i].max() and chances[i].max() * 15 <= b + 1]
            if inside:
                right = np.mean([chances[i].argmax() == truth[i] for i in inside])
                total += len(inside) / len(truth) * abs(right - np.mean([chances[i].max() for i in inside]))
        assert ece(truth, chances) == pytest.approx(total, abs=1e-12)


def test_real_accuracy_leaves_unlabelled_images_out_of_both_sides():
    for truth, scores in multi_label_cases():
        right = [truth[i, scores[i].argmax()] for i in range(len(truth)) if truth[i].any()]
        assert same(value_or_none(real_accuracy, truth, scores), mean_or_none(right))
    truth = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
    scores = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0]])
    assert real_accuracy(truth, scores) == 0.5
    assert np.isnan(real_accuracy.per_example(truth, scores)).tolist() == [False, True, False]


# --- Relations that hold for every metric


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


# --- Worked by hand


def test_mean_per_class_weighs_a_rare_class_as_much_as_a_common_one():
    truth = np.array([0, 0, 0, 0, 1])
    scores = np.eye(3)[[0, 0, 0, 1, 2]]
    assert top1(truth, scores) == 3 / 5
    assert mean_per_class(truth, scores) == pytest.approx((3 / 4 + 0) / 2)  # class 2 has no examples


def test_kappa_of_a_miss_by_two_costs_four_times_a_miss_by_one():
    truth = np.array([0, 1, 2])
    assert quadratic_kappa(truth, np.eye(3)[[0, 1, 2]]) == 1
    by_one, by_two = (
        quadratic_kappa(truth, np.eye(3)[[1, 1, 2]]),
        quadratic_kappa(truth, np.eye(3)[[2, 1, 2]]),
    )
    # Squared differences: 1 and 4 over the three images; 9 and 12 over the nine pairs of truth and guess.
    assert by_one == pytest.approx(1 - (1 / 3) / (9 / 9))
    assert by_two == pytest.approx(1 - (4 / 3) / (12 / 9))


def test_kappa_keeps_the_distance_across_a_class_that_never_occurs():
    truth, said = np.array([0, 0, 2, 2]), np.eye(3)[[0, 2, 2, 2]]
    assert quadratic_kappa(truth, said) == pytest.approx(0.5)
    assert quadratic_kappa(np.zeros(4, dtype=int), said) == 0
    assert quadratic_kappa(np.zeros(4, dtype=int), np.eye(3)[[0, 0, 0, 0]]) == 0


def test_the_lowest_of_tied_classes_wins_and_a_fifth_tie_counts_in_class_order():
    assert top1([0, 1], np.zeros((2, 3))) == 0.5
    assert top5([4, 5], np.zeros((2, 7))) == 0.5
    assert top5([0, 1, 2], np.random.default_rng(0).normal(size=(3, 3))) == 1


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


def test_scores_are_probabilities_only_when_every_row_is():
    chances = np.array([[0.7, 0.3], [0.2, 0.8]])
    assert log_loss([0, 1], chances) == pytest.approx(-(np.log(0.7) + np.log(0.8)) / 2)
    assert log_loss([0, 1], chances, kind="logits") == pytest.approx(np.log1p(np.exp([-0.4, -0.6])).mean())
    assert log_loss([0, 1], np.log(chances)) == pytest.approx(log_loss([0, 1], chances))
    almost = np.array([[0.7, 0.3], [0.2, 0.9]])
    assert np.allclose(probabilities(almost), softmax(almost))
    assert np.allclose(probabilities(chances.astype(np.float16)), chances, atol=1e-3)
    with pytest.raises(BadInput, match="sum to 1"):
        probabilities(almost, "probabilities")
    with pytest.raises(BadInput, match="'odds'"):
        probabilities(almost, "odds")


def test_brier_of_two_classes_is_one_number_squared():
    assert brier([1, 0], [[0.4, 0.6], [0.9, 0.1]]) == pytest.approx((0.4**2 + 0.1**2) / 2)
    assert brier([1], [[0.2, 0.5, 0.3]]) == pytest.approx(0.2**2 + 0.5**2 + 0.3**2)


def test_a_model_that_is_always_half_sure_and_always_right_is_off_by_a_half():
    assert ece([0] * 4, [[0.5, 0.25, 0.25]] * 4) == pytest.approx(0.5)
    assert ece([0, 1] * 2, [[0.5, 0.5]] * 4) == pytest.approx(0)


def test_f1_counts_a_class_never_seen_only_when_it_is_predicted():
    truth = np.array([[1, 0, 0], [1, 0, 0]], dtype=bool)
    assert f1_macro(truth, np.array([[0.9, 0.1, 0.1], [0.9, 0.1, 0.1]])) == 1
    assert f1_macro(truth, np.array([[0.9, 0.1, 0.1], [0.9, 0.1, 0.7]])) == 0.5
    assert f1_samples([[False, False], [True, False]], [[0.1, 0.2], [0.1, 0.9]]) == 0.5


def test_labels_are_predicted_at_half_or_at_zero_or_where_one_says():
    assert predicted(np.array([[0.5, 0.49]])).tolist() == [[True, False]]
    assert predicted(np.array([[2.0, -0.1]])).tolist() == [[True, False]]
    assert predicted(np.array([[2.0, -0.1]]), [3, -1]).tolist() == [[False, True]]
    with pytest.raises(BadInput, match="one for each of 2 classes"):
        predicted(np.zeros((1, 2)), [1, 2, 3])


def test_a_chosen_threshold_is_the_best_of_all():
    rng = np.random.default_rng(3)
    truth = rng.random((60, 4)) < 0.3
    scores = rng.normal(size=(60, 4)) + truth
    for name in ("f1_macro", "f1_micro", "f1_samples"):
        best = max(METRICS[name](truth, scores, threshold=cut) for cut in np.unique(scores))
        chosen = choose_threshold(truth, scores, name, candidates=1000)
        assert METRICS[name](truth, scores, threshold=chosen) == best
    per_class = choose_threshold(truth, scores, per_class=True, candidates=1000)
    common = choose_threshold(truth, scores, candidates=1000)
    better = f1_macro(truth, scores, threshold=per_class)
    assert better >= f1_macro(truth, scores, threshold=common)
    assert better == pytest.approx(
        np.mean([max(f1_macro(truth[:, [c]], scores[:, [c]], threshold=cut) for cut in scores[:, c]) for c in range(4)])
    )


def test_a_threshold_lies_between_scores_and_a_class_without_positives_keeps_the_common_one():
    truth = np.array([[1, 0], [1, 0], [0, 0]], dtype=bool)
    scores = np.array([[3.0, 0.0], [2.0, 0.0], [1.0, 0.0]])
    assert choose_threshold(truth, scores) == 1.5
    assert choose_threshold(truth, scores, per_class=True).tolist() == [1.5, 1.5]
    assert choose_threshold(np.zeros((2, 2), bool), np.full((2, 2), -np.inf)) == 0
    with pytest.raises(BadInput, match="per class is for f1_macro"):
        choose_threshold(truth, scores, "f1_micro", per_class=True)
    with pytest.raises(BadInput, match="a threshold is for"):
        choose_threshold([0, 1, 0], scores)


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


def test_every_metric_explains_itself():
    for metric in METRICS.values():
        assert metric.__doc__
        assert "dataclass" not in metric.__doc__
        assert metric.name in METRICS
