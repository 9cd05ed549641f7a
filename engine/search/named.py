"""RECIPES: the table of all recipes by name, each worked out from facts of the data and the model."""

import dataclasses
from collections.abc import Callable

import numpy as np

from ..errors import BadInput, nearest
from ..finetune import Recipe
from ..images import Augmentation


@dataclasses.dataclass(frozen=True)
class Facts:
    """What a recipe may be worked out from.

    images: of training. small_images: whether they have fewer pixels than 96 x 96, by their median. scratch: whether
    training starts from random weights.
    """

    images: int
    small_images: bool = False
    scratch: bool = False


@dataclasses.dataclass(frozen=True)
class Named:
    """candidates: the recipes among which val decides; one where there is nothing to choose. says, source: for people.

    refit: whether the chosen one is trained anew on train + val, as its paper does; else the candidate that was
    trained on train is kept.
    """

    candidates: Callable[[Facts], tuple[Recipe, ...]]
    says: str
    source: str
    refit: bool = False


def default(facts: Facts) -> tuple[Recipe, ...]:
    """One training, about 15 passes: AdamW at 3e-3, from the converged probe.

    3e-3 is of small convnets with batch norm; see benchmarks/finetune_recipes.md for what was tried.
    """
    if facts.scratch:
        return (
            Recipe(
                epochs=60, batch=32, optimizer="adamw", learning_rates=(2e-3,), weight_decay=0.05, label_smoothing=0.1,
                augmentation=Augmentation(scale=(0.35, 1.0)), clip_norm=1.0, channels_last=False, shrink_on_load=True,
            ),
        )  # fmt: skip
    return (
        Recipe(
            epochs=15, batch=32, optimizer="adamw", learning_rates=(3e-3,), weight_decay=0.05, label_smoothing=0.1,
            augmentation=Augmentation(scale=(0.35, 1.0)), clip_norm=1.0, start="probe",
            channels_last=False, shrink_on_load=True,
        ),
    )  # fmt: skip


def kornblith2019(facts: Facts) -> tuple[Recipe, ...]:
    """7 rates x 8 weight decays, 56 trainings. Weight decay is divided by the rate, as the source says."""
    low, high, steps = (-3, 0, 40_000) if facts.scratch else (-4, -1, 20_000)
    decays = list(np.logspace(-5, -1.5, 8)) if facts.scratch else [*np.logspace(-6, -3, 7), 0.0]
    usual = Recipe(steps=steps, batch=256, warmup=0.0, batch_norm="kornblith2019", channels_last=False)
    return tuple(
        dataclasses.replace(usual, learning_rates=(_short(rate),), weight_decay=_short(decay / rate))
        for rate in np.logspace(low, high, 7)
        for decay in decays
    )


def fang2023(facts: Facts) -> tuple[Recipe, ...]:
    """4 rates x 5 weight decays of SGD and of AdamW, 40 trainings. AdamW's decay is divided by the rate."""
    usual = Recipe(
        epochs=50 if facts.scratch else 30, batch=128, warmup=0.0, schedule_by="epoch",
        image_size=256, augmentation=Augmentation(scale=(0.65, 1.0)), channels_last=False,
    )  # fmt: skip
    grids = {"sgd": (1e-1, 1e-2, 1e-3, 1e-4), "adamw": (1e-2, 1e-3, 1e-4, 1e-5)}
    return tuple(
        dataclasses.replace(
            usual, optimizer=optimizer, learning_rates=(rate,),
            weight_decay=_short(decay / rate) if optimizer == "adamw" else decay,
        )
        for optimizer, rates in grids.items()
        for rate in rates
        for decay in (1e-3, 1e-4, 1e-5, 1e-6, 0.0)
    )  # fmt: skip


def bit_hyperrule(facts: Facts) -> tuple[Recipe, ...]:
    """Nothing to choose: steps, the rate's steps and mixup follow from the number of images, the side from their size.

    Its images are resized to a larger square (512 for 480, 160 for 128) and cropped at random. Here the crop comes
    first, of the same share of the area or more.
    """
    if facts.images < 20_000:
        ends, mixup = (100, 200, 300, 400, 500), 0.0
    elif facts.images < 500_000:
        ends, mixup = (500, 3_000, 6_000, 9_000, 10_000), 0.1
    else:
        ends, mixup = (500, 6_000, 12_000, 18_000, 20_000), 0.1
    warmup, *milestones, steps = ends
    side, resized = (128, 160) if facts.small_images else (480, 512)
    return (
        Recipe(
            steps=steps, batch=512, learning_rates=(0.003,), weight_decay=0.0, momentum=0.9, warmup=warmup / steps,
            schedule="step", milestones=tuple(each / steps for each in milestones), mixup=mixup,
            augmentation=Augmentation(scale=((side / resized) ** 2, 1.0)),
            image_size=side, channels_last=False,
        ),
    )  # fmt: skip


def lp_ft(facts: Facts) -> tuple[Recipe, ...]:
    """From the converged probe, all weights, six rates."""
    if facts.scratch:
        raise BadInput("lp-ft starts from the probe of pre-trained features, none are asked for; choose another recipe")
    usual = Recipe(
        epochs=20,
        batch=64,
        weight_decay=0.0,
        start="probe",
        augmentation=Augmentation(scale=(0.35, 1.0)),
        channels_last=False,
        shrink_on_load=True,
    )
    rates = (3e-2, 1e-2, 3e-3, 1e-3, 3e-4, 1e-4)
    return tuple(dataclasses.replace(usual, learning_rates=(rate,)) for rate in rates)


RECIPES: dict[str, Named] = {
    "default": Named(
        default, "one short training from the probe, for small data sets", "benchmarks/finetune_recipes.md"
    ),
    "lp-ft": Named(
        lp_ft, "all weights from the converged probe, six rates", "Kumar et al. 2022; the rates are ours"
    ),
    "bit-hyperrule": Named(
        bit_hyperrule, "schedule, side and mixup by the data's size; no search", "Kolesnikov et al. 2020, their code"
    ),
    "kornblith2019": Named(
        kornblith2019, "SGD, 7 rates x 8 weight decays, 20,000 steps of 256 each",
        "Kornblith et al. 2019; numbers of Chen et al. 2020 (SimCLR), appendix B.8", refit=True,
    ),
    "fang2023": Named(
        fang2023, "SGD and AdamW, 4 rates x 5 weight decays each, 30 epochs of 128", "Fang et al. 2023, their code"
    ),
}  # fmt: skip


def recipe_named(name: str) -> Named:
    if name not in RECIPES:
        raise BadInput(
            f"no recipe named {name!r}{nearest(name, RECIPES)}; one of {', '.join(RECIPES)}, or a .yaml file"
        )
    return RECIPES[name]


def _short(value: float) -> float:
    """Six digits: what a recipe's file shows is what was used."""
    return float(f"{value:.6g}")
