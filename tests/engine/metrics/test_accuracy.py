"""Top-1, top-5, per-class accuracy and kappa against scikit-learn, and numbers worked by hand."""

import numpy as np
import pytest
from metric_cases import mean_or_none, multi_label_cases, same, single_label_cases, value_or_none

from featune.engine.metrics import METRICS
from featune.engine.metrics.accuracy import mean_per_class, real_accuracy, top1, top5
from featune.engine.metrics.kappa import quadratic_kappa

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


# --- Against a plain loop, and by hand


def test_real_accuracy_leaves_unlabelled_images_out_of_both_sides():
    for truth, scores in multi_label_cases():
        right = [truth[i, scores[i].argmax()] for i in range(len(truth)) if truth[i].any()]
        assert same(value_or_none(real_accuracy, truth, scores), mean_or_none(right))
    truth = np.array([[1, 1, 0], [0, 0, 0], [0, 0, 1]], dtype=bool)
    scores = np.array([[0, 1, 0], [1, 0, 0], [1, 0, 0]])
    assert real_accuracy(truth, scores) == 0.5
    assert np.isnan(real_accuracy.per_example(truth, scores)).tolist() == [False, True, False]


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
