"""What `status` and `report` read of a study: the plan that its last run left, its tasks, the scores that were kept.

Nothing here imports torch, which takes longer than reading ten thousand rows.
"""

import contextlib
import dataclasses
import functools
import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from featune.engine.errors import BadInput, FeatuneError, nearest
from featune.engine.metrics import METRICS
from featune.engine.paths import check_name
from featune.engine.store import file_digest

from ..results import Cell, Plan, Right, Row, RunStore, counted, load_plan, plan_path
from ..tasks import Task, load_task
from .schema import text_values

if TYPE_CHECKING:
    from .schema import StudyEntry


def known_plan(path: Path, out: Path | None = None, device: str | None = None) -> tuple[Plan, Path, list[str]]:
    """(the plan that the last run of a study file left, its output folder, remarks). Runs and fetches nothing.

    Where no run left one, the plan has no cells. A file that is as the last run found it is not checked again. Raises
    BadInput where there are rows without a plan, or the file cannot be read.
    """
    known = _plan_of_unchanged(path, out, device)
    if known:
        return *known, []
    from featune.engine.runners import device_kind

    from .axes import axis_title
    from .schema import parsed

    read = parsed(path)
    entry = read.study
    read.faults.attempt("name", functools.partial(check_name, "the study's name", entry.name))
    read.faults.refuse()
    device_kind(device or entry.device)
    again = f"featune study run {path}{f' --out {out}' if out else ''}{f' --device {device}' if device else ''}"
    out = out or Path("runs", entry.name)
    file = plan_path(out, path, device or entry.device)
    plan = load_plan(file)
    if plan is None:
        if any((out / "runs").glob("*/*.json")):
            raise BadInput(
                f"{out} has rows, and no {file.name} that says which are this study's on {device or entry.device}; "
                f"`{again}` writes it, and measures nothing twice"
            )
        return Plan(entry.name, "", (), {}), out, []
    plan = dataclasses.replace(
        plan,
        name=entry.name,
        notes=tuple(entry.notes),
        source_name=axis_title(entry.x, entry.source),
        published=published_of(entry, path.parent),
    )
    if file_digest(path) == plan.file:
        return plan, out, []
    said = f"{path} was changed since its last run, whose cells these are; `{again}` takes the change"
    return plan, out, [said]


def _plan_of_unchanged(path: Path, out: Path | None, device: str | None) -> tuple[Plan, Path] | None:
    """(plan, output folder) where the file is the one that the plan was made of; None where more is to be said."""
    values, repeated = text_values(path)
    name, device = values.get("name", "study"), device or values.get("device", "cpu")
    if repeated or not isinstance(name, str) or not isinstance(device, str):
        return None
    try:
        out = out or Path("runs", check_name("the study's name", name))
        plan = load_plan(plan_path(out, path, device))
    except BadInput:
        return None
    return (plan, out) if plan and plan.file == file_digest(path) else None


def rows_at(path: Path) -> list[Row]:
    """The rows of a study file's last run; of an output folder those of its plan, or all where it has not one plan."""
    if path.is_dir():
        plans = [plan for file in sorted(path.glob("*.plan.json")) if (plan := load_plan(file))]
        if len(plans) == 1:
            return plans[0].rows(path)
        return list(RunStore(path / "runs" if (path / "runs").is_dir() else path).rows())
    plan, out, _ = known_plan(path)
    return plan.rows(out)


def tasks_at(path: Path) -> tuple[Path, list[Task]]:
    """(output folder, tasks whose labels are still at hand) of a study file's last run, or of an output folder."""
    if not path.is_dir():
        plan, out, _ = known_plan(path)
        return out, known_tasks(plan)
    plans = [load_plan(file) for file in sorted(path.glob("*.plan.json"))]
    found = {task.name: task for plan in plans if plan for task in known_tasks(plan)}
    return path, list(found.values())


def planned_cells(path: Path, out: Path | None = None) -> dict[str, Any]:
    """What a study file will measure, and what that costs by the cells that are done: seconds and bytes of a cell.

    Costs are those of the rows in the output folder, by regime, None before a cell of it is done. done: of the last
    run's cells where the file is as it was then (done_is_exact), else at most, by task, model, regime and seed.
    features: of the cache's average file, for each model and task, None where it has none. Runs and fetches nothing.
    """
    from featune.engine.store import cache_dir

    from .schema import parsed

    read = parsed(path)
    read.faults.refuse()
    tasks = sum(given.folds or 1 for _, given in read.tasks)
    models, seeds = read.model_count, len({*read.study.seeds})
    folder = out or Path("runs", read.study.name)
    asked = {*last[0].cells} if (last := _plan_of_unchanged(path, out, None)) else None
    done = {name: (list[tuple[float, int]](), set[tuple[str, str, int]]()) for name in read.regimes}
    for row in RunStore(folder / "runs").rows():  # one after the other: a million of them take gigabytes together
        if row.error is None and row.cell.regime in done:
            costs, own = done[row.cell.regime]
            costs.append((row.seconds, sum(file.stat().st_size for file in _files(folder, row))))
            if asked is None or row.cell in asked:
                own.add((row.cell.task, row.cell.model, row.cell.seed))
    each = models * tasks * seeds
    regimes: dict[str, Any] = {}
    for name, (costs, own) in done.items():
        cost: list[Any] = [math.fsum(of) / len(costs) for of in zip(*costs, strict=True)] or [None, None]
        regimes[name] = {"cells": each, "done": min(each, len(own)), "seconds_each": cost[0], "bytes_each": cost[1]}
    stored = [file.stat().st_size for file in (cache_dir() / "features").glob("*.npy")]
    known = [of for of in regimes.values() if of["seconds_each"] is not None]
    return {
        "name": read.study.name, "models": models, "tasks": tasks, "seeds": seeds, "regimes": regimes,
        "cells": each * len(regimes), "out": str(folder),
        "feature_bytes": models * tasks * sum(stored) // len(stored) if stored else None,
        "seconds_left": math.fsum((of["cells"] - of["done"]) * of["seconds_each"] for of in known) if known else None,
        "disk_bytes": math.fsum(of["cells"] * of["bytes_each"] for of in known) if known else None,
        "done_is_exact": asked is not None or not any(costs for costs, _ in done.values()),
        "unknown": [name for name, of in regimes.items() if of["seconds_each"] is None],
    }  # fmt: skip


def _files(folder: Path, row: Row) -> list[Path]:
    path = folder / "runs" / row.cell.name
    return [one for one in (path, path.with_suffix(".npy")) if one.exists()]


def outlook_lines(found: Mapping[str, Any]) -> list[str]:
    """The plan in words."""
    regimes = found["regimes"]
    sizes = [counted(found[f"{noun}s"], noun) for noun in ("model", "task")]
    sizes += [counted(len(regimes), "regime"), counted(found["seeds"], "seed")]
    lines = [f"{found['name']}: {' x '.join(sizes)} = {counted(found['cells'], 'cell')}, in {found['out']}"]
    for name, of in regimes.items():
        cost = "cost not known before one is done" if of["seconds_each"] is None else (
            f"{of['seconds_each']:.1f} s and {of['bytes_each'] / 1e6:.2f} MB each, as measured")  # fmt: skip
        most = "" if found["done_is_exact"] or not of["done"] else "at most "
        lines.append(f"  {name}: {of['cells']:,} cells, {most}{of['done']:,} done; {cost}")
    if not found["done_is_exact"]:
        lines.append("  (the file is not as at its last run: rows of other settings may be among those that are done)")
    if found["seconds_left"] is not None:
        but = f", without {', '.join(found['unknown'])}" if found["unknown"] else ""
        lines.append(f"left: {found['seconds_left'] / 3600:.1f} h of work, one cell at a time{but}; "
                     f"disk: {found['disk_bytes'] / 1e6:.1f} MB of rows and scores{but}")  # fmt: skip
    if found["feature_bytes"] is not None:
        lines.append(f"features: about {found['feature_bytes'] / 1e6:,.0f} MB, by the files that the cache has")
    return lines


def planned(path: Path) -> int:
    """How many cells a study file asks for, by counting alone."""
    from .schema import parsed

    read = parsed(path)
    tasks = sum(given.folds or 1 for _, given in read.tasks)
    return read.model_count * tasks * len(read.regimes) * len({*read.study.seeds})


def seconds_left(plan: Plan, rows: Iterable[Row]) -> tuple[float, list[str]]:
    """(seconds that the cells without a value take, one at a time; regimes of which no cell has been measured yet).

    By the mean of the finished cells of the same regime, model and task, or else of regime and model, or of the regime.
    """
    rates: dict[tuple[str, ...], list[float]] = {}
    done = set()
    for row in rows:
        if row.error is None:
            cell = row.cell
            done.add(cell)
            for key in _keys(cell):
                rates.setdefault(key, []).append(row.seconds)
    known, unknown = [], dict[str, None]()
    for cell in plan.cells:
        if cell not in done:
            of = next((rates[key] for key in _keys(cell) if key in rates), None)
            if of is None:
                unknown[cell.regime] = None
            else:
                known.append(math.fsum(of) / len(of))
    return math.fsum(known), list(unknown)


def _keys(cell: Cell) -> list[tuple[str, ...]]:
    """The groups that a cell's time is told by, the closest first."""
    return [(cell.regime, cell.model, cell.task), (cell.regime, cell.model), (cell.regime,)]


def published_of(entry: "StudyEntry", folder: Path) -> tuple[str, ...]:
    """The published tables of a file: names, and paths of CSV files as seen from here."""
    return tuple(dict.fromkeys(str(folder / name) if name.endswith(".csv") else name for name in entry.published))


def known_tasks(plan: Plan) -> list[Task]:
    """The prepared tasks of a plan whose folders are still there, and still hold the same images and labels."""
    found = []
    for name, folder, digest in plan.folders:
        with contextlib.suppress(FeatuneError):
            task = load_task(Path(folder))
            if task.digest == digest:
                found.append(dataclasses.replace(task, name=name))
    return found


def rights(out: Path, tasks: Iterable[Task], rows: Iterable[Row]) -> Mapping[Cell, Right]:
    """Which test images each finished cell got right, by the scores that were kept: what paired tests are made of.

    out: the study's output folder. tasks: those whose labels are at hand. Cells without scores or task have
    none, nor have those of metrics without a right and a wrong. Nothing is chosen by what is read of the test split.
    """
    return _Rights(RunStore(out / "runs"), {task.name: task for task in tasks}, {row.cell: row for row in rows})


def images_right(path: Path, name: str) -> tuple[list[str], list[str], dict[Cell, list[float]]]:
    """(test images of a task, their classes, which of them each finished cell got right), by the scores that were kept.

    path: a study file that was run, or its output folder. Raises BadInput for an unknown task, or where no row tells.
    """
    out, tasks = tasks_at(path)
    task = next((one for one in tasks if one.name == name), None)
    if task is None:
        names = [one.name for one in tasks]
        raise BadInput(
            f"{path}: no task {name!r:.80} with its labels at hand{nearest(name, names)}; it has "
            f"{', '.join(names) or 'none, run the study first'}"
        )
    rows = [row for row in rows_at(path) if row.cell.task == name]
    known = rights(out, [task], rows)
    found = {row.cell: right.correct.tolist() for row in rows if (right := known.get(row.cell)) is not None}
    if not found:
        raise BadInput(
            f"{name}: none of {len(rows)} rows tells which images are right; expected rows with their scores, of a "
            "metric that counts images, one label each"
        )
    test = task.load("test")
    return list(test.paths), [task.classes[label] for (label,) in test.labels], found


class _Rights(Mapping[Cell, Right]):
    """Read when a cell is asked for: of thousands of cells, those that lead are."""

    def __init__(self, store: RunStore, tasks: Mapping[str, Task], rows: Mapping[Cell, Row]):
        self._store, self._tasks, self._rows = store, tasks, rows
        self._truths: dict[str, Any] = {}
        self._found: dict[Cell, Right | None] = {}

    def __getitem__(self, cell: Cell) -> Right:
        if cell not in self._found:
            self._found[cell] = self._read(self._rows[cell])
        found = self._found[cell]
        if found is None:
            raise KeyError(cell)
        return found

    def __iter__(self) -> Iterator[Cell]:
        return (cell for cell in self._rows if cell in self)

    def __len__(self) -> int:
        return sum(1 for _ in self)

    def _read(self, row: Row) -> Right | None:
        metric, task = METRICS.get(row.metric), self._tasks.get(row.cell.task)
        if row.error or row.scores_digest is None or metric is None or metric.per_example is None:
            return None
        if task is None or task.multilabel:
            return None
        with contextlib.suppress(FeatuneError):
            truth, scores = self._truth(task), self._store.scores(row)
            # Of other labels than the row was measured on nothing is known.
            if len(scores) == len(truth) and math.isclose(metric(truth, scores), row.value or 0.0, abs_tol=1e-9):
                return Right(metric.per_example(truth, scores), truth)
        return None

    def _truth(self, task: Task) -> Any:
        if task.name not in self._truths:
            self._truths[task.name] = task.load("test").truth(len(task.classes), False)
        return self._truths[task.name]
