"""What `featune export`, `verify` and `models` do, and what other commands need to turn a name into features."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .export_command import Product, checked_target, export, export_model, spec_of
    from .feature_requests import (
        SAMPLE,
        RunSettings,
        request_of_artefact,
        request_of_plan,
        request_of_spec,
        sample_images,
    )
    from .named_models import spec_of_model
    from .timm_models import model_cost, timm_models_like
    from .verify_command import verdict_lines, verify
    from .view_options import ViewOptions, entry_of, parsed_kwargs, parsed_numbers, refuse_options
else:
    from featune.engine.doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "SAMPLE",
    "Product",
    "RunSettings",
    "ViewOptions",
    "checked_target",
    "entry_of",
    "export",
    "export_model",
    "model_cost",
    "parsed_kwargs",
    "parsed_numbers",
    "refuse_options",
    "request_of_artefact",
    "request_of_plan",
    "request_of_spec",
    "sample_images",
    "spec_of",
    "spec_of_model",
    "timm_models_like",
    "verdict_lines",
    "verify",
]
