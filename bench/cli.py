"""The `featune` command: parse, call one function, print. Heavy imports wait inside the commands."""

import contextlib
import dataclasses
import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

if TYPE_CHECKING:
    from bench.executors import Executor
    from bench.progress import Progress
    from bench.runs import Row, Speed
    from bench.study import Study

STUDIES = "Studies"
DATA = "Data"
EXPORT = "Export"

app = typer.Typer(
    name="featune",
    no_args_is_help=True,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="Does a better ImageNet model help on my data, and what does it cost? "
    "Frozen features, fine-tuning and throughput of timm models, compared with their ImageNet accuracy.",
    epilog="Exit codes: 0 all done; 1 some cell failed; 2 usage or data; 3 an export is not its model; "
    "4 something is missing on this machine; 130 interrupted after saving.",
)
study_app = typer.Typer(no_args_is_help=True, help="Run a study file, see how far it is, write its report.")
app.add_typer(study_app, name="study", rich_help_panel=STUDIES)

Quiet = Annotated[bool, typer.Option("--quiet", "-q", help="No progress on stderr.")]
Json = Annotated[bool, typer.Option("--json", help="Results as JSON on stdout.")]
Jobs = Annotated[
    int | None,
    typer.Option("--jobs", "-j", min=1, help="Cells at a time, one thread each. [default: all processors]"),
]
Out = Annotated[Path | None, typer.Option("--out", "-o", help="Folder of the results. [default: runs/NAME]")]
StudyPath = Annotated[Path, typer.Argument(metavar="STUDY.yaml", help="The study file.")]
Device = Annotated[str | None, typer.Option("--device", help="cpu, cuda or cuda:N. [default: the file's]")]


def _print_version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        print(f"featune {version('featune')}")
        raise typer.Exit


@app.callback()
def main(
    version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """Options that stand before every command."""


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
    with _errors():
        from bench.demo import demo as run_demo

        progress = _progress(quiet)
        study, rows, speeds = run_demo(out, seed, _executor(jobs), progress)
        _finish(study, rows, speeds, progress, as_json, command=f"featune demo --seed {seed}", seed=seed)


@study_app.command("run")
def study_run(
    path: StudyPath,
    out: Out = None,
    jobs: Jobs = None,
    device: Device = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure every cell of a study and write its report; finished cells are kept and never measured twice.

    Example: featune study run studies/quickstart.yaml --out runs/quickstart
    """
    with _errors():
        from bench.estimates import run_estimates
        from bench.study import run_whole
        from bench.studyfile import prepared, read_study

        progress = _progress(quiet)
        study, sources = read_study(path, out, device=device)
        study = prepared(dataclasses.replace(study, threads=1), sources)
        for task in study.tasks:
            progress.say(f"{task.name}: {len(task.classes)} classes, {_counts(task.counts)}; {task.source}")
            for note in task.notes:
                progress.say(f"{task.name}: {note}")
        rows, speeds = run_whole(study, _executor(jobs), progress)
        run_estimates(study, _executor(jobs), progress)
        _finish(study, rows, speeds, progress, as_json, command=f"featune study run {path}")


@study_app.command("status")
def study_status(path: StudyPath, out: Out = None, device: Device = None, as_json: Json = False) -> None:
    """How many cells are done, failed and waiting.

    Example: featune study status studies/quickstart.yaml
    """
    with _errors():
        study, done = _known(path, out, device)
        cells = study.cells()
        failed = [row for row in done if row.error]
        counts = {
            "cells": len(cells), "done": len(done) - len(failed),
            "failed": len(failed), "waiting": len(cells) - len(done),
        }  # fmt: skip
        if as_json:
            print(json.dumps(counts | {"errors": {row.cell.name: row.error for row in failed}}, indent=1))
            return
        print(", ".join(f"{count} {name}" for name, count in counts.items()))
        for row in failed:
            print(f"{row.cell.task} {row.cell.model} {row.cell.regime}: {_last_line(row.error)}")


@study_app.command("report")
def study_report(
    path: StudyPath, out: Out = None, device: Device = None, quiet: Quiet = False, as_json: Json = False
) -> None:
    """Write the report of the cells that are done so far.

    Example: featune study report studies/quickstart.yaml
    """
    with _errors():
        from bench.study import known_speeds

        study, rows = _known(path, out, device)
        _finish(
            study,
            rows,
            known_speeds(study),
            _progress(quiet),
            as_json,
            command=f"featune study report {path}",
        )


@app.command("tasks", rich_help_panel=DATA)
def tasks_command(
    as_json: Json = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="The table of docs/tasks.md.")] = False,
) -> None:
    """The public data sets that `featune prepare` knows: classes, images, metric, licence, where to get them.

    Example: featune tasks --json
    """
    from bench.catalogue import TASKS
    from bench.listing import tasks_json, tasks_markdown, tasks_table

    if as_json:
        print(json.dumps(tasks_json(TASKS.values()), indent=1, ensure_ascii=False))
    elif markdown:
        print(tasks_markdown(TASKS.values()), end="")
    else:
        from rich.console import Console

        Console(width=None if sys.stdout.isatty() else 120).print(tasks_table(TASKS.values()))


@app.command(rich_help_panel=DATA)
def prepare(
    task: Annotated[str, typer.Argument(help="A name from `featune tasks`.")],
    raw: Annotated[Path, typer.Option("--raw", help="Folder that the official download was unpacked in.")],
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of prepared tasks; writes OUT/TASK.")] = Path("data"),
    variant: Annotated[
        str, typer.Option("--variant", help="Another protocol; see `featune tasks --json`.")
    ] = "default",
    download: Annotated[
        bool, typer.Option("--download", help="Fetch and unpack it into RAW where that is allowed.")
    ] = False,
    decode: Annotated[bool, typer.Option(help="Read every image once, so that a broken one is found now.")] = True,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Turn an official download into a checked task: train.csv, val.csv, test.csv, task.json.

    Example: featune prepare pets --raw downloads --download
    """
    with _errors():
        from bench.catalogue import entry
        from bench.downloads import download as fetch
        from bench.official import described, prepare_official

        progress = _progress(quiet)
        entry(task).check_variant(variant)
        if download:
            fetch(entry(task), raw, progress)
        progress.say(f"{task}: reading {raw}")
        made = prepare_official(task, raw, out, variant=variant, decode=decode)
        if as_json:
            print(json.dumps(described(made), indent=1, ensure_ascii=False))
            return
        print(f"{made.name}: {len(made.classes)} classes, {_counts(made.counts)}, metric {made.metric}")
        print(f"source: {made.source}")
        for note in made.notes:
            print(f"note: {note}")
        print(f"folder: {made.folder}")


@app.command("export", rich_help_panel=EXPORT)
def export_command(
    model: Annotated[str, typer.Argument(help="A timm name, hf-hub:owner/name, or file.py:function.")],
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, int8, or auto.")] = "fp32",
    to: Annotated[str, typer.Option(help="onnx or tensorrt (a plan for this GPU).")] = "onnx",
    target: Annotated[str | None, typer.Option(help="cpu or tensorrt: int8 differs. [default: by --to]")] = None,
    data: Annotated[Path | None, typer.Option(help="A folder of your images. [default: two photographs]")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write. [default: MODEL.onnx]")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    logits: Annotated[bool, typer.Option("--logits", help="The source task's logits too.")] = False,
    untrained: Annotated[bool, typer.Option("--untrained", help="Random weights; nothing is fetched.")] = False,
    batches: Annotated[str, typer.Option(help="Least, usual and most of a plan.")] = "1,64,256",
    refittable: Annotated[bool, typer.Option("--refittable", help="A plan whose weights can be replaced.")] = False,
    device: Annotated[str, typer.Option("--device", help="The GPU of a plan.")] = "cuda",
    as_json: Json = False,
) -> None:
    """Make an ONNX file or a TensorRT plan that carries its preprocessing and its verdict; exit 3 if it is wrong.

    Example: featune export resnet50 --precision int8 --data photos/ --out resnet50.int8.onnx
    """
    with _errors():
        from engine.errors import BadInput
        from engine.store import plain
        from export.command import export_model, verdict_lines

        try:
            least, usual, most = (int(number) for number in batches.split(","))
        except ValueError:
            raise BadInput(f"--batches {batches!r} found, three numbers such as 1,64,256 expected") from None
        made = export_model(
            model, precision=precision, to=to, target=target, data=data, out=out, checkpoint=checkpoint,
            logits=logits, untrained=untrained, batches=(least, usual, most), refittable=refittable, device=device,
        )  # fmt: skip
        print(json.dumps(plain(made), indent=1) if as_json else "\n".join(verdict_lines(made.path, made.verdict)))


@app.command(rich_help_panel=EXPORT)
def verify(
    artefact: Annotated[Path, typer.Argument(help="A file that featune export wrote.")],
    data: Annotated[Path | None, typer.Option(help="A folder of your images. [default: two photographs]")] = None,
    model: Annotated[str | None, typer.Option(help="What it should be. [default: what it says it is]")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The local weights that it was made from.")] = None,
    device: Annotated[str, typer.Option("--device", help="The GPU of a plan.")] = "cuda",
    as_json: Json = False,
) -> None:
    """Is this file still its model? Judged on real images against torch; exit 3 if not, with the layer that departs.

    Example: featune verify resnet50.int8.onnx --data photos/
    """
    with _errors():
        from export.command import verdict_lines
        from export.command import verify as judge

        verdict = judge(artefact, data, model=model, checkpoint=checkpoint, device=device)
        print(json.dumps(verdict, indent=1) if as_json else "\n".join(verdict_lines(str(artefact), verdict)))


@app.command("models", rich_help_panel=EXPORT)
def models_command(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or with * and ?.")] = "*",
    macs: Annotated[bool, typer.Option("--macs", help="Count multiply-adds too: seconds per model.")] = False,
    as_json: Json = False,
) -> None:
    """timm's pretrained models: parameters, input, licence, published ImageNet top-1, ReaL and V2.

    Example: featune models 'convnext_tiny*' --macs
    """
    with _errors():
        from engine.store import plain
        from export.known import known_models

        found = known_models(pattern, macs)
        if as_json:
            print(json.dumps(plain(found), indent=1))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("model", "side", "M params", "G MACs", "top-1", "ReaL", "V2", "licence")
        for each in found:
            shares = [f"{100 * share:.2f}" if share is not None else "" for share in (each.top1, each.real, each.v2)]
            sizes = [f"{size:.2f}" if size is not None else "" for size in (each.million_parameters, each.gmacs)]
            table.add_row(each.model, str(each.side), *sizes, *shares, each.licence)
        Console(width=None if sys.stdout.isatty() else 140).print(table)


def _known(path: Path, out: Path | None, device: str | None) -> "tuple[Study, list[Row]]":
    """The study of a file and its rows so far."""
    from bench.study import finished
    from bench.studyfile import prepared, read_study

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
    from bench.estimates import known_estimates
    from bench.report import correlation_lines, estimator_lines, results_table, write_report
    from engine.store import plain

    estimates = known_estimates(study)
    report = write_report(
        Path(study.out), study.name, rows, speeds, estimates,
        notes=study.notes, source_name=study.source_name, command=command, seed=seed,
    )  # fmt: skip
    if as_json:
        measured = {"rows": plain(rows), "speeds": plain(speeds), "estimates": plain(estimates)}
        print(json.dumps(measured | {"report": str(report)}, indent=1))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(results_table(rows))
        lines = correlation_lines(rows, study.source_name, seed)
        for line in [*lines, *estimator_lines(rows, estimates, speeds, study.source_name, seed)]:
            console.print(line, highlight=False, markup=False)
        console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)
    failed = [row for row in rows if row.error]
    if failed:
        reasons = dict.fromkeys(_last_line(row.error) for row in failed)
        for reason in reasons:
            print(f"featune: failed: {reason}", file=sys.stderr)
        print(f"featune: {len(failed)} of {len(rows)} cells failed; run again to retry them", file=sys.stderr)
        raise typer.Exit(1)


@contextlib.contextmanager
def _errors() -> Iterator[None]:
    """Our own errors as one message and their exit code; anything else is our defect and keeps its traceback."""
    from engine.errors import FeatuneError

    try:
        yield
    except FeatuneError as error:
        print(f"featune: {error}", file=sys.stderr)
        raise typer.Exit(error.exit_code) from None
    except KeyboardInterrupt:
        print("featune: interrupted; what is finished is saved, run again to go on", file=sys.stderr)
        raise typer.Exit(130) from None


def _progress(quiet: bool) -> "Progress":
    from bench.progress import progress_for

    return progress_for(quiet)


def _executor(jobs: int | None) -> "Executor":
    from bench.executors import default_jobs, processes

    return processes(jobs or default_jobs())


def _counts(counts: Any) -> str:
    return ", ".join(f"{count} {split}" for split, count in counts.items())


def _last_line(text: str | None) -> str:
    """The message of a traceback, or the whole of a message of ours."""
    text = (text or "").strip()
    return text.split("\n")[-1] if text.startswith("Traceback") else text
