"""Findings about where the models come from: kinds of pre-training in pairs, and accuracies found in another way."""

import math

import numpy as np

from ...results import (
    Paired,
    Results,
    counted,
    joined,
    pretraining_pairs,
    recipe_pairs,
    short_label,
    signed_points,
    source_kind,
)
from .finding import Finding

FEWEST_ARCHITECTURES = 3  # for an interval
NAMES = {
    "clip": "CLIP", "self-supervised": "self-supervision", "web labels": "web labels", "in21k": "ImageNet-21k",
    "in12k": "ImageNet-12k", "in1k": "ImageNet-1k",
}  # fmt: skip


def pretraining(results: Results) -> list[Finding]:
    """The same architecture from two kinds of pre-training, beside what another recipe alone changes."""
    control = recipe_pairs(results)
    return [_paired(one, control.get(one.regime, [])) for one in pretraining_pairs(results)]


def _paired(one: Paired, control: list[float]) -> Finding:
    points = list(one.points.values())
    low, high = _interval(points)
    interval = "" if math.isnan(low) else f" (95\u00a0% interval {signed_points(low)} to {signed_points(high)})"
    named = joined(list(one.points)) if len(one.points) <= 3 else f"{len(one.points)} architectures"
    said = (
        f"Pre-training, {short_label(one.regime)}: {NAMES[one.other]} against {NAMES[one.one]}, the same architecture "
        f"({named}; up to {counted(one.tasks, 'task')}): {signed_points(one.mean)} points{interval}."
    )
    if control:
        pairs = counted(len(control), "pair")
        said += f" Recipe control: another recipe on the same data changes {np.mean(control):.1f} points ({pairs})."
    else:
        said += " Recipe control: the study has no two recipes on the same data, so the recipe may be the reason."
    numbers = {
        "one": one.one, "other": one.other, "mean_points": one.mean, "low": low, "high": high, "points": one.points,
        "tasks": one.tasks, "recipe_control_points": float(np.mean(control)) if control else None,
        "recipe_pairs": len(control),
    }  # fmt: skip
    return Finding("pretraining", one.regime, said, numbers)


def _interval(points: list[float]) -> tuple[float, float]:
    """Student's t over architectures."""
    from scipy.stats import t

    if len(points) < FEWEST_ARCHITECTURES:
        return math.nan, math.nan
    half = float(t.ppf(0.975, len(points) - 1) * np.std(points, ddof=1) / math.sqrt(len(points)))
    return float(np.mean(points)) - half, float(np.mean(points)) + half


def source_kinds(results: Results, source_name: str) -> Finding | None:
    """Models whose source accuracy is zero-shot or a linear probe's."""
    kinds = {model: kind for model in results.models if (kind := source_kind(results, model))}
    if not kinds:
        return None
    named = [f"{kind} of {joined([one for one in kinds if kinds[one] == kind])}" for kind in sorted({*kinds.values()})]
    said = (
        f"The {source_name} accuracy is {' and '.join(named)}, and of the others their own classifier’s: their "
        "distance from the line is partly that of the two ways to measure it."
    )
    return Finding("source_kind", "", said, {"models": kinds})
