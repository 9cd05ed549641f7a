"""The regimes: what is done with a model on a task, given train and val and never test.

A regime is called as `regime(spec, task, train, val, seed)` and returns a Scorer. It receives no way to the
test split, so selecting on test cannot be written by accident.
"""

import dataclasses
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from bench.tasks import Task
from engine.errors import BadInput, nearest
from engine.features import FeatureKey, FeatureStore
from engine.finetune import Recipe, finetune
from engine.images import Labelled, batches
from engine.metrics import METRICS
from engine.models import ModelSpec
from engine.runners import Runner
from export.backends import artefact, open_runner

Scores = NDArray[np.float32]
SAMPLE = 64  # images of train on which an export is compared with torch


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
    """Logistic regression on frozen features. penalties: empty for the papers' 45, 1e-6 to 1e5."""

    penalties: tuple[float, ...] = ()
    standardise: bool = False


Setting = ProbeSetting | Recipe
SCRATCH = Recipe(epochs=40)


@dataclasses.dataclass(frozen=True)
class FeatureScorer:
    """Scores of a head on frozen features."""

    head: Callable[[NDArray[np.float32]], NDArray[Any]]
    features: Callable[[Labelled], NDArray[np.float32]]
    details: Mapping[str, Any]

    def __call__(self, items: Labelled, /) -> Scores:
        return np.asarray(self.head(self.features(items)), dtype=np.float32)


def probe_regime(bench: Bench, setting: ProbeSetting) -> Regime:
    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        from engine.probe import KORNBLITH_PENALTIES, probe

        features = stored_features(bench, spec, train)
        fitted = probe(
            features(train),
            train.truth(len(task.classes), task.multilabel),
            features(val),
            val.truth(len(task.classes), task.multilabel),
            goodness(task.metric),
            penalties=setting.penalties or KORNBLITH_PENALTIES,
            classes=len(task.classes),
            standardise=setting.standardise,
        )
        details = {
            "penalty": fitted.penalty,
            "converged": fitted.converged,
            "unconverged_penalties": fitted.unconverged,
            "probe_seconds": fitted.seconds,
        }
        return FeatureScorer(fitted, features, details)

    return regime


def finetune_regime(bench: Bench, recipe: Recipe) -> Regime:
    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        value = goodness(task.metric)
        truth = val.truth(len(task.classes), task.multilabel)
        return finetune(
            spec, len(task.classes), train, val, lambda scores: value(truth, scores), recipe, seed,
            multilabel=task.multilabel, device=bench.device, work=bench.work,
        )  # fmt: skip

    return regime


def scratch_regime(bench: Bench, recipe: Recipe) -> Regime:
    """The same training from random weights: what the architecture does without its pre-training."""
    trained = finetune_regime(bench, recipe)

    def regime(spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        return trained(spec.with_random_weights(seed), task, train, val, seed)

    return regime


@dataclasses.dataclass(frozen=True)
class RegimeKind:
    """setting: the dataclass that a study file fills. default: its values where the file says nothing."""

    make: Callable[[Bench, Any], Regime]
    default: Setting
    frozen: bool
    says: str


REGIMES: dict[str, RegimeKind] = {
    "probe": RegimeKind(probe_regime, ProbeSetting(), True, "logistic regression on frozen features"),
    "finetune": RegimeKind(finetune_regime, Recipe(), False, "all weights trained from the pre-trained ones"),
    "scratch": RegimeKind(scratch_regime, SCRATCH, False, "all weights trained from random ones"),
}


def regime_kind(name: str) -> RegimeKind:
    if name not in REGIMES:
        raise BadInput(f"no regime named {name!r}{nearest(name, REGIMES)}; one of {', '.join(REGIMES)}")
    return REGIMES[name]


def goodness(metric: str) -> Callable[[NDArray[Any], NDArray[Any]], float]:
    """The metric as a value of which more is better, for choosing on val."""
    chosen = METRICS[metric]
    sign = 1 if chosen.higher_is_better else -1
    return lambda truth, scores: sign * chosen(truth, scores)


def stored_features(bench: Bench, spec: ModelSpec, sample: Labelled) -> Callable[[Labelled], NDArray[np.float32]]:
    """A function from items to their stored feature rows [n, width]; `sample` is what parity is checked on."""
    store = FeatureStore(bench.cache / "features")

    def sample_images() -> Any:
        return next(batches(sample, spec.view, SAMPLE))

    graph = ""
    if bench.backend != "torch":
        graph = artefact(spec, bench.cache, sample_images).digest

    def opened() -> AbstractContextManager[Runner]:
        return open_runner(
            spec,
            bench.backend,
            device=bench.device,
            cache=bench.cache,
            sample=sample_images,
            threads=bench.threads,
        )

    def features(items: Labelled) -> NDArray[np.float32]:
        key = FeatureKey(
            spec.digest, spec.view, items.content_digest, f"{bench.backend}:{bench.device}", artefact=graph
        )
        return store.rows(key, items, opened)

    return features
