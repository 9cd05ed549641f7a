"""What colours, shapes and numbers mean in the report's figures, the same in all of them; and the keys that say so."""

from collections.abc import Mapping, Sequence

from ....results import Results, Transfer, printable, short_label
from ...figures import COLOURS, MUTED, SHAPES, Key

# Up to here names fit beside their points on 360 px; beyond, points carry numbers and a key names them.
NAMED_AT_MOST = 8
NUMBERED_AT_MOST = 40  # beyond, numbers hide one another, and most points carry none
STANDING_OUT = 5  # models of each regime that still carry one, for each of two reasons


def regime_styles(results: Results) -> dict[str, tuple[str, str]]:
    """Regime to (colour, shape), the same throughout."""
    fixed = {"probe": 0, "finetune": 1, "scratch": 2, "knn": 3}
    free = [at for at in range(len(SHAPES)) if at not in {fixed.get(name) for name in results.regimes}]
    styles = {}
    for regime in results.regimes:
        at = fixed[regime] if regime in fixed else free.pop(0) if free else 0
        styles[regime] = (COLOURS[at % len(COLOURS)], SHAPES[at])
    return styles


def places(results: Results) -> dict[str, int]:
    """Each model's place in the page's tables, by which the page links its points."""
    known: dict[str, int] = results.kept.setdefault("places", {model: at for at, model in enumerate(results.models)})
    return known


def family_shapes(results: Results) -> dict[str, str]:
    families = sorted({results.family.get(model, "") for model in results.models})
    return {family: SHAPES[at % len(SHAPES)] for at, family in enumerate(families)}


def point_names(results: Results, found: Sequence[Transfer]) -> dict[str, str]:
    """What stands beside a model's point: its name, or a number where there are many.

    Of very many, those that stand out have a number and the others nothing. found: the correlations that say so.
    """
    if len(results.models) <= NAMED_AT_MOST:
        return {model: printable(model) for model in results.models}
    shown = set(results.models) if len(results.models) <= NUMBERED_AT_MOST else _standing_out(found)
    return {model: str(at) if model in shown else "" for at, model in enumerate(results.models, 1)}


def _standing_out(found: Sequence[Transfer]) -> set[str]:
    """Of each regime's mean over tasks: the models that are highest, and those farthest from the line."""
    models: set[str] = set()
    for one in found:
        if not one.task:
            line = one.y.mean() if one.slope is None or one.intercept is None else one.intercept + one.slope * one.x
            for measure in (one.y, abs(one.y - line)):
                models |= {one.models[at] for at in (-measure).argsort(kind="stable")[:STANDING_OUT]}
    return models


def said_of_numbers(results: Results) -> str:
    """Which models have a number, where not all have one: a sentence with a space before it."""
    if len(results.models) <= NUMBERED_AT_MOST:
        return ""
    return f" Numbered: of each regime the {STANDING_OUT} highest models and the {STANDING_OUT} farthest from the line."


# --- Keys


def regime_key(results: Results) -> Key:
    return [(printable(short_label(regime)), *style) for regime, style in regime_styles(results).items()]


def family_key(results: Results) -> list[Key]:
    shapes = family_shapes(results)
    if len(shapes) == 1:
        return []
    return [[(printable(name) or "no family given", MUTED, shape) for name, shape in shapes.items()]]


def number_key(names: Mapping[str, str]) -> list[Key]:
    """Which model each number stands for; names: as `point_names` gives them."""
    if len(names) <= NAMED_AT_MOST:
        return []
    return [[(f"{number}\u00a0\u00a0{printable(model)}", "", "") for model, number in names.items() if number]]
