"""The report's figures: speed of each backend, latency against throughput, the batch, accuracy against throughput."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

from featune.engine.accuracies import timm_accuracies

from ...report.figures import (
    COLOURS,
    INK,
    SHAPES,
    Bar,
    Figure,
    Key,
    Mark,
    Panel,
    Series,
    bar_panel,
    curve_panel,
    ends,
    frontier_line,
    limits_of,
    scatter_panel,
)
from ...results import Option, frontier, printable
from .. import MODES, Row, Setup
from .beyond_speed import where

NAMES = ("speed", "curves", "accuracy")  # what an earlier report left of one that this report has not is removed
FEW = 4  # models, up to which the first screen shows the speed of every one
Styles = Mapping[str, tuple[str, str]]


@dataclasses.dataclass(frozen=True)
class Point:
    """What is known of a setup at a batch, in scope (a). row: its place among the rows; None for a trial of the search.

    low, high: the 95 % interval of the rate. place: in the page's tables, by which it links its drawings.
    """

    setup: Setup
    batch: int
    ms: float
    rate: float
    place: int
    row: int | None = None
    low: float | None = None
    high: float | None = None


def shown_rows(rows: Sequence[Row]) -> list[Row]:
    """Those that the page draws and lists, in its order: neither failed nor a twin."""
    return [row for row in rows if row.error is None and not row.configuration.twin]


def figures(rows: Sequence[Row], document: Mapping[str, Any]) -> list[Figure]:
    """Those for which there is something to draw."""
    shown = shown_rows(rows)
    names = list(dict.fromkeys(row.configuration.setup.name for row in shown))
    styles = {name: (COLOURS[at % len(COLOURS)], SHAPES[at % len(SHAPES)]) for at, name in enumerate(names)}
    key: Key = [(printable(name), *styles[name]) for name in names]
    found = [_speed(shown, styles, key), _curves(points(rows, document), styles, key), _accuracy(shown, styles, key)]
    return [each for each in found if each is not None]


def first_of(drawn: Sequence[Figure]) -> Figure | None:
    """The picture of the first screen: of few models the speeds of each, of more the accuracy that a speed buys."""
    by = {each.name: each for each in drawn}
    speed = by.get("speed")
    return speed if speed and len(speed.panels) <= FEW else by.get("accuracy")


# --- What a curve is made of


def points(rows: Sequence[Row], document: Mapping[str, Any]) -> list[Point]:
    """Of every setup, by batch: its rows in scope (a), and the search's short trials for other batches."""
    shown = shown_rows(rows)
    measured = {
        (row.configuration.setup, row.configuration.batch): Point(
            row.configuration.setup, row.configuration.batch, float(row.summary["median_ms"]), row.rate, at, at,
            row.summary["images_per_second_low"], row.summary["images_per_second_high"],
        )
        for at, row in enumerate(shown)
        if row.configuration.scope == "a"
    }  # fmt: skip
    found = dict(measured)
    place = len(shown)
    for search in document["searches"]:
        setup = Setup(**search["setup"])
        for each in search["trials"]:
            key = setup, each["batch"]
            if not each.get("error") and key not in found:
                rate = each["images_per_second"]
                found[key] = Point(setup, each["batch"], 1000 * each["batch"] / rate, rate, place)
                place += 1
    order = list(dict.fromkeys(setup for setup, _ in found))
    return sorted(found.values(), key=lambda one: (order.index(one.setup), one.batch))


# --- Figures


def _speed(rows: Sequence[Row], styles: Styles, key: Key) -> Figure | None:
    """A panel for each model: the images per second of each backend, for each mode and scope."""
    panels = []
    for number, model in enumerate(dict.fromkeys(row.configuration.setup.model for row in rows)):
        groups: dict[str, list[Bar]] = {}
        for at, row in enumerate(rows):
            name = row.configuration.setup.name
            if row.configuration.setup.model == model:
                bar = Bar(name, styles[name][0], row.rate, f"{row.rate:,.4g}", at)
                groups.setdefault(where(row.configuration.mode, row.configuration.scope), []).append(bar)
        said = f"Images per second of each backend, {model}."
        panels.append(bar_panel(f"speed-{number}", printable(model), printable(said), list(groups.items()),
                                "Images per second"))  # fmt: skip
    if not panels:
        return None
    modes = "Latency: one image a call. Throughput: the fastest batch. "
    caption = (
        "Images per second of each backend; longer is faster. "
        + (modes if any(row.configuration.mode in MODES for row in rows) else "")
        + "The table of rows has the intervals, the verdicts say what is settled."
    )
    return Figure("speed", caption, tuple(panels), ([(text, colour, "s") for text, colour, _ in key],))


def _curves(found: Sequence[Point], styles: Styles, key: Key) -> Figure | None:
    """Two panels of each model: what latency a rate costs, and what a larger batch gains."""
    panels: list[Panel] = []
    for number, model in enumerate(dict.fromkeys(one.setup.model for one in found)):
        curves: dict[str, list[Point]] = {}
        for one in found:
            if one.setup.model == model:
                curves.setdefault(one.setup.name, []).append(one)
        curves = {name: each for name, each in curves.items() if len(each) > 1}
        if curves:
            panels += [_curve(f"{kind}-{number}", model, kind, curves, styles) for kind in ("latency", "batch")]
    if not panels:
        return None
    caption = (
        "What a larger batch gains and costs, scope (a): images per second against the time of a call, each point "
        "with its batch, and against the batch. Points with a bar, a 95\u00a0% interval, are rows, measured in turns; "
        "the others are the search's short trials."
    )
    return Figure("curves", caption, tuple(panels), (key,))


def _curve(
    name: str, model: str, kind: str, curves: Mapping[str, Sequence[Point]], styles: Styles
) -> Panel:  # fmt: skip
    by_time = kind == "latency"

    def mark(one: Point) -> Mark:
        low, high = (None if end is None else math.log10(end) for end in (one.low, one.high))
        across = math.log10(one.ms if by_time else one.batch)
        shape = styles[one.setup.name][1]
        return Mark(str(one.batch), shape, across, math.log10(one.rate), low, high, about=one.place)

    series = [Series(each, styles[each][0], tuple(map(mark, of))) for each, of in curves.items()]
    words = "against the time of a call" if by_time else "by batch"
    labels = ("Milliseconds of a call, log scale" if by_time else "Batch, log scale", "Images per second")
    said = printable(f"Images per second {words}, {model}.")
    return curve_panel(name, printable(f"{model}, {words}"), said, series, labels, named=by_time)


def _accuracy(rows: Sequence[Row], styles: Styles, key: Key) -> Figure | None:
    """Published ImageNet top-1 against the fastest rate of each setup, in scope (a)."""
    best: dict[Setup, int] = {}
    for at, row in enumerate(rows):
        setup = row.configuration.setup
        if row.configuration.scope == "a" and row.passed and (setup not in best or row.rate > rows[best[setup]].rate):
            best[setup] = at
    series, options, marks = [], [], {}
    for name, (colour, shape) in styles.items():
        drawn = []
        for setup, at in best.items():
            top1 = top1_of(rows[at]) if setup.name == name else None
            if top1:
                odds = math.log(top1 / (1 - top1))
                label = printable(setup.model)
                drawn.append(Mark(label, shape, math.log10(rows[at].rate), odds, about=at))
                options.append(Option(setup.model, name, top1, None, None, rows[at].rate))
                marks[setup.model, name] = drawn[-1]
        if drawn:
            series.append(Series(name, colour, tuple(drawn)))
    if len({one.model for one in options}) < 2:
        return None
    steps = [marks[one.model, one.regime] for one in frontier(options, "rate")]
    found = list(marks.values())
    panel = scatter_panel(
        "accuracy",
        "Accuracy against throughput",
        "Published ImageNet top-1 of each model against its images per second.",
        [*series, Series("frontier", INK, (), frontier_line(steps))],
        ("Images per second, log scale", "ImageNet top-1, published"),
        (limits_of([mark.x for mark in found], 0.12), limits_of(ends(found))),
        named=True,
        powers=True,
    )
    caption = (
        "ImageNet top-1 as timm publishes it for these weights, or for the usual weights of an architecture, at the "
        "side measured; images per second of the fastest batch measured, scope (a), of what passed its gate. Up is "
        "better, right is faster; nothing is better in both than the line."
    )
    return Figure("accuracy", caption, (panel,), (key,))


def top1_of(row: Row) -> float | None:
    """Published, at the side measured."""
    return published_top1(row.configuration.setup.model, int(row.opened.get("side", 0)))


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
