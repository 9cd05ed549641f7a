"""Pages about several reports: studies side by side, and an index of all that lie in a folder."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .comparing import write_comparison
    from .listing import index_of, write_index
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["index_of", "write_comparison", "write_index"]
