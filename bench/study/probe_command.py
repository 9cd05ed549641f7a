"""What `featune probe` does: one model, or files of features, on one task, with a head on frozen features."""

import dataclasses
import logging
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from featune.engine.errors import BadInput, nearest
from featune.engine.metrics import METRICS, usual_name
from featune.engine.models import ModelSpec, View
from featune.engine.store import cache_dir
from featune.export.backends import read_plan, require_plan
from featune.export.contract import contract_of
from featune.export.gate import require_passing

from ..data import Request, Source, is_string, prepare, task_name
from ..features import FeatureTable, read_table
from ..progress import Progress
from ..regimes import REGIMES, FrozenData, RegimeKind, Setting, metric_options
from ..stats import interval
from ..tasks import PARQUET, VAL_OF_TRAIN, check_metric
from .checks import check_settings
from .definition import Study
from .measuring import measured

log = logging.getLogger("featune")
BACKEND_OF = {".onnx": "onnxruntime", ".plan": "tensorrt"}  # of a file of `featune export`


@dataclasses.dataclass(frozen=True)
class Probed:
    """One score. value, low, high: the metric on test and its 95 % interval. n: images of test.

    details: what was chosen on val and how well it converged. seconds: in all.
    """

    model: str
    task: str
    regime: str
    metric: str
    value: float
    low: float
    high: float
    n: int
    details: Mapping[str, Any]
    seconds: float

    def __str__(self) -> str:
        return "\n".join(self.lines())

    def lines(self) -> list[str]:
        """For people: the score, what was chosen, and whether the fits converged."""
        found = [
            f"{self.model} on {self.task}: {self.metric} {self.value:.4f}, 95 % {self.low:.4f} to {self.high:.4f}, "
            f"n = {self.n}"
        ]
        chosen = [
            f"{name} {self.details[name]:g}" for name in ("penalty", "neighbours", "threshold") if name in self.details
        ]
        trained = f"{self.details['n_train']} images of train and {self.details['n_val']} of val"
        found.append(f"{self.regime}: {', '.join([*chosen, trained])}")
        if "converged" in self.details:
            said = "converged" if self.details["converged"] else "NOT CONVERGED: the score may change with more work"
            missed = self.details["unconverged_penalties"]
            found.append(f"{said}; {f'{missed} penalties of the path did not' if missed else 'every penalty did'}")
        spent = f", of which the probe {self.details['probe_seconds']:.1f}" if "probe_seconds" in self.details else ""
        return [*found, f"{self.seconds:.1f} s{spent}"]


def metric_meant(metric: str) -> str:
    """The metric's own name for what another library calls it, which is said; other words as they are."""
    name = usual_name(metric)
    if name != metric:
        log.warning("metric %s is called %s here", metric, name)
    return name


def regime_of_frozen_features(name: str) -> RegimeKind:
    """A regime of heads on frozen features, which are those that `featune probe` fits. Raises BadInput for others."""
    frozen = [each for each, kind in REGIMES.items() if kind.frozen]
    if name in frozen:
        return REGIMES[name]
    found = f"{name} trains the network" if name in REGIMES else f"no regime named {name!r}{nearest(name, frozen)}"
    raise BadInput(f"{found}; `featune probe` fits heads on frozen features: {', '.join(frozen)}")


def source_of(request: Request, metric: str, seed: int, splits: Mapping[str, str]) -> Source:
    """A data string, a folder of images, a CSV or Parquet table, a prepared task's folder, or its name under root."""
    text, channels, metric = request.text, request.channels, metric_meant(metric)
    if is_string(text):
        name = task_name(text)
        return Source(name, metric=metric, seed=seed, images=request, splits=splits, channels=channels)
    if splits or request.input_key or request.target_key is not None or request.download:
        raise BadInput(
            f"{text}: a folder, table or prepared task found; --splits, --input-key, --target-key and --download are "
            "of data strings, leave them out"
        )
    path = Path(text)
    if path.suffix.lower() == ".csv" or path.suffix.lower() in PARQUET:
        return Source(path.stem, csv=path, metric=metric, seed=seed, channels=channels)
    for folder in (path, request.folder / text):
        if (folder / "task.json").exists():
            return Source(folder.name, prepared=folder, channels=channels)
    return Source(path.resolve().name, folder=path, metric=metric, seed=seed, channels=channels)


def probe_model(
    spec: ModelSpec, source: Source, regime: str, setting: Setting, study: Study, progress: Progress | None = None
) -> Probed:
    """The score of a model's frozen features on a task: fitted on train, chosen on val, measured once on test.

    study: how and where to run; its models, tasks and regimes are replaced.
    """
    began = time.perf_counter()
    regime_of_frozen_features(regime)
    task = prepare(source, Path(study.out), progress)
    study = dataclasses.replace(study, models=(spec,), tasks=(task,), regimes={regime: (regime, setting)})
    check_settings(study)
    row, _ = measured(study, study.cells()[0])
    assert row.value is not None
    assert row.low is not None
    assert row.high is not None
    return Probed(
        spec.name, task.name, regime, task.metric, row.value, row.low, row.high, row.n, row.details,
        time.perf_counter() - began,
    )  # fmt: skip


def check_file_alone(path: Path, backend: str | None, checkpoint: Path | None, untrained: bool) -> None:
    """Raises BadInput for options of models that are given with a file, which has its own weights and backend."""
    own = BACKEND_OF[path.suffix]
    if backend not in (None, own):
        raise BadInput(f"{path}: its backend is {own}, --backend {backend} asked for; leave --backend out")
    for option, given in (("--checkpoint", checkpoint is not None), ("--untrained", untrained)):
        if given:
            raise BadInput(f"{path}: has its own weights, {option} given; leave {option} out")


def probe_artefact(
    path: Path, source: Source, regime: str, setting: Setting, study: Study, progress: Progress | None = None
) -> Probed:
    """The score of the features that a file of `featune export` gives, as of `probe_model`.

    Raises BadInput where its images have other channels than the task's, ParityFailed without a passing verdict.
    """
    plan = path.suffix == ".plan"
    if plan:
        header, _ = read_plan(path)
        require_plan(header, path)
        record, content = header.contract["spec"], header.content
    else:
        record, content = contract_of(path)["spec"], require_passing(path)["content"]
    spec = ModelSpec(
        name=record["name"],
        architecture="artefact",  # the file stands for it, whose content `weights` names
        view=View(**record["view"]),
        mean=tuple(record["mean"]),
        std=tuple(record["std"]),
        weights=content,
        kwargs=(("in_chans", record["view"].get("channels", 3)),),
    )
    study = dataclasses.replace(study, artefact=str(path), backend=BACKEND_OF[path.suffix])
    return probe_model(spec, source, regime, setting, study, progress)


def probe_files(folder: Path, metric: str, regime: str, setting: Setting, seed: int) -> Probed:
    """The score of features that `featune extract --split ... --out FOLDER/SPLIT.npz` wrote.

    folder: holds train.npz and test.npz, and val.npz or a fifth of train is cut off for it. test.npz is opened last.
    """
    train = read_table(folder / "train.npz")
    val = read_table(folder / "val.npz") if (folder / "val.npz").exists() else None
    found = probe_tables(train, val, lambda: read_table(folder / "test.npz"), metric, regime, setting, seed)
    return dataclasses.replace(found, task=str(folder))


def probe_tables(
    train: FeatureTable,
    val: FeatureTable | None,
    test: Callable[[], FeatureTable],
    metric: str,
    regime: str,
    setting: Setting,
    seed: int,
) -> Probed:
    """The score of a head on rows: fitted on train, chosen on val, measured once on test, which is opened last.

    val: None for a fifth of train.
    """
    began = time.perf_counter()
    fit, metric = regime_of_frozen_features(regime).fit, metric_meant(metric)
    if val is None:
        train, val = train.cut(VAL_OF_TRAIN, seed).values()
    several = train.is_multilabel or val.is_multilabel
    _require_same_classes(train, val)
    check_metric(metric, several, train.classes)
    classes = max(len(train.classes), train.class_count, val.class_count)
    truths = [part.truth(classes, several) for part in (train, val)]
    data = FrozenData(
        train.rows, truths[0], truths[0], val.rows, truths[1], truths[1], classes, metric, seed, train.classes
    )
    assert fit is not None
    head, details = fit(data, setting)
    held_out = test()
    _require_same_classes(train, held_out)
    truth, scores = held_out.truth(classes, several), np.asarray(head(held_out.rows), dtype=np.float32)
    options = metric_options(details)
    low, high = interval(metric, truth, scores, seed=seed, **options)
    counts = {"n_train": len(train.rows), "n_val": len(val.rows)}
    return Probed(
        train.model or "features", "features", regime, metric, METRICS[metric](truth, scores, **options), low, high,
        len(held_out), counts | dict(details), time.perf_counter() - began,
    )  # fmt: skip


def holds_features(text: str) -> bool:
    return (Path(text) / "train.npz").is_file()


def study_of(backend: str, device: str, seed: int) -> Study:
    """A study without content: where and how to run."""
    return Study("probe", (), (), {}, str(cache_dir() / "probe"), str(cache_dir()), (seed,), backend, device)


def _require_same_classes(train: FeatureTable, other: FeatureTable) -> None:
    """Labels are numbers, and mean the same where the names are the same, or the first of them."""
    known = min(len(train.classes), len(other.classes))
    if train.classes[:known] != other.classes[:known]:
        raise BadInput(
            f"features of classes {', '.join(train.classes[:5])} and of {', '.join(other.classes[:5])} found, expected "
            "the same numbers for both; extract both with one --class-map"
        )
