"""The threshold of an F1 of several labels is chosen on val with the penalty, and used on test."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_layouts import table

from featune.bench.data import Source, prepare
from featune.bench.regimes import REGIMES, FrozenData, ProbeSetting, metric_options
from featune.bench.regimes.selection import Goodness
from featune.bench.study import study_of
from featune.bench.study.measuring import measured
from featune.bench.tasks import Task
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.logistic_regression import fit_path_multilabel
from featune.engine.metrics import METRICS, choose_threshold
from featune.engine.models import ModelSpec
from featune.engine.probe.protocol import linear_scores
from featune.engine.probe.ridge_classifier import fit_ridge_path


def rare_labels(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """rows [60, 4] and truth [60, 3], each label true of about a seventh of the rows and seen in one column, dimly."""
    rng = np.random.default_rng(seed)
    truth = rng.random((60, 3)) < 0.15
    truth[:3] = np.eye(3, dtype=bool)
    rows = rng.normal(size=(60, 4)).astype(np.float32)
    rows[:, :3] += 1.5 * truth
    return rows, truth


def frozen(metric: str) -> FrozenData:
    (train, train_truth), (val, val_truth) = rare_labels(0), rare_labels(1)
    return FrozenData(train, train_truth, train_truth, val, val_truth, val_truth, 3, metric, 0)


@pytest.mark.parametrize("metric", ["f1_macro", "f1_micro", "f1_samples"])
@pytest.mark.parametrize("name", ["probe", "ridge", "knn"])
def test_the_threshold_is_vals_best_of_the_chosen_fit_on_train_alone(name: str, metric: str) -> None:
    data, kind = frozen(metric), REGIMES[name]
    assert kind.fit is not None
    head, details = kind.fit(data, kind.default)
    if name == "probe":
        fit = fit_path_multilabel(data.train_rows, data.train_truth, [details["penalty"]])
        scores = linear_scores(fit.weights[0], fit.bias[0], data.val_rows)
        assert details["threshold"] == pytest.approx(choose_threshold(data.val_truth, scores, metric), abs=0.05)
    elif name == "ridge":
        weights, bias = fit_ridge_path(data.train_rows, data.train_truth, np.array([details["penalty"]]))
        scores = linear_scores(weights[0], bias[0], data.val_rows)
        assert details["threshold"] == pytest.approx(choose_threshold(data.val_truth, scores, metric), abs=1e-6)
    test, truth = rare_labels(2)
    if metric != "f1_samples":  # which is 1 for most of these images, that have no label
        found = METRICS[metric](truth, head(test), **metric_options(details))
        assert found > METRICS[metric](truth, head(test)), "rare labels have few votes and low margins"


def test_other_metrics_have_no_threshold() -> None:
    for metric in ("map", "roc_auc"):
        _, details = REGIMES["ridge"].fit(frozen(metric), REGIMES["ridge"].default)  # type: ignore[misc]
        assert metric_options(details) == {}
    assert not Goodness("f1_macro", np.array([0, 1])).has_threshold
    assert Goodness("log_loss", np.array([0, 1]))(np.array([[5.0, 0], [0, 5]])) > -0.1


@pytest.fixture
def tags(image_folder: Callable[..., Path], tmp_path: Path) -> Task:
    """Colours with a second label that every image has."""
    folder = image_folder(train=4, val=2, test=2)
    lines = [(path.relative_to(folder), path.parts[-3], f"{path.parent.name}|colour")
             for path in sorted(folder.rglob("*.png"))]  # fmt: skip
    table(folder / "t.csv", ("path", "split", "label"), lines)
    return prepare(Source("tags", csv=folder / "t.csv", metric="f1_macro"), tmp_path / "tasks")


@pytest.mark.parametrize("regime", ["probe", "finetune"])
def test_a_study_measures_test_at_vals_threshold(regime: str, tags: Task, spec: ModelSpec, tmp_path: Path) -> None:
    setting = Recipe(epochs=2, batch=4) if regime == "finetune" else REGIMES[regime].default
    study = dataclasses.replace(
        study_of("torch", "cpu", 0), out=str(tmp_path / "out"), cache=str(tmp_path / "cache"), models=(spec,),
        tasks=(tags,), regimes={regime: (regime, setting)},
    )  # fmt: skip
    row, scores = measured(study, study.cells()[0])
    threshold = row.details["threshold"]
    truth = tags.load("test").truth(4, multilabel=True)
    assert row.value == METRICS["f1_macro"](truth, scores, threshold=threshold)
    assert row.low is not None
    assert row.high is not None
    assert row.low <= row.value <= row.high


def test_shots_name_the_class_that_has_fewer_and_val_has_no_part_in_their_weights() -> None:
    rng = np.random.default_rng(0)
    labels, val = np.repeat(np.arange(3), 20), np.repeat(np.arange(3), 10)
    rows, val_rows = (rng.normal(size=(n, 8)).astype(np.float32) for n in (60, 30))
    rows[np.arange(60), labels] += 2

    def weights(val_rows: np.ndarray, val: np.ndarray, shots: int | None) -> np.ndarray:
        data = FrozenData(rows, labels, labels, val_rows, val, val, 3, "top1", 0, ("ant", "bee", "cow"))
        return REGIMES["probe"].fit(data, ProbeSetting(penalties=(1.0,), shots=shots))[0].weights  # type: ignore[misc]

    other = (val_rows[::-1].copy() * 5, (val + 1) % 3)
    assert np.array_equal(weights(val_rows, val, 2), weights(*other, 2))
    assert not np.array_equal(weights(val_rows, val, None), weights(*other, None))
    with pytest.raises(BadInput, match="class ant has 20 rows; expected 100 or more"):
        weights(val_rows, val, 100)
