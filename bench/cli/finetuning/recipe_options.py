"""The options that change a recipe, by the names of timm's train.py; what they mean is in `bench.finetune`."""

from collections.abc import Callable
from typing import Annotated, Any

import typer

from ...terminal import with_options

RECIPE = "Recipe: timm's names; by default what --recipe says"
# (type, what it is, the names where there is a short one, or a minimum)
RECIPE_OPTIONS: dict[str, tuple[Any, str] | tuple[Any, str, tuple[str, ...], int | None]] = {
    "opt": (str, "sgd, adamw, or another of timm's."),
    "lr": (float, "One learning rate, in place of those searched."),
    "batch_size": (int, "Of one backward pass.", ("-b",), 1),
    "grad_accum_steps": (int, "Backward passes of one step.", (), 1),
    "weight_decay": (float, "Of matrices and kernels."),
    "momentum": (float, "Of SGD."),
    "sched": (str, "cosine, step or constant."),
    "warmup_epochs": (float, "With a rising rate."),
    "layer_decay": (float, "Of the rate, from layer to layer."),
    "clip_grad": (float, "The gradient's largest norm."),
    "model_ema": (bool, "Average the weights."),
    "model_ema_decay": (float, "(default: 0.9998)"),
    "mixup": (float, "Alpha; 0 for none."),
    "cutmix": (float, "Alpha; 0 for none."),
    "mixup_prob": (float, "Of a step to be mixed."),
    "mixup_switch_prob": (float, "Of cutmix, with --mixup and --cutmix."),
    "smoothing": (float, "Of labels."),
    "bce_loss": (bool, "Binary cross-entropy: each class against all others."),
    "drop_path": (float, "Of the last block."),
    "scale": (tuple[float, float], "Of the random crop: its least and largest share of the area."),
    "ratio": (tuple[float, float], "Of the random crop: width over height, least and largest."),
    "aa": (str, "rand-m9-n2-inc1, augmix, randaugment, trivialaugment or none."),
    "reprob": (float, "Probability of random erasing."),
    "color_jitter": (float, "Of brightness, contrast, colour."),
    "hflip": (float, "Probability."),
    "vflip": (float, "Probability."),
    "amp": (bool, "Autocast."),
    "amp_dtype": (str, "bfloat16 or float16."),
    "channels_last": (bool, "Memory order."),
    "sync_bn": (bool, "Under torchrun: batch norm over the images of all GPUs."),
    "torchcompile": (bool, "torch.compile."),
}


def with_recipe(command: Callable[..., None]) -> Callable[..., None]:
    """The command with the options of RECIPE_OPTIONS, which it gets as `changes`; None of what is not given."""
    return with_options(command, "changes", {name: _shown(name, *each) for name, each in RECIPE_OPTIONS.items()}, dict)


def _shown(name: str, kind: Any, help: str, short: tuple[str, ...] = (), least: int | None = None) -> Any:
    option = typer.Option(f"--{name.replace('_', '-')}", *short, help=help, rich_help_panel=RECIPE, min=least)
    return Annotated[kind | None, option]
