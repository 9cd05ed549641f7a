"""Text in a drawing: how wide it is, how it is shortened, and where a point's label finds room."""

import functools
import math
import warnings
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np

from .marks import Array, Line, Mark, about
from .style import MUTED, TEXT

LETTERS = 400  # more of them fit no room in a drawing
Box = tuple[float, float, float, float]  # left, bottom, right, top in px


@functools.lru_cache(maxsize=10_000)
def text_width(text: str, bold: bool = False) -> float:
    """px of the text at the report's size in the widest face that a browser may choose."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    face = FontProperties(family="DejaVu Sans", size=12 if bold else TEXT, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return float(text_to_path.get_text_width_height_descent(text, face, ismath=False)[0])


def shortened(text: str, room: float, bold: bool = False) -> str:
    """The text, or its two ends with … between them, in at most `room` px."""
    if not text or (len(text) <= LETTERS and text_width(text, bold) <= room):
        return text
    # The largest number of letters that fits, by halving: each width takes as long as its text.
    fits, above = 2, min(len(text), LETTERS + 1)
    while above - fits > 1:
        keep = (fits + above) // 2
        if text_width(_ends(text, keep), bold) <= room:
            fits = keep
        else:
            above = keep
    return _ends(text, fits) if fits > 2 else text[:1] + "…"


def _ends(text: str, keep: int) -> str:
    """So many letters of the text, from both of its ends."""
    return text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]


def write_labels(axes: Any, marks: Sequence[Mark], lines: Sequence[Line], drawn: Sequence[Mark] = ()) -> None:
    """Each mark's label at the free place nearest to it; greedy, crowded marks first. drawn: marks to keep clear of,
    where more than the labelled ones."""
    if not marks:
        return
    unit = axes.figure.dpi / 72

    def pixels(xy: Any) -> Array:
        """The axes' own numbers [n, 2] in px."""
        found: Array = axes.transData.transform(xy) / unit
        return found

    points = pixels([(mark.x, mark.y) for mark in marks])
    frame = axes.get_window_extent()
    bounds = (frame.x0 / unit, frame.y0 / unit, frame.x1 / unit, frame.y1 / unit)
    taken, weights = _blocked(pixels, drawn or marks, lines)
    count = len(taken)
    taken = np.concatenate([taken, np.zeros((len(marks), 4))])
    weights = np.concatenate([weights, np.full(len(marks), 20.0)])
    crowd = [int(np.sum(np.hypot(*(points - point).T) < 60)) for point in points]
    for at in sorted(range(len(marks)), key=lambda index: (-crowd[index], points[index][0])):
        text, point = shortened(marks[at].label, 150), points[at]
        boxes = np.array(list(_candidates(point, text_width(text))))
        costs = _costs(boxes, taken[:count], weights[:count], bounds, point)
        # Rounded, so that of places that are equal but for rounding the leftmost and lowest is taken.
        best: Box = min(zip(costs.round(6).tolist(), map(tuple, boxes.tolist()), strict=True))[1]
        taken[count] = best
        count += 1
        _write_label(axes, text, best, point, unit, about([marks[at].about]))


def _blocked(pixels: Callable[[Any], Array], marks: Sequence[Mark], lines: Sequence[Line]) -> tuple[Array, Array]:
    """Boxes of what is drawn [k, 4] in px, and what it costs to cover a square px of them [k]."""
    places = pixels([(mark.x, mark.y) for mark in marks])
    boxes, weights = [np.hstack([places - 5, places + 5])], [np.full(len(places), 6.0)]
    bars = [(mark.x, mark.low, mark.x, mark.high) for mark in marks if None not in (mark.low, mark.high)]
    if bars:
        ends = pixels(np.array(bars, dtype=float).reshape(-1, 2)).reshape(-1, 4)
        boxes.append(ends + np.array([-1, 0, 1, 0]))
        weights.append(np.full(len(bars), 4.0))
    for line in lines:
        along = pixels(np.column_stack([line.x, line.y]))
        boxes.append(np.hstack([along - 1.5, along + 1.5]))
        weights.append(np.full(len(along), 3.0))
    return np.concatenate(boxes), np.concatenate(weights)


def _candidates(point: Array, width: float) -> Iterator[Box]:
    x, y = float(point[0]), float(point[1])
    tall = TEXT + 1.0
    for distance in (8.0, 16.0, 26.0, 38.0, 52.0):
        for turn in np.arange(16) * np.pi / 8:
            dx, dy = distance * math.cos(turn), distance * math.sin(turn)
            # The label's nearest edge, not its middle, sits at the distance.
            left = x + dx - width * (1 - math.cos(turn)) / 2
            bottom = y + dy - tall * (1 - math.sin(turn)) / 2
            yield (left, bottom, left + width, bottom + tall)


def _costs(boxes: Array, blocked: Array, weights: Array, bounds: Box, point: Array) -> Array:
    """Of each box [c, 4]: overlap with what is drawn already, room outside the axes, distance from the point.

    blocked: boxes [k, 4] that are drawn, and their weights [k].
    """
    wide = np.minimum(boxes[:, None, 2], blocked[:, 2]) - np.maximum(boxes[:, None, 0], blocked[:, 0])
    tall = np.minimum(boxes[:, None, 3], blocked[:, 3]) - np.maximum(boxes[:, None, 1], blocked[:, 1])
    cost = (weights * np.maximum(wide, 0) * np.maximum(tall, 0)).sum(axis=1)
    cost += 400 * (np.maximum(bounds[0] - boxes[:, 0], 0) + np.maximum(boxes[:, 2] - bounds[2], 0))
    cost += 400 * (np.maximum(bounds[1] - boxes[:, 1], 0) + np.maximum(boxes[:, 3] - bounds[3], 0))
    away = np.clip(point, boxes[:, :2], boxes[:, 2:]) - point
    return cost + 1.5 * np.hypot(away[:, 0], away[:, 1])


def _write_label(axes: Any, text: str, box: Box, point: Array, unit: float, whose: str | None = None) -> None:
    back = axes.transData.inverted().transform
    x, y = back((box[0] * unit, (box[1] + 3) * unit))
    near = np.clip(point, box[:2], box[2:])
    if float(np.hypot(*(near - point))) > 13:
        ends = back(np.array([point, near]) * unit)
        axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.6, zorder=2.5)
    axes.text(x, y, text, ha="left", va="baseline", zorder=5, gid=whose)
