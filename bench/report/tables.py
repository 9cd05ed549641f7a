"""The report's tables: as texts in cells, for the page and the terminal, and as CSV files with every digit."""

import csv
import dataclasses
import io
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from ..results import (
    Results,
    Row,
    Speed,
    Transfer,
    counted,
    faults,
    interval_text,
    label,
    metric_name,
    number_text,
    outcomes,
    printable,
    ranking,
    row_order,
    scope_letter,
    signed,
    source_text,
)

MOST_TRAININGS = 400  # lines of the table of how training went

# --- Texts in cells


def table_cell(results: Results, task: str, model: str, regime: str) -> dict[str, Any]:
    """What a table shows of an entry; a failed one is a word, one that is not there yet a dash."""
    entry = results.entries.get((task, model, regime))
    cell = {"value": "–", "interval": "", "note": "", "fault": "", "best": False, "failed": False, "numbers": []}
    if entry is None:
        return cell
    if entry.value is None:
        return cell | {"value": "failed", "failed": True}
    order = ranking(results, task, regime)
    notes = []
    if entry.seeds > 1 and entry.lowest is not None and entry.highest is not None:
        ends = f"{number_text(entry.lowest, results, task)} to {number_text(entry.highest, results, task)}"
        notes.append(f"{entry.seeds} seeds: {ends}")
    if entry.errors:
        notes.append(f"{counted(len(entry.errors), 'seed')} failed")
    fault = next((one for one in entry.faults if entry.collapsed), (*entry.faults, "")[0].partition(":")[0])
    best = len(order) > 1 and not entry.is_collapsed and entry.value == results.value(task, order[0], regime)
    return cell | {
        "value": number_text(entry.value, results, task),
        "interval": interval_text(entry, results, task),
        "note": "; ".join(notes),
        "fault": fault,
        "best": best,
        "numbers": [entry.value, entry.low, entry.high, entry.n],
    }


def sizes(results: Results, task: str) -> str:
    """The test images, or their range where cells differ."""
    found = [entry.n for (of, _, _), entry in results.entries.items() if of == task and entry.value is not None]
    if not found:
        return "–"
    return f"{min(found):,}" if min(found) == max(found) else f"{min(found):,} to {max(found):,}"


def task_table(results: Results, task: str) -> dict[str, Any]:
    lines = []
    for place, model in enumerate(results.models):
        cells = [table_cell(results, task, model, regime) for regime in results.regimes]
        if any((task, model, regime) in results.entries for regime in results.regimes):
            source = source_text(results, model)
            lines.append({"model": model, "place": place, "source": source, "cells": cells})
    unit = (
        "percent"
        if results.is_fraction(task)
        else "as it is" + ("" if results.higher_is_better(task) else ", lower is better")
    )
    return {
        "task": task,
        "metric": metric_name(results.metric[task]),
        "unit": unit,
        "n": sizes(results, task),
        "lines": lines,
    }


def training_table(rows: Sequence[Row]) -> tuple[list[dict[str, Any]], str]:
    """How the trained regimes went, and the probes that did not converge: a line for each finished cell.

    Of very many only those with something to know, and a sentence that says so.
    """
    found = sorted(outcomes(rows), key=lambda one: (one.row.cell.regime, row_order(one.row)))
    shown = found if len(found) <= MOST_TRAININGS else [one for one in found if one.faults]
    said = ""
    if min(len(shown), MOST_TRAININGS) < len(found):
        most = f"the first {MOST_TRAININGS} of " if len(shown) > MOST_TRAININGS else ""
        said = (f"Shown are {most}the {len(shown):,} of {len(found):,} that have something to know; "
                "results.csv has all.")  # fmt: skip
    return [
        {
            "regime": label(one.row.cell.regime),
            "task": one.row.cell.task,
            "model": one.row.cell.model,
            "seed": one.row.cell.seed,
            "train": _percent(one.row.details.get("train_top1", one.row.details.get("train_label_accuracy"))),
            "test": "–" if one.row.value is None else f"{100 * one.row.value:.1f}",
            "majority": f"{_percent(one.row.details.get('majority_test'))} / "
            f"{_percent(one.row.details.get('majority_train'))}",
            "rate": _rate(one.row),
            "faults": "; ".join(one.faults),
        }
        for one in shown[:MOST_TRAININGS]
    ], said


def _rate(row: Row) -> str:
    """The learning rate, and those that it was chosen from."""
    rate, tried = row.details.get("learning_rate"), row.details.get("rates") or list(row.details.get("tried") or {})
    if rate is None:
        return "–"
    return f"{rate:g}" + (
        f" of {', '.join(f'{float(one):g}' for one in sorted(map(float, tried)))}" if len(tried) > 1 else ""
    )


def _percent(share: float | None) -> str:
    return "–" if share is None else f"{100 * share:.1f}"


def recipes(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """(regime, its recipe in words) of the trained regimes whose rows tell it."""
    found: dict[tuple[str, str], None] = {}
    for row in sorted(rows, key=row_order):
        recipe = row.details.get("recipe")
        if row.error is None and isinstance(recipe, Mapping):
            said = ", ".join(f"{name.replace('_', ' ')} {_setting(value)}" for name, value in recipe.items()
                             if value is not None)  # fmt: skip
            found[label(row.cell.regime), said] = None
    return list(found)


def _setting(value: Any) -> str:
    if isinstance(value, Mapping):
        return "(" + ", ".join(f"{name} {_setting(of)}" for name, of in value.items()) + ")"
    if isinstance(value, (list, tuple)):
        return " or ".join(_setting(one) for one in value) if len(value) != 2 else " and ".join(map(_setting, value))
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


def transfer_table(found: Sequence[Transfer], results: Results) -> list[dict[str, Any]]:
    """The mean over tasks and, where there are several, each task; nothing where no r exists."""
    if all(one.r is None for one in found):
        return []
    return [
        {
            "regime": label(one.regime),
            "task": one.task or ("mean of tasks" if len(one.tasks) > 1 else one.tasks[0]),
            "whole": not one.task,
            "models": len(one.models),
            "tasks": len(one.tasks),
            "r": "–" if one.r is None else signed(one.r),
            "interval": "–" if one.low is None or one.high is None else f"{signed(one.low)} to {signed(one.high)}",
            "p": p_text(one.p),
            "without": _range_without(one),
            "slope": "–" if one.slope is None else signed(one.slope),
        }
        for one in found
        if not one.task or len(results.fraction_tasks) > 1
    ]


def p_text(p: float | None) -> str:
    return "–" if p is None else "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _range_without(one: Transfer) -> str:
    """The least and the largest r without one model."""
    found = [left.r for left in one.without if not left.family]
    return f"{signed(min(found))} to {signed(max(found))}" if len(found) > 3 else "–"


def throughput_table(speeds: Sequence[Speed]) -> list[Speed]:
    return sorted(speeds, key=lambda one: (scope_letter(one.scope), one.device, one.model, dataclasses.astuple(one)))


# --- CSV files

FORMULAS = ("=", "+", "-", "@")


def results_csv(rows: Iterable[Row]) -> str:
    """One line per row, sorted; numbers in full precision; RFC 4180."""
    columns = (
        *("task", "model", "family", "source_top1", "source_n", "regime", "seed"),
        *("metric", "value", "low", "high", "n", "seconds", "kwh", "error", "source", "inputs", "scores_digest"),
        *("train_top1", "majority_test", "majority_train", "learning_rate", "faults"),
    )
    found = []
    for row in sorted(rows, key=row_order):
        values = {**{name: getattr(row, name, None) for name in columns}, **dataclasses.asdict(row.cell)}
        values |= {name: row.details.get(name) for name in columns[-5:-1]} | {"faults": "; ".join(faults(row))}
        if row.error is not None:
            values |= {"value": None, "low": None, "high": None}
        found.append([values[name] for name in columns])
    return csv_text(columns, found)


def correlations_csv(found: Iterable[Transfer]) -> str:
    def alone(one: Transfer) -> list[float]:
        return [left.r for left in one.without if not left.family]

    columns = (
        "regime",
        "task",
        "models",
        "tasks",
        "r",
        "low",
        "high",
        "slope",
        "intercept",
        "models_left_out",
        "p",
        "least_r_without_one",
        "largest_r_without_one",
    )
    return csv_text(columns, (
        [one.regime, one.task or "(mean of tasks)", len(one.models), len(one.tasks), one.r, one.low, one.high,
         one.slope, one.intercept, one.left_out, one.p, min(alone(one), default=None), max(alone(one), default=None)]
        for one in found
    ))  # fmt: skip


def throughput_csv(speeds: Iterable[Speed]) -> str:
    columns = [field.name for field in dataclasses.fields(Speed)]
    known = columns.index("p95_ms")  # that and others may be None, which have no order
    return csv_text(columns, sorted((dataclasses.astuple(one) for one in speeds), key=lambda one: tuple(one[:known])))


def csv_text(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow([_csv_cell(value) for value in line])
    return text.getvalue()


def _csv_cell(value: Any) -> str:
    """A number with every digit, or a text; one that a spreadsheet would take for a formula begins with '."""
    if value is None:
        return ""
    if isinstance(value, (int, float)):
        return repr(float(value)) if isinstance(value, float) else str(value)
    text = printable(value)
    return f"'{text}" if text.strip()[:1] in FORMULAS or text[:1] == "\t" else text
