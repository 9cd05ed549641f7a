"""What colours, shapes and numbers mean in the report's figures, the same in all of them; and the keys that say so."""

from ...results import Results, printable, short_label
from .marks import Key
from .style import COLOURS, MUTED, SHAPES

# Up to here names fit beside their points on 360 px; beyond, points carry numbers and a key names them.
NAMED_AT_MOST = 8


def regime_styles(results: Results) -> dict[str, tuple[str, str]]:
    """Regime to (colour, shape), the same throughout."""
    fixed = {"probe": 0, "finetune": 1, "scratch": 2, "knn": 3}
    free = [at for at in range(len(SHAPES)) if at not in {fixed.get(name) for name in results.regimes}]
    styles = {}
    for regime in results.regimes:
        at = fixed[regime] if regime in fixed else free.pop(0) if free else 0
        styles[regime] = (COLOURS[at % len(COLOURS)], SHAPES[at])
    return styles


def family_shapes(results: Results) -> dict[str, str]:
    families = sorted({results.family.get(model, "") for model in results.models})
    return {family: SHAPES[at % len(SHAPES)] for at, family in enumerate(families)}


def point_names(results: Results) -> dict[str, str]:
    """What stands beside a model's point: its name, or a number where there are many."""
    if len(results.models) <= NAMED_AT_MOST:
        return {model: printable(model) for model in results.models}
    return {model: str(at) for at, model in enumerate(results.models, 1)}


# --- Keys


def regime_key(results: Results) -> Key:
    return [(printable(short_label(regime)), *style) for regime, style in regime_styles(results).items()]


def family_key(results: Results) -> list[Key]:
    shapes = family_shapes(results)
    if len(shapes) == 1:
        return []
    return [[(printable(name) or "no family given", MUTED, shape) for name, shape in shapes.items()]]


def number_key(results: Results) -> list[Key]:
    if len(results.models) <= NAMED_AT_MOST:
        return []
    return [[(f"{number}\u00a0\u00a0{printable(model)}", "", "") for model, number in point_names(results).items()]]
