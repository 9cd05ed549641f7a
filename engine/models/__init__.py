"""Which model: its spec, what timm and the hub know of it, its weights, and the torch modules made of them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channels import with_channels
    from .factories import require_own, sources_digest
    from .from_entry import spec_from_entry, spec_from_string
    from .from_module import is_in_memory, spec_from_module
    from .hub import HUB_NAMES, LOCAL
    from .modules import Normalise, classifier, feature_model, feature_width, fresh_classifier, source_model
    from .spec import ModelSpec, View
    from .weights import state_digest
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "HUB_NAMES",
    "LOCAL",
    "ModelSpec",
    "Normalise",
    "View",
    "classifier",
    "feature_model",
    "feature_width",
    "fresh_classifier",
    "is_in_memory",
    "require_own",
    "source_model",
    "sources_digest",
    "spec_from_entry",
    "spec_from_module",
    "spec_from_string",
    "state_digest",
    "with_channels",
]
