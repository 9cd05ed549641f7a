"""The kinds of panel: points with lines, a row of dots per model, gains by task, bars."""

import math
from collections.abc import Sequence
from typing import Any

import numpy as np

from .axis import limits_of, percent_ticks
from .marks import Bar, Limits, Line, Mark, Panel, Series, about, ends, sides
from .style import INK, MUTED, TRACK, WIDTH
from .text_labels import shortened, write_labels

MOST_ROWS = 40  # of a panel with a row for each model; a reader looks through no more
SIZES = {"o": 7, "s": 6.5, "D": 6, "P": 8, "X": 8, "^": 8, "v": 8, "<": 8, ">": 8, "*": 10}


def scatter_panel(
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    labels: tuple[str, str],
    limits: tuple[Limits, Limits],
    *,
    named: bool = False,
    note: str = "",
    height: float = 330,
    powers: bool = False,
) -> Panel:
    """Points with error bars and fitted lines on two log-odds axes with ticks in percent.

    named: write each mark's label beside it, or beside the highest of those that share it; an empty one is none.
    note: a line under the title. powers: x is log10 of a count.
    """

    def draw(axes: Any) -> None:
        if powers:
            _counts_axis(axes, limits[0])
        else:
            _percent_axis(axes, "x", limits[0], 40)
        _percent_axis(axes, "y", limits[1], 24)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(shortened(labels[1], height - 80))
        _write_title(axes, title, note, 54)
        for one in series:
            _draw_series(axes, one)
        if named:
            marks = [mark for one in series for mark in one.marks]
            highest = {mark.label: mark for mark in sorted(marks, key=lambda mark: mark.y) if mark.label}
            write_labels(axes, list(highest.values()), [line for one in series for line in one.lines], marks)

    return Panel(name, description, height, draw, top=44 if note else 28)


def dot_panel(
    name: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[Series]]],
    label: str,
    limits: Limits,
) -> Panel:
    """One row per model, its name above its track, one dot per series; of its one mark x is used."""
    step = 34

    def draw(axes: Any) -> None:
        _percent_axis(axes, "x", limits, 40)
        _rows_axis(axes, title, label, len(rows))
        for at, (text, series) in enumerate(rows):
            _row_name(axes, text, at, 12)
            found = [mark.x for one in series for mark in one.marks]
            if found:
                axes.plot([min(found), max(found)], [at + 0.18] * 2, color=TRACK, linewidth=1.2, zorder=2)
            for place, one in enumerate(series):
                level = at + 0.18 + 0.07 * (place - (len(series) - 1) / 2)
                for mark in one.marks:
                    _draw_range(axes, mark, one.colour, level)
                _draw_marks(axes, [(mark.x, level, mark) for mark in one.marks], one.colour)

    return Panel(name, description, step * len(rows) + 28 + 46, draw, left=3, top=28)


def gain_panel(
    name: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[tuple[float, int | None]], float]],
    label: str,
    colour: str,
) -> Panel:
    """One row per task: a small dot per model, a stroke at their mean, a line at 0; values in points.

    rows: (text, (value, model's place) each, half the width of the noise around 0).
    """
    step = 34
    values = [value for _, found, _ in rows for value, _ in found] + [0.0]
    room = max(max(values) - min(values), 1.0) * 0.08
    limits = (min(values) - room, max(values) + room)

    def draw(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.set_xlim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3g}".replace("-", "−") if value else "0")
        _rows_axis(axes, title, label, len(rows))
        axes.axvline(0, color=MUTED, linewidth=1, zorder=1.5)
        for at, (text, found, noise) in enumerate(rows):
            _row_name(axes, text, at, 12)
            points = [value for value, _ in found]
            if noise:
                ends = np.clip([-noise, noise], *limits)
                axes.fill_between(ends, at - 0.02, at + 0.38, color=TRACK, alpha=0.35, linewidth=0, zorder=1)
            axes.plot(points, [at + 0.18] * len(found), "o", color=colour, alpha=0.55, markersize=6,
                      markeredgewidth=0, zorder=3, gid=about(each for _, each in found))  # fmt: skip
            axes.plot([float(np.mean(points))] * 2, [at + 0.0, at + 0.36], color=INK, linewidth=2, zorder=4)

    return Panel(name, description, step * len(rows) + 28 + 46, draw, left=3, top=28)


def bar_panel(name: str, title: str, description: str, rows: Sequence[tuple[str, Sequence[Bar]]], label: str) -> Panel:
    """One group per model, its name above its bars, each bar's number at its end."""
    thick, gap = 15.0, 24.0
    tops, height = [], 4.0
    for _, bars in rows:
        tops.append(height)
        height += gap + thick * len(bars)
    longest = max((bar.value for _, bars in rows for bar in bars), default=1.0) or 1.0

    def draw(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.set_xlim(0, longest * 1.22)
        axes.set_ylim(height, 0)
        axes.set_yticks([])
        axes.spines["left"].set_visible(False)
        axes.grid(False, axis="y")
        axes.xaxis.set_major_locator(MaxNLocator(4))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:,.0f}" if longest >= 10 else f"{value:g}")
        axes.set_xlabel(label)
        _write_title(axes, title, "", 3)
        for top, (text, bars) in zip(tops, rows, strict=True):
            axes.text(0, top + 11, shortened(text, WIDTH - 20), va="center", ha="left", color=INK)
            for at, bar in enumerate(bars):
                middle = top + 20 + thick * (at + 0.5)
                axes.barh(middle, bar.value, thick - 3, color=bar.colour, zorder=3, gid=about([bar.about]))
                axes.text(bar.value + longest * 0.012, middle, bar.text, va="center_baseline", zorder=4,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip

    return Panel(name, description, height + 28 + 42, draw, left=3, top=28)


def curve_panel(
    name: str,
    title: str,
    description: str,
    series: Sequence[Series],
    labels: tuple[str, str],
    *,
    named: bool = False,
    levels: Sequence[str] = (),
    height: float = 300,
) -> Panel:
    """Points joined by lines in the order of their marks, on two axes of log10 of a count.

    named: write each mark's label beside it. levels: what x = 0, 1 and so on are called; y is then in log odds.
    """
    marks = [mark for one in series for mark in one.marks]
    across, up = limits_of(sides(marks), 0.06), limits_of(ends(marks), 0.06)

    def draw(axes: Any) -> None:
        if levels:
            axes.set(xlim=across, xticks=range(len(levels)), xticklabels=levels)
            _percent_axis(axes, "y", up, 24)
        else:
            _counts_axis(axes, across)
            _counts_axis(axes, up, "y")
        axes.set_xlabel(labels[0])
        axes.set_ylabel(labels[1])
        _write_title(axes, title, "", 54)
        for one in series:
            places = [(mark.x, mark.y) for mark in one.marks]
            axes.plot(*zip(*places, strict=True), color=one.colour, linewidth=1.3, zorder=2)
            _draw_series(axes, one)
        if named:
            write_labels(axes, marks, [_path(one.marks) for one in series])

    return Panel(name, description, height, draw, top=28)


# --- What is drawn


def _path(marks: Sequence[Mark]) -> Line:
    """The line from mark to mark, with enough points on it to be kept clear of."""
    ends = np.array([(mark.x, mark.y) for mark in marks])
    along = np.linspace(0, len(ends) - 1, 12 * len(ends))
    x, y = (np.interp(along, np.arange(len(ends)), ends[:, axis]) for axis in (0, 1))
    return Line(x, y)


def _draw_series(axes: Any, series: Series) -> None:
    from matplotlib.transforms import ScaledTranslation

    colour = series.colour
    for line in series.lines:
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.13, linewidth=0, zorder=1)
        axes.plot(line.x, line.y, color=colour, linewidth=1.4, linestyle=(0, (4, 2)) if line.dashed else "-", zorder=2)
    place = axes.transData + ScaledTranslation(series.shift / 72, 0, axes.figure.dpi_scale_trans)
    tall = [((mark.x, mark.low), (mark.x, mark.high)) for mark in series.marks if None not in (mark.low, mark.high)]
    wide = [((mark.left, mark.y), (mark.right, mark.y)) for mark in series.marks if None not in (mark.left, mark.right)]
    _draw_bars(axes, [*tall, *wide], colour, place)
    _draw_marks(axes, [(mark.x, mark.y, mark) for mark in series.marks], colour, transform=place)


def _draw_bars(axes: Any, bars: Sequence[Any], colour: str, place: Any) -> None:
    """Error bars, each from a point to a point, as one artist: matplotlib takes half a millisecond for each."""
    if bars:
        ends = np.array(bars, dtype=float)  # [bars, 2, xy], NaN between two of them
        gaps = np.concatenate([ends, np.full((len(ends), 1, 2), np.nan)], axis=1).reshape(-1, 2)
        axes.plot(gaps[:, 0], gaps[:, 1], color=colour, linewidth=1.2, alpha=0.75, zorder=3, transform=place)


def _draw_marks(axes: Any, marks: Sequence[tuple[float, float, Mark]], colour: str, **options: Any) -> None:
    """Points (x, y, of which mark), those of a shape as one artist. A ring is drawn around what another mark is."""
    for shape in dict.fromkeys(mark.shape for _, _, mark in marks):
        if shape == "ring":
            xs, ys, _ = zip(*(one for one in marks if one[2].shape == shape), strict=True)
            axes.plot(xs, ys, "o", color="none", markersize=15, markeredgecolor=colour, markeredgewidth=1.6, zorder=5)
            continue
        xs, ys, of = zip(*(one for one in marks if one[2].shape == shape), strict=True)
        axes.plot(xs, ys, shape, color=colour, markersize=SIZES.get(shape, 7), markeredgecolor="white",
                  markeredgewidth=0.7, zorder=4, gid=about(mark.about for mark in of), **options)  # fmt: skip


def _draw_range(axes: Any, mark: Mark, colour: str, y: float) -> None:
    if mark.low is not None and mark.high is not None:
        axes.plot([mark.low, mark.high], [y, y], color=colour, alpha=0.35, linewidth=4,
                  solid_capstyle="butt", zorder=2.5)  # fmt: skip


def _write_title(axes: Any, title: str, note: str, left: float) -> None:
    """The title, and a line of detail under it, from the panel's left edge on."""
    from matplotlib.transforms import ScaledTranslation

    move = axes.figure.dpi_scale_trans
    upper, lower = (axes.transAxes + ScaledTranslation((3 - left) / 72, up / 72, move) for up in (9, 8))
    if note:
        upper += ScaledTranslation(0, 15 / 72, move)
        axes.text(0, 1, note, transform=lower, color=MUTED, va="baseline")
    text = shortened(title, WIDTH - 8, bold=True)
    axes.text(0, 1, text, transform=upper, va="baseline", fontsize=12, fontweight="bold")


def _row_name(axes: Any, text: str, at: int, lift: float) -> None:
    axes.annotate(shortened(text, WIDTH - 24), (0, at), xycoords=axes.get_yaxis_transform(), xytext=(1, 7),
                  textcoords="offset points", va="center", ha="left", color=INK, zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85})  # fmt: skip


# --- Axes


def _counts_axis(axes: Any, limits: Limits, which: str = "x") -> None:
    """An axis of log10 of a count, marked at 1, 2 and 5 times the powers of ten."""
    marks = [10.0**power * times for power in range(-4, 9) for times in (1, 2, 5)]
    inside = [mark for mark in marks if limits[0] <= math.log10(mark) <= limits[1]]
    if len(inside) > 6:
        inside = [mark for mark in inside if f"{mark:e}".startswith("1")]
    elif len(inside) < 3:
        finer = [10.0**power * times for power in range(-4, 9) for times in (1, 1.5, 2, 3, 4, 5, 6, 8)]
        inside = [mark for mark in finer if limits[0] <= math.log10(mark) <= limits[1]]
    axes.set(**{f"{which}lim": limits})
    axes.set(**{f"{which}ticks": [math.log10(mark) for mark in inside]})
    axes.set(**{f"{which}ticklabels": [f"{mark:,.10g}" for mark in inside]})


def _percent_axis(axes: Any, which: str, limits: Limits, gap: float) -> None:
    box = axes.get_position()
    figure = axes.figure
    pixels = 72 * (box.width * figure.get_figwidth() if which == "x" else box.height * figure.get_figheight())
    ticks = percent_ticks(limits, pixels, gap)
    axes.set(**{f"{which}lim": limits})
    axes.set(**{f"{which}ticks": [at for at, _ in ticks]})
    axes.set(**{f"{which}ticklabels": [text for _, text in ticks]})


def _rows_axis(axes: Any, title: str, label: str, count: int) -> None:
    axes.set_ylim(count - 0.45, -0.55)
    axes.set_yticks([])
    axes.spines["left"].set_visible(False)
    axes.set_xlabel(label)
    _write_title(axes, title, "", 3)
