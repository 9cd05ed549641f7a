"""The report's first words: does transfer follow source accuracy, which model is best, and how sure is that?"""

from collections.abc import Sequence
from typing import Any

import numpy as np

from ..results import (
    FROZEN,
    Results,
    Transfer,
    capital,
    clear_lead,
    counted,
    gains,
    joined,
    label,
    ranking,
    signed,
    signed_points,
    value_text,
    verdict,
)

WITH = {
    "probe": "with a linear probe on frozen features",
    "knn": "with nearest neighbours on frozen features",
    "finetune": "with fine-tuning",
    "scratch": "trained from scratch",
}
ROUGH_BELOW = 10


def answer(results: Results, found: Sequence[Transfer], source_name: str) -> dict[str, Any]:
    """The page's first words. lead: the answer in a paragraph; regimes: (name, text) each; close: how sure."""
    means = [one for one in found if not one.task]
    lead = _verdicts(means, source_name) if means else [_no_correlation(results, source_name)]
    lead += _regime_comparisons(results)
    regimes = []
    for regime in results.regimes:
        judged = [one for one in means if one.regime == regime and verdict(one) != "none"]
        of = [sentence(one, source_name).partition(": ")[2] for one in judged]
        text = " ".join([*(capital(text) for text in of), _best(results, regime)]).strip()
        if text:
            regimes.append((capital(label(regime)), text))
    return {"lead": " ".join(lead), "regimes": regimes, "close": _separation(results)}


# --- Does transfer follow source accuracy?


def sentence(one: Transfer, source_name: str) -> str:
    name = capital(label(one.regime))
    over = f"{counted(len(one.models), 'model')}, {counted(len(one.tasks), 'task')}"
    says = {
        "yes": f"better {source_name} models score higher",
        "no": f"better {source_name} models score lower",
        "open": f"whether better {source_name} models score higher is not settled",
        "none": f"too few models to say whether better {source_name} models score higher",
    }[verdict(one)]
    return f"{name}: {says} ({_numbers(one)}{over})."


def _numbers(one: Transfer) -> str:
    if one.r is None or one.low is None or one.high is None:
        return ""
    return f"r\u00a0=\u00a0{signed(one.r)}, 95\u00a0% interval {signed(one.low)} to {signed(one.high)}; "


def _verdicts(means: Sequence[Transfer], source_name: str) -> list[str]:
    """One sentence per verdict, for the regimes that it holds for; from scratch apart, as the control."""
    groups: dict[str, list[str]] = {}
    for one in means:
        if one.regime != "scratch":
            groups.setdefault(verdict(one), []).append(WITH.get(one.regime, f"with {label(one.regime)}"))
    words = {
        "yes": f"Models with higher {source_name} accuracy transfer better {{}}.",
        "no": f"Models with higher {source_name} accuracy transfer worse {{}}.",
        "open": f"Whether models with higher {source_name} accuracy transfer better {{}} is not settled: "
        "the interval of the correlation holds zero.",
        "none": f"Too few models to say whether those with higher {source_name} accuracy transfer better {{}}.",
    }
    sentences = [words[kind].replace("{}", joined(groups[kind])) for kind in words if kind in groups]
    control = next((verdict(one) for one in means if one.regime == "scratch"), "none")
    if control == "yes":
        sentences.append(
            "Trained from scratch (the control), the same architectures show the link too: part of it belongs to "
            "them, not to pre-training."
        )
    elif control in ("open", "no"):
        sentences.append("Trained from scratch (the control), the same architectures show no such settled link.")
    counts = [len(one.models) for one in means if verdict(one) != "none"]
    if counts and min(counts) < ROUGH_BELOW:
        sentences.append(
            f"With {counted(min(counts), 'model')} an interval over models is itself rough: "
            "read it as a sketch, not a test."
        )
    return sentences


def _no_correlation(results: Results, source_name: str) -> str:
    if not results.entries:
        return "Throughput only: no accuracy has been measured."
    if not any(entry.value is not None for entry in results.entries.values()):
        return "No cell has finished with a number; the errors are listed below."
    if not results.source_top1:
        return f"No model’s {source_name} accuracy is known, so nothing is said about how transfer follows it."
    return f"No task’s metric can be compared with {source_name} accuracy in log odds."


# --- Which model, and which regime?


def _best(results: Results, regime: str) -> str:
    """Who is best where in this regime, with values where there are few tasks."""
    best: dict[str, list[str]] = {}
    for task in results.tasks:
        for model in ranking(results, task, regime)[:1]:
            entry = results.entries[task, model, regime]
            best.setdefault(model, []).append(f"{task} ({value_text(entry, results, task)})")
    if not best:
        return ""
    order = sorted(best, key=lambda model: (-len(best[model]), model))
    count = sum(len(tasks) for tasks in best.values())
    if len(results.models) == 1:
        return f"{order[0]}: {joined(best[order[0]])}."
    if count <= 4:
        return "Best: " + "; ".join(f"{model} on {joined(best[model])}" for model in order) + "."
    counts = [f"{model} on {len(best[model])}" for model in order[:3]]
    rest = sum(len(best[model]) for model in order[3:])
    return f"Best, of {count} tasks: {joined(counts + ([f'others on {rest}'] if rest else []))}."


def _separation(results: Results) -> str:
    """In how many places the first two can be told apart."""
    leads = [
        clear_lead(results, task, regime, order)
        for regime in results.regimes
        for task in results.tasks
        if len(order := ranking(results, task, regime)) > 1
    ]
    clear, overlapping = leads.count(True), leads.count(False)
    if not clear + overlapping:
        return ""
    both = clear + overlapping
    if not clear:
        many = "the one place" if both == 1 else f"all {both} places"
        return f"In {many} where a model is best, its interval overlaps the runner-up’s: no lead is settled."
    rest = f"; in the other {overlapping} they overlap, so the lead is not settled there" if overlapping else ""
    return f"In {clear} of {both} places the best model’s interval lies clear of the runner-up’s{rest}."


def _regime_comparisons(results: Results) -> list[str]:
    frozen = next((regime for regime in FROZEN if regime in results.regimes), None)
    sentences = []
    if frozen and "finetune" in results.regimes:
        sentences.append(_comparison(results, "finetune", frozen, "Fine-tuning", "frozen features"))
    if "finetune" in results.regimes and "scratch" in results.regimes:
        sentences.append(_comparison(results, "finetune", "scratch", "Fine-tuning", "training from scratch"))
    elif frozen and "scratch" in results.regimes:
        sentences.append(_comparison(results, frozen, "scratch", "A frozen backbone", "training from scratch"))
    return [text for text in sentences if text]


def _comparison(results: Results, one: str, other: str, name: str, than: str) -> str:
    points = [gain for task in results.fraction_tasks for _, gain in gains(results, task, one, other)]
    if not points:
        return ""
    if len(points) == 1:
        return f"{name} against {than}: {signed_points(points[0])} points."
    higher, mean = sum(gain > 0 for gain in points), float(np.mean(points))
    return (
        f"{name} beats {than} in {higher} of {len(points)} pairs of model and task; the mean difference is "
        f"{signed_points(mean)} points ({signed_points(min(points))} to {signed_points(max(points))})."
    )
