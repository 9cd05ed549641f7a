"""Two or more studies on one page: what to take by each, and the cells that they share."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featune.engine.errors import BadInput
from featune.engine.store import plain, write_json, write_text

from ...comparison import Comparison, Pair, compare, comparison_lines
from ...report import taken
from ...results import (
    Results,
    Row,
    choice_of,
    collect,
    correlations,
    counted,
    printable,
    short_label,
    signed,
    signed_points,
)
from ..figures import MUTED, Figure, Line, Mark, Series, draw, ends, limits_of, scatter_panel, sides
from ..figures.studies import regime_styles, share_odds
from ..pages import drawings, page

PAGE, NUMBERS = "compare.html", "compare.json"
MOST_CELLS = 2000  # lines of the table of cells, the largest differences first


def write_comparison(out: Path, studies: Sequence[tuple[str, Sequence[Row]]]) -> Path:
    """The path of compare.html, with compare.json beside it. studies: (name, rows) of each; the first is compared with
    every other one.

    Raises BadInput for fewer than two, or for one without a row.
    """
    if len(studies) < 2:
        raise BadInput(f"{counted(len(studies), 'study').replace('studys', 'studies')} found; two or more to compare")
    for name, rows in studies:
        if not rows:
            raise BadInput(f"{name}: no row found; give a study file that was run, or its output folder")
    tables = [collect(row for row in rows if row.source == "measured") for _, rows in studies]
    styles = {regime: style for table in reversed(tables) for regime, style in regime_styles(table).items()}
    models = sorted({model for table in tables for model in table.models})
    places = {model: at for at, model in enumerate(models)}
    found: list[dict[str, Any]] = []
    drawn: list[tuple[Figure | None, list[str]]] = []
    for (name, _), (other, rows) in zip([studies[0]] * (len(studies) - 1), studies[1:], strict=True):
        compared = compare(studies[0][1], rows)
        found.append(_section(name, other, compared, places))
        figure = _figure(len(drawn), name, other, compared, places, styles)
        panels = draw(out / "figures" / f"{figure.name}.png", figure.panels, figure.keys) if figure else []
        drawn.append((figure, panels))
    document = {
        "studies": [
            _study(name, rows, table) for (name, rows), table in zip(studies, tables, strict=True)
        ],
        "comparisons": found,
    }  # fmt: skip
    pictures = iter(drawings([(figure, panels) for figure, panels in drawn if figure]))
    shown = [
        one | {"picture": next(pictures) if figure else None} for one, (figure, _) in zip(found, drawn, strict=True)
    ]
    regimes = list(dict.fromkeys(regime for one in document["studies"] for regime in one["r"]))
    text = page(
        "featune.bench.report.several", "compare.html.j2",
        title=" and ".join(name for name, _ in studies), studies=document["studies"], comparisons=shown,
        regimes=regimes, models=models, files=[NUMBERS],
    )  # fmt: skip
    write_text(out / PAGE, text)
    write_json(out / NUMBERS, document)
    return out / PAGE


def _study(name: str, rows: Sequence[Row], results: Results) -> dict[str, Any]:
    choice = choice_of(results, rows)
    words = taken(results, choice, "") if choice else {"take": "No model can be named.", "expect": "", "sentences": []}
    r = {one.regime: one.r for one in correlations(results, means_only=True)}
    return {
        "name": name, "models": len(results.models), "tasks": len(results.tasks), "cells": len(rows),
        "failed": sum(row.error is not None for row in rows), "take": words["take"], "expect": words["expect"],
        "r": {short_label(regime): "–" if each is None else signed(each) for regime, each in r.items()},
        "numbers": {"choice": None if choice is None else dataclasses.asdict(choice.chosen), "r": r},
    }  # fmt: skip


def _section(name: str, other: str, compared: Comparison, places: Mapping[str, int]) -> dict[str, Any]:
    alike = sorted(
        (pair for pair in compared.pairs if pair.comparable), key=lambda pair: -abs(pair.second - pair.first)
    )
    lines = comparison_lines(compared)
    return {
        "first": name, "second": other,
        "said": [line for line in lines if " -> " not in line],
        "change": plain(compared.change),
        "r": {regime: list(both) for regime, both in compared.r.items()},
        "cells": [_cell(pair, places) for pair in alike[:MOST_CELLS]],
        "left_out": max(0, len(alike) - MOST_CELLS),
    }  # fmt: skip


def _cell(pair: Pair, places: Mapping[str, int]) -> dict[str, Any]:
    def text(value: float) -> str:
        return f"{100 * value:.1f}" if pair.points else f"{value:.4g}"

    apart = pair.second - pair.first
    return {
        "task": pair.task, "model": pair.model, "place": places[pair.model], "regime": short_label(pair.regime),
        "first": text(pair.first), "second": text(pair.second),
        "apart": signed_points(100 * apart) if pair.points else f"{apart:+.4g}", "other": "; ".join(pair.other),
        "numbers": [pair.first, pair.second],
    }  # fmt: skip


def _figure(
    at: int,
    name: str,
    other: str,
    compared: Comparison,
    places: Mapping[str, int],
    styles: Mapping[str, tuple[str, str]],
) -> Figure | None:
    """Each cell in the one study against the other, in log odds."""
    pairs = [pair for pair in compared.pairs if pair.comparable and pair.points and _share(pair)]
    if len(pairs) < 2:
        return None
    regimes = list(dict.fromkeys(pair.regime for pair in pairs))
    series = []
    for regime in regimes:
        colour, shape = styles[regime]
        of = [pair for pair in pairs if pair.regime == regime]
        points = [Mark("", shape, share_odds(one.first), share_odds(one.second), about=places[one.model]) for one in of]
        series.append(Series(regime, colour, tuple(points)))
    marks = [mark for one in series for mark in one.marks]
    limits = limits_of([*sides(marks), *ends(marks)], 0.06)
    equal = Series("equal", MUTED, (), Line(np.array(limits), np.array(limits), dashed=True))
    panel = scatter_panel(
        f"cells-{at}", "Each cell in both", printable(f"{other} against {name}, {counted(len(marks), 'cell')}."),
        [*series, equal], (printable(name), printable(other)), (limits, limits),
    )  # fmt: skip
    key = [(printable(short_label(one.name)), one.colour, one.marks[0].shape) for one in series]
    caption = f"{other} against {name}, a point for each cell that was measured alike in both; the line is equal."
    return Figure(f"cells-{at}", caption, (panel,), (key,))


def _share(pair: Pair) -> bool:
    return 0 <= pair.first <= 1 and 0 <= pair.second <= 1
