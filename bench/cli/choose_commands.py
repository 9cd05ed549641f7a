"""`featune choose`: parse, call one function, print."""

import time
from pathlib import Path
from typing import Annotated

import typer

from ..terminal import (
    DataRoot,
    Device,
    Download,
    InChans,
    InputKey,
    Json,
    Metric,
    Quiet,
    Seed,
    Splits,
    TargetKey,
    command_line,
    errors,
    json_text,
    progress_of,
)

app = typer.Typer()


@app.command("choose", rich_help_panel="Features")
def choose_command(
    data: Annotated[str, typer.Argument(help="Folder, CSV, prepared task or data string.")],
    models: Annotated[
        str | None,
        typer.Option("--models", help="Names, patterns with *, NAME=FILE, by commas. (default: a list of twelve)"),
    ] = None,
    minutes: Annotated[float, typer.Option("--minutes", help="Of the whole.")] = 30.0,
    max_latency_ms: Annotated[
        float | None, typer.Option("--max-latency-ms", help="Milliseconds that one image may take here.")
    ] = None,
    regime: Annotated[str, typer.Option("--regime", help="frozen, finetune or both, by a comma.")] = "frozen,finetune",
    metric: Metric = "top1",
    backend: Annotated[
        str, typer.Option(help="What times the models: onnxruntime, torch, or auto: torch below 10 minutes.")
    ] = "auto",
    device: Device = "cpu",
    untrained: Annotated[
        bool, typer.Option("--untrained", help="Random weights, to try the command; the choice means nothing.")
    ] = False,
    seed: Seed = 0,
    splits: Splits = "",
    input_key: InputKey = None,
    target_key: TargetKey = None,
    root: DataRoot = None,
    download: Download = False,
    in_chans: InChans = None,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder that is left. (default: below runs/choose)")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
) -> None:
    """Which backbone for your images: try candidates within minutes, choose on val, score once on test, export.

    Leaves report.html, choose.json and model.onnx. A run that is stopped goes on when it is started again.

    Example: featune choose photos/ --minutes 60 --max-latency-ms 50
    """
    began = time.perf_counter()
    with errors():
        from featune.engine.runners import require_device

        from ..choose import Asked, choose, summary_lines
        from ..data import Request, parsed_splits
        from ..study import source_of

        require_device(device)
        request = Request(data, None, input_key, target_key, root=root, download=download, channels=in_chans)
        source = source_of(request, metric, seed, parsed_splits(splits))
        names = tuple(name.strip() for name in (models or "").split(",") if name.strip())
        regimes = tuple(each.strip() for each in regime.split(","))
        said = command_line(
            "featune", "choose", data, models=models, minutes=minutes, max_latency_ms=max_latency_ms, regime=regime,
            metric=metric, backend=backend, device=device, untrained=untrained, seed=seed, splits=splits or None,
            input_key=input_key, target_key=target_key, root=root, in_chans=in_chans, out=out,
        )  # fmt: skip
        asked = Asked(names, minutes, max_latency_ms, regimes, backend, device, untrained, seed, out, said)
        folder, document = choose(source, asked, progress_of(quiet), began)
        if as_json:
            print(json_text({"folder": str(folder), **document}))
        else:
            print("\n".join([*summary_lines(document), f"report: {folder / 'report.html'}"]))
        if document["files"].get("error"):
            raise typer.Exit(int(document["files"]["exit_code"]))
