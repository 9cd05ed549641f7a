"""Average precisions and ROC areas against scikit-learn, the VOC devkits and numbers worked by hand."""

from fractions import Fraction

import numpy as np
import pytest
from metric_cases import mean_or_none, multi_label_cases, same, single_label_cases, value_or_none

from featune.engine.metrics.calibration import softmax
from featune.engine.metrics.ranking import map_11point, map_voc2010, mean_average_precision, roc_auc

# --- Against scikit-learn


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


# --- Against the VOC devkits


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


# --- Worked by hand


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
