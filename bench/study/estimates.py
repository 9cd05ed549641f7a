"""A study's estimates of transferability: measured once per model and task, on train images alone, and kept.

Features are those of the frozen regimes, from the same store. Probabilities of the source classes are the model's own
head on these features where the head is linear, as it is in most models; otherwise the model runs once more and its
logits are kept in that store too. Nothing here opens val or test.
"""

import dataclasses
import functools
import time
import traceback
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.features import FeatureKey, FeatureStore
from featune.engine.images import Labelled, batches
from featune.engine.metrics import softmax
from featune.engine.models import ModelSpec, feature_model, source_model, with_channels
from featune.engine.runners import torch_runner
from featune.engine.store import digest, write_json

from ..data import Data, Request, open_data
from ..estimators import ESTIMATORS
from ..features import note_origin
from ..progress import Progress
from ..regimes import Bench, stored_features
from ..results import Estimate, estimate_path, read_estimate
from ..tasks import Task
from .definition import Study
from .executors import Executor, Killed
from .measuring import brief

CHECKED = 8  # images on which the head on features is compared with the whole model
Pair = tuple[str, str]  # names of a model and a task


def run_estimates(study: Study, execute: Executor, progress: Progress) -> list[Estimate]:
    """Every estimate of the study, those that are not there yet measured now; failed ones are tried again."""
    pairs = list(dict.fromkeys((one.model, one.task) for one in _waiting(study)))
    if pairs:
        with progress.stage("transferability estimates") as advance:
            for done, (pair, found) in enumerate(execute(functools.partial(measure_pair, study), pairs), 1):
                if isinstance(found, Killed):
                    progress.say(f"failed: estimators of {pair[0]} on {pair[1]}: {found.reason}")
                for one in [] if isinstance(found, Killed) else found:
                    if one.error:
                        progress.say(f"failed: {one.name} of {pair[0]} on {pair[1]}: {brief(one.error)}")
                advance(done, len(pairs))
    return known_estimates(study)


def known_estimates(study: Study) -> list[Estimate]:
    """The estimates that the study has so far, failed and undefined ones among them."""
    return [found for one in asked_estimates(study) if (found := one if one.error else _kept(study, one))]


def measure_pair(study: Study, pair: Pair) -> list[Estimate]:
    """Measure and save what the study asks of one model on one task and does not have. Errors become estimates."""
    task = study.task(pair[1])
    inputs = _Inputs(study, with_channels(study.spec(pair[0]), task.channels), task)
    return [_measured(inputs, one) for one in _waiting(study) if (one.model, one.task) == pair]


def _measured(inputs: "_Inputs", asked: Estimate) -> Estimate:
    estimator = ESTIMATORS[asked.name]
    try:
        array = inputs.probabilities if estimator.needs == "source" else inputs.features
        beside = inputs.source_features if estimator.needs == "source images" else inputs.truth
        began = time.perf_counter()
        value = estimator.function(array, beside)
        seconds = time.perf_counter() - began
        if not np.isfinite(value):
            raise BadInput(f"{estimator.title} is {value}; look at the features of {asked.model}")
        found = dataclasses.replace(asked, value=value, seconds=seconds, n=len(inputs.train))
    except Exception as error:  # a failed estimate is a line of the report, not the end of the study
        message = str(error) if isinstance(error, FeatuneError) else "".join(traceback.format_exception(error))
        found = dataclasses.replace(asked, error=message)
    write_json(estimate_path(Path(inputs.study.out), found), found)
    return found


@dataclasses.dataclass(frozen=True)
class _Inputs:
    """What the estimators of one model and task share, each made when it is first asked for."""

    study: Study
    spec: ModelSpec
    task: Task

    @functools.cached_property
    def train(self) -> Labelled:
        return self.task.load("train")

    @functools.cached_property
    def truth(self) -> NDArray[np.generic]:
        return self.train.truth(len(self.task.classes), self.task.multilabel)

    @functools.cached_property
    def features(self) -> NDArray[np.float32]:
        bench = Bench(Path(self.study.cache), self.study.backend, self.study.device, self.study.threads)
        return stored_features(bench, self.spec, self.task, self.train)(self.train, "train")

    @functools.cached_property
    def source_features(self) -> NDArray[np.float32]:
        bench = Bench(Path(self.study.cache), self.study.backend, self.study.device, self.study.threads)
        items = source_items(self.study.source_images, self.task.channels)
        return stored_features(bench, self.spec, self.task, self.train)(items, "source")

    @functools.cached_property
    def probabilities(self) -> NDArray[np.float64]:
        require_source_classes(self.spec)
        logits = logits_by_head(self.spec, self.train, lambda: self.features)
        if logits is None:
            logits = source_logits(self.spec, self.task, self.train, Path(self.study.cache), self.study.device)
        return softmax(logits)


@functools.cache
def source_items(text: str, channels: int) -> Labelled:
    """The images of the source task that a data string names."""
    return open_data(Request(text, channels=channels)).items


# --- Source probabilities


def require_source_classes(spec: ModelSpec) -> None:
    if spec.weights.startswith("random:"):
        raise BadInput(f"{spec.name} has random weights, so its source classes mean nothing; leave leep and nce out")
    if dict(spec.kwargs).get("num_classes") == 0:
        raise BadInput(f"{spec.name} has num_classes: 0, so it has no source classes; leave leep and nce out")


@torch.inference_mode()
def logits_by_head(
    spec: ModelSpec, items: Labelled, features: Callable[[], NDArray[np.float32]]
) -> NDArray[np.float32] | None:
    """Logits of the source classes [n, source classes], the model's last linear layer on its features [n, width].

    None where that is not what the model computes, judged on a few of the images.
    """
    whole = source_model(spec)
    find = getattr(whole[1], "get_classifier", None)  # type: ignore[index]
    head = find() if find and not spec.tap else None
    if not isinstance(head, nn.Linear):
        return None
    try:
        body = feature_model(spec)
    except BadInput:  # no linear layer gives the model's output
        return None
    images = next(batches(items, spec.view, CHECKED))
    rows, expected = body(images), whole(images)
    if rows.shape[1:] != (head.in_features,) or expected.shape[1:] != (head.out_features,):
        return None
    if not torch.allclose(head(rows), expected, rtol=1e-3, atol=1e-3 * float(expected.abs().max())):
        return None
    return head(torch.from_numpy(np.array(features()))).numpy()


def source_logits(
    spec: ModelSpec, task: Task, items: Labelled, cache: Path, device: str = "cpu"
) -> NDArray[np.float32]:
    """Logits of the source classes [n, source classes] by the whole model in torch; stored like features.

    Raises BadInput for a model without source classes, a body alone.
    """
    model = source_model(spec)
    if getattr(model[1], "num_classes", None) == 0:  # type: ignore[index]
        raise BadInput(f"{spec.name} has no classifier of source classes; leave leep and nce out")
    key = FeatureKey(spec.digest, spec.view, items.content_digest, f"torch:{device}", output="logits")
    note_origin(cache / "features", [key], Data(f"{task.name}/train", items, task.classes))
    rows = FeatureStore(cache / "features").rows(key, items, lambda threads: torch_runner(model, device))
    if rows.ndim != 2 or rows.shape[1] < 2:
        raise BadInput(f"{spec.name}: logits [n, source classes] expected, {rows.shape} found; leave leep and nce out")
    return rows


# --- Where they are kept


def asked_estimates(study: Study) -> list[Estimate]:
    """What the study asks for, without values; where an estimator is not defined, with the reason."""
    return [
        Estimate(task.name, spec.name, name, _inputs(study, spec, task, name), error=_undefined(spec, task, name))
        for spec in study.models
        for task in study.tasks
        for name in study.estimators
    ]


def _waiting(study: Study) -> list[Estimate]:
    """Those that are defined and were not measured yet, or failed."""
    defined = [one for one in asked_estimates(study) if not one.error]
    return [one for one in defined if (kept := _kept(study, one)) is None or kept.error]


def _inputs(study: Study, spec: ModelSpec, task: Task, name: str) -> str:
    known = [with_channels(spec, task.channels).digest, task.digest, name, study.backend, study.device]
    if ESTIMATORS[name].needs == "source images":
        known.append(source_items(study.source_images, task.channels).content_digest)
    return digest(known)


def _undefined(spec: ModelSpec, task: Task, name: str) -> str | None:
    if ESTIMATORS[name].needs == "source":
        try:
            require_source_classes(spec)
        except BadInput as error:
            return str(error)
    if task.multilabel and not ESTIMATORS[name].several_labels:
        return f"{ESTIMATORS[name].title} is not defined where an image has several labels"
    return None


def _kept(study: Study, asked: Estimate) -> Estimate | None:
    return read_estimate(Path(study.out), asked)
