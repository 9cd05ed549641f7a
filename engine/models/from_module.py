"""A ModelSpec of a torch module that a program has at hand, as in a notebook."""

import copy
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import BadInput
from .from_entry import spec_and_origin
from .modules import feature_model, feature_width
from .spec import ModelSpec
from .timm_configs import config_of_module
from .weights import state_digest

IN_MEMORY = "featune_in_memory"  # the module that holds the factories of this process's modules


def spec_from_module(module: nn.Module, view: Mapping[str, Any] | None = None, name: str = "") -> ModelSpec:
    """A spec that stands for a copy of the module, weights included, as long as this process lives.

    view: side, mean, std, crop_pct, crop_mode, interpolation, tap, in_chans, over what a timm model says of itself in
    `pretrained_cfg`. Raises BadInput where the module does not say its side and `view` does not either, and where its
    features are not [b, width].
    """
    said = {key: value for key, value in (view or {}).items() if value is not None}
    if not said.get("side") and "input_size" not in config_of_module(module)[0]:
        raise BadInput(
            f"{type(module).__name__} does not say which images it takes; give view={{'side': 224, 'mean': ..., "
            "'std': ...}"
        )
    entry = {"factory": _factory(module), "name": name or type(module).__name__, **said}
    spec, origin = spec_and_origin(entry)
    origin.tell()
    feature_width(feature_model(spec), spec.view.side, spec.view.channels)
    return spec


def is_in_memory(spec: ModelSpec) -> bool:
    """Whether a spec is of `spec_from_module`, which no other process can build."""
    return spec.architecture.startswith(f"{IN_MEMORY}:")


def _factory(module: nn.Module) -> str:
    """Keep a copy under its class and weights, and name the function that gives a copy of it."""
    held = sys.modules.setdefault(IN_MEMORY, ModuleType(IN_MEMORY))
    name = f"{type(module).__name__}_{state_digest(module)[:16]}"
    kept = copy.deepcopy(module).eval().cpu()

    def copied(in_chans: int = 0) -> nn.Module:  # of as many channels as it has
        return copy.deepcopy(kept)

    setattr(held, name, copied)
    return f"{IN_MEMORY}:{name}"
