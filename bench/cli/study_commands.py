"""`featune demo` and `featune study`: parse, call one function, print."""

import dataclasses
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from .terminal import Json, Quiet, command_line, counts, errors, json_text, progress_of

if TYPE_CHECKING:
    from ..progress import Progress
    from ..results import Row, Speed
    from ..study import Executor, Study

STUDIES = "Studies"
app = typer.Typer()
study_app = typer.Typer(no_args_is_help=True, help="Run a study file, show its progress, write its report.")
app.add_typer(study_app, name="study", rich_help_panel=STUDIES)

Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at a time, one thread each. (default: all processors)"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the results. (default: runs/NAME)")]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N. (default: the file's)")]


@app.command(rich_help_panel=STUDIES)
def demo(
    seed: Annotated[
        int, typer.Option(min=0, max=2**32 - 1, help="Seed of the images, the weights and the training.")
    ] = 0,
    out: Annotated[Path, typer.Option("--out", "-o", help="Output folder.")] = Path("runs/demo"),
    jobs: Jobs = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Run the papers in miniature, offline, in a few minutes, and write report.html.

    A killed run resumes when it is started again.

    Example: featune demo --seed 1 --out runs/demo1
    """
    with errors():
        from ..demo import demo as run_demo

        progress = progress_of(quiet)
        study, rows, speeds = run_demo(out, seed, executor(jobs), progress)
        _finish(
            study,
            rows,
            speeds,
            progress,
            as_json,
            command=command_line("featune", "demo", seed=seed, out=out),
            seed=seed,
        )


@study_app.command("run")
def study_run(
    path: StudyPath,
    out: Out = None,
    jobs: Jobs = None,
    device: Device = None,
    remeasure_speed: Annotated[
        bool, typer.Option("--remeasure-speed", help="Measure all throughput again, on a machine that is quiet now.")
    ] = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure every cell of a study and write its report. Finished cells are not measured again.

    Example: featune study run mystudy.yaml --out runs/mystudy
    """
    with errors():
        from ..study import prepared, read_study, run_estimates, run_whole

        progress = progress_of(quiet)
        study, sources = read_study(path, out, device=device, progress=progress, work=True)
        study = prepared(dataclasses.replace(study, threads=1), sources, progress)
        for task in study.tasks:
            progress.say(f"{task.name}: {len(task.classes)} classes, {counts(task.counts)}; {task.source}")
            for note in task.notes:
                progress.say(f"{task.name}: {note}")
        rows, speeds = run_whole(study, executor(jobs), progress, remeasure_speed=remeasure_speed)
        run_estimates(study, executor(jobs), progress)
        _finish(
            study,
            rows,
            speeds,
            progress,
            as_json,
            command=command_line("featune", "study", "run", path, out=out, device=device),
        )


@study_app.command("status")
def study_status(path: StudyPath, out: Out = None, device: Device = None, as_json: Json = False) -> None:
    """Count the cells that are done, failed and waiting.

    Example: featune study status mystudy.yaml
    """
    with errors():
        study, done = _known(path, out, device)
        cells = study.cells()
        failed = [row for row in done if row.error]
        counts = {
            "cells": len(cells), "done": len(done) - len(failed),
            "failed": len(failed), "waiting": len(cells) - len(done),
        }  # fmt: skip
        if as_json:
            print(json_text(counts | {"errors": {row.cell.name: row.error for row in failed}}))
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for row in failed:
            print(f"{row.cell.task} {row.cell.model} {row.cell.regime}: {last_line(row.error)}")


@study_app.command("report")
def study_report(
    path: StudyPath, out: Out = None, device: Device = None, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Write the report of the cells that are done so far.

    Example: featune study report mystudy.yaml
    """
    with errors():
        from ..study import known_speeds

        study, rows = _known(path, out, device)
        _finish(
            study,
            rows,
            known_speeds(study),
            progress_of(quiet),
            as_json,
            command=command_line("featune", "study", "report", path, out=out, device=device),
        )


def _known(path: Path, out: Path | None, device: str | None) -> "tuple[Study, list[Row]]":
    """The study of a file and its rows so far."""
    from ..study import finished, prepared, read_study

    study, sources = read_study(path, out, device=device)
    study = prepared(dataclasses.replace(study, threads=1), sources)
    return study, finished(study)


def _finish(
    study: "Study",
    rows: "Sequence[Row]",
    speeds: "Sequence[Speed]",
    progress: "Progress",
    as_json: bool,
    *,
    command: str,
    seed: int = 0,
) -> None:
    """Write the report, print the table or JSON, and leave with 1 if a cell failed."""
    from featune.engine.store import plain

    from ..report import correlation_lines, estimator_lines, results_table, speed_lines, write_report
    from ..study import known_estimates, rights

    estimates = known_estimates(study)
    report = write_report(
        Path(study.out), study.name, rows, speeds, estimates,
        notes=study.notes, source_name=study.source_name, command=command, seed=seed, right=rights(study, rows),
    )  # fmt: skip
    if as_json:
        measured = {"rows": plain(rows), "speeds": plain(speeds), "estimates": plain(estimates)}
        print(json_text(measured | {"report": str(report)}))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(results_table(rows))
        lines = correlation_lines(rows, study.source_name, seed)
        for line in [*lines, *estimator_lines(rows, estimates, speeds, study.source_name, seed), *speed_lines(speeds)]:
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
