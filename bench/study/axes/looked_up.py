"""Source accuracies of a model: looked up by timm's tag and image size, or as measured, so that nobody types them."""

import dataclasses
from collections.abc import Mapping, Sequence

from featune.engine.accuracies import (
    IMAGENET_IMAGES,
    near_sides,
    timm_accuracies,
    torchvision_accuracy,
    torchvision_facts,
)
from featune.engine.models import ModelSpec
from featune.export.commands import model_cost

# What `x` of a study file may say -> (column of timm's results, what the axis is called).
ACCURACIES = {
    "imagenet_top1": ("top1", "ImageNet"), "real": ("real", "ImageNet ReaL"), "v2": ("v2", "ImageNet V2"),
    "a": ("a", "ImageNet-A"), "r": ("r", "ImageNet-R"), "sketch": ("sketch", "ImageNet-Sketch"),
}  # fmt: skip
SIZES = ("parameters", "macs", "throughput")
AXES = (*ACCURACIES, *SIZES)
Own = Mapping[str, tuple[float, int]]  # column of timm's results -> a share that the user measured, and its images
NOTHING: Own = {}


def main_axis(asked: Sequence[str]) -> str:
    """The first that is an accuracy: the figures' x-axis."""
    return next((name for name in asked if name in ACCURACIES), "imagenet_top1")


def axis_title(asked: Sequence[str], source: str) -> str:
    """What the figures' x-axis is called; a `source` of the user's own stands."""
    name = main_axis(asked)
    return source if name == "imagenet_top1" or source != "ImageNet" else ACCURACIES[name][1]


def with_accuracy(spec: ModelSpec, asked: Sequence[str] = (), measured: Own = NOTHING) -> tuple[ModelSpec, str]:
    """The spec with the accuracy of the main axis, measured or published, and what is to be said of it, or nothing.

    A number that the file gives stands for ImageNet top-1, and a measured one goes before timm's. Only timm's own
    weights at a side that timm tested have one: the same weights score otherwise at another.
    """
    name = main_axis(asked)
    column, title = ACCURACIES[name]
    if name == "imagenet_top1" and spec.source_top1 is not None:
        return spec, ""
    spec = dataclasses.replace(spec, source_top1=None, source_n=None)
    if column in measured:
        share, images = measured[column]
        if not 0 < share < 1:
            return spec, f"{spec.name}: its measured {title} accuracy is {share:g}, which has no log odds"
        said = f"{spec.name}: {title} accuracy {share:.5g}, measured on {images:,} images"
        return dataclasses.replace(spec, source_top1=share, source_n=images), said
    if name == "imagenet_top1" and (weights := _torchvisions(spec)):
        return _of_torchvision(spec, *weights)
    if not _is_timms(spec):
        return spec, "" if name == "imagenet_top1" else f"{spec.name}: no published {title} accuracy is known"
    found = timm_accuracies().get((spec.architecture, spec.view.side), {}).get(column)
    if found is None:
        sides = near_sides(spec.architecture)
        at = f"; timm tested it at {', '.join(map(str, sides))}" if sides else ""
        return spec, f"{spec.name}: no {title} accuracy is published at {spec.view.side} pixels{at}"
    if not 0 < found < 1:  # of A some get none right: no log odds
        return spec, f"{spec.name}: its published {title} accuracy is {found:g}, which has no log odds"
    said = f"{spec.name}: {title} accuracy {found:.5g} at {spec.view.side} pixels, by timm's published results"
    return dataclasses.replace(spec, source_top1=found, source_n=IMAGENET_IMAGES[column]), said


def _of_torchvision(spec: ModelSpec, model: str, weights: str) -> tuple[ModelSpec, str]:
    found, (side, _) = torchvision_accuracy(model, weights), torchvision_facts(model, weights)
    if found is None or side != spec.view.side:
        at = f"; torchvision measured it at {side}" if found is not None else ""
        return spec, f"{spec.name}: no ImageNet accuracy is published at {spec.view.side} pixels{at}"
    said = f"{spec.name}: ImageNet accuracy {found:.5g} at {side} pixels, by torchvision's record"
    return dataclasses.replace(spec, source_top1=found, source_n=IMAGENET_IMAGES["top1"]), said


def _torchvisions(spec: ModelSpec) -> tuple[str, str] | None:
    """(model, weights) of a factory of torchvision that loads its own weights, changed by no other argument."""
    module, _, model = spec.architecture.rpartition(":")
    arguments = dict(spec.kwargs)
    weights = arguments.pop("weights", None)
    own = module == "torchvision.models" and spec.weights.startswith("factory:") and spec.checkpoint is None
    if not own or arguments or not isinstance(weights, str):
        return None
    return model, weights.rpartition(".")[2]


def facts_of(spec: ModelSpec, asked: Sequence[str] = (), measured: Own = NOTHING) -> dict[str, float]:
    """Other numbers of the model that transfer may follow, by name of the axis, those that are known.

    A measured accuracy goes before timm's.
    parameters: in 1e6, with the classifier; macs: 1e9 multiply-adds of one image, counted where they are asked for.
    """
    names = [name for name in asked if name in ACCURACIES and name != main_axis(asked)]
    own = {name: measured[column][0] for name in names if (column := ACCURACIES[name][0]) in measured}
    own = {name: share for name, share in own.items() if 0 < share < 1}
    if weights := _torchvisions(spec):
        _, parameters = torchvision_facts(*weights)
        return own if parameters is None else own | {"parameters": parameters}
    if not _is_timms(spec):
        return own
    row = timm_accuracies().get((spec.architecture, spec.view.side), {})
    found = {name: share for name in names if (share := row.get(ACCURACIES[name][0])) and 0 < share < 1}
    if parameters := row.get("million_parameters"):
        found["parameters"] = parameters
    if "macs" in asked or ("parameters" in asked and not parameters):
        found["parameters"], found["macs"] = model_cost(spec.architecture, spec.view.side)
    return found | own


def _is_timms(spec: ModelSpec) -> bool:
    """Whether the weights are timm's own, in an architecture that no argument changes but for its side."""
    own = spec.weights.startswith("hub:timm/") and spec.checkpoint is None
    return own and all(name == "img_size" for name, _ in spec.kwargs)
