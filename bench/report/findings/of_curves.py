"""Findings about how much there is to learn from, and how soon it is learned: training-set size and convergence."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...results import Results, Row, counted, entry_log_odds, joined, short_label, signed
from ...stats import ERROR
from .finding import Finding

CONVERGED = "steps_to_90_percent_of_final_odds"
SCRATCH, TUNED, FROZEN = "scratch", "finetune", "probe"


def convergence(rows: Sequence[Row]) -> Finding | None:
    """Steps to 90 % of the odds at the end, of trainings that looked at val after each epoch; against scratch."""
    of: dict[str, dict[tuple[str, str, int], tuple[int, int]]] = {}
    for row in rows:
        steps = row.details.get(CONVERGED) if row.error is None else None
        if steps is not None:
            total = int((row.details.get("training") or {}).get("steps", 0))
            of.setdefault(row.cell.regime, {})[row.cell.task, row.cell.model, row.cell.seed] = int(steps), total
    if not of:
        return None
    numbers: dict[str, Any] = {}
    said = []
    for regime, cells in of.items():
        steps = [each for each, _ in cells.values()]
        low, middle, high = (float(each) for each in np.quantile(steps, [0.25, 0.5, 0.75]))
        by_task: dict[str, list[int]] = {}
        for (task, _, _), (each, _) in cells.items():
            by_task.setdefault(task, []).append(each)
        numbers[regime] = {
            "cells": len(steps), "median": middle, "quarter": low, "three_quarters": high,
            "median_of_all_steps": float(np.median([total for _, total in cells.values()])),
            "by_task": {task: float(np.median(each)) for task, each in by_task.items()},
        }  # fmt: skip
        whole = numbers[regime]["median_of_all_steps"]
        said.append(
            f"{short_label(regime)} after {middle:,.0f} of {whole:,.0f} steps (the median of "
            f"{counted(len(steps), 'cell')}; the middle half {low:,.0f} to {high:,.0f})"
        )
    text = f"Val has 90\u00a0% of the odds that it has at the end: {'; '.join(said)}."
    if TUNED in of and SCRATCH in of:
        pairs = [(of[TUNED][cell][0], of[SCRATCH][cell][0]) for cell in of[TUNED].keys() & of[SCRATCH].keys()]
        sooner = sum(tuned < scratch for tuned, scratch in pairs)
        if pairs:
            numbers["sooner"] = {"fine_tuned": sooner, "pairs": len(pairs)}
            text += f" Fine-tuned sooner than from scratch in {sooner} of {counted(len(pairs), 'pair')}."
    return Finding("convergence", "", f"{text} Looks are one per epoch, so steps are multiples of an epoch’s.", numbers)


def curves(results: Results) -> list[Finding]:
    """What fine-tuning adds to frozen features and to training from scratch, by images of each class.

    At the sizes that every task with sizes has, of the models that have both regimes at all of them, so that nothing
    but the size changes.
    """
    here = results.curves
    levels = [level for level in next(iter(here.values()), {}) if all(level in of for of in here.values())]
    if len(levels) < 2:
        return []
    by_level = {level: [of[level] for of in here.values()] for level in levels}
    found = []
    for other in (SCRATCH, FROZEN):
        models = [
            model for model in results.models
            if all(results.value(task, model, regime) is not None
                   for tasks in by_level.values() for task in tasks for regime in (TUNED, other))
        ]  # fmt: skip
        if not models:
            continue
        numbers = {level: _difference(results, tasks, models, TUNED, other) for level, tasks in by_level.items()}
        said = [f"{_images(level)} {_words(of)}" for level, of in numbers.items()]
        text = (
            f"Fine-tuned less {short_label(other)} by the size of the training set, in mean log odds over "
            f"{joined(list(here))}: {'; '.join(said)}. Intervals are Student’s, over models."
        )
        found.append(Finding("size_curve", other, text, numbers))
    return found


def _images(level: str) -> str:
    return "with all images" if level == "all" else f"with {level} of each class"


def _words(of: Mapping[str, Any]) -> str:
    if of["low"] is None:
        return f"{signed(of['difference'])} (one model)"
    return f"{signed(of['difference'])} ({signed(of['low'])} to {signed(of['high'])}, {counted(of['models'], 'model')})"


def _difference(
    results: Results, tasks: Sequence[str], models: Sequence[str], regime: str, other: str
) -> dict[str, Any]:  # fmt: skip
    """One regime's log odds less another's, mean over the tasks, of models that have both on all of them."""
    from scipy.stats import t as student

    def odds(task: str, model: str, of: str) -> float:
        return entry_log_odds(results.entries[task, model, of])[0]

    apart = [np.mean([odds(task, model, regime) - odds(task, model, other) for task in tasks]) for model in models]
    middle, low, high = float(np.mean(apart)), None, None
    if len(apart) > 1:
        reach = float(student.ppf(1 - ERROR / 2, len(apart) - 1)) * float(np.std(apart, ddof=1)) / math.sqrt(len(apart))
        low, high = middle - reach, middle + reach
    return {"difference": middle, "low": low, "high": high, "models": len(apart), "tasks": list(tasks)}
