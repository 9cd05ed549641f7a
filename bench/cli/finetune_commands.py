"""`featune finetune` and `featune pretrain`: parse, call one function, print."""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any

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
    errors,
    json_text,
    progress_of,
    with_view,
)
from .finetuning import RECIPE, print_replayed, with_recipe

app = typer.Typer()
SEARCH = "Search and budget"


def _of_recipe(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=RECIPE, **more)


def _of_search(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=SEARCH, **more)


@app.command("finetune", rich_help_panel="Features")
@with_view
@with_recipe
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
    metric: Metric = "top1",
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
    sets: Annotated[list[str] | None, _of_recipe("--set", help="FIELD=VALUE of any other field; repeat it.")] = None,
    splits: Splits = "",
    input_key: InputKey = None,
    target_key: TargetKey = None,
    root: DataRoot = None,
    download: Download = False,
    in_chans: InChans = None,
    device: Annotated[
        str | None, typer.Option("--device", help="cpu, cuda or cuda:N. (default: cpu; of --replay, the step's own)")
    ] = None,
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
    changes: dict[str, Any],
    view: dict[str, Any],
) -> None:
    """Train all weights of a model on your images; leave a folder that timm loads and featune export takes.

    The recipe is chosen on val; test is opened once, last. A run that is stopped goes on when it is started again.

    Example: featune finetune resnet50 images/flowers --minutes 10
    """
    on = device or "cpu"
    with errors(), _with_others(on):
        from featune.engine.errors import BadInput
        from featune.engine.runners import require_device
        from featune.export.commands import spec_of_model

        from ..data import Request, parsed_splits
        from ..finetune import Asked, CameToNothing, finetune_model, result_lines, tracker_names
        from ..study import check_model, source_of

        if replay is not None:
            print_replayed(replay, device, as_json)
            return
        if model is None or data is None:
            raise BadInput("MODEL and DATA expected; give both, such as: featune finetune resnet50 images/flowers")
        given = sum(each is not None for each in (steps, epochs, minutes))
        if given > 1:
            raise BadInput("--steps, --epochs and --minutes say how long; give one of them")
        if minutes is not None and changes["warmup_epochs"] is not None:
            raise BadInput("--warmup-epochs with --minutes: the epochs are not known; give --set warmup=SHARE")
        if search not in ("halving", "grid"):
            raise BadInput(f"--search {search!r} found, halving or grid expected")
        require_device(on)
        trackers = tracker_names(f"{log},tensorboard" if tensorboard else log)
        options = {**changes, "steps": steps, "epochs": epochs, "img_size": view.get("side")}
        said = progress_of(quiet or os.environ.get("RANK", "0") != "0")
        request = Request(data, None, input_key, target_key, root=root, download=download, channels=in_chans)
        source = source_of(request, metric, seed, parsed_splits(splits))
        spec = spec_of_model(model, checkpoint, untrained, view, said.say)
        check_model(spec)
        asked = Asked(recipe, options, tuple(sets or ()), search, minutes, refit, untrained, seed, on, out, trackers)
        try:
            folder, result, _ = finetune_model(spec, source, asked, said)
        except CameToNothing as error:
            if as_json and os.environ.get("RANK", "0") == "0":
                print(json_text({"folder": str(error.folder), **error.result}))
            raise
        if not result:  # of several processes, the first one tells
            return
        if as_json:
            print(json_text({"folder": str(folder), **result}))
            return
        print(f"{result['model']} on {result['task']}")
        print("\n".join(result_lines(result)))
        print(f"folder: {folder}")


@contextlib.contextmanager
def _with_others(device: str) -> Iterator[None]:
    """With the processes that torchrun started, if it did: an error of the command is said once, not by each."""
    if int(os.environ.get("WORLD_SIZE", "1")) < 2:
        yield
        return
    from featune.engine.finetune import joined

    with joined(device):
        yield


SUBSET = "Subset of the source: by default all of it"
CHOICES = "Training choices that may hurt the features (Kornblith et al. 2019)"


def _of_subset(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=SUBSET, **more)


def _of_choices(*names: str, help: str, **more: Any) -> Any:
    return typer.Option(*names, help=help, rich_help_panel=CHOICES, **more)


@app.command("pretrain", rich_help_panel="Features")
@with_view
def pretrain_command(
    source: Annotated[str, typer.Argument(help="Folder of train and val, CSV, prepared task or data string.")],
    model: Annotated[str, typer.Argument(help="A timm architecture.")],
    out: Annotated[
        Path | None, typer.Option("--out", "-o", help="The folder that is left. (default: below runs/pretrain)")
    ] = None,
    name: Annotated[str | None, typer.Option(help="Of the model, in reports. (default: the folder's)")] = None,
    classes: Annotated[int | None, _of_subset("--classes", help="So many classes.")] = None,
    choose: Annotated[str, _of_subset("--choose", help="random, or minimal: branch by branch of the hierarchy.")] = (
        "random"
    ),
    images_per_class: Annotated[int | None, _of_subset("--images-per-class", help="Training images of each.")] = None,
    images: Annotated[int | None, _of_subset("--images", help="Training images of all, in equal parts.")] = None,
    hierarchy: Annotated[
        Path | None, _of_subset("--hierarchy", help="CSV with the columns child,parent, or JSON of child to parent.")
    ] = None,
    coarse: Annotated[str, _of_subset("--coarse", help="leaf-to-root:N or root-to-leaf:N, labels of N classes.")] = "",
    drop: Annotated[
        list[str] | None, _of_subset("--drop", help="A class to leave out, or a node of the hierarchy; repeat it.")
    ] = None,
    away_from: Annotated[
        list[str] | None, _of_subset("--away-from", help="Leave out images that this target has too; repeat it.")
    ] = None,
    near: Annotated[
        int | None,
        _of_subset("--near", min=-1, max=16, help="Bits of 63 of a perceptual hash; -1: same bytes. (default: 6)"),
    ] = None,
    subset_seed: Annotated[int, _of_subset("--subset-seed", min=0, help="Of the choice of classes and images.")] = 0,
    smoothing: Annotated[float, _of_choices("--smoothing", help="Label smoothing, such as 0.1.")] = 0.0,
    dropout: Annotated[float, _of_choices("--dropout", help="Before the classifier layer.")] = 0.0,
    auxiliary: Annotated[float, _of_choices("--auxiliary", help="Weight of a second head's loss, such as 0.4.")] = 0.0,
    bn_scale: Annotated[bool, _of_choices("--bn-scale/--no-bn-scale", help="Whether batch norm learns gamma.")] = True,
    steps: Annotated[int | None, _of_search("--steps", min=1, help="Equal for all subsets.")] = None,
    epochs: Annotated[int | None, _of_search("--epochs", min=1, help="Passes over the subset.")] = None,
    seed: Seed = 0,
    recipe: Annotated[
        Path | None, _of_recipe("--recipe", help="A recipe.yaml. (default: SGD, 0.1 per 256 images, cosine)")
    ] = None,
    opt: Annotated[str | None, _of_recipe("--opt", help="sgd, adamw, or another of timm's.")] = None,
    lr: Annotated[float | None, _of_recipe("--lr", help="The learning rate.")] = None,
    batch_size: Annotated[int | None, _of_recipe("--batch-size", "-b", min=1, help="Of one step.")] = None,
    weight_decay: Annotated[float | None, _of_recipe("--weight-decay", help="Of matrices and kernels.")] = None,
    sets: Annotated[list[str] | None, _of_recipe("--set", help="FIELD=VALUE of any other field; repeat it.")] = None,
    splits: Splits = "",
    root: DataRoot = None,
    download: Download = False,
    device: Device = "cpu",
    quiet: Quiet = False,
    as_json: Json = False,
    *,
    view: dict[str, Any],
) -> None:
    """Train an architecture from random weights on a subset of a source task; leave a folder that is a model.

    Say how long: --steps are equal for subsets of all sizes, --epochs are equal passes over each.

    Example: featune pretrain images/imagenet resnet18 --images-per-class 500 --steps 100000
    """
    with errors():
        from featune.engine.errors import BadInput
        from featune.engine.runners import require_device
        from featune.engine.search import Facts
        from featune.export.commands import spec_of_model

        from ..data import Request, parsed_splits
        from ..finetune import chosen_recipes
        from ..pretrain import FROM_SCRATCH, Asked, Choices, Rule, check, default_folder, made_lines, make
        from ..study import source_of

        if (steps is None) == (epochs is None):
            raise BadInput(
                "how long? --steps N, equal for subsets of all sizes, or --epochs N, equal passes over each; give one "
                "of them"
            )
        if near is not None and not away_from:
            raise BadInput(f"--near {near} found without --away-from; name the target, or leave it out")
        require_device(device)
        said = progress_of(quiet)
        given = {
            "opt": opt, "lr": lr, "batch_size": batch_size, "weight_decay": weight_decay, "steps": steps,
            "epochs": epochs,
        }  # fmt: skip
        chosen = chosen_recipes(str(recipe) if recipe else FROM_SCRATCH, Facts(0), given, tuple(sets or ()))
        rule = Rule(
            classes, choose, images_per_class, images, coarse, tuple(drop or ()), subset_seed,  # type: ignore[arg-type]
            near,
        )  # fmt: skip
        asked = Asked(
            name or "", spec_of_model(model, None, True, view, said.say),
            source_of(Request(source, root=root, download=download), "top1", seed, parsed_splits(splits)),
            chosen.candidates[0], rule, Choices(smoothing, dropout, auxiliary, bn_scale), hierarchy,
            tuple(Request(text, root=root) for text in away_from or ()), seed, device,
        )  # fmt: skip
        found = check(asked)
        with said.stage("pre-training") as advance:
            made = make(found, out or default_folder(found), advance)
        print(json_text({"folder": str(made.folder), **made.result}) if as_json else "\n".join(made_lines(made)))
