"""The report's drawings: panels of plain numbers to SVG text that sits inside a page, and to PNG files.

A panel is 360 px wide with text of 11 px, so that it stays legible on a phone; a wide screen shows several
side by side. One colour means one regime throughout; shapes repeat it, for eyes that do not see colours.
"""

import dataclasses
import io
import math
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.store import written_whole

Array = NDArray[np.float64]

WIDTH = 360
TEXT = 11
INK, MUTED, RULE = "#1b1f24", "#59636e", "#d8dde3"
# Okabe and Ito's palette, without its yellow (too pale for a line on white).
COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000")
SHAPES = ("o", "s", "^", "D", "v", "P", "X", "<", ">", "p", "h", "*")
SIZES = {"o": 7, "s": 6.5, "D": 6, "P": 8, "X": 8, "^": 8, "v": 8, "<": 8, ">": 8, "*": 10}
_STYLE: dict[str, Any] = {
    "font.family": "DejaVu Sans",
    "font.size": TEXT,
    "text.color": INK,
    "text.parse_math": False,
    "svg.fonttype": "none",
    "svg.hashsalt": "featune",
    "figure.dpi": 72,
    "savefig.dpi": 72,
    "axes.edgecolor": MUTED,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.8,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.labelsize": TEXT,
    "grid.color": RULE,
    "grid.linewidth": 0.7,
    "xtick.color": MUTED,
    "ytick.color": MUTED,
    "xtick.labelcolor": INK,
    "ytick.labelcolor": INK,
    "xtick.labelsize": TEXT,
    "ytick.labelsize": TEXT,
    "xtick.minor.bottom": False,
    "xtick.major.size": 3,
    "ytick.major.size": 3,
}
# What a browser shows; where it has none of these narrower faces, it falls back to the measured one.
_FACES = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, 'DejaVu Sans', sans-serif"


@dataclasses.dataclass(frozen=True)
class Mark:
    """One model's point: x and y, and the ends of y's interval, in log odds."""

    label: str
    shape: str
    x: float
    y: float
    low: float | None = None
    high: float | None = None


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


Limits = tuple[float, float]
Key = Sequence[tuple[str, str, str]]  # (text, colour, shape); shape may be empty


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

    named: write each mark's label beside it. note: a line under the title. powers: x is log10 of a count.
    """

    def draw(axes: Any) -> None:
        if powers:
            _counts_axis(axes, limits[0])
        else:
            _percent_axis(axes, "x", limits[0], 40)
        _percent_axis(axes, "y", limits[1], 24)
        axes.set_xlabel(labels[0])
        axes.set_ylabel(_shortened(labels[1], height - 80))
        _write_title(axes, title, note, 54)
        for one in series:
            _draw_series(axes, one)
        if named:
            marks = [mark for one in series for mark in one.marks]
            _write_labels(axes, marks, [one.line for one in series if one.line])

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
                axes.plot([min(found), max(found)], [at + 0.18] * 2, color="#aab2bb", linewidth=1.2, zorder=2)
            for place, one in enumerate(series):
                level = at + 0.18 + 0.07 * (place - (len(series) - 1) / 2)
                for mark in one.marks:
                    _draw_range(axes, mark, one.colour, level)
                    _draw_mark(axes, mark.x, level, mark.shape, one.colour)

    return Panel(name, description, step * len(rows) + 28 + 46, draw, left=3, top=28)


def gain_panel(
    name: str,
    title: str,
    description: str,
    rows: Sequence[tuple[str, Sequence[float]]],
    label: str,
    colour: str,
) -> Panel:
    """One row per task: a small dot per model, a stroke at their mean, a line at 0; values in points."""
    step = 34
    values = [value for _, found in rows for value in found] + [0.0]
    room = max(max(values) - min(values), 1.0) * 0.08
    limits = (min(values) - room, max(values) + room)

    def draw(axes: Any) -> None:
        from matplotlib.ticker import MaxNLocator

        axes.set_xlim(*limits)
        axes.xaxis.set_major_locator(MaxNLocator(5, steps=[1, 2, 5, 10]))
        axes.xaxis.set_major_formatter(lambda value, _: f"{value:+.3g}".replace("-", "−") if value else "0")
        _rows_axis(axes, title, label, len(rows))
        axes.axvline(0, color=MUTED, linewidth=1, zorder=1.5)
        for at, (text, found) in enumerate(rows):
            _row_name(axes, text, at, 12)
            axes.plot(found, [at + 0.18] * len(found), "o", color=colour, alpha=0.55, markersize=6,
                      markeredgewidth=0, zorder=3)  # fmt: skip
            axes.plot([float(np.mean(found))] * 2, [at + 0.0, at + 0.36], color=INK, linewidth=2, zorder=4)

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
            axes.text(0, top + 11, _shortened(text, WIDTH - 20), va="center", ha="left", color=INK)
            for at, bar in enumerate(bars):
                middle = top + 20 + thick * (at + 0.5)
                axes.barh(middle, bar.value, thick - 3, color=bar.colour, zorder=3)
                axes.text(bar.value + longest * 0.012, middle, bar.text, va="center_baseline", zorder=4,
                          bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.5})  # fmt: skip

    return Panel(name, description, height + 28 + 42, draw, left=3, top=28)


def svg(panel: Panel) -> str:
    """The panel as an <svg> element for a page: text stays text, ids carry the panel's name, no namespace."""
    with _drawing():
        figure = _figure(WIDTH, panel.height)
        _place(figure, panel, 0, 0, panel.height)
        text = io.StringIO()
        figure.savefig(text, format="svg", metadata={"Date": None})
    root = ElementTree.fromstring(text.getvalue())
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", panel.name) + "-"
    _detach(root, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("viewBox", f"0 0 {WIDTH} {panel.height:g}")
    root.set("role", "img")
    root.set("aria-label", panel.description)
    return ElementTree.tostring(root, encoding="unicode")


def key_svg(colour: str, shape: str) -> str:
    """A 14 px glyph for a key, drawn from the very path that the panels use."""
    from matplotlib.markers import MarkerStyle

    marker = MarkerStyle(shape)
    polygon = marker.get_path().transformed(marker.get_transform()).to_polygons(closed_only=False)[0]
    points = " ".join(f"{7 + 10 * x:.2f},{7 - 10 * y:.2f}" for x, y in np.asarray(polygon))
    return (
        f'<svg class="glyph" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">'
        f'<polygon points="{points}" fill="{colour}"/></svg>'
    )


def write_png(path: Path, panels: Sequence[Panel], keys: Sequence[Key] = ()) -> None:
    """All panels of a figure in one picture at twice the size, with its keys underneath."""
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    lines = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in line) for line in lines]
    gap, margin = 16.0, 10.0
    width = columns * WIDTH + (columns - 1) * gap + 2 * margin
    rows_of_key = [row for key in keys for row in _key_rows(key, width - 2 * margin)]
    height = sum(heights) + gap * (len(lines) - 1) + 2 * margin + 18 * len(rows_of_key)
    with _drawing():
        figure = _figure(width, height)
        top = margin
        for line, tall in zip(lines, heights, strict=True):
            for at, panel in enumerate(line):
                _place(figure, panel, margin + at * (WIDTH + gap), top, height)
            top += tall + gap
        _draw_key(figure, rows_of_key, margin, top - gap + 12, width, height)
        with written_whole(path) as temporary:
            figure.savefig(temporary, format="png", dpi=144, metadata={"Software": None})


def limits_of(values: Sequence[float], room: float = 0.08, least: float = 0.4) -> Limits:
    """Ends of an axis that holds all values with some room, at least `least` long."""
    low, high = min(values), max(values)
    middle, half = (low + high) / 2, max((high - low) / 2, least / 2) * (1 + 2 * room)
    return middle - half, middle + half


def percent_ticks(limits: Limits, pixels: float, gap: float) -> list[tuple[float, str]]:
    """(log odds, text) for round percentages inside the limits, at least `gap` px apart.

    Even steps where they fit all along the axis, about five of them. Otherwise, as near 0 and 100 %, uneven
    ones: coarse grids come first, a finer one fills holes, and only until there are four ticks.
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
        return [(at, f"{percent:.10g} %") for percent, at in best.items()]
    chosen: dict[float, float] = {}
    for grid in [*_UNEVEN_GRIDS, *grids]:
        for percent in grid:
            at = _logit(percent)
            clear = all(abs(at - other) * scale >= gap for other in chosen.values())
            if limits[0] <= at <= limits[1] and clear:
                chosen[percent] = at
        if len(chosen) >= 4:
            break
    return [(at, f"{percent:.10g} %") for percent, at in sorted(chosen.items())]


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


@contextmanager
def _drawing() -> Iterator[None]:
    """House style for this drawing only; a name in a script that the font lacks is no reason to fail."""
    import matplotlib

    with matplotlib.rc_context(_STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _place(figure: Any, panel: Panel, x: float, y: float, total: float) -> None:
    """Draw the panel with its upper left corner x, y px from the figure's."""
    width = figure.get_figwidth() * 72
    wide, tall = WIDTH - panel.left - panel.right, panel.height - panel.top - panel.bottom
    bottom = total - y - panel.top - tall
    axes = figure.add_axes(((x + panel.left) / width, bottom / total, wide / width, tall / total))
    panel.draw(axes)


def _draw_series(axes: Any, series: Series) -> None:
    from matplotlib.transforms import ScaledTranslation

    line, colour = series.line, series.colour
    if line is not None:
        if line.low is not None and line.high is not None:
            axes.fill_between(line.x, line.low, line.high, color=colour, alpha=0.13, linewidth=0, zorder=1)
        axes.plot(line.x, line.y, color=colour, linewidth=1.4, zorder=2)
    place = axes.transData + ScaledTranslation(series.shift / 72, 0, axes.figure.dpi_scale_trans)
    for mark in series.marks:
        if mark.low is not None and mark.high is not None:
            axes.plot([mark.x, mark.x], [mark.low, mark.high], color=colour, linewidth=1.2, alpha=0.75,
                      zorder=3, transform=place)  # fmt: skip
        _draw_mark(axes, mark.x, mark.y, mark.shape, colour, transform=place)


def _draw_mark(axes: Any, x: float, y: float, shape: str, colour: str, **options: Any) -> None:
    axes.plot([x], [y], shape, color=colour, markersize=SIZES.get(shape, 7), markeredgecolor="white",
              markeredgewidth=0.7, zorder=4, **options)  # fmt: skip


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
    text = _shortened(title, WIDTH - 8, bold=True)
    axes.text(0, 1, text, transform=upper, va="baseline", fontsize=12, fontweight="bold")


def _counts_axis(axes: Any, limits: Limits) -> None:
    """An axis of log10 of a count, marked at 1, 2 and 5 times the powers of ten."""
    marks = [10.0**power * times for power in range(-4, 9) for times in (1, 2, 5)]
    inside = [mark for mark in marks if limits[0] <= math.log10(mark) <= limits[1]]
    if len(inside) > 6:
        inside = [mark for mark in inside if f"{mark:e}".startswith("1")]
    axes.set_xlim(*limits)
    axes.set_xticks([math.log10(mark) for mark in inside], [f"{mark:,.10g}" for mark in inside])


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


def _row_name(axes: Any, text: str, at: int, lift: float) -> None:
    axes.annotate(_shortened(text, WIDTH - 24), (0, at), xycoords=axes.get_yaxis_transform(), xytext=(1, 7),
                  textcoords="offset points", va="center", ha="left", color=INK, zorder=5,
                  bbox={"facecolor": "white", "edgecolor": "none", "pad": 0.6, "alpha": 0.85})  # fmt: skip


def _width(text: str, bold: bool = False) -> float:
    """px of the text at the report's size in the widest face that a browser may choose."""
    from matplotlib.font_manager import FontProperties
    from matplotlib.textpath import text_to_path

    face = FontProperties(family="DejaVu Sans", size=12 if bold else TEXT, weight="bold" if bold else "normal")
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        return float(text_to_path.get_text_width_height_descent(text, face, ismath=False)[0])


def _shortened(text: str, room: float, bold: bool = False) -> str:
    """The text, or its two ends with … between them, in at most `room` px."""
    if not text or _width(text, bold) <= room:
        return text
    keep = len(text) - 1
    while keep > 2:
        short = text[: (keep + 1) // 2] + "…" + text[len(text) - keep // 2 :]
        if _width(short, bold) <= room:
            return short
        keep -= 1
    return text[:1] + "…"


Box = tuple[float, float, float, float]  # left, bottom, right, top in px


def _write_labels(axes: Any, marks: Sequence[Mark], lines: Sequence[Line]) -> None:
    """Each mark's label at the free place nearest to it; greedy, crowded marks first."""
    unit = axes.figure.dpi / 72
    points = axes.transData.transform([(mark.x, mark.y) for mark in marks]) / unit
    frame = axes.get_window_extent()
    bounds = (frame.x0 / unit, frame.y0 / unit, frame.x1 / unit, frame.y1 / unit)
    blocked = [((x - 5, y - 5, x + 5, y + 5), 6.0) for x, y in points]
    for mark in marks:
        if mark.low is not None and mark.high is not None:
            (x, low), (_, high) = axes.transData.transform([(mark.x, mark.low), (mark.x, mark.high)]) / unit
            blocked.append(((x - 1, low, x + 1, high), 4.0))
    for line in lines:
        for x, y in axes.transData.transform(np.column_stack([line.x, line.y])) / unit:
            blocked.append(((x - 1.5, y - 1.5, x + 1.5, y + 1.5), 3.0))
    crowd = [int(np.sum(np.hypot(*(points - point).T) < 60)) for point in points]
    for at in sorted(range(len(marks)), key=lambda index: (-crowd[index], points[index][0])):
        text, point = _shortened(marks[at].label, 150), points[at]
        places = [(_cost(box, blocked, bounds, point), box) for box in _candidates(point, _width(text))]
        best = min(places)[1]
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


def _key_rows(key: Key, room: float) -> list[list[tuple[str, str, str, float]]]:
    """The key's entries broken into rows, each entry with its place in px."""
    rows: list[list[tuple[str, str, str, float]]] = []
    at = room + 1
    for text, colour, shape in key:
        wide = _width(text) + 38
        if at + wide > room:
            rows.append([])
            at = 0.0
        rows[-1].append((text, colour, shape, at))
        at += wide
    return rows


def _draw_key(figure: Any, rows: Sequence[Any], left: float, top: float, width: float, height: float) -> None:
    from matplotlib.lines import Line2D

    for line, entries in enumerate(rows):
        y = 1 - (top + 18 * line) / height
        for text, colour, shape, at in entries:
            x = (left + 8 + at) / width
            if shape:
                figure.add_artist(Line2D([x], [y], marker=shape, color=colour, markersize=7, linestyle=""))
            figure.text((left + (20 if shape else 4) + at) / width, y, text, va="center_baseline", ha="left")


def _detach(root: ElementTree.Element, prefix: str) -> None:
    """Make the drawing fit to stand beside others in a page: own ids, no page-wide style, no namespaces."""
    for parent in root.iter():
        for child in list(parent):
            if child.tag.endswith(("}metadata", "}style")):
                parent.remove(child)
    for element in root.iter():
        element.tag = element.tag.rpartition("}")[2]
        for name, value in list(element.attrib.items()):
            plain = name.rpartition("}")[2]
            if plain == "id":
                value = prefix + value
            elif plain == "href":
                value = value.replace("#", f"#{prefix}", 1)
            else:
                value = value.replace("url(#", f"url(#{prefix}").replace("'DejaVu Sans'", _FACES)
            del element.attrib[name]
            element.set(plain, value)
