"""Run a study: every cell that has no row yet is measured; killed, it goes on where it was."""

import dataclasses
import functools
from collections.abc import Callable

from ..progress import Progress
from ..results import Row, Speed
from .definition import Study
from .executors import Executor, limit_threads
from .measuring import export_graph, measure
from .model_speeds import speeds


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


def run_whole(
    study: Study, execute: Executor, progress: Progress, *, remeasure_speed: bool = False
) -> tuple[list[Row], list[Speed]]:
    """Checked exports, throughput, and every cell, with progress; a failed export fails its cells, not the study."""
    if study.threads:
        limit_threads(study.threads)  # throughput is measured in this process
    with progress.stage("export and parity") as advance:
        graphs = study.graphs()
        for done, _ in enumerate(execute(functools.partial(export_graph, study), graphs), 1):
            advance(done, len(graphs))
    with progress.stage("throughput") as advance:
        found = speeds(study, on_speed=advance, remeasure=remeasure_speed)
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
