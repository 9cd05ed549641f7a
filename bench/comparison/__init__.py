"""Two studies, or two versions of one, cell by cell; what must be the same before numbers are compared."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .studies import Comparison, Pair, compare, comparison_lines
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Comparison", "Pair", "compare", "comparison_lines"]
