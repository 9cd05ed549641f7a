"""`featune throughput` and `featune throughput compare`: parse, call one function, print."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from ..terminal import Device, Fallback, Json, Quiet, Untrained, errors, json_text, progress_of

THROUGHPUT = "Throughput"
COMPARE = "compare"
app = typer.Typer()


@app.command(rich_help_panel=THROUGHPUT)
def throughput(
    models: Annotated[
        list[str], typer.Argument(metavar="MODEL...|compare A.json B.json", help="timm names, or two reports.")
    ],
    backend: Annotated[
        str, typer.Option(help="torch, torch-compile, onnxruntime, tensorrt or onnxruntime-tensorrt, by commas.")
    ] = "torch,onnxruntime",
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, int8 or auto, by commas.")] = "fp32",
    batch: Annotated[
        str, typer.Option("--batch", "--batch-size", help="Such as 1,8,64; auto: 1, and the fastest one.")
    ] = "auto",
    data: Annotated[Path | None, typer.Option(help="A folder of images: measures from files too.")] = None,
    device: Device = "cpu",
    threads: Annotated[int | None, typer.Option(min=1, help="Of a CPU. (default: all)")] = None,
    untrained: Untrained = False,
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    latency_limit_ms: Annotated[
        float | None, typer.Option(help="Milliseconds that a call may take, where the batch is searched.")
    ] = None,
    price_per_hour: Annotated[float | None, typer.Option(min=0, help="Of this machine: gives the cost.")] = None,
    rounds: Annotated[int, typer.Option(min=2, help="Turns of each worker, an even number; below 6 no verdict.")] = 40,
    seconds: Annotated[float, typer.Option(min=0.01, help="Of one turn, at least.")] = 0.1,
    published: Annotated[
        Path | None, typer.Option(help="A benchmark-infer-*.csv of timm's, to be shown beside.")
    ] = None,
    allow_fallback: Fallback = False,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="Of the order of the turns.")] = 0,
    remeasure: Annotated[bool, typer.Option("--remeasure", help="Measure again what is in --out already.")] = False,
    out: Annotated[Path, typer.Option("--out", "-o", help="Folder of the report.")] = Path("runs/throughput"),
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Measure models on backends in turns, and say which is faster, equal or undecided, and which to take.

    A killed run goes on; a finished one is shown again, with its date. With compare: what changed between two
    reports, of two machines, versions or dates.

    Example: featune throughput resnet18 mobilenetv3_small_050 --untrained --out runs/speed
    """
    with errors():
        if models[0] == COMPARE:
            _compare(models[1:], as_json)
            return
        from ..throughput import Effort
        from ..throughput.report import (
            published_speeds,
            summary_lines,
            terminal_table,
            with_recommendations,
            write_report,
        )
        from ..throughput.session import Asked, Source, run

        names = [name for given in models for name in given.split(",")]
        asked = Asked(
            names, backend.split(","), precision.split(","), numbers(batch), device, threads,
            Source(data, untrained, checkpoint, allow_fallback), latency_limit_ms, price_per_hour,
            Effort(rounds, seconds), seed, out,
        )  # fmt: skip
        beside = published_speeds(published, names) if published else []
        found = run(asked, progress_of(quiet), remeasure=remeasure)
        page = write_report(out, found.rows, found.document, beside)
        if as_json:
            print(json_text(with_recommendations(found.rows, found.document)))
        else:
            from rich.console import Console

            table = terminal_table(found.rows, found.document, beside)
            Console(width=None if sys.stdout.isatty() else 160).print(table)
            print("\n".join([*summary_lines(found.rows, found.document), f"report: {page}"]))
        if any(row.error for row in found.rows):
            raise typer.Exit(1)


def numbers(batch: str) -> tuple[int, ...]:
    """Of `1,8,64`; none for auto."""
    from featune.engine.errors import BadInput

    if batch == "auto":
        return ()
    try:
        found = tuple(int(word) for word in batch.split(","))
    except ValueError:
        found = ()
    if not found or min(found) < 1:
        raise BadInput(f"--batch {batch!r} found; auto, or numbers such as 1,8,64 expected")
    return tuple(dict.fromkeys(found))


def _compare(files: list[str], as_json: bool) -> None:
    from featune.engine.errors import BadInput
    from featune.engine.store import plain

    from ..throughput.report import compare_documents, comparison_lines, read_document

    if len(files) != 2:
        raise BadInput(f"{len(files)} reports found, two expected: featune throughput compare A.json B.json")
    found = compare_documents(*(read_document(Path(file)) for file in files))
    print(json_text(plain(found)) if as_json else "\n".join(comparison_lines(found)))
