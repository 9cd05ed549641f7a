"""Published tables of transfer accuracy as data: those that ship, any CSV file, and what they say."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .importing import Published, read_published
    from .rows import published_rows
    from .shipped_tables import library, library_names, published
    from .summaries import Regime, Summary, real_on_imagenet, summary, summary_lines
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "Published",
    "Regime",
    "Summary",
    "library",
    "library_names",
    "published",
    "published_rows",
    "read_published",
    "real_on_imagenet",
    "summary",
    "summary_lines",
]
