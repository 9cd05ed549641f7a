"""`featune demo` and `featune study`: running a study, and what is done with study files."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .commands import app
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["app"]
