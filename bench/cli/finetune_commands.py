"""`featune finetune`: parse, call one function, print."""

import os
from pathlib import Path
from typing import Annotated, Any

import typer

from ..terminal import InChans, Json, Quiet, Seed, errors, json_text, progress_of, with_view

app = typer.Typer()
RECIPE = "Recipe: timm's names; by default what --recipe says"
SEARCH = "Search and budget"


def _of_recipe(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=RECIPE, **more)


def _of_search(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=SEARCH, **more)


@app.command("finetune", rich_help_panel="Features")
@with_view
def finetune_command(
    model: Annotated[
        str | None, typer.Argument(help="A timm name, hf-hub:owner/name, file.py:function, or a run's folder.")
    ] = None,
    data: Annotated[str | None, typer.Argument(help="Folder, CSV, prepared task or data string.")] = None,
    recipe: Annotated[
        str, typer.Option("--recipe", help="default, lp-ft, bit-hyperrule, kornblith2019, fang2023, or a recipe.yaml.")
    ] = "default",
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder that is left. (default: below runs/finetune)")
    ] = None,
    metric: Annotated[str, typer.Option(help="Of a folder or table; a prepared task has its own.")] = "top1",
    seed: Seed = 0,
    steps: Annotated[int | None, _of_search("--steps", min=1, help="Of one training.")] = None,
    epochs: Annotated[int | None, _of_search("--epochs", min=1, help="Passes of one training over the data.")] = None,
    minutes: Annotated[float | None, _of_search("--minutes", help="Of the whole, search included.")] = None,
    search: Annotated[
        str, _of_search("--search", help="grid, or halving (a quarter of its steps; see docs), of several recipes.")
    ] = "grid",
    refit: Annotated[
        bool | None, _of_search("--refit/--no-refit", help="Train the chosen on train + val. (default: the recipe's)")
    ] = None,
    opt: Annotated[str | None, _of_recipe("--opt", help="sgd, adamw, or another of timm's.")] = None,
    lr: Annotated[float | None, _of_recipe("--lr", help="One learning rate, in place of those searched.")] = None,
    batch_size: Annotated[int | None, _of_recipe("--batch-size", "-b", min=1, help="Of one backward pass.")] = None,
    grad_accum_steps: Annotated[
        int | None, _of_recipe("--grad-accum-steps", min=1, help="Backward passes of one step.")
    ] = None,
    weight_decay: Annotated[float | None, _of_recipe("--weight-decay", help="Of matrices and kernels.")] = None,
    momentum: Annotated[float | None, _of_recipe("--momentum", help="Of SGD.")] = None,
    sched: Annotated[str | None, _of_recipe("--sched", help="cosine, step or constant.")] = None,
    warmup_epochs: Annotated[float | None, _of_recipe("--warmup-epochs", help="With a rising rate.")] = None,
    layer_decay: Annotated[float | None, _of_recipe("--layer-decay", help="Of the rate, from layer to layer.")] = None,
    clip_grad: Annotated[float | None, _of_recipe("--clip-grad", help="The gradient's largest norm.")] = None,
    model_ema: Annotated[bool | None, _of_recipe("--model-ema", help="Average the weights.")] = None,
    model_ema_decay: Annotated[float | None, _of_recipe("--model-ema-decay", help="(default: 0.9998)")] = None,
    mixup: Annotated[float | None, _of_recipe("--mixup", help="Alpha; 0 for none.")] = None,
    cutmix: Annotated[float | None, _of_recipe("--cutmix", help="Alpha; 0 for none.")] = None,
    smoothing: Annotated[float | None, _of_recipe("--smoothing", help="Of labels.")] = None,
    drop_path: Annotated[float | None, _of_recipe("--drop-path", help="Of the last block.")] = None,
    reprob: Annotated[float | None, _of_recipe("--reprob", help="Probability of random erasing.")] = None,
    color_jitter: Annotated[float | None, _of_recipe("--color-jitter", help="Of brightness, contrast, colour.")] = None,
    hflip: Annotated[float | None, _of_recipe("--hflip", help="Probability.")] = None,
    vflip: Annotated[float | None, _of_recipe("--vflip", help="Probability.")] = None,
    amp: Annotated[bool | None, _of_recipe("--amp", help="Autocast.")] = None,
    amp_dtype: Annotated[str | None, _of_recipe("--amp-dtype", help="bfloat16 or float16.")] = None,
    channels_last: Annotated[bool | None, _of_recipe("--channels-last", help="Memory order.")] = None,
    torchcompile: Annotated[bool | None, _of_recipe("--torchcompile", help="torch.compile.")] = None,
    sets: Annotated[list[str] | None, _of_recipe("--set", help="FIELD=VALUE of any other field; repeat it.")] = None,
    splits: Annotated[str, typer.Option(help="As test=validation; of a data string.")] = "",
    input_key: Annotated[str | None, typer.Option(help="Column or extension of the image, of a data string.")] = None,
    target_key: Annotated[str | None, typer.Option(help="Column or field of the label, of a data string.")] = None,
    root: Annotated[Path | None, typer.Option(help="The folder of named data. (default: data)")] = None,
    download: Annotated[bool, typer.Option("--download", help="Download named data that are missing.")] = False,
    in_chans: InChans = None,
    device: Annotated[str, typer.Option("--device", help="cpu, cuda or cuda:N.")] = "cpu",
    checkpoint: Annotated[Path | None, typer.Option(help="Local weights, or a fine-tuned run's.")] = None,
    untrained: Annotated[
        bool, typer.Option("--scratch", "--untrained", help="Start from random weights; nothing is fetched.")
    ] = False,
    log: Annotated[str, typer.Option("--log", help="Also tensorboard, mlflow, wandb; several with commas.")] = "",
    tensorboard: Annotated[bool, typer.Option("--tensorboard", help="As --log tensorboard.")] = False,
    replay: Annotated[
        Path | None, typer.Option("--replay", help="Repeat the step that a diverged run kept in this folder, and end.")
    ] = None,
    quiet: Quiet = False,
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Train all weights of a model on your images; leave a folder that timm loads and featune export takes.

    The recipe is chosen on val; test is opened once, last. A run that is stopped goes on when it is started again.

    Example: featune finetune resnet50 images/flowers --minutes 10
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.runners import require_device
        from featune.export.commands import spec_of_model

        from ..data import Request, parsed_splits
        from ..finetune import Asked, finetune_model, result_lines, tracker_names
        from ..study import check_model, source_of

        if replay is not None:
            print("\n".join(_replayed(replay)))
            return
        if model is None or data is None:
            raise BadInput("MODEL and DATA expected; give both, such as: featune finetune resnet50 images/flowers")
        given = sum(each is not None for each in (steps, epochs, minutes))
        if given > 1:
            raise BadInput("--steps, --epochs and --minutes say how long; give one of them")
        if int(os.environ.get("WORLD_SIZE", "1")) > 1:
            raise BadInput(
                "several processes found (torchrun); this command is one process: start it without torchrun, or train "
                "with featune.engine.finetune in Python (docs/finetune.md)"
            )
        if minutes is not None and warmup_epochs is not None:
            raise BadInput("--warmup-epochs with --minutes: the epochs are not known; give --set warmup=SHARE")
        if search not in ("halving", "grid"):
            raise BadInput(f"--search {search!r} found, halving or grid expected")
        require_device(device)
        trackers = tracker_names(f"{log},tensorboard" if tensorboard else log)
        options = {
            "opt": opt, "lr": lr, "batch_size": batch_size, "grad_accum_steps": grad_accum_steps,
            "weight_decay": weight_decay, "momentum": momentum, "sched": sched, "warmup_epochs": warmup_epochs,
            "layer_decay": layer_decay, "clip_grad": clip_grad, "model_ema": model_ema,
            "model_ema_decay": model_ema_decay, "mixup": mixup, "cutmix": cutmix, "smoothing": smoothing,
            "drop_path": drop_path, "reprob": reprob, "color_jitter": color_jitter, "hflip": hflip, "vflip": vflip,
            "amp": amp, "amp_dtype": amp_dtype, "channels_last": channels_last, "torchcompile": torchcompile,
            "steps": steps, "epochs": epochs, "img_size": view.get("side"),
        }  # fmt: skip
        said = progress_of(quiet)
        request = Request(data, None, input_key, target_key, root=root, download=download, channels=in_chans)
        source = source_of(request, metric, seed, parsed_splits(splits))
        spec = spec_of_model(model, checkpoint, untrained, view, said.say)
        check_model(spec)
        asked = Asked(
            recipe, options, tuple(sets or ()), search, minutes, refit, untrained, seed, device, out, trackers
        )
        folder, result, _ = finetune_model(spec, source, asked, said)
        if as_json:
            print(json_text({"folder": str(folder), **result}))
            return
        print(f"{result['model']} on {result['task']}")
        print("\n".join(result_lines(result)))
        print(f"folder: {folder}")


def _replayed(folder: Path) -> list[str]:
    from featune.engine.finetune import replay

    found = replay(folder)
    wrong = f"{found.layer} is the first layer whose output is not finite" if found.layer else "every output is finite"
    return [
        f"step {found.step}: loss {found.loss:g}, norm of the gradient {found.norm:g}",
        f"{wrong}; {len(found.gradients)} gradients are not finite",
        "images:",
        *(f"  {file}" for file in found.files),
    ]
