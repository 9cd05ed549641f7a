"""Accuracy on the source task: ImageNet and its variants, ReaL labels, and labels that are in a wrong order."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .command import MASKS, Request, measure_imagenet
    from .images import KINDS, Images, imagenet_images
    from .label_orders import Fault, Order, label_order_fault, orders
    from .measured import Measured, accuracies_of_file
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "KINDS",
    "MASKS",
    "Fault",
    "Images",
    "Measured",
    "Order",
    "Request",
    "accuracies_of_file",
    "imagenet_images",
    "label_order_fault",
    "measure_imagenet",
    "orders",
]
