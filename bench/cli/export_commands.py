"""`featune export`, `featune verify` and `featune models`: parse, call one function, print."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer

from ..terminal import InChans, Json, Quiet, Untrained, errors, json_text, progress_of, with_view

EXPORT = "Export"
app = typer.Typer()


@app.command("export", rich_help_panel=EXPORT)
@with_view
def export_command(
    model: Annotated[str, typer.Argument(help="A timm name, hf-hub:owner/name, or file.py:function.")],
    precision: Annotated[str, typer.Option(help="fp32, fp16, bf16, int8, or auto.")] = "fp32",
    to: Annotated[str, typer.Option(help="onnx; tensorrt or tensorrt-rtx (a plan for this GPU).")] = "onnx",
    target: Annotated[str | None, typer.Option(help="cpu, cuda or tensorrt. (default: by --to)")] = None,
    data: Annotated[Path | None, typer.Option(help="A folder of your images. (default: two photographs)")] = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The file to write. (default: MODEL.onnx)")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    in_chans: InChans = None,
    logits: Annotated[bool, typer.Option("--logits", help="Also output the source task's logits.")] = False,
    untrained: Untrained = False,
    batches: Annotated[str, typer.Option(help="Smallest, usual and largest batch of a plan.")] = "1,128,256",
    refittable: Annotated[bool, typer.Option("--refittable", help="A plan whose weights can be replaced.")] = False,
    refit: Annotated[Path | None, typer.Option(help="A refittable plan to load these weights into.")] = None,
    hardware: Annotated[
        str, typer.Option(help="same_gpu, same_compute_capability or ampere_plus: where a plan runs.")
    ] = "same_gpu",
    version_compatible: Annotated[
        bool, typer.Option("--version-compatible", help="A plan that later TensorRT versions can run.")
    ] = False,
    device: Annotated[str, typer.Option("--device", help="The GPU of a plan.")] = "cuda",
    quiet: Quiet = False,
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Export a model to a file with its preprocessing and its verdict inside; exit 3 if it differs from the model.

    Example: featune export resnet50 --precision int8 --data photos/ --out resnet50.int8.onnx
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.models import with_channels
        from featune.engine.store import plain
        from featune.export.commands import Product, checked_target, export_model, spec_of_model, verdict_lines

        try:
            least, usual, most = (int(number) for number in batches.split(","))
        except ValueError:
            raise BadInput(f"--batches {batches!r} found, three numbers such as 1,128,256 expected") from None
        product = Product(
            precision, to, target, logits, (least, usual, most), refittable, device, refit, hardware, version_compatible
        )
        checked_target(product, out)
        progress = progress_of(quiet)
        spec = spec_of_model(model, checkpoint, untrained, view, progress.say)
        seen = with_channels(spec, in_chans or spec.view.channels)
        with progress.stage(f"exporting and judging {seen.name}"):
            made = export_model(seen, product, data=data, out=out, progress=phases(progress.say))
        print(json_text(plain(made)) if as_json else "\n".join(verdict_lines(made.path, made.verdict)))


def phases(say: Callable[[str], None]) -> Callable[[str, int, int], bool]:
    """Says each phase of a plan's build when it begins; a build takes minutes."""
    said: set[str] = set()

    def told(phase: str, step: int, steps: int) -> bool:
        if phase not in said:
            said.add(phase)
            say(f"TensorRT: {phase}, {steps} steps")
        return True

    return told


@app.command(rich_help_panel=EXPORT)
@with_view
def verify(
    artefact: Annotated[Path, typer.Argument(help="A file that featune export wrote.")],
    data: Annotated[Path | None, typer.Option(help="A folder of your images. (default: two photographs)")] = None,
    model: Annotated[str | None, typer.Option(help="The model to compare with. (default: by the file)")] = None,
    checkpoint: Annotated[Path | None, typer.Option(help="The local weights that it was made from.")] = None,
    device: Annotated[str, typer.Option("--device", help="The GPU of a plan.")] = "cuda",
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Compare an exported file with its torch model on real images.

    Exit code 3 if they differ, with the first layer whose output differs.

    Example: featune verify resnet50.int8.onnx --data photos/
    """
    with errors():
        from featune.export.commands import verdict_lines
        from featune.export.commands import verify as judge

        verdict = judge(artefact, data, model=model, checkpoint=checkpoint, view=view, device=device)
        print(json_text(verdict) if as_json else "\n".join(verdict_lines(str(artefact), verdict)))


@app.command("models", rich_help_panel=EXPORT)
def models_command(
    pattern: Annotated[str, typer.Argument(help="Part of a name, or with * and ?.")] = "*",
    macs: Annotated[bool, typer.Option("--macs", help="Count multiply-adds too: seconds per model.")] = False,
    as_json: Json = False,
) -> None:
    """timm's pretrained models: parameters, input, licence, published ImageNet top-1, ReaL and V2.

    Example: featune models 'convnext_tiny*' --macs
    """
    with errors():
        from featune.engine.store import plain
        from featune.export.commands import timm_models_like

        found = timm_models_like(pattern, macs)
        if as_json:
            print(json_text(plain(found)))
            return
        from rich.console import Console
        from rich.table import Table

        table = Table("model", "side", "M params", "G MACs", "top-1", "ReaL", "V2", "zoo", "licence")
        for each in found:
            shares = [f"{100 * share:.2f}" if share is not None else "" for share in (each.top1, each.real, each.v2)]
            sizes = [f"{size:.2f}" if size is not None else "" for size in (each.million_parameters, each.gmacs)]
            exports = {True: "exports", False: "fails", None: ""}[each.exports]
            table.add_row(each.model, str(each.side), *sizes, *shares, exports, each.licence)
        Console(width=None if sys.stdout.isatty() else 140).print(table)
