"""`featune study slurm | missing`, and `run --shard`: a study as a job array; parse, call one function, print."""

import dataclasses
import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from ...terminal import Json, errors, json_text
from .finishing import last_line
from .options import Device, Out, StudyPath

if TYPE_CHECKING:
    from ...progress import Progress
    from ...study import Executor

arrays_app = typer.Typer()

Shards = Annotated[int, typer.Option("--shards", "-n", min=1, max=999_999, help="Tasks of the array.")]
PASSED = (
    "FEATUNE_CACHE_LIMIT",
    "HF_HOME",
    "HF_HUB_OFFLINE",
    "TORCH_HOME",
    "XDG_CACHE_HOME",
)  # a token is not written into a file


def run_shard(
    path: Path,
    shard: str,
    execute: "Executor",
    progress: "Progress",
    as_json: bool,
    out: Path | None,
    device: str | None,
    trust: bool,
) -> None:
    """What `featune study run --shard` does; leaves with 1 if a cell or a pre-training failed."""
    from featune.engine.store import plain

    from ...study.cluster import parsed_shard, work_on_share

    found = parsed_shard(shard)
    rows, counts = work_on_share(path, found, execute, progress, out=out, device=device, trusted=trust)
    if as_json:
        print(json_text({"shard": plain(found), **dataclasses.asdict(counts), "rows": plain(rows)}))
    else:
        print(f"share {found.index} of {found.count}: {counts.cells} cells, {counts.done} done, {counts.failed} failed")
    if counts.failed or counts.unmade:
        for reason in dict.fromkeys([*counts.unmade, *(last_line(row.error) for row in rows if row.error)]):
            print(f"featune: failed: {reason}", file=sys.stderr)
        raise typer.Exit(1)


@arrays_app.command("slurm")
def study_slurm(
    path: StudyPath,
    shards: Shards,
    out: Out = None,
    device: Device = None,
    time: Annotated[str, typer.Option(help="Limit of a task: MINUTES, HH:MM:SS or D-HH:MM:SS.")] = "04:00:00",
    cpus: Annotated[int, typer.Option(min=1, help="Processors of a task: cells at a time.")] = 4,
    gpus: Annotated[int, typer.Option(min=0, help="GPUs of a task.")] = 0,
    at_once: Annotated[int | None, typer.Option(min=1, help="Tasks that run at the same time, at most.")] = None,
    grace: Annotated[int, typer.Option(min=10, help="Seconds before the limit at which a task stops.")] = 300,
    sbatch: Annotated[list[str] | None, typer.Option(help="NAME=VALUE of sbatch; may be repeated.")] = None,
    trust: Annotated[bool, typer.Option("--trust", help="As of `featune study run`.")] = False,
) -> None:
    """Write the script of a Slurm job array that measures a study, one share of the cells a task. Runs nothing.

    Example: featune study slurm mystudy.yaml --shards 100 --time 02:00:00 --sbatch mem=16G
    """
    with errors():
        from featune.engine.store import cache_dir, write_text

        from ...study import known_plan
        from ...study.cluster import Job, array_script

        plan, folder, _ = known_plan(path, out, device)  # which reads and checks the file
        job = Job(shards, time, cpus, gpus, at_once, grace, tuple(sbatch or ()))
        passed = {name: os.environ[name] for name in PASSED if os.environ.get(name)}
        script = array_script(
            path.absolute(), folder.absolute(), plan.name, job, python=sys.executable, folder=Path.cwd(),
            cache=cache_dir().absolute(), environment=passed, device=device, trusted=trust,
        )  # fmt: skip
        file = folder / "slurm" / f"{path.stem}.sbatch"
        write_text(file, script)
        print(file)
        print(f"start it with: sbatch {file}", file=sys.stderr)
        print(f"then: featune study run {path}, for throughput, estimates and the report", file=sys.stderr)


@arrays_app.command("missing")
def study_missing(
    path: StudyPath,
    shards: Shards,
    out: Out = None,
    device: Device = None,
    as_json: Json = False,
) -> None:
    """Print the shares that have a cell without a value, as `sbatch --array` takes them. Runs and fetches nothing.

    Nothing is printed where none is missing.

    Example: sbatch --array=$(featune study missing mystudy.yaml --shards 100) runs/mystudy/slurm/mystudy.sbatch
    """
    with errors():
        from ...study import known_plan
        from ...study.cluster import missing_shards, ranges

        plan, folder, remarks = known_plan(path, out, device)
        for remark in remarks:
            print(f"note: {remark}", file=sys.stderr)
        done = [row.cell for row in plan.each_row(folder) if row.error is None]
        if plan.cells:
            found = missing_shards(plan.cells, done, shards)
        else:
            print("note: no task has run yet, so all are missing", file=sys.stderr)
            found = list(range(1, shards + 1))
        if as_json:
            left = len(plan.cells) - len(done) if plan.cells else None
            print(json_text({"array": ranges(found), "shards": found, "cells_left": left}))
        elif found:
            print(ranges(found))
