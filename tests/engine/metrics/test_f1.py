"""F1 and the choice of its threshold against scikit-learn, all candidates, and numbers worked by hand."""

import numpy as np
import pytest
from metric_cases import multi_label_cases, same, single_label_cases, value_or_none

from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS, choose_threshold
from featune.engine.metrics.f1 import f1_macro, f1_micro, f1_samples, predicted


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
