"""The report's figures: latency against throughput, scaling with the batch, accuracy against throughput."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from featune.engine.accuracies import timm_accuracies

from ...report.figures import (
    COLOURS,
    SHAPES,
    Figure,
    Key,
    Mark,
    Series,
    curve_panel,
    ends,
    limits_of,
    scatter_panel,
)
from ...results import printable
from .. import Row, Setup

Point = tuple[int, float, float]  # batch, ms of a call, images per second


def figures(rows: Sequence[Row], document: Mapping[str, Any]) -> list[Figure]:
    """Those for which there is something to draw."""
    shown = [row for row in rows if row.error is None and not row.configuration.twin]
    names = list(dict.fromkeys(row.configuration.setup.name for row in shown))
    styles = {name: (COLOURS[at % len(COLOURS)], SHAPES[at % len(SHAPES)]) for at, name in enumerate(names)}
    key: Key = [(printable(name), *styles[name]) for name in names]
    found = [_curves(shown, document, styles, key), _accuracy(shown, styles, key)]
    return [each for each in found if each is not None]


def points(setup: Setup, rows: Sequence[Row], document: Mapping[str, Any]) -> list[Point]:
    """What is known of a setup in scope (a), by batch: its rows, and the search's short trials for other batches."""
    found: dict[int, Point] = {}
    for search in document["searches"]:
        if Setup(**search["setup"]) == setup:
            for each in search["trials"]:
                if not each.get("error"):
                    rate = each["images_per_second"]
                    found[each["batch"]] = (each["batch"], 1000 * each["batch"] / rate, rate)
    for row in rows:
        if row.configuration.setup == setup and row.configuration.scope == "a":
            found[row.configuration.batch] = (row.configuration.batch, float(row.summary["median_ms"]), row.rate)
    return [found[batch] for batch in sorted(found)]


def _curves(
    rows: Sequence[Row], document: Mapping[str, Any], styles: Mapping[str, tuple[str, str]], key: Key
) -> Figure | None:
    """Two panels of each model: what latency a rate costs, and what a larger batch gains."""
    panels = []
    for number, model in enumerate(dict.fromkeys(row.configuration.setup.model for row in rows)):
        setups = dict.fromkeys(row.configuration.setup for row in rows if row.configuration.setup.model == model)
        curves = [(each.name, points(each, rows, document)) for each in setups]
        curves = [(name, found) for name, found in curves if len(found) > 1]
        if not curves:
            continue
        for kind, column, label in (("latency", 1, "Milliseconds of a call, log scale"), ("batch", 0, "Batch")):
            series = [
                Series(
                    name,
                    styles[name][0],
                    tuple(Mark(name, styles[name][1], math.log10(each[column]), math.log10(each[2])) for each in found),
                )
                for name, found in curves
            ]
            words = "against the time of a call" if kind == "latency" else "by batch"
            panels.append(
                curve_panel(
                    f"{kind}-{number}",
                    printable(model),
                    printable(f"Images per second {words}, {model}."),
                    series,
                    (label, "Images per second"),
                )
            )
    if not panels:
        return None
    caption = (
        "What a larger batch gains and costs, scope (a): images per second against the time of a call, and against the "
        "batch. Points of the table's rows are measured in turns; those of other batches are the search's short trials."
    )
    return Figure("curves", caption, tuple(panels), (key,))


def _accuracy(rows: Sequence[Row], styles: Mapping[str, tuple[str, str]], key: Key) -> Figure | None:
    """Published ImageNet top-1 against the fastest rate of each setup, in scope (a)."""
    best: dict[Setup, Row] = {}
    for row in rows:
        setup = row.configuration.setup
        if row.configuration.scope == "a" and row.passed and (setup not in best or row.rate > best[setup].rate):
            best[setup] = row
    series = []
    for name, (colour, shape) in styles.items():
        marks = []
        for setup, row in best.items():
            top1 = published_top1(setup.model, int(row.opened.get("side", 0)))
            if setup.name == name and top1:
                odds = math.log(top1 / (1 - top1))
                marks.append(Mark(printable(setup.model), shape, math.log10(row.rate), odds))
        if marks:
            series.append(Series(name, colour, tuple(marks)))
    drawn = [mark for one in series for mark in one.marks]
    if len({mark.label for mark in drawn}) < 2:
        return None
    panel = scatter_panel(
        "accuracy",
        "Accuracy against throughput",
        "Published ImageNet top-1 of each model against its images per second.",
        series,
        ("Images per second, log scale", "ImageNet top-1, published"),
        (limits_of([mark.x for mark in drawn], 0.12), limits_of(ends(drawn))),
        named=True,
        powers=True,
    )
    caption = (
        "ImageNet top-1 as timm publishes it for these weights, or for the usual weights of an architecture, at the "
        "side measured; images per second of the fastest batch measured, scope (a)."
    )
    return Figure("accuracy", caption, (panel,), (key,))


def published_top1(model: str, side: int) -> float | None:
    """A fraction, of the weights named, or of those that timm takes where none are named; None where not published."""
    known = timm_accuracies()
    name = model
    if "." not in model:
        import timm

        try:
            name = timm.get_pretrained_cfg(model).architecture + "." + timm.get_pretrained_cfg(model).tag
        except (AttributeError, RuntimeError, TypeError):
            return None
    return known.get((name, side), {}).get("top1")
