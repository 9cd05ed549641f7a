"""Measure one cell.

`measured` is the one function in the project that opens a test split for a number, after the regime has made its
choice; `rights` reads its labels again, beside scores that are kept.
"""

import contextlib
import time
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.errors import FeatuneError
from featune.engine.images import Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec
from featune.engine.store import digest
from featune.export.backends import artefact, graph_target
from featune.export.commands import SAMPLE, sample_images

from ..regimes import REGIMES, Bench, metric_options
from ..results import Cell, Right, Row, class_facts
from ..stats import interval
from ..tasks import Task
from .definition import Study
from .provenance import environment


def measure(study: Study, cell: Cell) -> Row:
    """Measure one cell and save its row. Errors become rows; only interrupts and our own defects in saving escape."""
    began = time.perf_counter()
    task = study.task(cell.task)
    try:
        row, scores = measured(study, cell)
    except Exception as error:  # a failed cell is a row, not the end of the study
        message = str(error) if isinstance(error, FeatuneError) else "".join(traceback.format_exception(error))
        row = Row(cell, task.metric, None, task.counts["test"], error=message, seconds=time.perf_counter() - began)
        return study.runs.save(row)
    return study.runs.save(row, scores)


def measured(study: Study, cell: Cell) -> tuple[Row, Any]:
    """(row, test scores [n, classes]) of one cell, with nothing saved; errors are raised."""
    began = time.perf_counter()
    spec, task = study.spec(cell.model), study.task(cell.task)
    value, interval_, n, scores, details = _value(study, cell, spec, task)
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
        details=details,
        environment=environment(study),
    )
    return row, scores


def _value(study: Study, cell: Cell, spec: ModelSpec, task: Task) -> tuple[float, tuple[float, float], int, Any, Any]:
    kind, setting = study.regimes[cell.regime]
    work = Path(study.out, "work", digest(cell))
    file = Path(study.artefact) if study.artefact else None
    bench = Bench(Path(study.cache), study.backend, study.device, study.threads, work, file)
    regime = REGIMES[kind].make(bench, setting)
    train, val = task.load("train"), task.load("val")
    scorer = regime(spec, task, train, val, cell.seed)
    test = task.load("test")
    scores = scorer(test)
    truth = test.truth(len(task.classes), task.multilabel, masked=True)
    options = metric_options(scorer.details)
    value = METRICS[task.metric](truth, scores, **options)
    low, high = interval(task.metric, truth, scores, seed=cell.seed, **options)
    facts = class_facts(train.truth(len(task.classes), task.multilabel, masked=True), truth, scores)
    details = {"n_train": len(train), "n_val": len(val), **facts, **scorer.details}
    return value, (low, high), len(test), scores, details


def rights(study: Study, rows: Sequence[Row]) -> dict[Cell, Right]:
    """Which test images each finished cell got right, by the scores that were kept: what paired tests are made of.

    Cells whose scores are missing or are not what their row says have none, nor have those of metrics without a right
    and a wrong. Nothing is chosen by what is read here of the test split.
    """
    found: dict[Cell, Right] = {}
    truths: dict[str, Any] = {}
    for row in rows:
        metric = METRICS.get(row.metric)
        if row.error or row.scores_digest is None or metric is None or metric.per_example is None:
            continue
        task = study.task(row.cell.task)
        if task.multilabel:
            continue
        if task.name not in truths:
            truths[task.name] = task.load("test").truth(len(task.classes), False)
        with contextlib.suppress(FeatuneError):
            scores = study.runs.scores(row)
            if len(scores) == len(truths[task.name]):
                found[row.cell] = Right(metric.per_example(truths[task.name], scores), truths[task.name])
    return found


def export_graph(study: Study, pair: tuple[ModelSpec, Task]) -> str | None:
    """Make and check a model's graph before its cells ask for it; the error in words where that fails."""
    spec, task = pair
    if graph_target(study.backend) is None:
        return None
    try:
        artefact(spec, Path(study.cache), _sampler(task.load("train"), spec))
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
