"""The report's figures: axes, legends, marks, panels, drawn as SVG and PNG."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .axis import limits_of
    from .list_of_figures import report_figures
    from .marks import Figure, Key, Mark, Panel, Series, ends
    from .panels import curve_panel, scatter_panel
    from .rendering import draw, key_svg
    from .style import COLOURS, SHAPES
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "COLOURS",
    "SHAPES",
    "Figure",
    "Key",
    "Mark",
    "Panel",
    "Series",
    "curve_panel",
    "draw",
    "ends",
    "key_svg",
    "limits_of",
    "report_figures",
    "scatter_panel",
]
