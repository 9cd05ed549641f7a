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
    """One model's point: x and y, and the ends of y's interval and of x's, in log odds.

    about: the model's place in the page's tables, by which the page links its points; None for none.
    """

    label: str
    shape: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None
    left: float | None = None
    right: float | None = None
    about: int | None = None


@dataclasses.dataclass(frozen=True)
class Line:
    """A fitted line and its band, sampled at x; all [points], in log odds. dashed: as a second line is."""

    x: Array
    y: Array
    low: Array | None = None
    high: Array | None = None
    dashed: bool = False


@dataclasses.dataclass(frozen=True)
class Series:
    """What shares a colour. shift: px to the right, where series would hide one another. others: further lines."""

    name: str
    colour: str
    marks: tuple[Mark, ...]
    line: Line | None = None
    shift: float = 0.0
    others: tuple[Line, ...] = ()

    @property
    def lines(self) -> tuple[Line, ...]:
        return self.others if self.line is None else (self.line, *self.others)


@dataclasses.dataclass(frozen=True)
class Bar:
    """about: as of a `Mark`."""

    series: str
    colour: str
    value: float
    text: str
    about: int | None = None


@dataclasses.dataclass(frozen=True)
class Panel:
    """One drawing: what to say to a reader who cannot see it, its size in px, and how to draw its axes.

    task: whose numbers it shows, where it is one task's.
    """

    name: str
    description: str
    height: float
    draw: Callable[[Any], None]
    left: float = 54
    right: float = 10
    top: float = 26
    bottom: float = 42
    task: str = ""


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


def frontier_line(marks: Sequence[Mark], less: bool = False) -> Line:
    """The steps along marks that no other mark beats: what is the best y at each x. less: a smaller x is better."""
    x, y = (np.array(each) for each in zip(*sorted((mark.x, mark.y) for mark in marks), strict=True))
    return Line(np.repeat(x, 2)[1:], np.repeat(y, 2)[:-1]) if less else Line(np.repeat(x, 2)[:-1], np.repeat(y, 2)[1:])


ABOUT = "about:"  # begins the id of an artist whose points or bars are those of models


def about(places: Iterable[int | None]) -> str | None:
    """The id of an artist with a point for each of these models, from which the page learns whose they are."""
    known = ["" if each is None else str(each) for each in places]
    return ABOUT + ",".join(known) if any(known) else None
