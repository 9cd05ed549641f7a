"""What a study file may say of models that are pre-trained before its cells: `pretrain`."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, Field, model_validator

from featune.engine.finetune import Recipe

from .entries import ModelEntry, Place, Seed, TaskEntry, Text
from .faults import Faults
from .settings import MOST, Strict, read_regimes

Share = Annotated[float, Field(ge=0, lt=1)]
Count = Annotated[int, Field(ge=1, le=10**9)]


class _Entry(BaseModel):
    model_config = Strict


class SubsetEntry(_Entry):
    """A rule of `featune.bench.pretrain`: what of the source a model learns from; empty for all of it."""

    classes: Annotated[int, Field(ge=2, le=10**6)] | None = None
    choose: Literal["random", "minimal"] = "random"
    images_per_class: Count | None = None
    images: Count | None = None
    coarse: str = ""
    drop: Annotated[list[Text], Field(max_length=100_000)] = []
    seed: Seed = 0


class LengthEntry(_Entry):
    """How long: equal steps for subsets of all sizes, or equal passes over each."""

    steps: Count | None = None
    epochs: Count | None = None

    @model_validator(mode="after")
    def _one(self) -> "LengthEntry":
        if (self.steps is None) == (self.epochs is None):
            raise ValueError("give either steps, equal for subsets of all sizes, or epochs, equal passes over each")
        return self


class ChoicesEntry(_Entry):
    """Training choices of Kornblith et al. 2019; empty for none of them."""

    label_smoothing: Share = 0.0
    dropout: Share = 0.0
    auxiliary: Annotated[float, Field(ge=0)] = 0.0
    batch_norm_scale: bool = True


Name = Annotated[str, Field(min_length=1, max_length=60, pattern=r"^[\w.+-]+$")]


class PretrainEntry(_Entry):
    """subsets x lengths x choices x seeds: one architecture from random weights on a source, a model for each."""

    source: TaskEntry
    model: ModelEntry
    recipe: dict[str, Any] = {}
    hierarchy: Place | None = None
    away_from: Annotated[list[Text], Field(max_length=MOST)] = []
    near: Annotated[int, Field(ge=-1, le=16)] | None = None
    subsets: Annotated[dict[Name, SubsetEntry], Field(min_length=1, max_length=MOST)] = {"all": SubsetEntry()}
    lengths: Annotated[dict[Name, LengthEntry], Field(min_length=1, max_length=MOST)]
    choices: Annotated[dict[Name, ChoicesEntry], Field(min_length=1, max_length=MOST)] = {"plain": ChoicesEntry()}
    seeds: Annotated[list[Seed], Field(min_length=1, max_length=MOST)] = [0]

    @property
    def count(self) -> int:
        """Of models."""
        return len(self.subsets) * len(self.lengths) * len(self.choices) * len({*self.seeds})


def read_pretrain(value: Any, faults: Faults) -> tuple[PretrainEntry, Recipe] | None:
    """(the entry, its recipe, whose length is a `lengths`'s) of a file that has one; None where it has faults."""
    if not isinstance(value, dict):
        faults.problems.append("pretrain: expected keys and values")
        return None
    entry = faults.read(PretrainEntry, value, ("pretrain",), {})
    if entry is None:
        return None
    before = len(faults.problems)
    found = read_regimes({"recipe": {**entry.recipe, "kind": "scratch"}}, faults)
    faults.problems[before:] = [
        problem.replace("regimes.recipe", "pretrain.recipe") for problem in faults.problems[before:]
    ]
    length = {"steps", "epochs"} & entry.recipe.keys()
    if length:
        faults.problems.append(f"pretrain.recipe: {' and '.join(sorted(length))} found; say it under pretrain.lengths")
    recipe = found["recipe"][1] if "recipe" in found else None
    return (entry, recipe) if isinstance(recipe, Recipe) else None
