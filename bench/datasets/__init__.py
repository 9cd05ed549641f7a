"""Loaders of the public data sets, from an official download to a checked task."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .preparation import described, prepare_official
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["described", "prepare_official"]
