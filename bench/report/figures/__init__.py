"""The report's figures: axes, legends, marks, panels, drawn as SVG and PNG."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .axis import limits_of
    from .files import draw_all
    from .heat_map import heat_panel
    from .marks import Bar, Figure, Key, Limits, Line, Mark, Panel, Series, ends, frontier_line, sides
    from .panels import MOST_ROWS, bar_panel, curve_panel, dot_panel, gain_panel, scatter_panel
    from .rendering import draw, key_svg
    from .style import COLOURS, INK, MUTED, SHAPES
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "COLOURS",
    "INK",
    "MOST_ROWS",
    "MUTED",
    "SHAPES",
    "Bar",
    "Figure",
    "Key",
    "Limits",
    "Line",
    "Mark",
    "Panel",
    "Series",
    "bar_panel",
    "curve_panel",
    "dot_panel",
    "draw",
    "draw_all",
    "ends",
    "frontier_line",
    "gain_panel",
    "heat_panel",
    "key_svg",
    "limits_of",
    "scatter_panel",
    "sides",
]
