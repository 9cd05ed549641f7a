"""`featune demo` and `featune study run | status | report`: parse, call one function, print."""

import contextlib
import dataclasses
import functools
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...terminal import Json, Quiet, command_line, counts, errors, json_text, progress_of
from .arrays import run_shard
from .executors import Address, Gpus, Kind, check_executor, opened_executor
from .files import Out, StudyPath

if TYPE_CHECKING:
    from ...results import Cell, Estimate, Plan, Right, Row, Speed
    from ...study import Executor, Study

run_app = typer.Typer()

Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at a time, one thread each. (default: all processors)"),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let the file name any installed function, and download to any folder.")
]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N. (default: the file's)")]


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
        from ...demo import demo as run_demo
        from ...study import known_estimates, rights

        progress = progress_of(quiet)
        study, rows, speeds = run_demo(out, seed, executor(jobs), progress)
        _finish(
            study, out, rows, speeds, known_estimates(study), rights(out, study.tasks, rows), as_json,
            command=command_line("featune", "demo", seed=seed, out=out), seed=seed,
        )  # fmt: skip


@run_app.command("run")
def study_run(
    path: StudyPath,
    out: Out = None,
    jobs: Jobs = None,
    device: Device = None,
    remeasure_speed: Annotated[
        bool, typer.Option("--remeasure-speed", help="Measure all throughput again, on a machine that is quiet now.")
    ] = False,
    trust: Trust = False,
    shard: Annotated[
        str | None, typer.Option("--shard", help="I/N: this share of the cells alone, and no report; see `slurm`.")
    ] = None,
    executor_kind: Kind = "local",
    address: Address = None,
    gpus_per_cell: Gpus = 1.0,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure every cell of a study and write its report. Finished cells are not measured again.

    Example: featune study run mystudy.yaml --out runs/mystudy
    """
    with errors(), stopping():
        from ...study import known_estimates, prepared, read_study, rights, run_estimates, run_whole, save_plan_of

        progress = progress_of(quiet)
        check_executor(executor_kind, address, device)
        if shard is not None:
            run_shard(path, shard, executor(jobs), progress, as_json, out, device, trust)
            return
        study, sources = read_study(path, out, device=device, progress=progress, work=True, trusted=trust)
        study = prepared(dataclasses.replace(study, threads=1), sources, progress)
        save_plan_of(study, path)
        for task in study.tasks:
            progress.say(f"{task.name}: {len(task.classes)} classes, {counts(task.counts)}; {task.source}")
            for note in task.notes:
                progress.say(f"{task.name}: {note}")
        local = functools.partial(executor, jobs)
        with opened_executor(executor_kind, address, gpus_per_cell, jobs, study, local) as execute:
            rows, speeds = run_whole(study, execute, progress, remeasure_speed=remeasure_speed)
            run_estimates(study, execute, progress)
        folder = Path(study.out)
        _finish(
            study, folder, rows, speeds, known_estimates(study), rights(folder, study.tasks, rows), as_json,
            command=command_line("featune", "study", "run", path, out=out, device=device, trust=trust),
        )  # fmt: skip


@run_app.command("status")
def study_status(path: StudyPath, out: Out = None, device: Device = None, as_json: Json = False) -> None:
    """Count the cells that are done, failed and waiting, of those that the last run found. Runs and fetches nothing.

    Example: featune study status mystudy.yaml
    """
    with errors():
        from ...results import printable
        from ...study import known_plan, planned

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
            print(json_text(counts | {"errors": {row.cell.name: row.error for row in failed}}))
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for row in failed:
            cell = row.cell
            print(printable(f"{cell.task} {cell.model} {cell.regime}: {last_line(row.error)}"))


@run_app.command("report")
def study_report(
    path: StudyPath, out: Out = None, device: Device = None, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Write the report of the cells that are done so far. Runs and fetches nothing.

    Example: featune study report mystudy.yaml
    """
    with errors():
        from ...results import RunStore
        from ...study import known_plan, known_tasks, rights

        plan, found, remarks = known_plan(path, out, device)
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        rows = plan.rows(found)
        for row in rows:
            RunStore(found / "runs").check_scores(row)
        _finish(
            plan, found, rows, plan.known_speeds(found), plan.known_estimates(found),
            rights(found, known_tasks(plan), rows), as_json,
            command=command_line("featune", "study", "report", path, out=out, device=device),
        )  # fmt: skip


def _finish(
    study: "Study | Plan",
    out: Path,
    rows: "Sequence[Row]",
    speeds: "Sequence[Speed]",
    estimates: "Sequence[Estimate]",
    right: "Mapping[Cell, Right]",
    as_json: bool,
    *,
    command: str,
    seed: int = 0,
) -> None:
    """Write the report, print the table or JSON, and leave with 1 if a cell failed."""
    from featune.engine.store import plain

    from ...published import published_rows
    from ...report import (
        correlation_lines,
        estimator_lines,
        finding_lines,
        results_table,
        speed_lines,
        write_report,
    )
    from ...results import collect

    shown = [*rows, *published_rows(study.published)]
    results = collect(shown)
    report = write_report(
        out, study.name, shown, speeds, estimates,
        notes=study.notes, source_name=study.source_name, command=command, seed=seed, right=right, results=results,
    )  # fmt: skip
    if as_json:
        measured = {"rows": plain(shown), "speeds": plain(speeds), "estimates": plain(estimates)}
        print(json_text(measured | {"report": str(report)}))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(results_table(collect(rows) if study.published else results))
        lines = correlation_lines(results, study.source_name, seed)
        lines += finding_lines(shown, results, speeds, study.source_name, seed, right)
        lines += estimator_lines(
            collect(rows) if study.published else results, estimates, speeds, study.source_name, seed
        )
        for line in [*lines, *speed_lines(speeds)]:
            console.print(line, highlight=False, markup=False)
        console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)
    failed = [row for row in rows if row.error]
    if failed:
        reasons = dict.fromkeys(last_line(row.error) for row in failed)
        for reason in reasons:
            print(f"featune: failed: {reason}", file=sys.stderr)
        print(f"featune: {len(failed)} of {len(rows)} cells failed; run again to retry them", file=sys.stderr)
        raise typer.Exit(1)


def stopping() -> contextlib.AbstractContextManager[None]:
    from ...study.cluster import stopping_on_signals

    return stopping_on_signals(("torch", "timm", "sklearn"))


def executor(jobs: int | None) -> "Executor":
    from ...study import default_jobs, processes

    return processes(jobs or default_jobs())


def last_line(text: str | None) -> str:
    """The message of a traceback, or the whole of a message of ours."""
    text = (text or "").strip()
    return text.split("\n")[-1] if text.startswith("Traceback") else text
