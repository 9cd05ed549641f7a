"""Findings about one regime: how sure its slope is, what noise and size explain, what choosing by ImageNet costs."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from featune.engine.metrics import METRICS

from ...results import Cell, Results, Right, Transfer, capital, label, signed
from ...stats import ERROR, FEWEST_JUDGED, correlation_interval, families_to_leave, log_odds
from ...stats.slopes import broken_line, line_slope, natural_spline, theil_sen, two_lines
from ...stats.studies import (
    FEWEST_SHOWN,
    bootstrap_study,
    corrected_correlation,
    log_odds_error,
    partial_correlation,
    regret_of,
)
from .finding import Finding, within

Array = NDArray[np.float64]
FEWEST_BENT = 12  # models: six on each side of the median
MOST_REDRAWN = 500  # models times tasks of which every image is read
ABOVE = 0.7  # of source accuracy: Fang et al. 2023
WORTH_A_WORD = 0.02  # by which a corrected correlation is larger
AXES = {
    "real": "ImageNet ReaL accuracy", "v2": "ImageNet V2 accuracy", "a": "ImageNet-A accuracy",
    "r": "ImageNet-R accuracy", "sketch": "ImageNet-Sketch accuracy", "imagenet_top1": "ImageNet accuracy",
    "parameters": "log parameters", "macs": "log multiply-adds", "throughput": "log images per second",
    "class_separation": "class separation of the source’s images",
}  # fmt: skip
SIZES = ("parameters", "macs", "throughput")


def _judged(one: Transfer) -> bool:
    return one.r is not None and len(one.models) >= FEWEST_JUDGED


def _values(one: Transfer, results: Results) -> Array:
    """The metric [models, tasks]."""
    table = [[results.value(task, model, one.regime) for task in one.tasks] for model in one.models]
    return np.array(table, dtype=np.float64)


def _families(one: Transfer, results: Results) -> list[str]:
    return [results.family.get(model, "") or model for model in one.models]


def robust(one: Transfer, results: Results, source_name: str) -> Finding | None:
    if not _judged(one) or one.slope is None:
        return None
    found, median = line_slope(one.x, one.y, families=_families(one, results)), theil_sen(one.x, one.y)
    said = (
        f"{capital(label(one.regime))}: the slope is {signed(found.slope)} by least squares "
        f"({within(found.low, found.high)}) and {signed(median.slope)} by Theil and Sen’s median of pairs, in log odds "
        f"per log odds of {source_name} accuracy."
    )
    numbers = {"least_squares": found.slope, "low": found.low, "high": found.high, "theil_sen": median.slope}
    return Finding("slope", one.regime, said, numbers)


def shape(one: Transfer, results: Results, source_name: str) -> Finding | None:
    """Whether the line bends at the median of the source accuracies, and what a curve would explain."""
    if len(one.models) < FEWEST_BENT or one.r is None:
        return None
    found = two_lines(one.x, one.y)
    if math.isnan(found.p):
        return None
    pieces, spline = broken_line(one.x, one.y, one.x, found.knot), natural_spline(one.x, one.y, one.x)
    settled = "is settled" if found.p <= ERROR else "is not settled"
    curve = "" if math.isnan(spline.explained) else f", a natural spline of 4 knots {100 * spline.explained:.0f}\u00a0%"
    said = (
        f"{capital(label(one.regime))}: above the median {source_name} accuracy the slope differs from that below by "
        f"{signed(found.change)} ({within(found.low, found.high)}, p\u00a0=\u00a0{found.p:.2f}), which {settled}. A "
        f"line explains {100 * one.r**2:.0f}\u00a0% of the variance, two that meet there "
        f"{100 * pieces.explained:.0f}\u00a0%{curve}."
    )
    numbers = {
        "knot": found.knot, "below": found.below.slope, "above": found.above.slope, "change": found.change,
        "low": found.low, "high": found.high, "p": found.p, "line_explains": one.r**2,
        "pieces_explain": pieces.explained, "spline_explains": spline.explained,
    }  # fmt: skip
    return Finding("shape", one.regime, said, numbers)


def redrawn(one: Transfer, results: Results, right: Mapping[Cell, Right], source_name: str) -> Finding | None:
    """How far r moves when test images, models, families or all are drawn anew: what each contributes to its doubt."""
    if not _judged(one) or len(one.models) * len(one.tasks) > MOST_REDRAWN:
        return None
    source, families = [results.source_top1[model] for model in one.models], _families(one, results)
    if not all(0 < value < 1 for value in source):  # no log odds without its n
        return None
    if any(results.metric[task] != "top1" for task in one.tasks):
        return None
    tables = []
    for task in one.tasks:
        lines = [_mean_right(results.cells.get((task, model, one.regime), ()), right) for model in one.models]
        known = [line for line in lines if line is not None]
        if len(known) < len(lines) or len({line.shape for line in known}) > 1:
            return None
        tables.append(np.array(known))
    clustered = bool(families_to_leave(families, len(families)))
    kinds = ["examples", "models", *(["families"] if clustered else []), "both"]
    found = {
        kind: bootstrap_study(source, tables, over=kind, families=families if clustered else None) for kind in kinds
    }
    named = {"examples": "test images", "both": f"{'families' if clustered else 'models'} and images"}
    said = ", ".join(f"{named.get(kind, kind)} {signed(of.low)} to {signed(of.high)}" for kind, of in found.items())
    text = (
        f"{capital(label(one.regime))}, drawn anew 95\u00a0% of r with {source_name} accuracy fall within: {said} "
        "(bootstrap; too narrow as an interval of so few models, so it only tells what the doubt is made of)."
    )
    numbers = {kind: {"r": of.value, "low": of.low, "high": of.high} for kind, of in found.items()}
    return Finding("redrawn", one.regime, text, numbers)


def _mean_right(cells: Sequence[Cell], right: Mapping[Cell, Right]) -> Array | None:
    """The share of the seeds that got each test image right [n]; None where a cell does not tell."""
    found = [right.get(cell) for cell in cells]
    known = [one.correct for one in found if one is not None]
    if not known or len(known) < len(cells) or any(one.shape != known[0].shape for one in known):
        return None
    mean = np.mean(known, axis=0)
    return mean if np.isfinite(mean).all() else None


def above(one: Transfer, results: Results, source_name: str) -> Finding | None:
    """Points on the tasks per point of source accuracy among the better models (Fang et al. 2023)."""
    source = np.array([results.source_top1[model] for model in one.models])
    strong = int((source >= ABOVE).sum())
    if strong < FEWEST_JUDGED or strong == len(source):
        return None
    strongest, names = source >= ABOVE, np.array(_families(one, results))
    values = _values(one, results).mean(axis=1)
    line = line_slope(source[strongest], values[strongest], families=names[strongest].tolist())
    said = (
        f"{capital(label(one.regime))}, the {line.n} models above 70\u00a0%: {signed(line.slope)} points of mean "
        f"accuracy per point of {source_name} accuracy ({within(line.low, line.high)})."
    )
    numbers = {"models": line.n, "slope": line.slope, "low": line.low, "high": line.high}
    return Finding("above_70", one.regime, said, numbers)


def _is_proportion(metric: str) -> bool:
    known = METRICS.get(metric)
    return known is not None and known.is_proportion


def attenuation(one: Transfer, results: Results) -> Finding | None:
    """What r would be with test sets without end, where that is another number."""
    if not _judged(one) or not all(_is_proportion(results.metric[task]) for task in one.tasks):
        return None  # the noise of other metrics is not a binomial's
    entries = [[results.entries[task, model, one.regime] for task in one.tasks] for model in one.models]
    if any(not entry.n for line in entries for entry in line):
        return None
    shares = np.array([[entry.value for entry in line] for line in entries], dtype=np.float64)
    each = log_odds_error(shares, [[entry.n for entry in line] for line in entries])
    error_y = np.sqrt((each**2).sum(axis=1)) / len(one.tasks)
    error_x = np.zeros(len(one.models))
    if results.source_n:
        source = [results.source_top1[model] for model in one.models]
        error_x = log_odds_error(source, [results.source_n[model] for model in one.models])
    found = corrected_correlation(one.x, one.y, error_x, error_y)
    numbers = dataclasses.asdict(found)
    if math.isnan(found.corrected):
        said = (
            f"{capital(label(one.regime))}: the noise of the test sets is as large as the spread of the models; r says "
            "little about them."
        )
        return Finding("attenuation", one.regime, said, numbers)
    if abs(found.corrected - found.r) < WORTH_A_WORD:
        return None
    said = (
        f"{capital(label(one.regime))}: corrected for the noise of finite test sets r would be at most "
        f"{signed(found.corrected)} instead of {signed(found.r)} (reliability of transfer {found.reliability_y:.2f})."
    )
    return Finding("attenuation", one.regime, said, numbers)


def given_size(one: Transfer, results: Results, source_name: str) -> Finding | None:
    sizes = [results.facts.get(model, {}).get("parameters") for model in one.models]
    if not _judged(one) or len(sizes) < FEWEST_SHOWN or any(not size for size in sizes):
        return None
    found = partial_correlation(
        one.x, one.y, np.log10(np.array(sizes, dtype=np.float64)), families=_families(one, results)
    )
    if math.isnan(found.r) or math.isnan(found.low):
        return None
    said = (
        f"{capital(label(one.regime))}, among models of equal size (log parameters taken out): r\u00a0=\u00a0"
        f"{signed(found.r)} ({within(found.low, found.high)}) with {source_name} accuracy."
    )
    return Finding("given_size", one.regime, said, dataclasses.asdict(found))


def other_axes(one: Transfer, results: Results, speeds: Mapping[str, float]) -> list[Finding]:
    """How transfer follows other numbers of the models: other accuracies, size, speed."""
    if not _judged(one):
        return []
    facts = {model: {**results.facts.get(model, {})} for model in one.models}
    for model in one.models:
        if model in speeds:
            facts[model]["throughput"] = speeds[model]
    found = []
    for name in AXES:
        values = [facts[model].get(name) for model in one.models]
        if any(value is None or value <= 0 for value in values):
            continue
        column = np.array(values, dtype=np.float64)
        share = name not in SIZES
        fit = correlation_interval(
            log_odds(column) if share else np.log10(column), one.y, families=_families(one, results)
        )
        if math.isnan(fit.r):
            continue
        said = (
            f"{capital(label(one.regime))}, against {AXES[name]}: r\u00a0=\u00a0{signed(fit.r)} (95\u00a0% interval "
            f"{signed(fit.low)} to {signed(fit.high)})."
        )
        numbers = {"axis": name, "r": fit.r, "low": fit.low, "high": fit.high, "p": fit.p, "models": fit.models}
        found.append(Finding("other_axis", one.regime, said, numbers))
    return found


def choosing(one: Transfer, results: Results, source_name: str) -> Finding | None:
    """Points lost by taking the model with the best source accuracy."""
    if len(one.models) < 2:
        return None
    values = _values(one, results)
    found = regret_of([results.source_top1[model] for model in one.models], values)
    worst = one.tasks[found.worst_task]
    costs = f"costs {100 * found.mean:.1f} points against the best model"
    if len(one.tasks) > 1:
        costs = f"costs {100 * found.mean:.1f} points on average (at worst {100 * found.worst:.1f}, on {worst})"
    if found.worst == 0:
        costs = "gives the best model" + (" on every task" if len(one.tasks) > 1 else "")
    said = f"{capital(label(one.regime))}: choosing by {source_name} accuracy {costs}."
    numbers = {"mean_points": 100 * found.mean, "worst_points": 100 * found.worst, "worst_task": worst}
    return Finding("regret", one.regime, said, numbers)
