"""What the report's figures are made of: marks, lines and bars as plain numbers, in panels."""

import dataclasses
from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Limits = tuple[float, float]
Key = Sequence[tuple[str, str, str]]  # (text, colour, shape); shape may be empty


@dataclasses.dataclass(frozen=True)
class Mark:
    """One model's point: x and y, and the ends of y's interval and of x's, in log odds."""

    label: str
    shape: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    left: float | None = None
    right: float | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """A fitted line and its band, sampled at x; all [points], in log odds."""

    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None


@dataclasses.dataclass(frozen=True)
class Series:
    """What shares a colour. shift: px to the right, where series would hide one another."""

    name: str
    colour: str
    marks: tuple[Mark, ...]
    line: Line | None = None
    shift: float = 0.0


@dataclasses.dataclass(frozen=True)
class Bar:
    series: str
    colour: str
    value: float
    text: str


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing: what to say to a reader who cannot see it, its size in px, and how to draw its axes."""

    name: str
    description: str
    height: float
    draw: Callable[[Any], None]
    left: float = 54
    right: float = 10
    top: float = 26
    bottom: float = 42


@dataclasses.dataclass(frozen=True)
class Figure:
    """A figure of one or several panels. keys: what colours, shapes and numbers mean."""

    name: str
    caption: str
    panels: tuple[Panel, ...]
    keys: tuple[Key, ...] = ()


def ends(marks: Iterable[Mark]) -> list[float]:
    """Everything that a vertical axis has to hold: the marks and the ends of their intervals."""
    return [end for mark in marks for end in (mark.y, mark.low, mark.high) if end is not None]


def sides(marks: Iterable[Mark]) -> list[float]:
    """Everything that a horizontal axis has to hold."""
    return [end for mark in marks for end in (mark.x, mark.left, mark.right) if end is not None]
