"""`featune imagenet`: parse, call one function, print."""

from pathlib import Path
from typing import Annotated, Any

import typer

from ..terminal import (
    BatchSize,
    Decoder,
    Device,
    Fallback,
    Json,
    Limit,
    OnError,
    Precision,
    Quiet,
    Untrained,
    Workers,
    errors,
    json_text,
    progress_of,
    with_view,
)
from .feature_commands import BACKEND
from .stored_commands import Store

app = typer.Typer()


@app.command(rich_help_panel="Source accuracy")
@with_view
def imagenet(
    models: Annotated[str, typer.Argument(metavar="MODEL[,MODEL...]", help="timm names, or exported files.")],
    data: Annotated[list[str], typer.Argument(metavar="DIR...", help="val, V2, A, R or Sketch; or a table.")],
    labels: Annotated[Path | None, typer.Option(help="List of labels of a flat folder. (default: beside it)")] = None,
    kind: Annotated[str | None, typer.Option(help="val, v2, a, r, sketch or other. (default: by its names)")] = None,
    real: Annotated[Path | None, typer.Option(help="real.json. (default: beside the images, or timm's copy)")] = None,
    masks: Annotated[str, typer.Option(help="auto, none, a, r, folders, or a file of wnids.")] = "auto",
    label_order: Annotated[str | None, typer.Option(help="The order by which labels are numbered.")] = None,
    output_order: Annotated[str | None, typer.Option(help="The order of the model's outputs.")] = None,
    against: Annotated[Path | None, typer.Option(help="Predictions to compare with, image by image.")] = None,
    limit: Limit = None,
    backend: Annotated[str | None, typer.Option(help=BACKEND)] = None,
    precision: Precision = None,
    device: Device = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights.")] = None,
    untrained: Untrained = False,
    decoder: Decoder = "exact",
    on_error: OnError = "stop",
    batch: BatchSize = None,
    workers: Workers = None,
    allow_fallback: Fallback = False,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="Folder for measured.json and predictions.")] = None,
    store: Store = None,
    quiet: Quiet = False,
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Measure top-1, top-5 and ReaL on ImageNet, V2, A, R or Sketch, and name a wrong order of labels (exit 1).

    Example: featune imagenet resnet50.a1_in1k imagenet/val imagenet-r --out measured
    """
    with errors():
        from featune.engine.features import Options, check_on_error
        from featune.engine.images import check_decoder
        from featune.export.commands import RunSettings

        from ..features import Models
        from ..imagenet import Request, measure_imagenet

        how = RunSettings(
            backend or RunSettings.backend,
            device,
            precision or RunSettings.precision,
            check_decoder(decoder),
            allow_fallback,
        )
        options = Options(batch, workers, device, check_on_error(on_error))
        chosen = Models(models.split(","), checkpoint, untrained, backend, precision, view)
        asked = Request(data, labels, kind, real, masks, label_order, output_order, against, out, limit)
        found = measure_imagenet(chosen, asked, how, options, store=store, progress=progress_of(quiet))
        if as_json:
            print(json_text([one.record() for one in found]))
        else:
            print("\n".join(line for one in found for line in one.lines()))
            if out is not None:
                print(f"written: {out / 'measured.json'}")
        if any(one.fault for one in found):
            raise typer.Exit(1)
