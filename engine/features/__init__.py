"""Feature extraction: one pass over the images for many models, its batch size, its store, what limited its speed."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .bottleneck import Verdict
    from .decoder_processes import check_decode_in
    from .extraction import Features, Options, check_on_error, extract
    from .files import SUFFIXES, Part, Stored, is_complete, open_stored, remove
    from .merging import index_range, merge
    from .requests import FeatureKey, FeatureRequest, views_key
    from .store import FeatureStore
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "SUFFIXES",
    "FeatureKey",
    "FeatureRequest",
    "FeatureStore",
    "Features",
    "Options",
    "Part",
    "Stored",
    "Verdict",
    "check_decode_in",
    "check_on_error",
    "extract",
    "index_range",
    "is_complete",
    "merge",
    "open_stored",
    "remove",
    "views_key",
]
