"""The report's first words: which model to take, and whether source accuracy mattered."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from ..results import (
    FROZEN,
    Choice,
    Entry,
    Lead,
    Results,
    Transfer,
    capital,
    carrier,
    counted,
    gains,
    is_published,
    joined,
    label,
    ranking,
    short_label,
    signed,
    signed_points,
    value_text,
    verdict,
)
from ..stats import FEWEST_JUDGED
from ..stats.slopes import significant_correlation
from .tables import p_text
from .taking import taken

WITH = {
    "probe": "with a linear probe on frozen features",
    "knn": "with nearest neighbours on frozen features",
    "finetune": "with fine-tuning",
    "scratch": "trained from scratch",
}

FEW = 20  # models, up to which the reader is told how little they can show
WORTH_CARRYING = 0.5  # of r: of a weaker one there is nothing to carry
MOST_LEADS = 4  # named
MOST_NAMED = 5  # models


def answer(
    results: Results,
    found: Sequence[Transfer],
    source_name: str,
    ahead: Sequence[Lead] = (),
    choice: Choice | None = None,
    way: str = "",
) -> dict[str, Any]:
    """The page's first words. take, expect, sentences: which model to take; lead: whether source accuracy mattered;
    trouble: what went wrong; regimes: (name, text) each; close: how sure. way: how speed was measured."""
    means = [one for one in found if not one.task]
    measured = [one for one in means if not is_published(one.regime)]
    lead = _verdicts(measured, source_name) if measured else [_no_correlation(results, source_name)]
    lead += _regime_comparisons(results)
    regimes = []
    for regime in results.regimes:
        judged = [one for one in means if one.regime == regime and verdict(one) != "none"]
        of = [sentence(one, source_name).partition(": ")[2] for one in judged]
        text = " ".join([*(capital(text) for text in of), _best(results, regime)]).strip()
        if text:
            regimes.append((capital(label(regime)), text))
    words = taken(results, choice, way) if choice else {"take": _without_choice(results), "expect": "", "sentences": []}
    return words | {
        "lead": " ".join(lead), "trouble": trouble(results), "regimes": regimes, "close": _separation(ahead),
    }  # fmt: skip


# --- Without a choice


def _without_choice(results: Results) -> str:
    """Where no metric is a share of 1: who is best on each task."""
    said = [text for regime in results.measured_regimes if (text := _best(results, regime))]
    return said[0] if said else "No model can be named."


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
    return f"{name}: {says} ({_numbers(one)}{over}).{_carried(one)}"


def _numbers(one: Transfer) -> str:
    if one.r is None or one.low is None or one.high is None:
        return ""
    sign = "" if one.p is None or one.p < 0.001 else "=\u00a0"
    p = "" if one.p is None else f", p\u00a0{sign}{p_text(one.p)}"
    return f"r\u00a0=\u00a0{signed(one.r)}, 95\u00a0% interval {signed(one.low)} to {signed(one.high)}{p}; "


def _carried(one: Transfer) -> str:
    """What is left of a correlation that one model or one family carries."""
    left = carrier(one)
    if left is None or one.r is None or abs(one.r) < WORTH_CARRYING or verdict(one) == "none":
        return ""
    kind = "family" if left.family else "model"
    return f" One {kind} carries this: without {left.name} r\u00a0=\u00a0{signed(left.r)}."


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
        "what was found may be chance.",
        "none": f"Too few models to say whether those with higher {source_name} accuracy transfer better {{}}: a "
        f"verdict needs {FEWEST_JUDGED}.",
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
    if counts and min(counts) < FEW:
        sentences.append(
            f"With {min(counts)} models only a correlation of about {signed(significant_correlation(min(counts)))} or "
            "more can be told from chance."
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


# --- What went wrong


def trouble(results: Results) -> list[str]:
    """Failed and collapsed cells, by name where they are few; and trainings that may be short."""
    sentences = []
    failed = _named(results, lambda entry: entry.value is None)
    if failed:
        sentences.append(f"Without a number, as it failed: {failed}.")
    part = _named(results, lambda entry: entry.value is not None and bool(entry.errors))
    if part:
        sentences.append(f"Some seeds failed: {part}.")
    some = _named(results, lambda entry: 0 < entry.collapsed < entry.seeds)
    if some:
        sentences.append(f"Some seeds collapsed, predicting one class for all images: {some}.")
    collapsed = _named(results, lambda entry: entry.is_collapsed)
    if collapsed:
        sentences.append(
            "Collapsed, predicting one class for all images, so that the number says nothing of the model: "
            f"{collapsed}."
        )
    short = {
        regime: sum(any(_is_short(fault) for fault in entry.faults) for _, entry in of)
        for regime in results.regimes
        if (
            of := [
                (key, entry) for key, entry in results.entries.items() if key[2] == regime and entry.value is not None
            ]
        )
    }
    for regime, count in short.items():
        total = sum(key[2] == regime and entry.value is not None for key, entry in results.entries.items())
        if count:
            sentences.append(
                f"{capital(label(regime))}: {count} of {counted(total, 'cell')} may be short of what the regime can "
                "reach (see how training went)."
            )
    return sentences


def _is_short(fault: str) -> bool:
    return "converge" in fault or "edge" in fault or "no better than" in fault


def _named(results: Results, holds: Callable[[Entry], bool]) -> str:
    """Models with the regimes and tasks in which it holds of them; a count of tasks where those are many."""
    found: dict[str, dict[str, list[str]]] = {}
    for model in results.models:
        for regime in results.regimes:
            for task in results.tasks:
                entry = results.entries.get((task, model, regime))
                if entry is not None and holds(entry):
                    found.setdefault(model, {}).setdefault(regime, []).append(task)
    said = []
    for model, regimes in list(found.items())[:MOST_NAMED]:
        where = [
            f"{short_label(regime)} on {joined(tasks) if len(tasks) <= 3 else counted(len(tasks), 'task')}"
            for regime, tasks in regimes.items()
        ]
        said.append(f"{model} ({'; '.join(where)})")
    if len(found) > MOST_NAMED:
        said.append(f"{counted(len(found) - MOST_NAMED, 'other model')}")
    return joined(said) if said else ""


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


def _separation(found: Sequence[Lead]) -> str:
    """In how many places the first two can be told apart, by paired tests where the scores were kept."""
    judged = [one for one in found if one.settled is not None]
    if not judged:
        return ""
    settled = [one for one in judged if one.settled]
    paired = [one for one in judged if one.p is not None]
    where = "the one place" if len(judged) == 1 else f"{len(judged)} places"
    how = []
    if paired:
        exact = f" over these {len(paired)}, after Holm" if len(paired) > 1 else ""
        how.append(f"paired tests on the same test images, p at most 0.05{exact}")
    if len(paired) < len(judged):
        rest = "" if not paired else f" in {len(judged) - len(paired)} of them"
        how.append(f"intervals that lie clear of each other{rest}")
    by = f" (by {'; by '.join(how)})"
    if not settled:
        return f"Of {where} where a model is best, its lead over the runner-up is settled in none{by}."
    if len(judged) == 1:
        return f"The best model’s lead over the runner-up is settled{by}."
    lead = [f"{one.first} over {one.second} on {one.task}, {short_label(one.regime)}" for one in settled]
    named = f": {'; '.join(lead)}" if len(lead) <= MOST_LEADS else ""
    return f"Of {where} where a model is best, its lead over the runner-up is settled in {len(settled)}{by}{named}."


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
        f"{signed_points(mean)} points, and single pairs range from {signed_points(min(points))} to "
        f"{signed_points(max(points))}."
    )
