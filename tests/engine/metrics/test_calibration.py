"""Probabilities and metrics of them against scikit-learn, scipy, torchmetrics, and numbers worked by hand."""

import numpy as np
import pytest
from metric_cases import same, single_label_cases

from featune.engine.errors import BadInput
from featune.engine.metrics.calibration import brier, ece, log_loss, probabilities, softmax


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


def test_softmax_of_large_logits_is_finite_and_that_of_scipy() -> None:
    from scipy.special import softmax as known

    logits = np.random.default_rng(0).normal(size=(5, 4)) * 1000
    assert np.allclose(softmax(logits), known(logits, axis=1), rtol=1e-14, atol=0)
