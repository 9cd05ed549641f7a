"""All that the page shows, as plain values: the page, `report.md` and `report.json` are made of it."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..results import (
    Choice,
    Lead,
    Results,
    Row,
    Speed,
    Transfer,
    frontier,
    rates_of,
    row_order,
    short_label,
    source_text,
)
from .bill import bill, bill_texts, energy_said, energy_unit
from .findings import Finding, printable_values, report_json
from .first_screen import answer
from .provenance import environments, how_made, metric_definitions, splits, version
from .tables import recipes, task_table, throughput_table, training_table, transfer_table


@dataclasses.dataclass(frozen=True)
class Heading:
    """What the reader is told beside the numbers.

    notes: to know before believing one. seed: of the drawn orders of models.
    """

    title: str
    notes: Sequence[str] = ()
    source_name: str = "ImageNet"
    command: str = ""
    seed: int = 0


def document_of(
    heading: Heading,
    rows: Sequence[Row],
    speeds: Sequence[Speed],
    results: Results,
    found: Sequence[Transfer],
    scored: Mapping[str, Any] | None,
    ahead: Sequence[Lead],
    looked: Sequence[Finding],
    choice: Choice | None,
) -> dict[str, Any]:
    """Sections by their ids on the page. Numbers are in full precision where they are no text."""
    way = rates_of(speeds)[1]
    trainings, of_trainings = training_table(rows)
    billed = bill(results, choice)
    unit = energy_unit(billed)
    document = report_json(heading.title, heading.source_name, found, looked, heading.command)
    found_here = document | {
        "notes": list(heading.notes),
        "answer": answer(results, found, heading.source_name, ahead, choice, way),
        "choice": None if choice is None else dataclasses.asdict(choice),
        "faster": _faster(choice),
        "bill": [line | {"text": bill_texts(line, unit)} for line in billed],
        "bill_energy": {"told": bool(unit), "unit": unit, "said": energy_said(billed, rows)},
        "models": _models(results, choice, speeds),
        "regimes": [short_label(regime) for regime in results.regimes],
        "tables": [task_table(results, task) for task in results.tasks],
        "correlation_table": transfer_table(found, results),
        "closer": [one.said for one in looked],
        "estimators": scored,
        "trainings": trainings,
        "of_trainings": of_trainings,
        "throughput": [dataclasses.asdict(one) for one in throughput_table(speeds)],
        "failures": [_failure(row) for row in sorted(rows, key=row_order) if row.error is not None],
        "made": how_made(rows, results, heading.command, heading.seed),
        "recipes": recipes(rows),
        "metrics": metric_definitions(results),
        "splits": splits(rows),
        "environment": environments(rows),
        "version": version(rows),
        "several_seeds": len({row.cell.seed for row in rows}) > 1,
    }
    return dict(printable_values(found_here))


def _faster(choice: Choice | None) -> list[str]:
    """What to take under other limits of speed: the frontier but for what is taken, in words."""
    if choice is None:
        return []
    steps = frontier(choice.options, "rate")
    if len(steps) < 2:
        return []
    return [
        f"{one.rate:,.0f} images per second: {one.model}, {short_label(one.regime)}, {100 * one.value:.1f}\u00a0%"
        for one in steps
        if one.rate is not None and one is not choice.chosen and one.rate > (choice.chosen.rate or 0.0)
    ][:6]


# --- A line for each model


def _models(results: Results, choice: Choice | None, speeds: Sequence[Speed]) -> dict[str, Any]:
    """The table `models`: of each one its mean in every regime over the tasks of the choice, rank, speed and size."""
    rates, way = rates_of(speeds)
    of = {} if choice is None else {(one.model, one.regime): one for one in choice.options}
    regimes = [] if choice is None else [r for r in results.measured_regimes if any(key[1] == r for key in of)]
    lines = []
    for model in results.models:
        cells = []
        for regime in regimes:
            one = of.get((model, regime))
            known = one is not None and one.low is not None and one.high is not None
            cells.append(
                {"value": None if one is None else one.value, "text": "–" if one is None else f"{100 * one.value:.1f}",
                 "interval": f"{100 * one.low:.1f}–{100 * one.high:.1f}" if known else "",  # type: ignore[union-attr,operator]
                 "best": one is not None and choice is not None and one is choice.chosen}
            )  # fmt: skip
        source, size = results.source_top1.get(model), results.facts.get(model, {}).get("parameters")
        rank = _mean_rank(results, model)
        rate = rates.get(model)
        lines.append(
            {"model": model, "family": results.family.get(model, ""), "source": source, "rate": rate, "rank": rank,
             "million_parameters": size, "cells": cells,
             "texts": {"source": source_text(results, model),
                       "rank": "–" if rank is None else f"{rank:.1f}", "rate": "–" if rate is None else f"{rate:,.0f}",
                       "size": "–" if size is None else f"{size:.3g}"}}
        )  # fmt: skip
    tasks = [] if choice is None else list(choice.tasks)
    return {
        "regimes": [short_label(regime) for regime in regimes], "tasks": tasks, "way": way, "lines": lines,
        "rated": bool(rates), "sized": any(line["million_parameters"] for line in lines),
        "ranked": any(line["rank"] is not None for line in lines),
        "families": any(line["family"] not in ("", line["model"]) for line in lines),
    }  # fmt: skip


def _mean_rank(results: Results, model: str) -> float | None:
    """Over tasks and measured regimes in which several models have a number; 1 is the best."""
    found = [
        order.index(model) + 1
        for (_, regime), order in results.rankings.items()
        if regime in results.measured_regimes and len(order) > 1 and model in order
    ]
    return float(np.mean(found)) if found else None


def _failure(row: Row) -> dict[str, Any]:
    cell = row.cell
    error = str(row.error)
    return {"model": cell.model, "task": cell.task, "regime": short_label(cell.regime), "seed": cell.seed,
            "error": error if len(error) <= 600 else error[:597] + "..."}  # fmt: skip
