"""Panels to SVG text that sits inside a page, and whole figures to PNG files, in the house's style."""

import io
import re
import warnings
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

import numpy as np

from featune.engine.store import written_whole

from .in_page import FACES, detach, named_colours
from .marks import Key, Panel
from .style import INK, MUTED, RULE, TEXT, WIDTH
from .text_labels import text_width

STYLE: dict[str, Any] = {
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


def draw(path: Path, panels: Sequence[Panel], keys: Sequence[Key] = ()) -> list[str]:
    """Each panel as an <svg> element for a page; all of them in a PNG at `path`, at twice the size, keys underneath.

    Text stays text in the page, ids carry the panel's name, and there is no namespace. Both are drawn from the same
    artists, whose making takes as long as either drawing.
    """
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    lines = [panels[at : at + columns] for at in range(0, len(panels), columns)]
    heights = [max(panel.height for panel in line) for line in lines]
    gap, margin = 16.0, 10.0
    width = columns * WIDTH + (columns - 1) * gap + 2 * margin
    rows_of_key = [row for key in keys for row in _key_rows(key, width - 2 * margin)]
    height = sum(heights) + gap * (len(lines) - 1) + 2 * margin + 18 * len(rows_of_key)
    with _drawing():
        figure, texts, top = _figure(width, height), [], margin
        for line, tall in zip(lines, heights, strict=True):
            for at, panel in enumerate(line):
                left = margin + at * (WIDTH + gap)
                axes = _place(figure, panel, left, top, height)
                texts.append(_svg(axes, panel, (left, top, width, height)))
            top += tall + gap
        _draw_key(figure, rows_of_key, margin, top - gap + 12, width, height)
        with written_whole(path) as temporary:
            figure.savefig(temporary, format="png", dpi=144, metadata={"Software": None})
    return texts


def _svg(axes: Any, panel: Panel, place: tuple[float, float, float, float]) -> str:
    """The axes alone as an <svg> element. place: left and top of the panel in the figure, and the figure's size."""
    from matplotlib.backends.backend_svg import RendererSVG

    left, top, width, height = place
    text = io.StringIO()
    renderer = RendererSVG(width, height, text, image_dpi=72, metadata={"Date": None})
    axes.draw(renderer)
    renderer.finalize()
    root = ElementTree.fromstring(text.getvalue())
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", panel.name) + "-"
    detach(root, prefix)
    for name in ("width", "height", "version"):
        root.attrib.pop(name, None)
    root.set("viewBox", f"{left:g} {top:g} {WIDTH} {panel.height:g}")
    root.set("role", "img")
    root.set("aria-label", panel.description)
    return ElementTree.tostring(root, encoding="unicode").replace(" />", "/>")  # a > of a text is escaped


def figure_svg(panels: Sequence[Panel], texts: Sequence[str], keys: Sequence[Key] = ()) -> str:
    """A file of its own from the panels that `draw` gave: plain colours, its namespaces, keys underneath."""
    columns = 2 if len(panels) in (2, 4) else min(3, len(panels))
    gap, top = 16.0, 10.0
    parts: list[str] = []
    width = columns * WIDTH + (columns - 1) * gap + 20
    for begin in range(0, len(panels), columns):
        line = list(zip(panels, texts, strict=True))[begin : begin + columns]
        for at, (panel, text) in enumerate(line):
            place = f'x="{10 + at * (WIDTH + gap):g}" y="{top:g}" width="{WIDTH}" height="{panel.height:g}"'
            parts.append(text.replace("<svg ", f"<svg {place} ", 1))
        top += max(panel.height for panel, _ in line) + gap
    for key in keys:
        for row in _key_rows(key, width - 20):
            for text, colour, shape, across in row:
                if shape:
                    parts.append(key_svg(colour, shape).replace("<svg ", f'<svg x="{10 + across:g}" y="{top:g}" ', 1))
                parts.append(f'<text x="{10 + (20 if shape else 4) + across:g}" y="{top + 11:g}">{escape(text)}</text>')
            top += 18
    body = re.sub(r"var\(--[a-z0-9]+, (#[0-9a-f]{6})\)", r"\1", "\n".join(parts)).replace(' href="#', ' xlink:href="#')
    names = 'xmlns="http://www.w3.org/2000/svg" xmlns:xlink="http://www.w3.org/1999/xlink"'
    return (
        f'<svg {names} viewBox="0 0 {width:g} {top + 6:g}" width="{width:g}" height="{top + 6:g}">\n'
        f'<rect width="100%" height="100%" fill="#ffffff"/>\n<g font-family="{escape(FACES)}" font-size="{TEXT}" '
        f'fill="{INK}">\n{body}\n</g>\n</svg>\n'
    )


def key_svg(colour: str, shape: str) -> str:
    """A 14 px glyph for a key, drawn from the very path that the panels use."""
    from matplotlib.markers import MarkerStyle

    marker = MarkerStyle(shape)
    polygon = marker.get_path().transformed(marker.get_transform()).to_polygons(closed_only=False)[0]
    points = " ".join(f"{7 + 10 * x:.2f},{7 - 10 * y:.2f}" for x, y in np.asarray(polygon))
    return (
        f'<svg class="glyph" viewBox="0 0 14 14" width="14" height="14" aria-hidden="true">'
        f'<polygon points="{points}" style="fill: {named_colours(colour)}"/></svg>'
    )


# --- A drawing


@contextmanager
def _drawing() -> Iterator[None]:
    """House style for this drawing only; a name in a script that the font lacks is no reason to fail."""
    import matplotlib

    with matplotlib.rc_context(STYLE), warnings.catch_warnings():
        warnings.filterwarnings("ignore", message="Glyph .* missing from")
        yield


def _figure(width: float, height: float) -> Any:
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width / 72, height / 72), dpi=72, facecolor="white")
    FigureCanvasAgg(figure)
    return figure


def _place(figure: Any, panel: Panel, x: float, y: float, total: float) -> Any:
    """The axes of the panel, drawn with its upper left corner x, y px from the figure's."""
    width = figure.get_figwidth() * 72
    wide, tall = WIDTH - panel.left - panel.right, panel.height - panel.top - panel.bottom
    bottom = total - y - panel.top - tall
    axes = figure.add_axes(((x + panel.left) / width, bottom / total, wide / width, tall / total))
    panel.draw(axes)
    return axes


# --- Keys


def _key_rows(key: Key, room: float) -> list[list[tuple[str, str, str, float]]]:
    """The key's entries broken into rows, each entry with its place in px."""
    rows: list[list[tuple[str, str, str, float]]] = []
    at = room + 1
    for text, colour, shape in key:
        wide = text_width(text) + 38
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
