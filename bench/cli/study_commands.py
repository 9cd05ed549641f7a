"""`featune demo` and `featune study`: parse, call one function, print."""

import dataclasses
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import Json, Quiet, counts, errors, progress_of

if TYPE_CHECKING:
    from ..results import Estimate, Plan, Row, Speed
    from ..study import Executor, Study

STUDIES = "Studies"
app = typer.Typer()
study_app = typer.Typer(no_args_is_help=True, help="Run a study file, see how far it is, write its report.")
app.add_typer(study_app, name="study", rich_help_panel=STUDIES)

Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at a time, one thread each. (default: all processors)"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the results. (default: runs/NAME)")]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let the file name any installed function, and download to any folder.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N. (default: the file's)")]


@app.command(rich_help_panel=STUDIES)
def demo(
    seed: Annotated[int, typer.Option(help="Of the images, the weights and the training.")] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of everything it makes.")] = Path("runs/demo"),
    jobs: Jobs = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the papers in miniature, offline, in a few minutes, and write report.html.

    Killed at any moment and started again, it goes on where it was.

    Example: featune demo --seed 1 --out runs/demo1
    """
    with errors():
        from ..demo import demo as run_demo
        from ..study import known_estimates

        progress = progress_of(quiet)
        study, rows, speeds = run_demo(out, seed, executor(jobs), progress)
        estimates = known_estimates(study)
        _finish(study, out, rows, speeds, estimates, as_json, command=f"featune demo --seed {seed}", seed=seed)


@study_app.command("run")
def study_run(
    path: StudyPath,
    out: Out = None,
    jobs: Jobs = None,
    device: Device = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure every cell of a study and write its report; finished cells are kept and never measured twice.

    Example: featune study run studies/quickstart.yaml --out runs/quickstart
    """
    with errors():
        from ..study import known_estimates, prepared, read_study, run_estimates, run_whole, save_plan_of

        progress = progress_of(quiet)
        study, sources = read_study(path, out, device=device, progress=progress, trusted=trust)
        study = prepared(dataclasses.replace(study, threads=1), sources, progress)
        save_plan_of(study, path)
        for task in study.tasks:
            progress.say(f"{task.name}: {len(task.classes)} classes, {counts(task.counts)}; {task.source}")
            for note in task.notes:
                progress.say(f"{task.name}: {note}")
        rows, speeds = run_whole(study, executor(jobs), progress)
        run_estimates(study, executor(jobs), progress)
        estimates = known_estimates(study)
        _finish(study, Path(study.out), rows, speeds, estimates, as_json, command=f"featune study run {path}")


@study_app.command("status")
def study_status(path: StudyPath, out: Out = None, device: Device = None, as_json: Json = False) -> None:
    """How many cells are done, failed and waiting, of those that the last run found. Runs and fetches nothing.

    Example: featune study status studies/quickstart.yaml
    """
    with errors():
        from ..results import printable
        from ..study import known_plan, planned

        plan, out, remarks = known_plan(path, out, device)
        done = plan.rows(out)
        total = len(plan.cells) or planned(path)
        failed = [row for row in done if row.error]
        counts = {
            "cells": total, "done": len(done) - len(failed), "failed": len(failed), "waiting": total - len(done),
        }  # fmt: skip
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        if as_json:
            print(json.dumps(counts | {"errors": {row.cell.name: row.error for row in failed}}, indent=1))
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for row in failed:
            cell = row.cell
            print(printable(f"{cell.task} {cell.model} {cell.regime}: {last_line(row.error)}"))


@study_app.command("report")
def study_report(
    path: StudyPath, out: Out = None, device: Device = None, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Write the report of the cells that are done so far. Runs and fetches nothing.

    Example: featune study report studies/quickstart.yaml
    """
    with errors():
        from ..results import RunStore
        from ..study import known_plan

        plan, out, remarks = known_plan(path, out, device)
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        rows = plan.rows(out)
        for row in rows:
            RunStore(out / "runs").check_scores(row)
        _finish(
            plan, out, rows, plan.known_speeds(out), plan.known_estimates(out), as_json,
            command=f"featune study report {path}",
        )  # fmt: skip


def _finish(
    study: "Study | Plan",
    out: Path,
    rows: "Sequence[Row]",
    speeds: "Sequence[Speed]",
    estimates: "Sequence[Estimate]",
    as_json: bool,
    *,
    command: str,
    seed: int = 0,
) -> None:
    """Write the report, print the table or JSON, and leave with 1 if a cell failed."""
    from featune.engine.store import plain

    from ..report import correlation_lines, estimator_lines, results_table, write_report
    from ..results import collect

    results = collect(rows)
    report = write_report(
        out, study.name, rows, speeds, estimates,
        notes=study.notes, source_name=study.source_name, command=command, seed=seed, results=results,
    )  # fmt: skip
    if as_json:
        measured = {"rows": plain(rows), "speeds": plain(speeds), "estimates": plain(estimates)}
        print(json.dumps(measured | {"report": str(report)}, indent=1))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(results_table(results))
        lines = correlation_lines(results, study.source_name, seed)
        for line in [*lines, *estimator_lines(results, estimates, speeds, study.source_name, seed)]:
            console.print(line, highlight=False, markup=False)
        console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)
    failed = [row for row in rows if row.error]
    if failed:
        reasons = dict.fromkeys(last_line(row.error) for row in failed)
        for reason in reasons:
            print(f"featune: failed: {reason}", file=sys.stderr)
        print(f"featune: {len(failed)} of {len(rows)} cells failed; run again to retry them", file=sys.stderr)
        raise typer.Exit(1)


def executor(jobs: int | None) -> "Executor":
    from ..study import default_jobs, processes

    return processes(jobs or default_jobs())


def last_line(text: str | None) -> str:
    """The message of a traceback, or the whole of a message of ours."""
    text = (text or "").strip()
    return text.split("\n")[-1] if text.startswith("Traceback") else text
