"""A ModelSpec of a torch module that a program has at hand, as in a notebook."""

import copy
import functools
import sys
from collections.abc import Mapping
from types import ModuleType
from typing import Any

from torch import nn

from ..errors import BadInput
from .from_entry import spec_from_entry
from .modules import feature_model, feature_width
from .spec import ModelSpec
from .weights import state_digest

IN_MEMORY = "featune_in_memory"  # the module that holds the factories of this process's modules


def spec_from_module(module: nn.Module, view: Mapping[str, Any] | None = None, name: str = "") -> ModelSpec:
    """A spec that stands for a copy of the module, weights included, as long as this process lives.

    view: side, mean, std, crop_pct, crop_mode, interpolation, tap, in_chans, over what a timm model says of itself in
    `pretrained_cfg`. Raises BadInput where the module does not say its side and `view` does not either, and where its
    features are not [b, width].
    """
    said = {**_said_by(module), **{key: value for key, value in (view or {}).items() if value is not None}}
    if "side" not in said:
        raise BadInput(
            f"{type(module).__name__} does not say which images it takes; give view={{'side': 224, 'mean': ..., "
            "'std': ...}"
        )
    spec = spec_from_entry({"factory": _factory(module), "name": name or type(module).__name__, **said})
    feature_width(feature_model(spec), spec.view.side, spec.view.channels)
    return spec


def is_in_memory(spec: ModelSpec) -> bool:
    """Whether a spec is of `spec_from_module`, which no other process can build."""
    return spec.architecture.startswith(f"{IN_MEMORY}:")


def _said_by(module: nn.Module) -> dict[str, Any]:
    """What a timm model says of its images; nothing for other modules."""
    config = getattr(module, "pretrained_cfg", None)
    if not isinstance(config, Mapping) or not config.get("input_size"):
        return {}
    keys = ("mean", "std", "crop_pct", "crop_mode", "interpolation")
    return {"side": config["input_size"][-1], **{key: config[key] for key in keys if config.get(key) is not None}}


def _factory(module: nn.Module) -> str:
    """Keep a copy under its class and weights, and name the function that gives a copy of it."""
    held = sys.modules.setdefault(IN_MEMORY, ModuleType(IN_MEMORY))
    name = f"{type(module).__name__}_{state_digest(module)[:16]}"
    kept = copy.deepcopy(module).eval().cpu()
    setattr(held, name, functools.partial(copy.deepcopy, kept))
    return f"{IN_MEMORY}:{name}"
