"""All pre-trainings of a study: subsets x lengths x choices x seeds."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from .choices import Choices
from .making import Asked, Made, cached_folder, cached_work, made_before, make, opened
from .subsets import Rule

SEED = "@"  # between a variant's name and its seed, in the name of a model


def variants(
    base: Asked,
    subsets: Mapping[str, Rule],
    lengths: Mapping[str, Mapping[str, Any]],
    choices: Mapping[str, Choices],
    seeds: Sequence[int],
) -> list[Asked]:
    """One of each, in this order, the seeds innermost; named `subset-length-choice@seed`.

    Those that are several are in the name. lengths: fields of the recipe.
    """
    found = []
    for subset, rule in subsets.items():
        for length, fields in lengths.items():
            recipe = dataclasses.replace(base.recipe, **{"steps": None, **fields})
            for choice, chosen in choices.items():
                several = {subset: len(subsets), length: len(lengths), choice: len(choices)}
                name = "-".join(part for part, count in several.items() if count > 1) or subset
                spec = dataclasses.replace(base.spec, family=name)
                found += [
                    dataclasses.replace(
                        base, name=f"{name}{SEED}{seed}", spec=spec, recipe=recipe, rule=rule, choices=chosen, seed=seed
                    )
                    for seed in dict.fromkeys(seeds)
                ]
    return found


def made_in_cache(asked: Asked) -> Made:
    """The model, trained if the cache does not have it."""
    found = opened(asked)
    return make(found, cached_folder(found), work=cached_work(found))


def known_in_cache(asked: Asked) -> Made | None:
    """The model, if the cache has it; nothing is trained."""
    found = opened(asked)
    return made_before(found, cached_folder(found))
