"""The papers in miniature, offline, on generated images."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .miniature import demo
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["demo"]
