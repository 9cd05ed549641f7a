"""Measure one cell.

`_value` opens the test split for a study's number, after the regime has made its choice.
"""

import contextlib
import functools
import platform
import time
import traceback
from collections.abc import Callable, Iterator
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.images import Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec, with_channels
from featune.engine.store import digest, locked, locked_if_free, plain, read_json
from featune.export.backends import Asked, backend_named
from featune.export.commands import SAMPLE, sample_images

from ..regimes import REGIMES, Bench, Regime, metric_options
from ..results import Cell, Row, class_facts
from ..stats import interval
from ..tasks import Task
from ..throughput import EnergyOfWork
from .definition import Study


def measure(study: Study, cell: Cell, wait: bool = True) -> Row | None:
    """Measure one cell and save its row. Errors become rows; only interrupts and our own defects in saving escape.

    One process at a time measures a cell: where another one has done so meanwhile, its row is given. wait: for another
    one that is at it; None where that is not wished.
    """
    with _lock(study, cell, wait) as free:
        if not free:
            return None
        known = study.runs.load(cell)
        return known if known and known.error is None else _saved(study, cell)


@contextlib.contextmanager
def _lock(study: Study, cell: Cell, wait: bool) -> Iterator[bool]:
    """Whether the cell is this process's alone in the block. Its file lies in `work`, and goes when it is done."""
    path = Path(study.out, "work", digest(cell))
    with contextlib.ExitStack() as stack:
        free = True
        if wait:
            stack.enter_context(locked(path))
        else:
            free = stack.enter_context(locked_if_free(path))
        yield free
        if free:  # who waits for it sees that it is gone, and makes another
            path.with_name(f"{path.name}.lock").unlink(missing_ok=True)
            with contextlib.suppress(OSError):  # not there, or not empty
                path.rmdir()


def _saved(study: Study, cell: Cell) -> Row:
    began = time.perf_counter()
    try:
        row, scores = measured(study, cell)
    except Exception as error:  # a failed cell is a row, not the end of the study
        message = str(error) if isinstance(error, FeatuneError) else "".join(traceback.format_exception(error))
        return save_failed(study, cell, message, time.perf_counter() - began)
    return study.runs.save(row, scores)


def save_failed(study: Study, cell: Cell, message: str, seconds: float = 0.0) -> Row:
    """A row with an error, unless the cell has a value by now; the row that stands."""
    task = study.task(cell.task)
    return study.runs.save(Row(cell, task.metric, None, task.counts["test"], error=message, seconds=seconds))


def measured(
    study: Study, cell: Cell, regime: Regime | None = None, energy: EnergyOfWork | None = None
) -> tuple[Row, Any]:
    """(row, test scores [n, classes]) of one cell, with nothing saved; errors are raised.

    regime: in place of the one that the cell names, which then is what it is called. energy: what counts it, by
    default by this machine's counters.
    """
    began = time.perf_counter()
    spec, task = study.spec(cell.model), study.task(cell.task)
    with energy or EnergyOfWork(study.device) as energy:
        value, interval_, n, scores, details = _value(study, cell, spec, task, regime)
    row = Row(
        cell=cell,
        metric=task.metric,
        value=value,
        n=n,
        low=interval_[0],
        high=interval_[1],
        source_top1=spec.source_top1,
        source_n=spec.source_n,
        family=spec.family,
        seconds=time.perf_counter() - began,
        kwh=energy.kwh,
        kwh_said=energy.said,
        details=details,
        environment=environment(study) | arithmetic(study, cell.regime),
    )
    return row, scores


def _value(
    study: Study, cell: Cell, spec: ModelSpec, task: Task, regime: Regime | None
) -> tuple[float, tuple[float, float], int, Any, Any]:
    kind, setting = study.regimes[cell.regime]
    work = Path(study.out, "work", digest(cell))
    file = Path(study.artefact) if study.artefact else None
    bench = Bench(Path(study.cache), study.backend, study.device, study.threads, work, file)
    regime = regime or REGIMES[kind].make(bench, setting)
    _require_same(task)
    train, val = task.load("train"), task.load("val")
    scorer = regime(spec, task, train, val, cell.seed)
    test = task.load("test")
    scores = scorer(test)
    truth = test.truth(len(task.classes), task.multilabel, masked=True)
    options = metric_options(scorer.details)
    value = METRICS[task.metric](truth, scores, **options)
    low, high = interval(task.metric, truth, scores, seed=cell.seed, **options)
    facts = class_facts(train.truth(len(task.classes), task.multilabel, masked=True), truth, scores)
    seen = {"images": dict(task.images), "view": plain(with_channels(spec, task.channels).view)}
    details = {"n_train": len(train), "n_val": len(val), **seen, **facts, **scorer.details}
    return value, (low, high), len(test), scores, details


def _require_same(task: Task) -> None:
    """Raises BadInput where the task's folder was prepared again, of other images, by a study of the same output."""
    there = read_json(Path(task.folder, "task.json"))
    found = there.get("digest") if isinstance(there, dict) else None
    if task.digest and found and found != task.digest:
        raise BadInput(
            f"{task.folder}: other images or labels were prepared there since this run began; give each study an --out "
            "of its own, and run again"
        )


def export_graph(study: Study, pair: tuple[ModelSpec, Task]) -> str | None:
    """Make and check a model's graph before its cells ask for it; the error in words where that fails."""
    spec, task = pair
    try:
        sample = _sampler(task.load("train"), spec)
        backend_named(study.backend).ready(Asked(spec, study.device, Path(study.cache), sample))
        return None
    except FeatuneError as error:
        return str(error)


def _sampler(items: Labelled, spec: ModelSpec) -> Callable[[], Tensor]:
    """The images on which an export is compared with torch."""
    return lambda: sample_images(items, spec.view, SAMPLE)


def brief(error: str) -> str:
    """What an error says in one line: a message's first, a traceback's last."""
    lines = error.strip().splitlines()
    return lines[-1 if error.startswith("Traceback") else 0]


def environment(study: Study) -> dict[str, Any]:
    """What a number was made with: versions, machine, device, precision."""
    import torch

    names = ("featune", "torch", "timm", "onnxruntime-gpu", "numpy", "scikit-learn")
    device = torch.cuda.get_device_name(study.device) if study.device.startswith("cuda") else _processor()
    return {
        "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
        "device": device,
        "backend": study.backend,
        "precision": "fp32",
        "threads": study.threads,
    }


def arithmetic(study: Study, regime: str) -> dict[str, Any]:
    """What a regime's numbers are computed by: the backend, and the precision of its products."""
    kind, setting = study.regimes[regime]
    if REGIMES[kind].frozen:
        return {"backend": study.backend, "precision": "as the artefact" if study.artefact else "fp32"}
    mixed = getattr(setting, "amp", False)
    return {"backend": "torch", "precision": f"{getattr(setting, 'amp_dtype', '')} autocast" if mixed else "fp32"}


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
