"""All findings about a study, in the order in which they are read, and as plain values for programs."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...results import Cell, Estimate, Lead, Results, Right, Row, Transfer, collect, is_published, printable
from .finding import Finding
from .of_curves import convergence, curves
from .of_images import runners_up, tuning_gains
from .of_regimes import above, attenuation, choosing, given_size, other_axes, redrawn, robust, shape
from .of_sources import far_tasks, interventions, pretraining, source_kinds
from .of_studies import (
    among_published,
    detectable,
    improvement,
    noise,
    recipe_control,
    regimes_compared,
    uneven_seeds,
    unlike,
    variance,
)
from .of_variants import variants


def closer_look(
    results: Results,
    found: Sequence[Transfer],
    rows: Sequence[Row],
    source_name: str = "ImageNet",
    ahead: Sequence[Lead] = (),
    right: Mapping[Cell, Right] | None = None,
    speeds: Mapping[str, float] | None = None,
    estimates: Sequence[Estimate] = (),
) -> list[Finding]:
    """All findings, in the order in which they are read.

    speeds: images per second by model, where measured. estimates: of them those that say how far tasks lie from the
    source images.
    """
    right = {} if right is None else right  # its truth value would read all scores
    means = [one for one in found if not one.task and not is_published(one.regime)]
    of_regimes: list[Finding | None] = []
    for one in means:
        of_regimes.append(robust(one, results, source_name))
        if one.regime != "scratch":  # the control: nobody chooses a model by it
            of_regimes += [
                shape(one, results, source_name),
                above(one, results, source_name),
                redrawn(one, results, right, source_name),
                attenuation(one, results),
                given_size(one, results, source_name),
                *other_axes(one, results, speeds or {}),
                choosing(one, results, source_name),
            ]
    measured = [row for row in rows if row.source == "measured"]
    own = results if len(measured) == len(rows) else collect(measured)  # tasks by the names that their rows have
    whole = [
        uneven_seeds(own),
        unlike(measured),
        detectable(means),
        noise(own, measured),
        recipe_control(own),
        *pretraining(own),
        source_kinds(own, source_name),
        *interventions(own),
        *far_tasks(found, estimates),
        *tuning_gains(own, right),
        regimes_compared(means, results),
        variance(own, measured),
        improvement(means, measured),
        runners_up(results, ahead, right),
        *among_published(results),
        *variants(measured, own.fraction_tasks),
        *curves(own),
        convergence(measured),
    ]
    return [one for one in [*whole, *of_regimes] if one is not None]


def report_json(
    title: str, source_name: str, found: Sequence[Transfer], looked: Sequence[Finding], command: str
) -> dict[str, Any]:
    """Correlations and findings as plain values; NaN becomes null."""
    correlations = [
        {
            "regime": one.regime, "task": one.task or None, "models": list(one.models), "tasks": list(one.tasks),
            "r": one.r, "low": one.low, "high": one.high, "p": one.p, "slope": one.slope, "intercept": one.intercept,
            "without": {left.name: left.r for left in one.without},
        }
        for one in found
    ]  # fmt: skip
    findings = [
        {"kind": one.kind, "regime": one.regime or None, "said": one.said, "numbers": one.numbers} for one in looked
    ]
    found_in_words = {"title": title, "source": source_name, "command": command}
    return printable_values({**found_in_words, "correlations": correlations, "findings": findings})


def printable_values(value: Any) -> Any:
    """JSON's types, with names that any page or terminal can show; NaN becomes null."""
    if isinstance(value, Mapping):
        return {printable(key): printable_values(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [printable_values(one) for one in value]
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, float | np.floating):
        return float(value) if math.isfinite(value) else None
    return value
