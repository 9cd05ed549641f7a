"""Pre-training from random weights on a subset of a source task: classes, images, labels, choices, what is left."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .choices import Choices
    from .hierarchy import Hierarchy, coarse_labels, collapses, read_hierarchy
    from .making import (
        FROM_SCRATCH,
        Asked,
        Made,
        Opened,
        cached_folder,
        check,
        default_folder,
        made_lines,
        make,
        opened,
    )
    from .near_duplicates import near_images
    from .of_studies import SEED, known_in_cache, made_in_cache, variants
    from .source import opened_source
    from .subsets import Rule, Subset, subset_of, write_subset
    from .training import Pretrained, pretrain
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "FROM_SCRATCH",
    "SEED",
    "Asked",
    "Choices",
    "Hierarchy",
    "Made",
    "Opened",
    "Pretrained",
    "Rule",
    "Subset",
    "cached_folder",
    "check",
    "coarse_labels",
    "collapses",
    "default_folder",
    "known_in_cache",
    "made_in_cache",
    "made_lines",
    "make",
    "near_images",
    "opened",
    "opened_source",
    "pretrain",
    "read_hierarchy",
    "subset_of",
    "variants",
    "write_subset",
]
