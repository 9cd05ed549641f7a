"""Generated images: source tasks and targets that need no download, drawn by a seed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .images import SIDE, SOURCE_CLASSES, TARGETS, fractals, write_images
    from .named import NAMES, generated_folder, splits_of
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "NAMES",
    "SIDE",
    "SOURCE_CLASSES",
    "TARGETS",
    "fractals",
    "generated_folder",
    "splits_of",
    "write_images",
]
