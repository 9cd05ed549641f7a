"""The types and bounds of what a study file sets of each regime.

Each model here reads the keys of one of the dataclasses of `featune.bench.regimes`; the defaults are the dataclass's,
or those of a recipe that `recipe` names.
"""

import dataclasses
import functools
import json
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.images import Augmentation
from featune.engine.search import Facts, recipe_named

from ...regimes import Setting, regime_named
from .faults import Faults, Place, expected, near, said, shown, where

MOST = 1_000  # of a list of penalties, counts or seeds
Strict = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False, protected_namespaces=())
Whole = Annotated[int, Field(ge=1, le=1_000_000)]
Share = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0)]


def _rising(pair: list[float]) -> list[float]:
    if pair[0] > pair[1]:
        raise ValueError(f"expected the smaller number first, found {pair}; write {pair[::-1]}")
    return pair


def _part(value: Any) -> Any:
    if value in ("all", "head") or (type(value) is int and value >= 1):
        return value
    raise ValueError(f"expected all, head, or a number of blocks, found {shown(value)}{near(value, ('all', 'head'))}")


Pair = Annotated[list[Positive], Field(min_length=2, max_length=2), AfterValidator(_rising)]
Shares = Annotated[
    list[Annotated[float, Field(gt=0, le=1)]], Field(min_length=2, max_length=2), AfterValidator(_rising)
]
Side = Annotated[int, Field(ge=8, le=8_192)]
Penalties = Annotated[list[Positive], Field(max_length=MOST)]


class _Entry(BaseModel):
    model_config = Strict


class ProbeEntry(_Entry):
    penalties: Penalties
    standardise: bool
    shots: Whole | None


class KnnEntry(_Entry):
    counts: Annotated[list[Whole], Field(min_length=1, max_length=MOST)]
    distance: Literal["cosine", "euclidean"]
    weighting: Literal["temperature", "uniform", "distance"]
    temperature: Positive


class RidgeEntry(_Entry):
    penalties: Penalties


class MeansEntry(_Entry):
    distance: Literal["cosine", "euclidean"]


class AugmentationEntry(_Entry):
    scale: Shares
    ratio: Pair
    hflip: Share
    vflip: Share
    crop: Literal["random", "eval"]
    auto_augment: Literal["none", "randaugment", "trivialaugment", "augmix"]
    operations: Annotated[int, Field(ge=1, le=20)]
    magnitude: Annotated[int, Field(ge=0, le=30)]
    color_jitter: Share
    erasing: Share


class RecipeEntry(_Entry):
    epochs: Whole
    steps: Annotated[int, Field(ge=1, le=100_000_000)] | None
    batch: Annotated[int, Field(ge=1, le=65_536)]
    learning_rates: Annotated[list[Positive], Field(min_length=1, max_length=100)]
    weight_decay: Annotated[float, Field(ge=0)]
    optimizer: Annotated[str, Field(min_length=1, max_length=100)]  # the recipe knows which there are
    momentum: Annotated[float, Field(ge=0, lt=1)]
    warmup: Share
    label_smoothing: Annotated[float, Field(ge=0, lt=1)]
    augmentation: AugmentationEntry
    amp: bool
    accumulation: Whole
    schedule: Literal["cosine", "step", "constant"]
    schedule_by: Literal["step", "epoch"]
    milestones: Annotated[list[Annotated[float, Field(gt=0, lt=1)]], Field(max_length=100)]
    decay_factor: Share
    layer_decay: Share
    clip_norm: Positive | None
    ema: Share | None
    ema_warmup: bool
    loss: Literal["auto", "cross_entropy", "bce", "asymmetric", "ordinal"]
    class_weights: Literal["none", "balanced"]
    mixup: Annotated[float, Field(ge=0)]
    cutmix: Annotated[float, Field(ge=0)]
    mixup_prob: Share
    mixup_switch_prob: Share
    trained: Annotated[Any, AfterValidator(_part)]
    head_first: Share
    freeze_embedding: bool
    start: Literal["zero", "probe"]
    batch_norm: Literal["train", "frozen", "kornblith2019"]
    drop_path: Annotated[float, Field(ge=0, lt=1)]
    image_size: Side | None
    start_size: Side | None
    shrink_on_load: bool
    amp_dtype: Literal["bfloat16", "float16"]
    compile: bool
    channels_last: bool | None
    sync_bn: bool
    weight_decays: Annotated[list[Annotated[float, Field(ge=0)]], Field(max_length=100)]
    decay_over_rate: bool
    keep: Literal["last", "best"]


SETTINGS: dict[str, type[_Entry]] = {
    "probe": ProbeEntry, "knn": KnnEntry, "ridge": RidgeEntry, "means": MeansEntry,
    "finetune": RecipeEntry, "scratch": RecipeEntry,
}  # fmt: skip


def read_regimes(value: Any, faults: Faults) -> dict[str, tuple[str, Setting]]:
    """name -> (kind, setting) of those without fault, from names or from names with their settings."""
    found: dict[str, tuple[str, Setting]] = {}
    if isinstance(value, list):
        given: list[tuple[Place, Any, Any]] = [(("regimes", at), name, None) for at, name in enumerate(value)]
    elif isinstance(value, dict):
        given = [(("regimes", name), name, fields) for name, fields in value.items()]
    else:
        faults.problems.append(f"regimes: {expected('a list', value)}")
        return found
    if not 1 <= len(given) <= MOST:
        faults.problems.append(
            f"regimes: {'none named' if not given else f'{len(given):,} found'}; expected 1 to {MOST}, probe and "
            "finetune for example"
        )
    for place, name, fields in given:
        if not isinstance(name, str) or not name:
            faults.problems.append(f"regimes: {expected('text', name)}")
            continue
        made = faults.attempt(where(place), functools.partial(_regime, name, fields, place, faults))
        if made:
            found[name] = made
    return found


def _regime(name: str, fields: Any, place: Place, faults: Faults) -> tuple[str, Setting] | None:
    """(kind, setting); `kind` lets one kind appear under several names. None where its faults are noted."""
    if not isinstance(fields, (dict, type(None))):
        raise BadInput(expected("keys and values", fields))
    given: dict[Any, Any] = dict(fields or {})
    kind = given.pop("kind", name)
    if not isinstance(kind, str):
        raise BadInput(f"kind: {expected('text', kind)}")
    default = regime_named(kind).default
    if isinstance(default, Recipe) and "recipe" in given:
        default = _named_recipe(given.pop("recipe"), kind == "scratch")
    usual: dict[str, Any] = json.loads(json.dumps(dataclasses.asdict(default)))
    values = usual | given
    if isinstance(given.get("augmentation"), dict) and "augmentation" in usual:
        values["augmentation"] = usual["augmentation"] | given["augmentation"]
    try:
        SETTINGS[kind].model_validate(values)
    except ValidationError as error:
        faults.problems += [said(problem, place, SETTINGS[kind]) for problem in error.errors()]
        return None
    # As they are written, 1 or 1.0: the digest of a cell is of the text of its numbers.
    changed = {key: _tuples(values[key]) for key in given}
    if "augmentation" in changed:
        changed["augmentation"] = Augmentation(**changed["augmentation"])
    return kind, dataclasses.replace(default, **changed)


def _named_recipe(name: Any, scratch: bool) -> Recipe:
    """A recipe of `featune finetune` as one that a study searches. Raises BadInput for one that no study can."""
    if not isinstance(name, str):
        raise BadInput(f"recipe: {expected('text', name)}")
    of_data = [
        recipe_named(name).candidates(Facts(images, small, scratch)) for images in (1, 10**9) for small in (False, True)
    ]
    first, rates = of_data[0][0], tuple(one.learning_rates[0] for one in of_data[0])
    if any(other != of_data[0] for other in of_data):
        raise BadInput(f"recipe: {name} follows from the number of images; write its fields out for each task's size")
    recipe = dataclasses.replace(first, learning_rates=rates) if len(set(rates)) == len(rates) else None
    if recipe is None or recipe.candidates() != list(of_data[0]):
        raise BadInput(
            f"recipe: {name} is a grid of more than rates; write learning_rates, weight_decays and decay_over_rate "
            "out, as studies/kornblith2019.yaml and studies/fang2023.yaml do"
        )
    return recipe if recipe_named(name).refit else dataclasses.replace(recipe, keep="best")  # as the command does


def _tuples(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _tuples(each) for key, each in value.items()}
    return tuple(value) if isinstance(value, list) else value
