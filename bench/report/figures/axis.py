"""Axes in log odds that read in percent: where they end, and the round percentages marked on them."""

import math
from collections.abc import Iterator, Mapping, Sequence

import numpy as np

from .marks import Limits


def limits_of(values: Sequence[float], room: float = 0.08, least: float = 0.4) -> Limits:
    """Ends of an axis that holds all values with some room, at least `least` long."""
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max((high - low) / 2, least / 2) * (1 + 2 * room)
    return middle - half, middle + half


def percent_ticks(limits: Limits, pixels: float, gap: float) -> list[tuple[float, str]]:
    """(log odds, text) for round percentages inside the limits, at least `gap` px apart.

    Even steps where they fit all along the axis, about five of them. Otherwise, as near 0 and 100 %, uneven
    ones: coarse grids come first, a finer one fills holes, and only until there are four ticks. Where the outermost
    tick lies far from the axis' end, where points may be, one more stands between them.
    """
    scale = pixels / (limits[1] - limits[0])
    grids = [{percent: _logit(percent) for percent in grid} for grid in _even_grids(limits, most=40)]
    fitting = []
    for even in grids:
        holes = np.diff([limits[0], *even.values(), limits[1]]) * scale
        if len(even) >= 3 and holes[1:-1].min() >= gap and holes.max() <= 0.4 * pixels:
            fitting.append(even)
    if fitting:
        best = min(fitting, key=lambda even: abs(len(even) - 5))
        return _texts(_to_the_ends(best, limits, scale, gap))
    chosen: dict[float, float] = {}
    for grid in [*_UNEVEN_GRIDS, *grids]:
        for percent in grid:
            at = _logit(percent)
            clear = all(abs(at - other) * scale >= gap for other in chosen.values())
            if limits[0] <= at <= limits[1] and clear:
                chosen[percent] = at
        if len(chosen) >= 4:
            break
    return _texts(_to_the_ends(chosen, limits, scale, gap))


def _texts(ticks: Mapping[float, float]) -> list[tuple[float, str]]:
    return [(at, f"{percent:.10g} %") for percent, at in sorted(ticks.items())]


FAR = 0.15  # of the axis: no outermost tick is farther from the end, where round percentages allow it


def _to_the_ends(ticks: Mapping[float, float], limits: Limits, scale: float, gap: float) -> dict[float, float]:
    """The ticks, with the roundest percentage near an end of the axis that the outermost tick leaves far away."""
    found = dict(ticks)
    far = FAR * (limits[1] - limits[0])
    for end, inward in ((limits[0], 1), (limits[1], -1)):
        nearest = min((abs(at - end) for at in found.values()), default=math.inf)
        if nearest <= far:
            continue
        for grid in [*_UNEVEN_GRIDS, *_even_grids(limits, most=400)]:
            clear = {
                percent: _logit(percent)
                for percent in grid
                if limits[0] <= _logit(percent) <= limits[1]
                and all(abs(_logit(percent) - other) * scale >= gap for other in found.values())
            }
            near = [percent for percent, at in clear.items() if 0 <= inward * (at - end) <= far]
            if near:
                best = min(near, key=lambda percent: abs(clear[percent] - end))
                found[best] = clear[best]
                break
    return found


_UNEVEN_GRIDS = (
    [50, 90, 10, 99, 1, 99.9, 0.1, 99.99, 0.01],
    [80, 20, 70, 30, 60, 40, 95, 5, 98, 2, 99.5, 0.5],
)


def _even_grids(limits: Limits, most: int) -> Iterator[list[float]]:
    """Multiples of a round step that lie inside the limits, in percent; ever finer, while there are few."""
    low, high = (100 / (1 + math.exp(-limit)) for limit in limits)
    for step in (20.0, 10.0, 5.0, 2.0, 1.0, 0.5, 0.2, 0.1, 0.05, 0.02, 0.01):
        first, last = max(1, math.ceil(low / step)), min(math.floor(high / step), math.ceil(100 / step) - 1)
        if last - first < most:
            yield [round(step * at, 4) for at in range(first, last + 1)]


def _logit(percent: float) -> float:
    return math.log(percent / (100 - percent))
