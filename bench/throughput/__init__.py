"""Images per second of a runner, with what the clock included."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .load import LoadWatch
    from .timing import measure, speed
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["LoadWatch", "measure", "speed"]
