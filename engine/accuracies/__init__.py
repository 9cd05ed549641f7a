"""Published ImageNet accuracies of timm's and torchvision's weights, by name and image size."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .timm_table import IMAGENET_IMAGES, MEASURES, near_sides, timm_accuracies
    from .torchvision_weights import torchvision_accuracy, torchvision_facts
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = ["IMAGENET_IMAGES", "MEASURES", "near_sides", "timm_accuracies", "torchvision_accuracy", "torchvision_facts"]
