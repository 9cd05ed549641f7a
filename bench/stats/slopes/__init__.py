"""Slopes over models: robust ones, lines that bend, natural splines, and what so many models could have shown."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bent_lines import Halves, Spline, broken_line, natural_spline, two_lines
    from .detection import detectable_correlation, detectable_slope, significant_correlation
    from .robust_slope import Slope, theil_sen
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Halves",
    "Slope",
    "Spline",
    "broken_line",
    "detectable_correlation",
    "detectable_slope",
    "natural_spline",
    "significant_correlation",
    "theil_sen",
    "two_lines",
]
