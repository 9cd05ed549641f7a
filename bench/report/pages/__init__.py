"""What every HTML page of ours has in common: style, the script, the first screen, who may load what."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .rendering import breakable, drawings, page
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["breakable", "drawings", "page"]
