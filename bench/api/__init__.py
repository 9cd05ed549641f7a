"""Featune as functions for a notebook or a script: `featune.extract`, `featune.probe`, `featune.finetune`."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .functions import extract, finetune, probe
    from .tables import correctness, rows
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["correctness", "extract", "finetune", "probe", "rows"]
