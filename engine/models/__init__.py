"""Models: their specs, the records of timm and the hub, weights, and torch modules."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .channels import with_channels
    from .factories import require_own, sources_digest
    from .feature_layer import CLOSE, classifier_layer, layer_output, timms_way
    from .from_entry import ViewOrigin, spec_and_origin, spec_from_entry, spec_from_string, stated_view
    from .from_module import is_in_memory, spec_from_module
    from .hub import HUB_NAMES, LOCAL, MODEL_FILE, RECIPE_FILE, is_finetuned, is_model_folder, label_names, weight_file
    from .modules import Normalise, classifier, feature_model, feature_width, fresh_classifier, source_model
    from .spec import LOGITS, ModelSpec, View, with_logits
    from .timm_configs import current_name, say_renamed, source_of_name
    from .weights import checkpoint_name, state_digest
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "CLOSE",
    "HUB_NAMES",
    "LOCAL",
    "LOGITS",
    "MODEL_FILE",
    "RECIPE_FILE",
    "ModelSpec",
    "Normalise",
    "View",
    "ViewOrigin",
    "checkpoint_name",
    "classifier",
    "classifier_layer",
    "current_name",
    "feature_model",
    "feature_width",
    "fresh_classifier",
    "is_finetuned",
    "is_in_memory",
    "is_model_folder",
    "label_names",
    "layer_output",
    "require_own",
    "say_renamed",
    "source_model",
    "source_of_name",
    "sources_digest",
    "spec_and_origin",
    "spec_from_entry",
    "spec_from_module",
    "spec_from_string",
    "state_digest",
    "stated_view",
    "timms_way",
    "weight_file",
    "with_channels",
    "with_logits",
]
