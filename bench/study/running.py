"""Run a study: every cell that has no row yet is measured, so that a killed study resumes."""

import dataclasses
import functools
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Literal

from featune.engine.errors import CellFailed, FeatuneError
from featune.engine.models import ModelSpec, spec_from_entry
from featune.engine.store import file_digest, remove_stale

from ..pretrain import Asked, Made, known_in_cache, made_in_cache
from ..progress import Progress
from ..results import Cell, Labels, Plan, Row, Speed, duration, plan_path, save_plan
from ..tasks import Task
from .definition import Study
from .estimates import asked_estimates
from .executors import Executor, Killed, jobs_of, limit_threads, one_at_a_time
from .measuring import brief, export_graph, measure, save_failed
from .model_speeds import speed_keys, speeds

Failed = Literal["retry", "keep", "only"]  # what a run does with cells that failed before


def with_pretrained(
    study: Study, execute: Executor, progress: Progress, wanted: Collection[str] | None = None
) -> tuple[Study, Mapping[str, str]]:
    """The study with the models that are pre-trained for it, and by name why one could not be made.

    Those that the cache has are not trained again. wanted: names of those to train, by default all; others are in the
    study where the cache has them. What is not there is left out. Raises CellFailed where no model is left.
    """
    if not study.pretraining:
        return study, {}
    found: dict[str, ModelSpec] = {}
    errors: dict[str, str] = {}
    facts = dict(study.facts)
    with progress.stage("pre-training") as advance:
        pretrained = functools.partial(_pretrained, None if wanted is None else frozenset(wanted))
        for done, (asked, made) in enumerate(execute(pretrained, study.pretraining), 1):
            if isinstance(made, Made):
                found[asked.name] = dataclasses.replace(spec_from_entry(made.entry), family=asked.spec.family)
                facts[asked.name] = made.facts
            elif made is not None:
                said = f"was {made.reason}" if isinstance(made, Killed) else made
                errors[asked.name] = f"pre-training of {asked.name}: {said}"
                progress.say(f"failed: {brief(errors[asked.name])}")
            advance(done, len(study.pretraining))
    models = (*study.models, *(found[asked.name] for asked in study.pretraining if asked.name in found))
    if not models:
        nothing = "no model of the study is pre-trained yet; start it with `featune study run`"
        raise CellFailed("\n".join(errors.values()) or nothing)
    notes = study.notes
    if len(found) < len(study.pretraining):
        there = f"{len(found)} of the {len(study.pretraining)} models that are pre-trained first are there so far"
        notes = (*notes, f"{there}; the others are not in this report.")
    study = dataclasses.replace(study, models=models, pretraining=(), facts=facts, notes=notes)
    study.cells()  # meets every model with every task
    return study, errors


def _pretrained(wanted: frozenset[str] | None, asked: Asked) -> Made | str | None:
    """The model, or why it could not be made; None where it is not wanted and the cache does not have it."""
    try:
        return made_in_cache(asked) if wanted is None or asked.name in wanted else known_in_cache(asked)
    except FeatuneError as error:
        return str(error)


def run(
    study: Study,
    execute: Executor,
    *,
    failed: Failed = "retry",
    on_row: Callable[[Row, int, int], None] | None = None,
) -> list[Row]:
    """Measure every cell that has no row yet and return all rows, in the order of the cells.

    A cell that fails becomes a row with its error. failed: cells that failed before are tried again (`retry`), left as
    they are (`keep`), or are all that is measured (`only`). Cells that another process is at are left to it and asked
    for last.
    on_row: called with each new row, how many are done, and how many there are.
    """
    cells, store = study.cells(), study.runs
    rows = {cell: row for cell in cells if (row := store.load(cell))}
    asked = set(_asked(cells, rows, failed))
    rows = {cell: row for cell, row in rows.items() if cell not in asked}
    for row in rows.values():
        store.check_scores(row)
    for wait in (False, True):
        waiting = [cell for cell in cells if cell in asked and cell not in rows]
        for cell, result in execute(functools.partial(measure, study, wait=wait), waiting):
            row = save_failed(study, cell, result.reason) if isinstance(result, Killed) else result
            if row is None:
                continue
            rows[cell] = row
            if on_row:
                on_row(row, len(rows), len(cells))
    return [described(study, rows[cell]) for cell in cells if cell in rows]


def _asked(cells: Iterable[Cell], rows: Mapping[Cell, Row], failed: Failed) -> list[Cell]:
    """Those that are to be measured. rows: of the cells that have one."""
    has_failed = {cell for cell, row in rows.items() if row.error}
    if failed == "only":
        return [cell for cell in cells if cell in has_failed]
    return [cell for cell in cells if cell not in rows or (failed == "retry" and cell in has_failed)]


def with_failed_cells(study: Study) -> Study:
    """The study with the models and tasks of which a cell has failed, so that no other is exported or timed."""
    failed = [row.cell for row in finished(study) if row.error]
    models, tasks = {cell.model for cell in failed}, {cell.task for cell in failed}
    return dataclasses.replace(
        study,
        models=tuple(spec for spec in study.models if spec.name in models),
        tasks=tuple(task for task in study.tasks if task.name in tasks),
    )


def export_graphs(
    study: Study, graphs: Sequence[tuple[ModelSpec, Task]], execute: Executor, progress: Progress
) -> None:
    """Checked exports with progress; one that fails is told, and fails its cells."""
    with progress.stage("export and parity") as advance:
        for done, ((spec, _), error) in enumerate(execute(functools.partial(export_graph, study), graphs), 1):
            if error:
                reason = error.reason if isinstance(error, Killed) else error
                progress.say(f"failed: export of {spec.name}: {brief(reason)}")
            advance(done, len(graphs))


def run_whole(
    study: Study, execute: Executor, progress: Progress, *, remeasure_speed: bool = False, failed: Failed = "retry"
) -> tuple[list[Row], list[Speed]]:
    """Checked exports, throughput, and every cell, with progress; a failed export fails its cells, not the study.

    failed: as in `run`.
    """
    if study.threads:
        limit_threads(study.threads)  # throughput is measured in this process where the cells are
    for folder in (study.out, study.cache):
        remove_stale(Path(folder))
    export_graphs(study, study.graphs(), execute, progress)
    with progress.stage("throughput") as advance:
        alone = one_at_a_time(execute, study.threads)
        found = speeds(study, alone, on_speed=advance, on_failure=progress.say, remeasure=remeasure_speed)
    outlook = Outlook(study, jobs_of(execute), failed)
    with progress.stage("cells") as advance:
        if outlook.waiting:
            progress.say(f"cells: {len(outlook.waiting)} to measure, {outlook.about()}")

        def told(row: Row, done: int, total: int) -> None:
            if row.error:
                progress.say(f"failed: {_name(row.cell)}: {brief(row.error)}")
            outlook.add(row)
            advance(done, total, outlook.about())

        rows = run(study, execute, failed=failed, on_row=told)
    return rows, found


class Outlook:
    """Which cells are at work and what time is left, by the cells that are done.

    Cells of one regime and model are taken to cost as much for each image of their task, those of a regime without
    a finished cell of that model as much as the regime's others. Of a regime without any nothing is said but that.
    """

    def __init__(self, study: Study, jobs: int, failed: Failed = "retry"):
        self.images = {task.name: max(1, sum(task.counts.values())) for task in study.tasks}
        self.jobs = jobs
        self.rates: dict[tuple[str, str], list[float]] = {}  # seconds per image
        cells = study.cells()
        rows = {cell: row for cell in cells if (row := study.runs.load(cell))}
        self.waiting = dict.fromkeys(_asked(cells, rows, failed))
        for row in rows.values():
            if row.error is None:
                self.add(row)

    def add(self, row: Row) -> None:
        self.waiting.pop(row.cell, None)
        if row.error is None:
            rate = row.seconds / self.images[row.cell.task]
            for model in (row.cell.model, ""):
                self.rates.setdefault((row.cell.regime, model), []).append(rate)

    def seconds(self, cell: Cell) -> float | None:
        rates = self.rates.get((cell.regime, cell.model)) or self.rates.get((cell.regime, ""))
        return sum(rates) / len(rates) * self.images[cell.task] if rates else None

    def about(self) -> str:
        """For people: `running a b probe; about 3 min left`."""
        if not self.waiting:
            return "none left"
        running = [_name(cell) for cell in list(self.waiting)[: self.jobs]]
        known = [self.seconds(cell) for cell in self.waiting]
        left = f"about {duration(sum(each for each in known if each is not None) / self.jobs)} left"
        unknown = dict.fromkeys(cell.regime for cell, each in zip(self.waiting, known, strict=True) if each is None)
        if unknown:
            left = f"time left not known before a cell of {' and of '.join(unknown)} is done"
        return f"running {', '.join(running)}; {left}"


def _name(cell: Cell) -> str:
    return f"{cell.task} {cell.model} {cell.regime}" + (f" seed {cell.seed}" if cell.seed else "")


def finished(study: Study) -> list[Row]:
    """The rows that the study has so far, failed ones among them, in the order of its cells."""
    return [described(study, row) for cell in study.cells() if (row := study.runs.load(cell))]


def described(study: Study, row: Row) -> Row:
    """The row with the model's labels as the study now has them: what they say does not touch the number."""
    spec = study.spec(row.cell.model)
    facts = study.facts.get(spec.name, {})
    return dataclasses.replace(
        row, source_top1=spec.source_top1, source_n=spec.source_n, family=spec.family, facts=facts
    )


def save_plan_of(study: Study, path: Path) -> Plan:
    """Leave beside the rows what the study file at `path` came to: its cells, labels, and what else there will be."""
    plan = Plan(
        name=study.name,
        file=file_digest(path),
        cells=tuple(study.cells()),
        labels={
            spec.name: Labels(spec.source_top1, spec.source_n, spec.family, study.facts.get(spec.name, {}))
            for spec in study.models
        },
        speeds=tuple(speed_keys(study)),
        estimates=tuple(asked_estimates(study)),
        notes=study.notes,
        source_name=study.source_name,
        published=study.published,
        folders=tuple((task.name, task.folder, task.digest) for task in study.tasks),
    )
    save_plan(plan_path(Path(study.out), path, study.device), plan)
    return plan
