"""The report of a throughput run: tables, CSV with timm's column names, the HTML page, and two reports compared."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .beyond_speed import Derived, derived, recommendations
    from .comparison import compare_documents, comparison_lines, read_document
    from .published import Published, published_speeds
    from .tables import terminal_table
    from .writing import summary_lines, with_recommendations, write_report
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Derived",
    "Published",
    "compare_documents",
    "comparison_lines",
    "derived",
    "published_speeds",
    "read_document",
    "recommendations",
    "summary_lines",
    "terminal_table",
    "with_recommendations",
    "write_report",
]
