"""`featune study status | report | index`: what the last run found, with nothing run and nothing fetched."""

import dataclasses
import sys
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...terminal import Json, Quiet, command_line, errors, json_text
from .finishing import finish, last_line
from .options import Device, OnlyCells, Out, StudyPath

if TYPE_CHECKING:
    from ...results import Plan, Row

look_app = typer.Typer()

LeastRate = Annotated[
    float | None,
    typer.Option("--min-images-per-second", min=0, help="What the model to take has to run at, as it was measured."),
]


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
        failed: list[Row] = []
        done = 0

        def noted(rows: "Iterable[Row]") -> "Iterator[Row]":  # one after the other: a million take gigabytes together
            nonlocal done
            for row in rows:
                if row.error:
                    failed.append(row)
                else:
                    done += 1
                yield row

        left, unknown = seconds_left(plan, noted(plan.each_row(out)))
        total = len(plan.cells) or planned(path)
        counts = {
            "cells": total, "done": done, "failed": len(failed), "waiting": total - done - len(failed),
        }  # fmt: skip
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        if as_json:
            more = {"seconds_left": left, "unknown": unknown, "errors": {row.cell.name: row.error for row in failed}}
            print(json_text(counts | more))
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        if left:
            but = f", and {' and '.join(unknown)}, of which no cell has been measured yet" if unknown else ""
            print(printable(f"left: about {duration(left)} of work, one cell at a time{but}"))
        elif unknown:
            print(printable(f"left: not known; no cell of {' and '.join(unknown)} has been measured yet"))
        for row in failed:
            cell = row.cell
            print(printable(f"{cell.task} {cell.model} {cell.regime}: {last_line(row.error)}"))


@look_app.command("report")
def study_report(
    paths: Annotated[list[Path], typer.Argument(metavar="STUDY.yaml", help="The study file; several with --compare.")],
    out: Out = None,
    device: Device = None,
    only: OnlyCells = None,
    side_by_side: Annotated[
        bool, typer.Option("--compare", help="One page about two or more: study files, or output folders.")
    ] = False,
    least_rate: LeastRate = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Write the report of the cells that are done so far, or of several studies. Runs and fetches nothing.

    With --only it is of these cells, in the place of the whole one.

    Example: featune study report mystudy.yaml

    Example: featune study report runs/before runs/after --compare
    """
    with errors():
        from featune.engine.errors import BadInput

        if side_by_side:
            if only:
                raise BadInput("--only is of one study; leave it out, or --compare")
            _compared(paths, out, as_json)
            return
        if len(paths) > 1:
            raise BadInput(f"{len(paths)} studies found, one expected; give --compare for one page about all of them")
        _reported(paths[0], out, device, only, least_rate, as_json)


def _reported(
    path: Path, out: Path | None, device: str | None, only: list[str] | None, least_rate: float | None, as_json: bool
) -> None:
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
        rights(found, known_tasks(plan), rows), as_json, least_rate=least_rate,
        command=command_line(
            "featune", "study", "report", path, out=out, device=device, only=only, min_images_per_second=least_rate
        ),
        retry=command_line("featune", "study", "retry", path, out=out, device=device),
    )  # fmt: skip


def _compared(paths: Sequence[Path], out: Path | None, as_json: bool) -> None:
    from ...report.several import write_comparison
    from ...study import rows_at

    names = [path.stem if path.is_file() else path.name for path in map(Path.absolute, paths)]
    if len(set(names)) < len(names):  # the last parts alone would not tell them apart
        names = [str(path) for path in paths]
    folder = out or Path("runs", "-".join(["compare", *(path.stem for path in paths)])[:100])
    page = write_comparison(folder, [(name, rows_at(path)) for name, path in zip(names, paths, strict=True)])
    print(json_text({"report": str(page)}) if as_json else f"report: {page}")


@look_app.command("index")
def study_index(
    folder: Annotated[Path, typer.Argument(help="The folder below which the reports lie.")] = Path("runs"),
    as_json: Json = False,
) -> None:
    """Write index.html: every report below a folder, with what it says first. Runs and fetches nothing.

    Example: featune study index runs
    """
    with errors():
        from ...report.several import write_index
        from ...results import printable

        page, lines = write_index(folder)
        if as_json:
            print(json_text({"index": str(page), "reports": list(lines)}))
            return
        for line in lines:
            print(printable(f"{line['path']}: {line['said']}"))
        print(f"index: {page}")


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
