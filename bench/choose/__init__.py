"""What `featune choose` does: candidates screened, the best fine-tuned, one chosen, measured, exported."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .command import Asked, choose
    from .document import summary_lines
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Asked", "choose", "summary_lines"]
