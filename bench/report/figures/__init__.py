"""The report's figures: axes, legends, marks, panels, drawn as SVG and PNG."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .list_of_figures import report_figures
    from .marks import Figure
    from .rendering import draw, key_svg
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Figure", "draw", "key_svg", "report_figures"]
