"""Text in a drawing: how wide it is, how it is shortened, and where a point's label finds room."""

import math
import warnings
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from .marks import MUTED, TEXT, Array, Line, Mark

Box = tuple[float, float, float, float]  # left, bottom, right, top in px


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
    if not text or text_width(text, bold) <= room:
        return text
    keep = len(text) - 1
    while keep > 2:
        short = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        if text_width(short, bold) <= room:
            return short
        keep -= 1
    return text[:1] + "…"


def write_labels(axes: Any, marks: Sequence[Mark], lines: Sequence[Line], drawn: Sequence[Mark] = ()) -> None:
    """Each mark's label at the free place nearest to it; greedy, crowded marks first. drawn: marks to keep clear of,
    where more than the labelled ones."""
    unit = axes.figure.dpi / 72
    points = axes.transData.transform([(mark.x, mark.y) for mark in marks]) / unit
    frame = axes.get_window_extent()
    bounds = (frame.x0 / unit, frame.y0 / unit, frame.x1 / unit, frame.y1 / unit)
    every = drawn or marks
    places = axes.transData.transform([(mark.x, mark.y) for mark in every]) / unit
    blocked = [((x - 5, y - 5, x + 5, y + 5), 6.0) for x, y in places]
    for mark in every:
        if mark.low is not None and mark.high is not None:
            (x, low), (_, high) = axes.transData.transform([(mark.x, mark.low), (mark.x, mark.high)]) / unit
            blocked.append(((x - 1, low, x + 1, high), 4.0))
    for line in lines:
        for x, y in axes.transData.transform(np.column_stack([line.x, line.y])) / unit:
            blocked.append(((x - 1.5, y - 1.5, x + 1.5, y + 1.5), 3.0))
    crowd = [int(np.sum(np.hypot(*(points - point).T) < 60)) for point in points]
    for at in sorted(range(len(marks)), key=lambda index: (-crowd[index], points[index][0])):
        text, point = shortened(marks[at].label, 150), points[at]
        best = min((_cost(box, blocked, bounds, point), box) for box in _candidates(point, text_width(text)))[1]
        blocked.append((best, 20.0))
        _write_label(axes, text, best, point, unit)


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


def _cost(box: Box, blocked: Sequence[tuple[Box, float]], bounds: Box, point: Array) -> float:
    """Overlap with what is drawn already, room outside the axes, distance from the point."""
    cost = 0.0
    for other, weight in blocked:
        wide, tall = (
            min(box[2], other[2]) - max(box[0], other[0]),
            min(box[3], other[3]) - max(box[1], other[1]),
        )
        if wide > 0 and tall > 0:
            cost += weight * wide * tall
    cost += 400 * (max(bounds[0] - box[0], 0) + max(box[2] - bounds[2], 0))
    cost += 400 * (max(bounds[1] - box[1], 0) + max(box[3] - bounds[3], 0))
    away = np.hypot(*(np.clip(point, box[:2], box[2:]) - point))
    return cost + 1.5 * float(away)


def _write_label(axes: Any, text: str, box: Box, point: Array, unit: float) -> None:
    back = axes.transData.inverted().transform
    x, y = back((box[0] * unit, (box[1] + 3) * unit))
    near = np.clip(point, box[:2], box[2:])
    if float(np.hypot(*(near - point))) > 13:
        ends = back(np.array([point, near]) * unit)
        axes.plot(ends[:, 0], ends[:, 1], color=MUTED, linewidth=0.6, zorder=2.5)
    axes.text(x, y, text, ha="left", va="baseline", zorder=5)
