"""Pre-training on a source task with the project's own training loop."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .training import Pretrained, pretrain
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["Pretrained", "pretrain"]
