"""`featune demo` and `featune study run | retry`: parse, call one function, print."""

import contextlib
import dataclasses
import functools
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...terminal import Json, Quiet, command_line, counts, errors, progress_of
from .arrays import run_shard
from .executors import Address, Gpus, Kind, check_executor, opened_executor
from .finishing import finish
from .options import Device, OnlyCells, Out, StudyPath

if TYPE_CHECKING:
    from collections.abc import Callable

    from ...study import Executor, Failed, Study

run_app = typer.Typer()

Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at a time, one thread each. (default: all processors)"),
]
Trust = Annotated[
    bool, typer.Option("--trust", help="Let the file name any installed function, and download to any folder.")
]


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
        finish(
            study, out, rows, speeds, known_estimates(study), rights(out, study.tasks, rows), as_json,
            command=command_line("featune", "demo", seed=seed, out=out), seed=seed,
        )  # fmt: skip


@run_app.command("run")
def study_run(
    path: StudyPath,
    out: Out = None,
    jobs: Jobs = None,
    device: Device = None,
    only: OnlyCells = None,
    keep_failed: Annotated[
        bool,
        typer.Option("--keep-failed", help="Leave cells that failed before as they are; without it they are retried."),
    ] = False,
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

    Example: featune study run mystudy.yaml --only model='resnet*' --only seed=0
    """
    with errors():
        from featune.engine.errors import BadInput

        check_executor(executor_kind, address, device, gpus_per_cell)
        if shard is not None:
            if only or keep_failed:
                raise BadInput("--shard is a share of all cells; leave --only and --keep-failed out")
            if executor_kind != "local":
                raise BadInput("--shard is measured by this machine; leave --executor ray out, which needs no shares")
            with stopping():
                run_shard(path, shard, executor(jobs), progress_of(quiet), as_json, out, device, trust)
            return
    local = functools.partial(executor, jobs)
    _measure(
        path, out, device, only, "keep" if keep_failed else "retry", trust, quiet, as_json,
        lambda study: opened_executor(executor_kind, address, gpus_per_cell, jobs, study, local),
        remeasure_speed=remeasure_speed,
        command=command_line(
            "featune", "study", "run", path, out=out, device=device, only=only, keep_failed=keep_failed, trust=trust
        ),
    )  # fmt: skip


@run_app.command("retry")
def study_retry(
    path: StudyPath,
    out: Out = None,
    jobs: Jobs = None,
    device: Device = None,
    only: OnlyCells = None,
    trust: Trust = False,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure the cells that failed again, and nothing else, and write the report.

    Example: featune study retry mystudy.yaml --only regime=finetune
    """
    _measure(
        path, out, device, only, "only", trust, quiet, as_json,
        lambda study: contextlib.nullcontext(executor(jobs)),
        command=command_line("featune", "study", "retry", path, out=out, device=device, only=only, trust=trust),
    )  # fmt: skip


def _measure(
    path: Path, out: Path | None, device: str | None, only: list[str] | None, failed: "Failed", trust: bool,
    quiet: bool, as_json: bool, opened: "Callable[[Study], contextlib.AbstractContextManager[Executor]]",
    *, command: str, remeasure_speed: bool = False,
) -> None:  # fmt: skip
    """Measure what is asked for; the report is of all that the study has by then. opened: the executor of a study."""
    with errors(), stopping():
        from ...results import only as cells_meant
        from ...study import (
            finished,
            known_estimates,
            known_speeds,
            prepared,
            read_study,
            rights,
            run_estimates,
            run_whole,
            save_plan_of,
            with_failed_cells,
            with_pretrained,
        )

        progress = progress_of(quiet)
        whole, sources = read_study(path, out, device=device, progress=progress, work=True, trusted=trust)
        axes = whole.axes()
        axes["task"] = [source.name for source in sources]
        meant = cells_meant(only, axes) if only else None
        whole = prepared(dataclasses.replace(whole, threads=1), sources, progress)
        wanted = meant.names["model"] if meant else None
        with opened(whole) as execute:
            whole, unmade = with_pretrained(whole, execute, progress, () if failed == "only" else wanted)
        save_plan_of(whole, path)
        study = whole.narrowed(meant) if meant else whole
        for task in study.tasks:
            progress.say(f"{task.name}: {len(task.classes)} classes, {counts(task.counts)}; {task.source}")
            for note in task.notes:
                progress.say(f"{task.name}: {note}")
        if failed == "only":
            study = with_failed_cells(study)
            if not study.models:
                progress.say("no cell has failed: nothing to measure")
        with opened(study) as execute:
            rows, speeds = run_whole(study, execute, progress, remeasure_speed=remeasure_speed, failed=failed)
            if failed != "only":
                run_estimates(study, execute, progress)
        cells = {row.cell for row in rows}
        if study is not whole:
            rows, speeds = finished(whole), known_speeds(whole)
        folder = Path(whole.out)
        for error in unmade.values():
            print(f"featune: failed: {error}", file=sys.stderr)
        if unmade and not rows:  # nothing to report of yet
            raise typer.Exit(1)
        finish(
            whole, folder, rows, speeds, known_estimates(whole), rights(folder, whole.tasks, rows), as_json,
            command=command, retry=command_line("featune", "study", "retry", path, out=out, device=device), asked=cells,
        )  # fmt: skip
        if unmade:
            raise typer.Exit(1)


def stopping() -> contextlib.AbstractContextManager[None]:
    from ...study.cluster import stopping_on_signals

    return stopping_on_signals(("torch", "timm", "sklearn"))


def executor(jobs: int | None) -> "Executor":
    from ...study import default_jobs, processes

    return processes(jobs or default_jobs())
