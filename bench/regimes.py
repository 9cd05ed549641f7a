"""The regimes: what is done with a model on a task, given train and val and never test.

A regime is called as `regime(spec, task, train, val, seed)` and returns a Scorer. It receives no way to the
test split, so selecting on test cannot be written by accident.
"""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.choosing import Goodness
from bench.data import Data
from bench.origins import note_origin
from bench.tasks import Task
from engine.errors import BadInput, nearest
from engine.feature_store import FeatureStore
from engine.features import Options
from engine.finetune import Recipe, Run, TrainVal, finetune
from engine.images import Labelled
from engine.models import ModelSpec
from export.wanted import How, wanted_of_spec

Scores = NDArray[np.float32]


class Scorer(Protocol):
    """Items to class scores [n, classes]. details: what was chosen, and how well it converged."""

    @property
    def details(self) -> Mapping[str, Any]: ...

    def __call__(self, items: Labelled, /) -> Scores: ...


class Regime(Protocol):
    def __call__(self, spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer: ...


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where regimes run and keep their files. work: a folder for one cell's unfinished training."""

    cache: Path
    backend: str = "onnxruntime"
    device: str = "cpu"
    threads: int | None = None
    work: Path | None = None


@dataclasses.dataclass(frozen=True)
class ProbeSetting:
    """Logistic regression on frozen features, chosen on val, refitted on train + val.

    penalties: empty for the papers' 45, 1e-6 to 1e5. shots: where given, training sees so many images of each
    class, drawn by the cell's seed (several seeds are several draws), and there is no refit.
    """

    penalties: tuple[float, ...] = ()
    standardise: bool = False
    shots: int | None = None


@dataclasses.dataclass(frozen=True)
class KnnSetting:
    """Nearest neighbours. counts: tried in turn and chosen on val."""

    counts: tuple[int, ...] = (1, 2, 5, 10, 20, 50, 100, 200)
    distance: Literal["cosine", "euclidean"] = "cosine"
    weighting: Literal["temperature", "uniform", "distance"] = "temperature"
    temperature: float = 0.07


@dataclasses.dataclass(frozen=True)
class RidgeSetting:
    """Ridge classifier. penalties: empty for the papers' 45."""

    penalties: tuple[float, ...] = ()


@dataclasses.dataclass(frozen=True)
class MeansSetting:
    """Nearest class mean; nothing is chosen."""

    distance: Literal["cosine", "euclidean"] = "cosine"


Setting = ProbeSetting | KnnSetting | RidgeSetting | MeansSetting | Recipe
SCRATCH = Recipe(epochs=40)


@dataclasses.dataclass(frozen=True)
class FrozenData:
    """Features and truth of train and val, what every head on frozen features is fitted from.

    judged: the truth with -1 where nobody can say, which logistic regression leaves out and the metric too; other
    heads are fitted with those as false.
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
                features(train), *_truths(train, task),
                features(val), *_truths(val, task),
                classes, task.metric, seed,
            )  # fmt: skip
            head, details = fit(data, setting)
            return FeatureScorer(head, features, details)

        return regime

    return make


def _truths(items: Labelled, task: Task) -> tuple[NDArray[Any], NDArray[Any]]:
    """The truth, and the truth with -1 where nobody can say."""
    classes = len(task.classes)
    return items.truth(classes, task.multilabel), items.truth(classes, task.multilabel, masked=True)


def fit_probe(data: FrozenData, setting: ProbeSetting) -> tuple[Head, Mapping[str, Any]]:
    from engine.neighbours import few_shot
    from engine.probe import KORNBLITH_PENALTIES, Solver, probe

    good = data.goodness()
    rows, truth = data.train_rows, data.train_judged
    if setting.shots is not None:
        chosen = few_shot(data.train_truth, setting.shots, draws=1, seed=data.seed)[0]
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
    from engine.neighbours import knn

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
    from engine.neighbours import ridge
    from engine.probe import KORNBLITH_PENALTIES

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
    from engine.neighbours import class_means

    rows = np.concatenate([data.train_rows, data.val_rows])
    labels = np.concatenate([data.train_truth, data.val_truth])
    return class_means(rows, labels, classes=data.classes, distance=setting.distance), {}


def finetune_regime(bench: Bench, recipe: Recipe) -> Regime:
    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        data = TrainVal(train, val, len(task.classes), task.multilabel)
        good = Goodness(task.metric, val.truth(len(task.classes), task.multilabel, masked=True))
        tuned = finetune(spec, data, good, recipe, seed, Run(bench.device, bench.work), try_all=good.has_threshold)
        if not good.has_threshold:
            return tuned
        chosen = list(tuned.details["tried"]).index(f"{tuned.details['learning_rate']:g}")
        return dataclasses.replace(tuned, details={**tuned.details, **good.details(chosen)})

    return regime


def scratch_regime(bench: Bench, recipe: Recipe) -> Regime:
    """The same training from random weights: what the architecture does without its pre-training."""
    trained = finetune_regime(bench, recipe)

    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        return trained(spec.with_random_weights(seed), task, train, val, seed)

    return regime


@dataclasses.dataclass(frozen=True)
class RegimeKind:
    """setting: the dataclass that a study file fills. default: its values where the file says nothing.

    fit: of a head on frozen features; None where the whole network is trained.
    """

    make: Callable[[Bench, Any], Regime]
    default: Setting
    says: str
    fit: Fit | None = None

    @property
    def frozen(self) -> bool:
        return self.fit is not None


def _frozen(fit: Fit, default: Setting, says: str) -> RegimeKind:
    return RegimeKind(frozen_regime(fit), default, says, fit)


REGIMES: dict[str, RegimeKind] = {
    "probe": _frozen(fit_probe, ProbeSetting(), "logistic regression on frozen features"),
    "knn": _frozen(fit_knn, KnnSetting(), "nearest neighbours on frozen features"),
    "ridge": _frozen(fit_ridge, RidgeSetting(), "ridge classifier on frozen features"),
    "means": _frozen(fit_means, MeansSetting(), "nearest class mean on frozen features"),
    "finetune": RegimeKind(finetune_regime, Recipe(), "all weights trained from the pre-trained ones"),
    "scratch": RegimeKind(scratch_regime, SCRATCH, "all weights trained from random ones"),
}


def regime_kind(name: str) -> RegimeKind:
    if name not in REGIMES:
        raise BadInput(f"no regime named {name!r}{nearest(name, REGIMES)}; one of {', '.join(REGIMES)}")
    return REGIMES[name]


def stored_features(
    bench: Bench, spec: ModelSpec, task: Task, sample: Labelled
) -> Callable[[Labelled], NDArray[np.float32]]:
    """A function from a task's items to their stored feature rows [n, width]; parity is checked on `sample`."""
    store = FeatureStore(bench.cache / "features")
    base = wanted_of_spec(spec, sample, How(bench.backend, bench.device), bench.cache)

    def features(items: Labelled) -> NDArray[np.float32]:
        wanted = dataclasses.replace(base, key=dataclasses.replace(base.key, images=items.content_digest))
        note_origin(store.root, [wanted.key], Data(task.name, items, task.classes))
        return store.extract(items, [wanted], options=Options(workers=bench.threads, device=bench.device))[0].rows

    return features
