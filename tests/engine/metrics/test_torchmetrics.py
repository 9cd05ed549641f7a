"""The metrics against torchmetrics, an implementation that shares no code with scikit-learn's.

torchmetrics takes probabilities, and squashes or softmaxes what is outside [0, 1], so that extreme scores become
ties. It is therefore given ranks: the same order and the same ties, between 0 and 1.
"""

import numpy as np
import pytest
import torch
from metric_cases import CASES, multi_label_cases, scores_of_many_kinds, single_label_cases, value_or_none

from featune.engine.metrics.accuracy import mean_per_class, top1, top5
from featune.engine.metrics.calibration import softmax
from featune.engine.metrics.f1 import f1_macro, f1_micro
from featune.engine.metrics.kappa import quadratic_kappa
from featune.engine.metrics.ranking import mean_average_precision, roc_auc

classification = pytest.importorskip("torchmetrics.functional.classification", reason="torchmetrics is not installed")


def ranks(scores: np.ndarray) -> torch.Tensor:
    """Each column's order and ties as numbers from 0 to 1."""
    dense = np.stack([np.unique(column, return_inverse=True)[1] for column in scores.T], axis=1)
    return torch.tensor(dense / max(1, len(scores)))


def preferred(scores: np.ndarray) -> torch.Tensor:
    """Each row's order as numbers from 0 to 1, of tied classes the lowest first."""
    order = np.argsort(np.argsort(-scores, axis=1, kind="stable"), axis=1)
    return torch.tensor(1 - order / scores.shape[1])


def columns() -> tuple[np.ndarray, np.ndarray]:
    """CASES rankings of 40 images, side by side: truth and scores [40, CASES] with ties and rare classes."""
    rng = np.random.default_rng(0)
    shares = rng.choice([0.0, 0.05, 0.5, 0.95, 1.0], size=CASES)
    scores = np.hstack([scores_of_many_kinds(rng, 40, 1, case % 5) for case in range(CASES)])
    return rng.random((40, CASES)) < shares, scores


def per_class(found: torch.Tensor, defined: np.ndarray) -> list[float | None]:
    return [float(value) if has else None for value, has in zip(found, defined, strict=True)]


@pytest.mark.filterwarnings("ignore:No positive samples:UserWarning")
def test_average_precision_is_torchmetrics():
    truth, scores = columns()
    theirs = classification.multilabel_average_precision(
        ranks(scores), torch.tensor(truth).long(), num_labels=CASES, average="none"
    )
    expected = per_class(theirs, truth.any(axis=0))
    for c in range(CASES):
        ours = value_or_none(mean_average_precision, truth[:, [c]], scores[:, [c]])
        assert ours == pytest.approx(expected[c], abs=2e-6)  # its curves are float32


@pytest.mark.filterwarnings("ignore:No (positive|negative) samples:UserWarning")
def test_the_area_under_roc_is_torchmetrics():
    truth, scores = columns()
    theirs = classification.multilabel_auroc(
        ranks(scores), torch.tensor(truth).long(), num_labels=CASES, average="none"
    )
    expected = per_class(theirs, truth.any(axis=0) & ~truth.all(axis=0))
    for c in range(CASES):
        assert value_or_none(roc_auc, truth[:, [c]], scores[:, [c]]) == pytest.approx(expected[c], abs=2e-6)


def test_top1_and_top5_are_torchmetrics_with_the_lower_class_first():
    for truth, scores in single_label_cases(fewest=6, most=12):
        chosen, target = preferred(scores), torch.tensor(truth)
        for ours, k in ((top1, 1), (top5, 5)):
            theirs = classification.multiclass_accuracy(
                chosen, target, num_classes=scores.shape[1], average="micro", top_k=k
            )
            assert ours(truth, scores) == pytest.approx(float(theirs), abs=1e-6)


def test_mean_per_class_and_f1_of_one_label_are_torchmetrics():
    for truth, scores in single_label_cases():
        chosen, target, k = preferred(scores).argmax(dim=1), torch.tensor(truth), scores.shape[1]
        f1 = classification.multiclass_f1_score
        assert f1_macro(truth, scores) == pytest.approx(float(f1(chosen, target, k, average="macro")), abs=1e-6)
        assert f1_micro(truth, scores) == pytest.approx(float(f1(chosen, target, k, average="micro")), abs=1e-6)
        recalls = classification.multiclass_recall(chosen, target, k, average="none")[np.unique(truth)]
        assert mean_per_class(truth, scores) == pytest.approx(float(recalls.mean()), abs=1e-6)


def test_f1_of_several_labels_is_torchmetrics_with_empty_classes_left_out():
    for truth, scores in multi_label_cases():
        if truth.shape[1] == 1:
            continue  # it wants two labels or more
        threshold = float(np.median(scores))
        said = scores >= threshold
        theirs = classification.multilabel_f1_score(
            torch.tensor(said).float(), torch.tensor(truth).long(), truth.shape[1], average="none"
        )
        seen = (truth | said).any(axis=0)
        expected = float(theirs[torch.tensor(seen)].mean()) if seen.any() else None
        assert value_or_none(f1_macro, truth, scores, threshold=threshold) == pytest.approx(expected, abs=1e-6)


def test_quadratic_kappa_is_torchmetrics():
    for truth, scores in single_label_cases():
        theirs = classification.multiclass_cohen_kappa(
            preferred(scores).argmax(dim=1), torch.tensor(truth), scores.shape[1], weights="quadratic"
        )
        expected = 0.0 if torch.isnan(theirs) else float(theirs)  # one class alone, always right
        assert quadratic_kappa(truth, scores) == pytest.approx(expected, abs=1e-5)


def test_one_against_rest_area_is_torchmetrics():
    compared = 0
    for truth, scores in single_label_cases(fewest=3, most=5):
        if len(np.unique(truth)) == scores.shape[1] < len(truth):
            theirs = classification.multiclass_auroc(
                ranks(softmax(scores)), torch.tensor(truth), scores.shape[1], average="macro"
            )
            assert roc_auc(truth, scores) == pytest.approx(float(theirs), abs=2e-6)
            compared += 1
    assert compared > CASES / 20
