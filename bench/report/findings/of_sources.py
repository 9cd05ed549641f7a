"""Findings about where the models come from: kinds of pre-training in pairs, and accuracies found in another way."""

import itertools
import math
from collections.abc import Sequence

import numpy as np

from ...results import (
    FROZEN,
    Estimate,
    Results,
    Transfer,
    counted,
    is_published,
    joined,
    short_label,
    signed,
    signed_points,
    source_kind,
    without_holes,
)
from ...stats import FEWEST_JUDGED, spearman
from .finding import Finding
from .pretraining import Paired, pretraining_pairs, recipe_pairs

FEWEST_ARCHITECTURES = 3  # for an interval
FEWEST_GAINED = 4  # models, of which one is the best quarter
UNTRAINED = (*FROZEN, "ridge", "means", "scratch")  # regimes by their usual names
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


def far_tasks(found: Sequence[Transfer], estimates: Sequence[Estimate]) -> list[Finding]:
    """How far each task lies from the source images, beside its slope; over six tasks, whether they go together.

    The distance is the squared Frechet distance of train and source features, averaged over the models that have it.
    """
    distances: dict[str, list[float]] = {}
    for one in estimates:
        if one.name == "frechet" and one.value is not None:
            distances.setdefault(one.task, []).append(-one.value)
    away = {task: float(np.mean(values)) for task, values in sorted(distances.items())}
    if not away:
        return []
    regimes = dict.fromkeys(one.regime for one in found if not is_published(one.regime) and one.regime != "scratch")
    return [_far(regime, away, found) for regime in regimes]


def _far(regime: str, away: dict[str, float], found: Sequence[Transfer]) -> Finding:
    slopes = {one.task: one.slope for one in found if one.regime == regime and one.task and one.slope is not None}
    order = sorted(away, key=lambda task: away[task])
    shown = [
        f"{task} {away[task]:.4g}" + (f" (slope {signed(slopes[task])})" if task in slopes else "") for task in order
    ]
    said = f"Distance from the source images and slope, {short_label(regime)}, nearest task first: {', '.join(shown)}."
    numbers: dict[str, object] = {"distances": away, "slopes": slopes, "spearman": None}
    both = [task for task in order if task in slopes]
    if len(both) >= FEWEST_JUDGED:
        together = spearman(np.array([away[task] for task in both]), np.array([slopes[task] for task in both]))
        said += f" Over {len(both)} tasks they have a rank correlation of {signed(together)}."
        numbers["spearman"] = together
    return Finding("distance", regime, said, numbers)


def interventions(results: Results) -> list[Finding]:
    """What another way of training gains on the same models and tasks, beside what a better architecture gains.

    Every two regimes are compared but the frozen ones, by their usual names, and from scratch. The gain of a better
    architecture is that of the best quarter of the models by source accuracy over the median one, in the first of the
    two regimes. After Fang et al. 2023, who ask whether augmentation gains more than a better network.
    """
    trained = [name for name in results.measured_regimes if name not in UNTRAINED]
    found = [_intervention(results, one, other) for one, other in itertools.combinations(trained, 2)]
    return [one for one in found if one is not None]


def _intervention(results: Results, one: str, other: str) -> Finding | None:
    models, tasks = without_holes(
        [model for model in results.models if model in results.source_top1],
        results.fraction_tasks,
        lambda model, task: any(results.value(task, model, regime) is None for regime in (one, other)),
    )
    if len(models) < FEWEST_GAINED or not tasks:
        return None
    before, after = (
        np.array([[results.value(task, model, regime) for task in tasks] for model in models], dtype=np.float64)
        for regime in (one, other)
    )
    gains = 100 * (after - before).mean(axis=0)  # of each task
    best = before[: len(models) // 4].mean(axis=0)  # models are in the order of source accuracy
    better = 100 * (best - np.median(before, axis=0))
    each = zip(tasks, gains.tolist(), better.tolist(), strict=True)
    by_task = ", ".join(f"{task} {signed_points(gain)} and {signed_points(of)}" for task, gain, of in each)
    said = (
        f"Intervention: {short_label(other)} in place of {short_label(one)} gives {signed_points(gains.mean())} points "
        f"on the same {len(models)} models; a better architecture (the best quarter by source accuracy over the median "
        f"model) gives {signed_points(better.mean())}. By task: {by_task}."
    )
    numbers = {
        "one": one, "other": other, "models": len(models), "gain_points": dict(zip(tasks, gains.tolist(), strict=True)),
        "architecture_points": dict(zip(tasks, better.tolist(), strict=True)),
    }  # fmt: skip
    return Finding("intervention", other, said, numbers)
