"""Regimes that fit a classifier on frozen features: logistic regression, nearest neighbours, ridge, class means."""

import dataclasses
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.features import FeatureStore, Options
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec
from featune.export.commands import RunSettings, request_of_artefact, request_of_plan, request_of_spec

from ..data import Data
from ..features import note_origin
from ..tasks import Task
from .contract import Bench, Regime, Scorer, Scores
from .selection import Goodness
from .settings import KnnSetting, MeansSetting, ProbeSetting, RidgeSetting


@dataclasses.dataclass(frozen=True)
class FrozenData:
    """Features and truth of train and val, what every head on frozen features is fitted from.

    judged: the truth with -1 for unknown, which logistic regression leaves out and the metric too; other
    heads are fitted with those as false. names: of the classes, where they are known.
    """

    train_rows: NDArray[np.float32]
    train_truth: NDArray[Any]
    train_judged: NDArray[Any]
    val_rows: NDArray[np.float32]
    val_truth: NDArray[Any]
    val_judged: NDArray[Any]
    classes: int
    metric: str
    seed: int
    names: tuple[str, ...] = ()

    def goodness(self) -> Goodness:
        """How good scores of val are, for choosing."""
        return Goodness(self.metric, self.val_judged)


Head = Callable[[NDArray[np.float32]], NDArray[Any]]
Fit = Callable[[FrozenData, Any], tuple[Head, Mapping[str, Any]]]


@dataclasses.dataclass(frozen=True)
class FeatureScorer:
    """Scores of a head on frozen features."""

    head: Head
    features: Callable[[Labelled], NDArray[np.float32]]
    details: Mapping[str, Any]

    def __call__(self, items: Labelled, /) -> Scores:
        return np.asarray(self.head(self.features(items)), dtype=np.float32)


def frozen_regime(fit: Fit) -> Callable[["Bench", Any], Regime]:
    """The regime of a head that is fitted on stored features."""

    def make(bench: Bench, setting: Any) -> Regime:
        def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
            features = stored_features(bench, spec, task, train)
            classes = len(task.classes)
            data = FrozenData(
                features(train, "train"), *_truths(train, task),
                features(val, "val"), *_truths(val, task),
                classes, task.metric, seed, task.classes,
            )  # fmt: skip
            head, details = fit(data, setting)
            return FeatureScorer(head, lambda items: features(items, "test"), details)

        return regime

    return make


def _truths(items: Labelled, task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """The truth, and the truth with -1 for unknown."""
    classes = len(task.classes)
    return items.truth(classes, task.multilabel), items.truth(classes, task.multilabel, masked=True)


def fit_probe(data: FrozenData, setting: ProbeSetting) -> tuple[Head, Mapping[str, Any]]:
    from featune.engine.logistic_regression import KORNBLITH_PENALTIES, Solver
    from featune.engine.probe import few_shot, probe

    good = data.goodness()
    rows, truth = data.train_rows, data.train_judged
    if setting.shots is not None:
        chosen = few_shot(data.train_truth, setting.shots, draws=1, seed=data.seed, names=data.names)[0]
        rows, truth = rows[chosen], truth[chosen]
    fitted = probe(
        rows,
        truth,
        data.val_rows,
        data.val_judged,
        lambda _, scores: good(scores),
        penalties=setting.penalties or KORNBLITH_PENALTIES,
        classes=data.classes,
        refit=setting.shots is None,
        solver=Solver(standardise=setting.standardise),
    )
    return fitted, {
        "penalty": fitted.penalty,
        "converged": fitted.converged,
        "unconverged_penalties": fitted.unconverged,
        "probe_seconds": fitted.seconds,
        **good.details(int(np.flatnonzero(fitted.penalties == fitted.penalty)[0])),
    }


def fit_knn(data: FrozenData, setting: KnnSetting) -> tuple[Head, Mapping[str, Any]]:
    from featune.engine.probe import knn

    good = data.goodness()
    fitted = knn(
        data.train_rows,
        data.train_truth,
        data.val_rows,
        data.val_truth,
        lambda _, scores: good(scores),
        setting.counts,
        classes=data.classes,
        distance=setting.distance,
        weighting=setting.weighting,
        temperature=setting.temperature,
    )
    return fitted, {"neighbours": fitted.count, **good.details(fitted.counts.index(fitted.count))}


def fit_ridge(data: FrozenData, setting: RidgeSetting) -> tuple[Head, Mapping[str, Any]]:
    from featune.engine.logistic_regression import KORNBLITH_PENALTIES
    from featune.engine.probe import ridge

    good = data.goodness()
    fitted = ridge(
        data.train_rows,
        data.train_truth,
        data.val_rows,
        data.val_truth,
        lambda _, scores: good(scores),
        setting.penalties or KORNBLITH_PENALTIES,
        classes=data.classes,
    )
    chosen = int(np.flatnonzero(fitted.penalties == fitted.penalty)[0])
    return fitted, {"penalty": fitted.penalty, "probe_seconds": fitted.seconds, **good.details(chosen)}


def fit_means(data: FrozenData, setting: MeansSetting) -> tuple[Head, Mapping[str, Any]]:
    from featune.engine.probe import class_means

    rows = np.concatenate([data.train_rows, data.val_rows])
    labels = np.concatenate([data.train_truth, data.val_truth])
    return class_means(rows, labels, classes=data.classes, distance=setting.distance), {}


def stored_features(
    bench: Bench, spec: ModelSpec, task: Task, sample: Labelled
) -> Callable[[Labelled, str], NDArray[np.float32]]:
    """A function from a task's items, and what their split is called, to their stored feature rows [n, width].

    Parity is checked on `sample`.
    """
    store = FeatureStore(bench.cache / "features")
    how = RunSettings(bench.backend, bench.device)
    if bench.artefact:
        opened = request_of_plan if bench.artefact.suffix == ".plan" else request_of_artefact
        base = opened(bench.artefact, sample, how)
    else:
        base = request_of_spec(spec, sample, how, bench.cache)

    def features(items: Labelled, split: str) -> NDArray[np.float32]:
        wanted = dataclasses.replace(base, key=dataclasses.replace(base.key, images=items.content_digest))
        note_origin(store.root, [wanted.key], Data(f"{task.name}/{split}", items, task.classes))
        return store.extract(items, [wanted], options=Options(workers=bench.threads, device=bench.device))[0].rows

    return features
