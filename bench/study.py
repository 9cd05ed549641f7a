"""A study: models x tasks x regimes x seeds, measured cell by cell, resumable.

`measure` is the one function in the project that opens a test split, after the regime has made its choice.
"""

import contextlib
import dataclasses
import functools
import platform
import time
import traceback
from collections.abc import Callable, Mapping
from importlib.metadata import version
from pathlib import Path
from typing import Any

from torch import Tensor

from bench.choosing import metric_options
from bench.executors import Executor, limit_threads
from bench.progress import Progress
from bench.regimes import REGIMES, Bench, Setting
from bench.runs import Cell, Row, RunStore, Speed
from bench.stats import interval
from bench.tasks import Task
from bench.throughput import measure as measure_speed
from bench.throughput import speed
from engine.errors import FeatuneError
from engine.images import Labelled
from engine.metrics import METRICS
from engine.models import ModelSpec
from engine.store import digest, plain, read_json, write_json
from export.backends import artefact, open_runner
from export.wanted import SAMPLE, sample_images

SPEED_BATCH = 32
# Of measuring a cell, raised when it changes, so that rows of before are measured again.
# 2: refits of probes start from zero; the threshold of an F1 of several labels is chosen on val.
RULES = 2


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure. regimes: name -> (kind, setting). out: where rows and reports go. cache: features, graphs.

    estimators: names from `bench.estimators`, whose values `bench.estimates` keeps beside the rows.
    """

    name: str
    models: tuple[ModelSpec, ...]
    tasks: tuple[Task, ...]
    regimes: Mapping[str, tuple[str, Setting]]
    out: str
    cache: str
    seeds: tuple[int, ...] = (0,)
    backend: str = "onnxruntime"
    device: str = "cpu"
    threads: int | None = None
    source_name: str = "ImageNet"
    notes: tuple[str, ...] = ()
    estimators: tuple[str, ...] = ()

    @property
    def runs(self) -> RunStore:
        return RunStore(Path(self.out, "runs"))

    def cells(self) -> list[Cell]:
        """Every cell, the models outermost, so that one model's features and graph are made together."""
        return [
            Cell(task.name, spec.name, regime, seed, self._inputs(spec, task, regime))
            for spec in self.models
            for regime in self.regimes
            for task in self.tasks
            for seed in self.seeds
        ]

    def _inputs(self, spec: ModelSpec, task: Task, regime: str) -> str:
        kind, setting = self.regimes[regime]
        backend = self.backend if REGIMES[kind].frozen else "torch"
        spec = spec.with_channels(task.channels)
        return digest([spec.digest, task.digest, kind, plain(setting), backend, self.device, RULES])

    def graphs(self) -> list[tuple[ModelSpec, Task]]:
        """Each model with the channels of the tasks, once for each number of them, and a task that has them."""
        tasks = {task.channels: task for task in reversed(self.tasks)}
        return [(spec.with_channels(task.channels), task) for spec in self.models for task in tasks.values()]

    def spec(self, name: str) -> ModelSpec:
        return next(spec for spec in self.models if spec.name == name)

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)


def run(
    study: Study,
    execute: Executor,
    *,
    retry_failed: bool = True,
    on_row: Callable[[Row, int, int], None] | None = None,
) -> list[Row]:
    """Measure every cell that has no row yet and return all rows, in the order of the cells.

    A cell that fails becomes a row with its error; failed cells are tried again by the next run.
    on_row: called with each new row, how many are done, and how many there are.
    """
    cells, store = study.cells(), study.runs
    rows = {cell: row for cell in cells if (row := store.load(cell)) and not (row.error and retry_failed)}
    waiting = [cell for cell in cells if cell not in rows]
    for cell, row in execute(functools.partial(measure, study), waiting):
        rows[cell] = row
        if on_row:
            on_row(row, len(rows), len(cells))
    return [described(study, rows[cell]) for cell in cells]


def run_whole(study: Study, execute: Executor, progress: Progress) -> tuple[list[Row], list[Speed]]:
    """Checked exports, throughput, and every cell, with progress; a failed export fails its cells, not the study."""
    if study.threads:
        limit_threads(study.threads)  # throughput is measured in this process
    with progress.stage("export and parity") as advance:
        graphs = study.graphs()
        for done, _ in enumerate(execute(functools.partial(export_graph, study), graphs), 1):
            advance(done, len(graphs))
    with progress.stage("throughput") as advance:
        found = speeds(study, on_speed=advance)
    with progress.stage("cells") as advance:
        rows = run(study, execute, on_row=lambda row, done, total: advance(done, total))
    return rows, found


def finished(study: Study) -> list[Row]:
    """The rows that the study has so far, failed ones among them, in the order of its cells."""
    return [described(study, row) for cell in study.cells() if (row := study.runs.load(cell))]


def described(study: Study, row: Row) -> Row:
    """The row with the model's labels as the study now has them: what they say does not touch the number."""
    spec = study.spec(row.cell.model)
    return dataclasses.replace(row, source_top1=spec.source_top1, source_n=spec.source_n, family=spec.family)


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
    bench = Bench(Path(study.cache), study.backend, study.device, study.threads, work)
    regime = REGIMES[kind].make(bench, setting)
    train, val = task.load("train"), task.load("val")
    scorer = regime(spec, task, train, val, cell.seed)
    test = task.load("test")
    scores = scorer(test)
    truth = test.truth(len(task.classes), task.multilabel, masked=True)
    options = metric_options(scorer.details)
    value = METRICS[task.metric](truth, scores, **options)
    low, high = interval(task.metric, truth, scores, seed=cell.seed, **options)
    return value, (low, high), len(test), scores, {"n_train": len(train), "n_val": len(val), **scorer.details}


def export_graph(study: Study, pair: tuple[ModelSpec, Task]) -> str | None:
    """Make and check a model's graph before its cells ask for it; the error in words where that fails."""
    spec, task = pair
    if study.backend == "torch":
        return None
    try:
        artefact(spec, Path(study.cache), _sampler(task.load("train"), spec))
        return None
    except FeatuneError as error:
        return str(error)


def speeds(study: Study, *, on_speed: Callable[[int, int], None] | None = None) -> list[Speed]:
    """Each model's throughput on each backend, on the first task's train images and channels; measured once, kept.

    To be run while nothing else does. A backend that fails is left out here and reported by its cells.
    """
    pairs = _pairs(study)
    sample = study.tasks[0].load("train")
    for done, (spec, backend) in enumerate(pairs, 1):
        path = _speed_path(study, spec, backend)
        if not path.exists():
            with contextlib.suppress(FeatuneError):
                write_json(path, _speed(study, spec, backend, sample))
        if on_speed:
            on_speed(done, len(pairs))
    return known_speeds(study)


def known_speeds(study: Study) -> list[Speed]:
    """The throughput that was measured on this machine so far."""
    found = [(spec, read_json(_speed_path(study, spec, backend))) for spec, backend in _pairs(study)]
    return [Speed(**{**kept, "model": spec.name}) for spec, kept in found if kept]


def _pairs(study: Study) -> list[tuple[ModelSpec, str]]:
    backends = dict.fromkeys(("torch", study.backend))
    return [(spec.with_channels(study.tasks[0].channels), backend) for spec in study.models for backend in backends]


def _speed_path(study: Study, spec: ModelSpec, backend: str) -> Path:
    key = digest([spec.digest, backend, study.device, study.threads, platform.node(), environment(study)])
    return Path(study.out, "speeds", f"{key}.json")


def _speed(study: Study, spec: ModelSpec, backend: str, sample: Labelled) -> Speed:
    images = _sampler(sample, spec)
    batch = images()[:SPEED_BATCH].to(study.device)
    with open_runner(
        spec, backend, device=study.device, cache=Path(study.cache), sample=images, threads=study.threads
    ) as runner:
        samples = measure_speed(runner, batch)
    return speed(spec.name, backend, study.device, study.threads or 0, batch, samples)


def _sampler(items: Labelled, spec: ModelSpec) -> Callable[[], Tensor]:
    """The images on which an export is compared with torch."""
    return lambda: sample_images(items, spec.view, SAMPLE)


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


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
