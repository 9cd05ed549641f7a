"""Loaders of the public data sets, from an official download to a checked task."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .imagenet import (
        known_wnids,
        label_list,
        label_lists,
        real_labels,
        timm_list,
        validation,
        validation_number,
    )
    from .list_files import lines_of, rows_of, whole
    from .preparation import described, prepare_official
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "described",
    "known_wnids",
    "label_list",
    "label_lists",
    "lines_of",
    "prepare_official",
    "real_labels",
    "rows_of",
    "timm_list",
    "validation",
    "validation_number",
    "whole",
]
