"""What accuracy costs: against images per second and against training time, with the frontier."""

import math
from collections.abc import Mapping

from ....results import Choice, Option, Results, counted, frontier, label, printable
from ...figures import (
    INK,
    Figure,
    Key,
    Mark,
    Panel,
    Series,
    ends,
    frontier_line,
    limits_of,
    scatter_panel,
)
from .legend import number_key, places, regime_key, regime_styles

AXES = {
    "rate": ("Images per second, log scale", "images per second", "right"),
    "seconds": ("Seconds of a cell, log scale", "seconds of a cell", "left"),
}
EDGE = 1e-4  # of an accuracy, so that 0 and 1 have log odds


def choice_figure(results: Results, choice: Choice | None, way: str, names: Mapping[str, str]) -> Figure | None:
    """The picture of the first screen: accuracy against speed where it was measured, else against training time.

    way: how speed was measured, in words.
    """
    if choice is None or len(choice.options) < 2:
        return None
    more = "rate" if sum(one.rate is not None for one in choice.options) > 1 else "seconds"
    return _figure("choice", results, choice, more, way, names)


def cost_figure(results: Results, choice: Choice | None, names: Mapping[str, str]) -> Figure | None:
    """Accuracy against training time, where the first screen's picture is of speed."""
    if choice is None or sum(one.rate is not None for one in choice.options) < 2:
        return None
    return _figure("costs", results, choice, "seconds", "", names)


def _figure(
    name: str, results: Results, choice: Choice, more: str, way: str, names: Mapping[str, str]
) -> Figure | None:
    """None where fewer than two options have a number."""
    known = [one for one in choice.options if getattr(one, more)]
    if len(known) < 2:
        return None
    axis, unit, better = AXES[more]
    best = frontier(known, more)
    panel = _panel(name, results, choice, known, best, (more, axis, unit, way), names)
    several = len(choice.tasks) > 1
    over = f"the mean over {len(choice.tasks)} tasks" if several else printable(choice.tasks[0])
    caption = (
        f"Accuracy ({over}) against {unit}; one point per model and regime, bars: 95\u00a0%, from the finite test "
        f"splits. Up is better, {better} is {'faster' if more == 'rate' else 'cheaper'}. The line is the frontier: "
        "nothing measured is better in both. A ring marks what to take."
    )
    if more == "seconds":
        caption += (
            " Seconds are those of a whole cell, as measured: features that were kept from another regime, training, "
            "and the test images."
        )
    keys: list[Key] = [regime_key(results), *number_key(names)]
    return Figure(name, caption, (panel,), tuple(keys))


def _panel(
    name: str, results: Results, choice: Choice, known: list[Option], best: list[Option],
    said: tuple[str, str, str, str], names: Mapping[str, str],
) -> Panel:  # fmt: skip
    more, axis, unit, way = said
    styles = regime_styles(results)
    on_frontier = {(one.model, one.regime) for one in best}

    def mark(one: Option, shape: str) -> Mark:
        text = names[one.model] if (one.model, one.regime) in on_frontier or one is choice.chosen else ""
        low, high = (None if end is None else share_odds(end) for end in (one.low, one.high))
        x = math.log10(getattr(one, more))
        return Mark(text, shape, x, share_odds(one.value), low, high, about=places(results)[one.model])

    series = [
        Series(regime, styles[regime][0], tuple(mark(one, styles[regime][1]) for one in known if one.regime == regime))
        for regime in results.measured_regimes
    ]
    marks = [each for one in series for each in one.marks]
    steps = Series("frontier", INK, (), frontier_line([mark(one, "o") for one in best], less=more == "seconds"))
    ring: tuple[Series, ...] = ()
    if getattr(choice.chosen, more):
        at = mark(choice.chosen, "o")
        ring = (Series("taken", INK, (Mark("", "ring", at.x, at.y),)),)
    over = f"mean over {len(choice.tasks)} tasks" if len(choice.tasks) > 1 else printable(choice.tasks[0])
    description = (
        f"Accuracy, {over}, against {unit}, {counted(len(marks), 'point')}. Taken: {choice.chosen.model}, "
        f"{label(choice.chosen.regime)}."
    )
    return scatter_panel(
        f"{name}-0", f"Accuracy against {unit}", printable(description), [*series, steps, *ring],
        (axis, f"Accuracy, {over}"), (limits_of([m.x for m in marks], 0.1), limits_of(ends(marks))),
        named=True, note=printable(way), powers=True, height=360,
    )  # fmt: skip


def share_odds(share: float) -> float:
    """Log odds of an accuracy, those of none and of all being finite."""
    share = min(max(share, EDGE), 1 - EDGE)
    return math.log(share / (1 - share))
