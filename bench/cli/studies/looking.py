"""`featune study status | report`: what the last run found, with nothing run and nothing fetched."""

import dataclasses
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...terminal import Json, Quiet, command_line, errors, json_text
from .finishing import finish, last_line
from .options import Device, OnlyCells, Out, StudyPath

if TYPE_CHECKING:
    from ...results import Plan

look_app = typer.Typer()


@look_app.command("status")
def study_status(
    path: StudyPath, out: Out = None, device: Device = None, only: OnlyCells = None, as_json: Json = False
) -> None:
    """Count the cells that are done, failed and waiting, of those that the last run found. Runs and fetches nothing.

    Example: featune study status mystudy.yaml
    """
    with errors():
        from ...results import duration, printable
        from ...study import known_plan, planned, seconds_left

        plan, out, remarks = known_plan(path, out, device)
        plan = _narrowed(plan, only, path)
        done = plan.rows(out)
        total = len(plan.cells) or planned(path)
        failed = [row for row in done if row.error]
        counts = {
            "cells": total, "done": len(done) - len(failed), "failed": len(failed), "waiting": total - len(done),
        }  # fmt: skip
        left, unknown = seconds_left(plan, done)
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        if as_json:
            more = {"seconds_left": left, "unknown": unknown, "errors": {row.cell.name: row.error for row in failed}}
            print(json_text(counts | more))
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        if left or unknown:
            but = f", and {' and '.join(unknown)}, of which no cell has been measured yet" if unknown else ""
            print(printable(f"left: about {duration(left)} of work, one cell at a time{but}"))
        for row in failed:
            cell = row.cell
            print(printable(f"{cell.task} {cell.model} {cell.regime}: {last_line(row.error)}"))


@look_app.command("report")
def study_report(
    path: StudyPath,
    out: Out = None,
    device: Device = None,
    only: OnlyCells = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the report of the cells that are done so far. Runs and fetches nothing.

    With --only it is of these cells, in the place of the whole one.

    Example: featune study report mystudy.yaml
    """
    with errors():
        from ...results import RunStore
        from ...study import known_plan, known_tasks, rights

        plan, found, remarks = known_plan(path, out, device)
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        plan = _narrowed(plan, only, path)
        rows = plan.rows(found)
        for row in rows:
            RunStore(found / "runs").check_scores(row)
        finish(
            plan, found, rows, plan.known_speeds(found), plan.known_estimates(found),
            rights(found, known_tasks(plan), rows), as_json,
            command=command_line("featune", "study", "report", path, out=out, device=device, only=only),
            retry=command_line("featune", "study", "retry", path, out=out, device=device),
        )  # fmt: skip


def _narrowed(plan: "Plan", only: list[str] | None, path: Path) -> "Plan":
    """The plan with the cells that `--only` means, and a note that says so."""
    if not only:
        return plan
    from featune.engine.errors import BadInput

    from ...results import axes_of
    from ...results import only as cells_meant

    if not plan.cells:
        raise BadInput(
            f"{path} has not been run yet, so there are no cells to choose from; run it, or leave --only out"
        )
    found = plan.narrowed(cells_meant(only, axes_of(plan.cells)))
    note = f"{len(found.cells)} of the study's {len(plan.cells)} cells: only {', '.join(only)}."
    return dataclasses.replace(found, notes=(*plan.notes, note))
