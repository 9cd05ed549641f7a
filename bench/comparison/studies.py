"""Two studies compared: cells of the same name side by side, apart where they were not measured alike."""

import dataclasses
import math
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from featune.engine.metrics import METRICS

from ..results import (
    Results,
    Row,
    Transfer,
    collect,
    correlations,
    counted,
    printable,
    short_label,
    signed,
    signed_points,
)
from ..stats import across_tasks

MOST_SHOWN = 8
LIKE = ("n_train", "n_val")  # details that tell the split


@dataclasses.dataclass(frozen=True)
class Pair:
    """A cell of both studies: means over seeds, and in what it was measured otherwise.

    differs: what differs and makes the two incomparable (metric, images of a split, view, recipe); other: what differs
    besides (seeds, weights or settings by their digest, versions, device, arithmetic). points: whether more is better,
    so that differences can be averaged.
    """

    task: str
    model: str
    regime: str
    first: float
    second: float
    differs: tuple[str, ...]
    other: tuple[str, ...]
    points: bool = True

    @property
    def comparable(self) -> bool:
        return not self.differs


@dataclasses.dataclass(frozen=True)
class Comparison:
    """pairs: cells of both. only_first, only_second: (task, model, regime) of cells that one study has.

    mean, low, high, p: second less first over comparable cells, in the metric's own units, paired t over tasks of
    the mean over models; by regime. r: of the mean over tasks of the
    compared cells in each study, by regime.
    """

    pairs: tuple[Pair, ...]
    only_first: tuple[tuple[str, str, str], ...]
    only_second: tuple[tuple[str, str, str], ...]
    change: Mapping[str, Mapping[str, float | None]]
    r: Mapping[str, tuple[float | None, float | None]]


def compare(first: Sequence[Row], second: Sequence[Row]) -> Comparison:
    """What two studies have in common, and by how much their numbers differ. Failed cells count as absent."""
    of_first, of_second = _cells(first), _cells(second)
    pairs = tuple(_pair(key, of_first[key], of_second[key]) for key in of_first if key in of_second)
    alike = [pair for pair in pairs if pair.comparable]
    change = {}
    for regime in dict.fromkeys(pair.regime for pair in alike if pair.points):
        by_task: dict[str, list[float]] = {}
        for pair in alike:
            if pair.regime == regime and pair.points:
                by_task.setdefault(pair.task, []).append(pair.second - pair.first)
        apart = [math.fsum(values) / len(values) for values in by_task.values()]
        test = across_tasks(apart, np.zeros(len(apart)))
        change[regime] = {
            "cells": sum(map(len, by_task.values())), "tasks": len(apart), "mean": test.difference,
            "low": _finite(test.low), "high": _finite(test.high), "p": _finite(test.p),
        }  # fmt: skip
    both = {(pair.task, pair.model, pair.regime) for pair in alike}
    found = [
        {one.regime: one for one in correlations(_collected(rows, both), means_only=True)} for rows in (first, second)
    ]
    r = {regime: (_r(found[0], regime), _r(found[1], regime)) for regime in {**found[0], **found[1]}}
    return Comparison(
        pairs,
        tuple(key for key in of_first if key not in of_second),
        tuple(key for key in of_second if key not in of_first),
        change,
        r,
    )


def comparison_lines(found: Comparison) -> list[str]:
    """For the terminal: what is common, what changed, what is not comparable and why."""
    alike = [pair for pair in found.pairs if pair.comparable]
    lines = [f"{counted(len(found.pairs), 'cell')} in both, {len(alike)} of them comparable; "
             f"{len(found.only_first)} in the first alone, {len(found.only_second)} in the second alone"]  # fmt: skip
    for regime, change in found.change.items():
        mean, low, high, p = (change[name] for name in ("mean", "low", "high", "p"))
        interval = "" if low is None or high is None else (
            f", 95 % interval {signed_points(100 * low)} to {signed_points(100 * high)}")  # fmt: skip
        apart = signed_points(100 * (mean or 0))
        lines.append(f"{short_label(regime)}: second less first {apart} points on average over "
                     f"{change['cells']} cells of {counted(int(change['tasks'] or 0), 'task')}{interval}"
                     + ("" if p is None else f", p = {p:.3f} (paired t over tasks)"))  # fmt: skip
    for regime, (one, other) in found.r.items():
        if one is not None and other is not None:
            lines.append(f"{short_label(regime)}: r {signed(one)} in the first, {signed(other)} in the second")
    moved = sorted(alike, key=lambda pair: -abs(pair.second - pair.first))[:MOST_SHOWN]
    for pair in moved:
        if pair.first != pair.second:
            also = f" ({', '.join(pair.other)})" if pair.other else ""
            shown = [f"{100 * each:.2f}" if pair.points else f"{each:.4g}" for each in (pair.first, pair.second)]
            lines.append(f"{pair.task} {pair.model} {short_label(pair.regime)}: {' -> '.join(shown)}{also}")
    reasons: dict[tuple[str, ...], int] = {}
    for pair in found.pairs:
        if pair.differs:
            reasons[pair.differs] = reasons.get(pair.differs, 0) + 1
    lines += [f"not comparable, {counted(count, 'cell')}: other {', '.join(why)}" for why, count in reasons.items()]
    others: dict[str, int] = {}
    for pair in alike:
        for what in pair.other:
            others[what] = others.get(what, 0) + 1
    lines += [f"note: {what} differ in {counted(count, 'comparable cell')}" for what, count in others.items()]
    return [printable(line) for line in lines]


Key = tuple[str, str, str]


def _cells(rows: Iterable[Row]) -> dict[Key, list[Row]]:
    found: dict[Key, list[Row]] = {}
    for row in rows:
        if row.error is None and row.value is not None and row.source == "measured":
            found.setdefault((row.cell.task, row.cell.model, row.cell.regime), []).append(row)
    return found


def _pair(key: Key, first: Sequence[Row], second: Sequence[Row]) -> Pair:
    differs = [name for name, of in COMPARED.items() if _values(first, of) != _values(second, of)]
    other = [name for name, of in BESIDES.items() if _values(first, of) != _values(second, of)]
    for name, of in IF_KNOWN.items():
        values = [_values(rows, of) for rows in (first, second)]
        if None in values[0] | values[1]:
            other += [f"{name}, which rows of an earlier version do not tell,"] if values[0] != values[1] else []
        elif values[0] != values[1]:
            differs.append(name)
    a, b = (math.fsum(float(row.value or 0) for row in rows) / len(rows) for rows in (first, second))
    known = METRICS.get(first[0].metric)
    points = known is None or known.higher_is_better
    if not points:
        other.append(f"{first[0].metric}, of which less is better,")
    return Pair(*key, a, b, tuple(differs), tuple(other), points)


def _values(rows: Sequence[Row], of: Any) -> set[Any]:
    return {of(row) for row in rows}


# What must be the same before two numbers are compared, and what is only told.
COMPARED = {
    "metric": lambda row: row.metric,
    "test images": lambda row: row.n,
    "split": lambda row: tuple(row.details.get(name) for name in LIKE),
    "recipe": lambda row: repr(sorted(dict(row.details.get("recipe") or {}).items())),
}
# The same, where both studies' rows tell it.
IF_KNOWN: dict[str, Callable[[Row], Any]] = {
    "images in the test split": lambda row: _images(row, ("test",)),
    "images in train and val": lambda row: _images(row, ("train", "val")),
    "view": lambda row: repr(sorted(row.details["view"].items())) if "view" in row.details else None,
}
BESIDES = {
    "seeds": lambda row: row.cell.seed,
    "weights, view, images or settings (by their digest)": lambda row: row.cell.inputs,
    "versions": lambda row: repr(sorted(dict(row.environment.get("versions") or {}).items())),
    "device": lambda row: (row.environment.get("device"), row.environment.get("backend")),
    "arithmetic": lambda row: row.environment.get("precision"),
}


def _images(row: Row, splits: Sequence[str]) -> tuple[str, ...] | None:
    """The digests of the splits' images and classes, or None where the row has none."""
    known = row.details.get("images") or {}
    return tuple(known[split] for split in splits) if {*splits} <= {*known} else None


def _collected(rows: Sequence[Row], cells: Collection[Key]) -> Results:
    """Of the cells that are compared, so that r is of the same models and tasks on both sides."""
    found = (row for row in rows if row.source == "measured")
    return collect(row for row in found if (row.cell.task, row.cell.model, row.cell.regime) in cells)


def _r(found: Mapping[str, Transfer], regime: str) -> float | None:
    return found[regime].r if regime in found else None


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None
