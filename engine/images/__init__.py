"""Labelled image files, from their bytes to the uint8 squares that a model sees, and their digests."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .addresses import address, encoded, file_of
    from .batching import batches
    from .decoding import MODES, Decoder, check_channels, check_decoder, image_of, limit_pixels, read_bytes, read_image
    from .file_names import (
        IMAGE_SUFFIXES,
        count_left_out,
        describe_left_out,
        holds_images,
        image_files,
        is_hidden,
        is_image_name,
    )
    from .labelled import Labelled, folder_items, name_of_content
    from .shrinking import Shrinking
    from .views import Augmentation, Pixels, eval_view, fast_view, pixels_of, train_view
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "IMAGE_SUFFIXES",
    "MODES",
    "Augmentation",
    "Decoder",
    "Labelled",
    "Pixels",
    "Shrinking",
    "address",
    "batches",
    "check_channels",
    "check_decoder",
    "count_left_out",
    "describe_left_out",
    "encoded",
    "eval_view",
    "fast_view",
    "file_of",
    "folder_items",
    "holds_images",
    "image_files",
    "image_of",
    "is_hidden",
    "is_image_name",
    "limit_pixels",
    "name_of_content",
    "pixels_of",
    "read_bytes",
    "read_image",
    "train_view",
]
