"""From rows to what people read: the HTML page, tables, CSV files, and words for the terminal."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .taking import taken
    from .writing import (
        choice_lines,
        correlation_lines,
        estimator_lines,
        finding_lines,
        results_table,
        speed_lines,
        write_report,
    )
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "choice_lines",
    "correlation_lines",
    "estimator_lines",
    "finding_lines",
    "results_table",
    "speed_lines",
    "taken",
    "write_report",
]
