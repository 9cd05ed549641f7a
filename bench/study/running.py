"""Run a study: every cell that has no row yet is measured; killed, it goes on where it was."""

import dataclasses
import functools
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.paths import check_name
from featune.engine.store import file_digest, remove_stale

from ..progress import Progress
from ..results import Labels, Plan, Row, Speed, load_plan, plan_path, save_plan
from .definition import Study
from .estimates import asked_estimates
from .executors import Executor, Killed, limit_threads
from .measuring import export_graph, measure, save_failed
from .model_speeds import speed_keys, speeds
from .schema import parsed


def run(
    study: Study,
    execute: Executor,
    *,
    retry_failed: bool = True,
    on_row: Callable[[Row, int, int], None] | None = None,
) -> list[Row]:
    """Measure every cell that has no row yet and return all rows, in the order of the cells.

    A cell that fails becomes a row with its error; failed cells are tried again by the next run. Cells that another
    process is at are left to it and asked for last.
    on_row: called with each new row, how many are done, and how many there are.
    """
    cells, store = study.cells(), study.runs
    rows = {cell: row for cell in cells if (row := store.load(cell)) and not (row.error and retry_failed)}
    for row in rows.values():
        store.check_scores(row)
    for wait in (False, True):
        waiting = [cell for cell in cells if cell not in rows]
        for cell, result in execute(functools.partial(measure, study, wait=wait), waiting):
            row = save_failed(study, cell, result.reason) if isinstance(result, Killed) else result
            if row is None:
                continue
            rows[cell] = row
            if on_row:
                on_row(row, len(rows), len(cells))
    return [described(study, rows[cell]) for cell in cells]


def run_whole(study: Study, execute: Executor, progress: Progress) -> tuple[list[Row], list[Speed]]:
    """Checked exports, throughput, and every cell, with progress; a failed export fails its cells, not the study."""
    if study.threads:
        limit_threads(study.threads)  # throughput is measured in this process
    for folder in (study.out, study.cache):
        remove_stale(Path(folder))
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


# --- What `status` and `report` read


def save_plan_of(study: Study, path: Path) -> Plan:
    """Leave beside the rows what the study file at `path` came to: its cells, labels, and what else there will be."""
    plan = Plan(
        name=study.name,
        file=file_digest(path),
        cells=tuple(study.cells()),
        labels={spec.name: Labels(spec.source_top1, spec.source_n, spec.family) for spec in study.models},
        speeds=tuple(speed_keys(study)),
        estimates=tuple(asked_estimates(study)),
        notes=study.notes,
        source_name=study.source_name,
    )
    save_plan(plan_path(Path(study.out), path, study.device), plan)
    return plan


def known_plan(path: Path, out: Path | None = None, device: str | None = None) -> tuple[Plan, Path, list[str]]:
    """(the plan that the last run of a study file left, its output folder, remarks). Runs and fetches nothing.

    Where no run left one, the plan has no cells. Raises BadInput where there are rows without one, or the file
    cannot be read.
    """
    entry = parsed(path)
    check_name("the study's name", entry.name)
    out = out or Path("runs", entry.name)
    file = plan_path(out, path, device or entry.device)
    plan = load_plan(file)
    if plan is None:
        if any((out / "runs").glob("*/*.json")):
            raise BadInput(
                f"{out} has rows, and no {file.name} that says which are this study's on {device or entry.device}; "
                f"`featune study run {path}` writes it, and measures nothing twice"
            )
        return Plan(entry.name, "", (), {}), out, []
    plan = dataclasses.replace(plan, name=entry.name, notes=tuple(entry.notes), source_name=entry.source)
    if file_digest(path) == plan.file:
        return plan, out, []
    said = f"{path} was changed since its last run, whose cells these are; `featune study run {path}` takes the change"
    return plan, out, [said]


def planned(path: Path) -> int:
    """How many cells a study file asks for, by counting alone."""
    entry = parsed(path)
    tasks = sum(given.folds or 1 for given in entry.tasks)
    return len(entry.models) * tasks * len({*entry.regimes}) * len({*entry.seeds})
