"""What a verdict's numbers cannot show, since torch's side and the artefact share it: the tap, the view, the weights.

Two files that agree on the wrong layer, or on squares of the wrong size, agree. Each of the three is therefore judged
by something else where there is such a thing, and named as not judged where there is none.
"""

import dataclasses
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn

from featune.engine.models import (
    CLOSE,
    LOGITS,
    ModelSpec,
    classifier,
    classifier_layer,
    feature_model,
    layer_output,
    stated_view,
    timms_way,
)

LOOKED_AT = 8  # images
ESSENTIAL = ("side", "mean", "std")


@dataclasses.dataclass
class Scope:
    """What was judged beside the rows, and how; what was not, and why. reasons: what was found wrong."""

    judged: dict[str, str] = dataclasses.field(default_factory=dict)
    not_judged: dict[str, str] = dataclasses.field(default_factory=dict)
    reasons: list[str] = dataclasses.field(default_factory=list)


@torch.no_grad()
def scope_of(spec: ModelSpec, images: Tensor) -> Scope:
    """images: uint8 [n, channels, side, side], of which a few are looked at; the module runs on the CPU."""
    found = Scope()
    whole = classifier(spec)
    normalise, body = feature_model(spec)
    normalised = normalise(images[:LOOKED_AT].cpu())
    rows = body(normalised)
    if not torch.isfinite(rows).all():
        found.not_judged["tap"] = "the features are not finite"
    elif spec.tap == LOGITS:
        _judge_output(whole, normalised, rows, found)
    elif spec.tap:
        _judge_chosen(spec, whole, normalised, rows, found)
    else:
        _judge_usual(spec, whole, normalised, rows, found)
    _judge_view(spec, whole, found)
    found.not_judged["weights"] = f"taken {_whence(spec)}; whether they are the right ones is not known"
    return found


def _judge_output(whole: nn.Module, images: Tensor, rows: Tensor, found: Scope) -> None:
    if _near(whole(images), rows):
        found.judged["tap"] = "the whole module's output"
    else:
        found.reasons.append("tap: the rows are not the module's output of source classes; export the model again")


def _judge_chosen(spec: ModelSpec, whole: nn.Module, images: Tensor, rows: Tensor, found: Scope) -> None:
    """A tap against what its layer gives while the whole module runs, untraced."""
    own = layer_output(whole, spec, images)
    if own is None:
        found.not_judged["tap"] = f"{spec.tap} is no layer that runs once, so nothing else gives its output"
    elif _near(own, rows):
        found.judged["tap"] = f"{spec.tap} gives these features while the whole module runs"
    else:
        found.reasons.append(f"tap: {spec.tap} gives other values while the whole module runs; choose another tap")


def _judge_usual(spec: ModelSpec, whole: nn.Module, images: Tensor, rows: Tensor, found: Scope) -> None:
    """The penultimate features against the model's own output: its classifier must make the one of the other."""
    layer = classifier_layer(whole, spec)
    if not isinstance(layer, nn.Module) or isinstance(layer, nn.Identity):
        several = isinstance(layer, (tuple, list))
        found.not_judged["tap"] = "the model has several classifiers" if several else "the model has no classifier"
        return
    wanted = whole(images)
    try:
        made = layer(rows)
    except Exception:  # a classifier that takes no rows, such as one of maps, fails in whatever way
        made = None
    if _near(wanted, made):
        found.judged["tap"] = "through the model's own classifier the features give its output"
    elif spec.is_factory and not timms_way(whole):
        found.reasons.append(
            "tap: through the model's own classifier the features do not give its output; name the layer with `tap`"
        )
    else:  # some of timm's heads do more than one layer after `pre_logits`
        found.not_judged["tap"] = "timm's pre_logits; the classifier layer alone does not make the output of them"


def _judge_view(spec: ModelSpec, whole: nn.Module, found: Scope) -> None:
    said, source = stated_view(spec, whole)
    view = spec.view
    taken: dict[str, Any] = {
        "side": view.side, "mean": spec.mean, "std": spec.std, "crop_pct": view.crop_pct,
        "crop_mode": view.crop_mode, "interpolation": view.interpolation,
    }  # fmt: skip
    other = [
        f"{part} {_shown(taken[part])} taken, {_shown(said[part])} said" for part in said if _differ(part, taken, said)
    ]
    lacking = [part for part in ESSENTIAL if part not in said]
    if not said:
        found.not_judged["view"] = "nothing but whoever asked says which images the model takes"
    elif other:
        found.not_judged["view"] = f"it is not what {source} says: {'; '.join(other)}"
    elif lacking:
        found.not_judged["view"] = f"{source} does not say {', '.join(lacking)}"
    elif "its part" in source:
        found.not_judged["view"] = f"it is what {source} says; the model itself does not say"
    else:
        found.judged["view"] = f"it is what {source} says"


def _differ(part: str, taken: Mapping[str, Any], said: Mapping[str, Any]) -> bool:
    if part in ("mean", "std"):
        return not np.allclose(taken[part], said[part], atol=1e-6)
    return bool(taken[part] != said[part])


def _shown(value: Any) -> str:
    return " ".join(f"{each:g}" for each in value) if isinstance(value, tuple) else str(value)


def _whence(spec: ModelSpec) -> str:
    kind, _, name = spec.weights.partition(":")
    if kind == "random":
        return f"at random by the seed {name}"
    if kind == "factory":
        return "as the factory makes them"
    if kind == "hub":
        return f"as loaded from {name.partition('#')[0]}"
    file, _, entry = kind.partition("#")
    return f"from {entry + ' of ' if entry else ''}a file of SHA-256 {file[:12]}..."


def _near(wanted: Any, made: Any) -> bool:
    if not isinstance(wanted, Tensor) or not isinstance(made, Tensor) or wanted.shape != made.shape:
        return False
    return bool((wanted - made).abs().max() <= CLOSE * wanted.abs().max())
