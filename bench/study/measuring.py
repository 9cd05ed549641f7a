"""Measure one cell.

`_value` opens the test split for a study's number, after the regime has made its choice. `rights` reads the test labels
again, for paired tests on scores that were kept; nothing is chosen by them.
"""

import contextlib
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.images import Labelled
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec
from featune.engine.store import digest, locked, locked_if_free, read_json
from featune.export.backends import artefact, graph_target
from featune.export.commands import SAMPLE, sample_images

from ..regimes import REGIMES, Bench, Regime, metric_options
from ..results import Cell, Right, Row, RunStore, class_facts
from ..stats import interval
from ..tasks import Task
from .definition import Study
from .provenance import environment


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


def measured(study: Study, cell: Cell, regime: Regime | None = None) -> tuple[Row, Any]:
    """(row, test scores [n, classes]) of one cell, with nothing saved; errors are raised.

    regime: in place of the one that the cell names, which then is what it is called.
    """
    began = time.perf_counter()
    spec, task = study.spec(cell.model), study.task(cell.task)
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
        details=details,
        environment=environment(study),
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
    details = {"n_train": len(train), "n_val": len(val), **facts, **scorer.details}
    return value, (low, high), len(test), scores, details


def rights(out: Path, tasks: Iterable[Task], rows: Sequence[Row]) -> dict[Cell, Right]:
    """Which test images each finished cell got right, by the scores that were kept: what paired tests are made of.

    out: the study's output folder. tasks: those whose labels are at hand. Cells without scores or task have
    none, nor have those of metrics without a right and a wrong. Nothing is chosen by what is read of the test split.
    """
    store, known = RunStore(out / "runs"), {task.name: task for task in tasks}
    found: dict[Cell, Right] = {}
    truths: dict[str, Any] = {}
    for row in rows:
        metric = METRICS.get(row.metric)
        if row.error or row.scores_digest is None or metric is None or metric.per_example is None:
            continue
        task = known.get(row.cell.task)
        if task is None or task.multilabel:
            continue
        with contextlib.suppress(FeatuneError):
            if task.name not in truths:
                truths[task.name] = task.load("test").truth(len(task.classes), False)
            scores = store.scores(row)
            if len(scores) != len(truths[task.name]):
                continue
            # Of other labels than the row was measured on nothing is known.
            if math.isclose(metric(truths[task.name], scores), row.value or 0.0, abs_tol=1e-9):
                found[row.cell] = Right(metric.per_example(truths[task.name], scores), truths[task.name])
    return found


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
