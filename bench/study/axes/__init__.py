"""What the models of a study are compared by: published ImageNet accuracies, and their size."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .looked_up import ACCURACIES, AXES, SIZES, axis_title, facts_of, with_accuracy
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["ACCURACIES", "AXES", "SIZES", "axis_title", "facts_of", "with_accuracy"]
