"""Which recipes are meant: a name or a file, with what the user changes of it by options."""

import dataclasses
import json
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.finetune import Recipe
from featune.engine.images import AUTO_AUGMENTS, Augmentation
from featune.engine.search import RECIPES, Facts, recipe_named
from featune.engine.store import write_text

from ..study.schema import Faults, Refused, read_regimes, values_of

FIELDS = {field.name for field in dataclasses.fields(Recipe)}
OF_AUGMENTATION = {field.name for field in dataclasses.fields(Augmentation)}
# timm's spelling: the option of its train.py, and the recipe's field; those that need a thought are in `by_option`.
OPTIONS = {
    "opt": "optimizer", "weight_decay": "weight_decay", "momentum": "momentum", "layer_decay": "layer_decay",
    "mixup": "mixup", "cutmix": "cutmix", "smoothing": "label_smoothing", "drop_path": "drop_path",
    "clip_grad": "clip_norm", "epochs": "epochs", "steps": "steps", "sched": "schedule", "amp": "amp",
    "amp_dtype": "amp_dtype", "channels_last": "channels_last", "torchcompile": "compile", "sync_bn": "sync_bn",
    "reprob": "augmentation.erasing", "color_jitter": "augmentation.color_jitter", "hflip": "augmentation.hflip",
    "vflip": "augmentation.vflip", "scale": "augmentation.scale", "ratio": "augmentation.ratio",
    "mixup_prob": "mixup_prob", "mixup_switch_prob": "mixup_switch_prob",
}  # fmt: skip
EMA_DECAY = 0.9998  # of timm's --model-ema


@dataclasses.dataclass(frozen=True)
class Chosen:
    """The recipes among which val decides, and where they are from. refit: the chosen one is trained on train + val."""

    name: str
    candidates: tuple[Recipe, ...]
    refit: bool


def chosen_recipes(text: str | Recipe, facts: Facts, options: Mapping[str, Any], sets: Sequence[str] = ()) -> Chosen:
    """text: a name of RECIPES, a .yaml file of a recipe's fields, or a Recipe.

    options: of OPTIONS and of `by_option`, None where not given; sets: `field=value`, `augmentation.field=value` for an
    image's. They go before the recipe's own.
    """
    base: tuple[Recipe, ...]
    if isinstance(text, Recipe):
        base, name, refit = (text,), "recipe", False
    elif text.endswith((".yaml", ".yml")):
        base = (read_recipe(Path(text)),)
        name, refit = Path(text).stem, False
    else:
        named = recipe_named(text)
        base, name, refit = named.candidates(facts), text, named.refit
    given = {name: value for name, value in options.items() if value is not None}
    changes = {
        OPTIONS[name]: list(value) if isinstance(value, tuple) else value
        for name, value in given.items()
        if name in OPTIONS
    }
    owned = {field for option in given for field in OWNED.get(option, ())}
    owned |= set(auto_augment(given["aa"]) if "aa" in given else ())
    for each in sets:
        field, value = _parsed(each)
        if field in changes or field in owned:
            raise BadInput(f"--set {each}: {field} is given by an option too; give it once")
        changes[field] = value
    if "epochs" in changes and "steps" not in changes:
        changes["steps"] = None
    if of_optimizer := [recipe for recipe in base if recipe.optimizer == changes.get("optimizer")]:
        base = tuple(of_optimizer)  # of a grid over optimisers, the part that is meant
    changed = (_changed(recipe, changes, given, facts) for recipe in base)
    made = dict.fromkeys(one for recipe in changed for one in recipe.candidates())  # a given rate makes some equal
    _refuse_idle(given, tuple(made))
    return Chosen(name, tuple(made), refit)


def _refuse_idle(given: Mapping[str, Any], made: Sequence[Recipe]) -> None:
    """Raises BadInput for an option that no candidate would heed."""
    if "amp_dtype" in given and not any(recipe.amp for recipe in made):
        raise BadInput(f"--amp-dtype {given['amp_dtype']} found without --amp, whose type it is; give --amp too")
    if "momentum" in given and not any(_takes_momentum(recipe.optimizer) for recipe in made):
        raise BadInput(
            f"--momentum {given['momentum']:g} found, {made[0].optimizer} takes none; leave it out, or give --opt sgd"
        )
    if "mixup_prob" in given and not any(recipe.mixup or recipe.cutmix for recipe in made):
        raise BadInput(f"--mixup-prob {given['mixup_prob']:g} found, nothing is mixed; give --mixup or --cutmix too")
    if "mixup_switch_prob" in given and not any(recipe.mixup and recipe.cutmix for recipe in made):
        raise BadInput(f"--mixup-switch-prob {given['mixup_switch_prob']:g} found; give --mixup and --cutmix too")


def _takes_momentum(optimizer: str) -> bool:
    from timm.optim import get_optimizer_info

    return bool(get_optimizer_info(optimizer).has_momentum)


# Fields that follow from options which are no fields themselves.
OWNED = {
    "lr": ("learning_rates",), "batch_size": ("batch", "accumulation"), "grad_accum_steps": ("batch", "accumulation"),
    "warmup_epochs": ("warmup",), "model_ema": ("ema",), "model_ema_decay": ("ema",), "img_size": ("image_size",),
    "bce_loss": ("loss",),
}  # fmt: skip


def _changed(recipe: Recipe, changes: Mapping[str, Any], given: Mapping[str, Any], facts: Facts) -> Recipe:
    made = {**changes, **by_option(recipe, changes, given, facts)}
    return with_fields(recipe, made) if made else recipe


def by_option(recipe: Recipe, changes: Mapping[str, Any], given: Mapping[str, Any], facts: Facts) -> dict[str, Any]:
    """Fields that follow from more than one of timm's options, or from the recipe.

    lr: one rate. batch_size: of one backward pass, and grad_accum_steps of them make a step, as in timm; the recipe's
    batch is that of a step. warmup_epochs: the recipe's is a share of the steps. model_ema, model_ema_decay: timm's.
    img_size is of the model, so that the recipe's own side goes. bce_loss: a loss by its name. aa: see `auto_augment`.
    """
    found: dict[str, Any] = {}
    if "lr" in given:
        found["learning_rates"] = [float(given["lr"])]
    parts = given.get("grad_accum_steps")
    if "batch_size" in given or parts:
        parts = parts or 1
        found |= {"batch": given.get("batch_size", recipe.batch) * parts, "accumulation": parts}
    if "weight_decay" in changes and "weight_decays" not in changes:
        found["weight_decays"] = []
    if "warmup_epochs" in given:
        batch = found.get("batch", changes.get("batch", recipe.batch))
        lengths = {name: changes.get(name, getattr(recipe, name)) for name in ("epochs", "steps")}
        steps = lengths["steps"] or lengths["epochs"] * max(1, facts.images // batch)
        found["warmup"] = min(1.0, given["warmup_epochs"] * max(1, facts.images // batch) / steps)
    if given.get("model_ema") or "model_ema_decay" in given:
        found["ema"] = given.get("model_ema_decay", EMA_DECAY)
    if "img_size" in given:
        found["image_size"] = None
    if given.get("bce_loss"):
        found["loss"] = "bce"
    if "aa" in given:
        found |= auto_augment(given["aa"])
    return found


# Sections of timm's --aa that are fields here, at timm's defaults, and those that have one value here.
OF_AA: dict[str, dict[str, int]] = {"rand": {"m": 10, "n": 2}, "augmix": {}}
FIXED_OF_AA = {"rand": {"inc": 1, "mstd": 0, "p": 1}, "augmix": {"m": 3, "w": 3, "a": 1, "b": 0}}


def auto_augment(text: str) -> dict[str, Any]:
    """Fields of the augmentation that timm's --aa means, or one of our names. Raises BadInput for what they lack.

    Magnitudes of timm's RandAugment go to 10, which is as strong as 30 of torchvision's, and each operation of
    torchvision's acts always and grows stronger with it (timm's `inc1` and `p1`).
    """
    if text in AUTO_AUGMENTS:
        return {"augmentation.auto_augment": text}
    kind, *sections = text.split("-")
    if kind not in OF_AA:
        raise BadInput(
            f"--aa {text!r} found, which is not here; expected rand-m9-n2-inc1 (timm's RandAugment), or one of "
            f"{', '.join(AUTO_AUGMENTS)}"
        )
    values, fixed, seen = dict(OF_AA[kind]), FIXED_OF_AA[kind], set[str]()
    for section in sections:
        name, number = re.findall(r"^([a-z]*)(.*)$", section)[0]
        if name in seen:
            raise BadInput(f"--aa {text}: {name} found twice; give it once")
        seen.add(name)
        if name in values and number.isdecimal():
            values[name] = int(number)
        elif name not in fixed or not re.fullmatch(r"\d+(\.\d+)?", number) or float(number) != fixed[name]:
            can = [*(f"{each}NUMBER" for each in values), *(f"{each}{one}" for each, one in fixed.items())]
            raise BadInput(f"--aa {text}: {section} found, {kind} with {', '.join(can)} expected; leave it out")
    if kind == "augmix":
        return {"augmentation.auto_augment": "augmix"}
    if values["m"] > 10:
        raise BadInput(f"--aa {text}: m{values['m']} found, m0 to m10 expected, as in timm; change it")
    if values["n"] < 1:
        raise BadInput(f"--aa {text}: n0 found, one operation or more expected; change it")
    return {
        "augmentation.auto_augment": "randaugment", "augmentation.operations": values["n"],
        "augmentation.magnitude": 3 * values["m"],
    }  # fmt: skip


def with_fields(recipe: Recipe, changes: Mapping[str, Any]) -> Recipe:
    """The recipe with other values of some fields, checked as in a study file; `augmentation.scale` for its parts."""
    fields: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(recipe)))
    for name, value in changes.items():
        first, _, part = name.partition(".")
        if first not in FIELDS or (part and (first != "augmentation" or part not in OF_AUGMENTATION)):
            known = FIELDS | {f"augmentation.{each}" for each in OF_AUGMENTATION}
            raise BadInput(f"no field {name!r} of a recipe{nearest(name, known)}; the fields are in docs/finetune.md")
        if part:
            fields[first][part] = value
        else:
            fields[first] = value
    return checked_recipe(fields, "the recipe")


def read_recipe(path: Path) -> Recipe:
    """The recipe of a file, such as the recipe.yaml of an earlier run; what it does not say is as in `Recipe()`."""
    try:
        fields, faults = values_of(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise BadInput(f"{path}: no such recipe; one of {', '.join(RECIPES)}, or a .yaml file of its fields") from None
    except (OSError, ValueError) as error:
        raise BadInput(f"{path}: {error}; give a .yaml file of a recipe's fields") from error
    except Refused as error:
        raise BadInput(f"{path}: {error}") from error
    if faults:
        raise BadInput(f"{path}: {'; '.join(faults)}")
    if not isinstance(fields, dict):
        raise BadInput(f"{path}: a recipe's fields expected (`epochs: 20`), {type(fields).__name__} found; see docs")
    return checked_recipe(fields, str(path))


def checked_recipe(fields: Mapping[str, Any], source: str) -> Recipe:
    faults = Faults(Path(source))
    found = read_regimes({"recipe": {**fields, "kind": "finetune"}}, faults)
    if faults.problems:
        said = "; ".join(
            each.removeprefix("regimes.recipe.").removeprefix("regimes.recipe: ") for each in faults.problems
        )
        raise BadInput(f"{source}: {said}")
    recipe = found["recipe"][1]
    assert isinstance(recipe, Recipe)
    return recipe


def write_recipe(path: Path, recipe: Recipe, said: str, side: int | None = None) -> None:
    """Every field, so that a later default changes nothing. said: where it is from, for people.

    side: of the square that was trained at, which may be that of --img-size and not of the recipe.
    """
    import yaml

    fields = json.loads(json.dumps(dataclasses.asdict(recipe)))
    fields["image_size"] = side or recipe.image_size
    write_text(path, f"# {said}\n{yaml.safe_dump(fields, sort_keys=False)}")


def _parsed(text: str) -> tuple[str, Any]:
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise BadInput(f"--set {text!r} found; field=value expected, such as warmup=0.1 or augmentation.vflip=0.5")
    try:
        return name.strip(), values_of(value)[0]
    except Refused as error:
        raise BadInput(f"--set {text}: {error}") from error
