"""Truth and scores in, one number out. METRICS is the table of them all."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .calibration import softmax
    from .definition import Array, Metric, Statistic
    from .f1 import OF_LABELS, choose_threshold
    from .other_names import OTHER_NAMES, usual_name
    from .table import METRICS
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "METRICS",
    "OF_LABELS",
    "OTHER_NAMES",
    "Array",
    "Metric",
    "Statistic",
    "choose_threshold",
    "softmax",
    "usual_name",
]
