"""Findings about a whole study: what could have been seen, its noise, where it stands, whether it was made alike."""

import dataclasses
import itertools
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...results import (
    FROZEN,
    Results,
    Row,
    Transfer,
    complete_block,
    counted,
    is_published,
    joined,
    label,
    short_label,
    signed,
)
from ...stats import ERROR, FEWEST_JUDGED, log_odds
from ...stats.slopes import detectable_correlation, detectable_slope, significant_correlation
from ...stats.studies import (
    FEWEST_SHOWN,
    compare_correlations,
    noise_floor,
    probability_of_improvement,
    variance_shares,
)
from .finding import Finding, within


def detectable(means: Sequence[Transfer]) -> Finding | None:
    counts = [len(one.models) for one in means if len(one.models) >= FEWEST_JUDGED]
    if not counts:
        return None
    models = min(counts)
    power, edge = detectable_correlation(models), significant_correlation(models)
    slopes = {one.regime: slope for one in means if math.isfinite(slope := _detectable_slope(one))}
    of_slopes = ", ".join(f"{short_label(regime)} {signed(slope)}" for regime, slope in slopes.items())
    steep = f" The slopes that it takes, with the scatter found here: {of_slopes}." if slopes else ""
    said = (
        f"Four of five studies of {models} models settle a true correlation of {signed(power)}, fewer a smaller one "
        f"(simulated, models independent of one another), and none below {signed(edge)} is significant when found: "
        f"smaller ones could not have been seen.{steep}"
    )
    numbers = {"models": models, "detectable_r": power, "significant_r": edge, "detectable_slope": slopes}
    return Finding("detectable", "", said, numbers)


def _detectable_slope(one: Transfer) -> float:
    """In log odds per log odds, by the scatter about the regime's own line."""
    if one.slope is None or one.intercept is None or len(one.models) < FEWEST_JUDGED:
        return math.nan
    rest = one.y - one.intercept - one.slope * one.x
    return detectable_slope(one.x, math.sqrt(float((rest**2).sum()) / (len(rest) - 2)))


def noise(results: Results, rows: Sequence[Row]) -> Finding | None:
    """Spread over seeds beside the gap between the first and the second of each task."""
    cells: dict[tuple[str, str, str], list[float]] = {}
    tasks = set(results.fraction_tasks)
    for row in rows:
        known = row.error is None and row.source == "measured" and row.value is not None
        if known and row.cell.task in tasks:
            cells.setdefault((row.cell.task, row.cell.model, row.cell.regime), []).append(100 * float(row.value or 0))
    numbers: dict[str, Any] = {}
    said = []
    for regime in results.measured_regimes:
        of = [values for key, values in cells.items() if key[2] == regime]
        spread, free = noise_floor(of)
        gaps = [gap for task in results.fraction_tasks if (gap := _gap(results, task, regime)) is not None]
        if free and gaps:
            within = sum(gap < 2 * math.sqrt(2) * spread for gap in gaps)
            numbers[regime] = {"seed_sd_points": spread, "degrees_of_freedom": free, "gaps_points": gaps}
            said.append(
                f"{short_label(regime)} {spread:.2f} points ({counted(within, 'gap')} of {len(gaps)} between first and "
                "second within twice that of a difference)"
            )
    if not said:
        return None
    text = f"Noise floor, the standard deviation over seeds of the same cell: {'; '.join(said)}."
    return Finding("noise_floor", "", text, numbers)


def _gap(results: Results, task: str, regime: str) -> float | None:
    """Points between the first and the second model."""
    order = list(results.rankings.get((task, regime), ()))[:2]
    first, second = (results.value(task, model, regime) for model in order) if len(order) == 2 else (None, None)
    return None if first is None or second is None else 100 * abs(first - second)


def recipe_control(results: Results) -> Finding | None:
    """How far weights of the same architecture lie apart that another recipe trained: the yardstick for a gap."""
    same: dict[str, list[str]] = {}
    for model in results.models:
        stem, _, tag = model.partition(".")
        if tag[:1].isalpha():  # timm's tags begin with a letter; `mobilenetv1-0.75` has none
            same.setdefault(stem, []).append(model)
    pairs = [pair for models in same.values() for pair in itertools.combinations(models, 2)]
    said, numbers = [], {}
    for regime in results.measured_regimes:
        apart = [
            100 * abs(a - b)
            for one, other in pairs
            for task in results.fraction_tasks
            if (a := results.value(task, one, regime)) is not None
            and (b := results.value(task, other, regime)) is not None
        ]
        if apart:
            numbers[regime] = {"mean_points": float(np.mean(apart)), "largest_points": max(apart), "pairs": len(apart)}
            said.append(f"{short_label(regime)} {np.mean(apart):.1f} points (at most {max(apart):.1f})")
    if not said:
        return None
    named = ", ".join(f"{one} and {other}" for one, other in pairs[:3])
    more = f" and {len(pairs) - 3} other pairs" if len(pairs) > 3 else ""
    text = f"Recipe control: the same architecture from two recipes ({named}{more}) differs by {'; '.join(said)}."
    return Finding("recipe_control", "", text, numbers)


def regimes_compared(means: Sequence[Transfer], results: Results) -> Finding | None:
    """Whether fine-tuning follows source accuracy more closely than frozen features do, on the same models."""
    of = {one.regime: one for one in means}
    frozen = next((of[name] for name in FROZEN if name in of), None)
    tuned = of.get("finetune")
    if tuned is None or frozen is None or tuned.tasks != frozen.tasks:
        return None
    shared = [model for model in tuned.models if model in frozen.models]
    y = {one.regime: dict(zip(one.models, one.y, strict=True)) for one in (tuned, frozen)}
    x = dict(zip(tuned.models, tuned.x, strict=True))
    columns = ([y[one.regime][model] for model in shared] for one in (tuned, frozen))
    families = [results.family.get(model, "") or model for model in shared]
    found = compare_correlations([x[model] for model in shared], *columns, families=families)
    if math.isnan(found.p) or found.models < FEWEST_SHOWN:
        return None
    settled = "is settled" if found.p <= ERROR and not found.low <= 0 <= found.high else "is not settled"
    said = (
        f"Fine-tuned against frozen, on the same {found.models} models: r differs by {signed(found.difference)} "
        f"({within(found.low, found.high)}, p\u00a0=\u00a0{found.p:.2f}, Williams’s test), which "
        f"{settled}."
    )
    return Finding("regimes_compared", "", said, dataclasses.asdict(found))


def improvement(means: Sequence[Transfer], rows: Sequence[Row]) -> Finding | None:
    """How likely each regime's first model, by its mean over tasks, is better than the second on a task and seed."""
    value = {
        (row.cell.regime, row.cell.model, row.cell.task, row.cell.seed): row.value
        for row in rows
        if row.error is None and row.value is not None
    }
    said, numbers = [], {}
    for one in means:
        if one.regime == "scratch" or len(one.models) < 2:
            continue
        order = np.argsort(-one.y, kind="stable")[:2]
        first, second = (one.models[at] for at in order)
        seeds = sorted({key[3] for key in value if key[:2] == (one.regime, first)})
        keys = [
            [[(one.regime, model, task, seed) for seed in seeds] for task in one.tasks] for model in (first, second)
        ]
        if not seeds or any(key not in value for of in keys for line in of for key in line):
            continue
        a, b = ([[value[key] for key in line] for line in of] for of in keys)
        found = probability_of_improvement(a, b)
        numbers[one.regime] = dataclasses.asdict(found) | {"first": first, "second": second, "seeds": len(seeds)}
        fixed = math.isnan(found.low) or all(len({*line}) == 1 for line in [*a, *b])  # seeds that change nothing
        interval = "" if fixed else f" (95\u00a0% over seeds {found.low:.2f} to {found.high:.2f})"
        said.append(f"{short_label(one.regime)} {first} over {second} {found.probability:.2f}{interval}")
    if not said:
        return None
    text = f"Chance that the first model is better than the second on a task and seed of this study: {'; '.join(said)}."
    return Finding("improvement", "", text, numbers)


def variance(results: Results, rows: Sequence[Row]) -> Finding | None:
    """Shares of the variance of log odds, over the largest block with every model, task, regime and seed."""
    regimes = [name for name in results.measured_regimes if name != "scratch"]
    models, tasks = list(results.models), list(results.fraction_tasks)
    for regime in regimes:
        models, tasks = complete_block(results, regime, models, tasks)
    seeds = sorted({row.cell.seed for row in rows})
    value = {
        (row.cell.model, row.cell.task, row.cell.regime, row.cell.seed): (row.value, row.n)
        for row in rows
        if row.error is None and row.source == "measured" and row.value is not None
    }
    axes = [("model", models), ("task", tasks), ("regime", regimes)]
    kept = [(name, of) for name, of in axes if len(of) > 1]
    if len(kept) < 2 or len(models) < 2:
        return None
    keys = list(itertools.product(models, tasks, regimes, seeds))
    if not keys or not all(key in value for key in keys):
        return None
    found = np.array([value[key] for key in keys], dtype=np.float64)
    table = log_odds(found[:, 0], np.maximum(1, found[:, 1]))
    names = [name for name, _ in kept]
    shares = variance_shares(table.reshape(*(len(of) for _, of in kept), len(seeds)), names)
    rest = "seed" if len(seeds) > 1 else "the rest"
    named = {" × ".join(one.factors) or rest: one.share for one in shares}
    said = ", ".join(f"{name} {100 * share:.0f}\u00a0%" for name, share in named.items() if share >= 0.005)
    return Finding("variance_shares", "", f"Variance of log odds: {said}.", named)


def among_published(results: Results) -> list[Finding]:
    """Where the study's best model would stand among the published ones of the same task, metric and regime."""
    found = []
    for regime in results.regimes:
        kind = regime.partition(" [")[0]
        if not is_published(regime) or kind not in results.measured_regimes:
            continue
        places, numbers = [], {}
        for task in results.tasks:
            theirs = [v for m in results.models if (v := results.value(task, m, regime)) is not None]
            ours = results.rankings.get((task, kind), ())
            own = results.value(task, ours[0], kind) if theirs and ours else None
            if own is not None:
                rank = 1 + sum(value > own for value in theirs)
                numbers[task] = {"model": ours[0], "rank": rank, "of": len(theirs) + 1}
                places.append(f"{task} {rank} of {len(theirs) + 1} ({ours[0]})")
        if places:
            text = (
                f"Among the models of {regime.partition(' [')[2].rstrip(']')}, {label(kind)}, the study’s best stands "
                f"at: {', '.join(places)}. Another protocol measured those, so nothing is pooled with them."
            )
            found.append(Finding("among_published", regime, text, numbers))
    return found


# --- Whether the numbers that are compared were made alike


def uneven_seeds(results: Results) -> Finding | None:
    """Regimes in which some numbers are means of more seeds than others, which are less noisy."""
    said, numbers = [], {}
    for regime in results.measured_regimes:
        of = Counter(
            entry.seeds for (_, _, name), entry in results.entries.items() if name == regime and entry.value is not None
        )
        if len(of) > 1:
            numbers[regime] = {str(seeds): count for seeds, count in sorted(of.items(), reverse=True)}
            parts = [
                f"{counted(seeds, 'seed')} in {counted(count, 'cell')}" for seeds, count in sorted(of.items())[::-1]
            ]
            said.append(f"{short_label(regime)} {joined(parts)}")
    if not said:
        return None
    text = f"Not every number is the mean of as many seeds, so some are noisier than others: {'; '.join(said)}."
    return Finding("uneven_seeds", "", text, numbers)


def unlike(rows: Sequence[Row]) -> Finding | None:
    """What the rows of one regime were computed with, where that is not one and the same."""
    found: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        if row.error is None and row.environment:
            for name, value in _made_with(row.environment).items():
                found.setdefault(row.cell.regime, {}).setdefault(name, set()).add(value)
    said, numbers = [], {}
    for regime, of in found.items():
        several = {name: sorted(values) for name, values in of.items() if len(values) > 1}
        if several:
            numbers[regime] = several
            said.append(f"{short_label(regime)} {joined([f'{name} {joined(of)}' for name, of in several.items()])}")
    if not said:
        return None
    text = (
        f"Numbers of one regime were not all computed alike: {'; '.join(said)}. Their last digits may differ for that."
    )
    return Finding("unlike", "", text, numbers)


def _made_with(environment: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(of) for name, of in (environment.get("versions") or {}).items() if name != "featune"}
    return found | {name: str(environment[name]) for name in ("device", "precision") if environment.get(name)}
