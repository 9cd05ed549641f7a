"""The torch modules that a ModelSpec stands for: uint8 images in, features or logits out."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput, FeatuneError, Missing, first_line
from .factories import made_by_factory
from .feature_layer import REFUSALS, cut, refused, tapped
from .hub import HUB, HUB_NAMES, LOCAL, RANDOM, factory_config, hub_name, without_retries
from .spec import LOGITS, ModelSpec
from .timm_configs import pretrained_config
from .weights import (
    adapted_input,
    checkpoint_name,
    classes_of,
    load_weights,
    other_shapes,
    tell_of_classes,
    weights_in,
    with_classes,
)


def classifier(spec: ModelSpec, *, exportable: bool = False) -> nn.Module:
    """The model as it was trained, normalised float images [b, channels, side, side] to source logits, in eval mode.

    exportable: timm's layers as ONNX takes them, with attention in plain operations; the same function, slower.
    """
    model = _drawn(spec, exportable)
    if spec.checkpoint is not None:
        if checkpoint_name(spec.checkpoint) != spec.weights:
            raise BadInput(f"{spec.checkpoint} has changed since {spec.name} was resolved; start again")
        model = _of_file(spec, model, Path(spec.checkpoint), exportable)
    elif spec.weights.startswith(HUB) and "#" in spec.weights:
        is_hub = spec.architecture.startswith(HUB_NAMES)
        config = {"hub": spec.architecture} if is_hub else pretrained_config(spec.architecture)
        if hub_name(config, ask=False) != spec.weights:
            raise BadInput(
                f"the weights behind {spec.architecture} have changed since {spec.name} was resolved or exported; "
                "start again with the new ones"
            )
    return model.eval()


def _of_file(spec: ModelSpec, model: nn.Module, path: Path, exportable: bool) -> nn.Module:
    """The model with the weights of a file, all of them.

    A timm model gets the classifier that the file has, of other classes or none, unless `num_classes` is given; what
    lies on a grid of patches is resampled to the model's side by timm.
    """
    if spec.is_factory and (config := factory_config(path)):
        with_classes(model, config)
    state: Mapping[str, Tensor] = adapted_input(model, weights_in(path), spec.view.channels)
    classes: int | None = None
    if not spec.is_factory:
        classes = None if "num_classes" in dict(spec.kwargs) else classes_of(model, state)
        if classes is not None:
            spec = _with(spec, num_classes=classes)
            model = _drawn(spec, exportable)
        if (other := other_shapes(model, state)) and other <= _of_side(spec, model):
            state = _resampled(spec, model, state, other)
    load_weights(model, state, path)
    if classes is not None:
        tell_of_classes(path, classes)
    return model


def _of_side(spec: ModelSpec, model: nn.Module) -> set[str]:
    """The names of a timm model's weights whose shape follows from the side of its images."""
    try:
        other = _drawn(_with(spec, img_size=2 * spec.view.side), False)
    except (FeatuneError, RuntimeError, ValueError):  # it takes no side, or not this one
        return set()
    return other_shapes(model, other.state_dict())


def _resampled(spec: ModelSpec, model: nn.Module, state: Mapping[str, Tensor], names: set[str]) -> Mapping[str, Tensor]:
    """The weights of a file, those of these names as timm fits its own ones to a model of another side.

    All others stay as the file has them: timm leaves as drawn what it misses in a file of some families, and drops
    what is too many.
    """
    import timm

    view = spec.view
    given = {
        "state_dict": dict(state), "source": None, "custom_load": False, "label_offset": 0,
        "num_classes": model.num_classes, "input_size": (view.channels, view.side, view.side),
    }  # fmt: skip
    try:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)
            made = timm.create_model(
                spec.architecture, pretrained=True, pretrained_cfg_overlay=given, **dict(spec.kwargs)
            )
    except Exception:  # each family has a way of its own to fit them; where it cannot, the shapes are refused
        return state
    fitted: dict[str, Tensor] = made.state_dict()
    return {**state, **{name: fitted[name] for name in names}}


def _with(spec: ModelSpec, **more: Any) -> ModelSpec:
    return dataclasses.replace(spec, kwargs=tuple(sorted({**dict(spec.kwargs), **more}.items())))


def body(spec: ModelSpec, *, exportable: bool = False) -> nn.Module:
    """Normalised float images to the penultimate features [b, width].

    For timm models this is `forward_head(..., pre_logits=True)`, what `num_classes=0` gives. A tap of LOGITS leaves the
    module whole. Raises BadInput where that has no classes.
    """
    model = classifier(spec, exportable=exportable)
    if spec.tap == LOGITS:
        if getattr(model, "num_classes", None) == 0:
            raise BadInput(f"{spec.name} has no classifier, so no logits; choose a model that has one")
        return model
    return tapped(model, spec) if spec.tap else cut(model, spec)


class Normalise(nn.Module):
    """uint8 images to the model's floats: scale to [0, 1], less the mean, over the standard deviation."""

    scale: Tensor
    shift: Tensor

    def __init__(self, mean: tuple[float, ...], std: tuple[float, ...]):
        super().__init__()
        deviation = torch.tensor(std, dtype=torch.float64)
        scale = (1 / (255 * deviation)).float().view(1, -1, 1, 1)
        shift = (-torch.tensor(mean, dtype=torch.float64) / deviation).float().view(1, -1, 1, 1)
        self.register_buffer("scale", scale, persistent=False)
        self.register_buffer("shift", shift, persistent=False)

    def forward(self, images: Tensor) -> Tensor:
        if images.shape[1] != self.scale.shape[1]:  # one channel would be spread over all of them
            raise BadInput(f"the model takes images of {self.scale.shape[1]} channels, found {images.shape[1]}")
        return images.float() * self.scale + self.shift


def feature_model(spec: ModelSpec, *, exportable: bool = False) -> nn.Sequential:
    """uint8 images [b, channels, side, side] to float32 features [b, width], in eval mode. exportable: as above."""
    return nn.Sequential(Normalise(spec.mean, spec.std), body(spec, exportable=exportable)).eval()


def source_model(spec: ModelSpec) -> nn.Module:
    """uint8 images [b, channels, side, side] to the logits of the source task, in eval mode."""
    return nn.Sequential(Normalise(spec.mean, spec.std), classifier(spec)).eval()


def fresh_classifier(spec: ModelSpec, classes: int, seed: int) -> nn.Module:
    """uint8 images to logits [b, classes]: the features with a new linear head, drawn from the seed.

    The head starts at zero weights and bias, so the first steps do not disturb the body by chance.
    """
    features = feature_model(spec)
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        head = nn.Linear(feature_width(features, spec.view.side, spec.view.channels), classes)
    nn.init.zeros_(head.weight)
    nn.init.zeros_(head.bias)
    return nn.Sequential(*features, head)


@torch.inference_mode()
def feature_width(features: nn.Module, side: int, channels: int = 3) -> int:
    """Columns of the feature rows. Raises BadInput where the module does not give [b, width]."""
    device = next((p.device for p in features.parameters()), torch.device("cpu"))
    try:
        rows = features.eval()(torch.zeros(1, channels, side, side, dtype=torch.uint8, device=device))
    except REFUSALS as error:
        raise refused(features, error, side, channels) from error
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise BadInput(f"the model's features are {shape}, expected [b, width]; name a layer with `tap`")
    return rows.shape[1]


def _drawn(spec: ModelSpec, exportable: bool) -> nn.Module:
    seed = int(spec.weights.partition(":")[2]) if spec.weights.startswith(RANDOM) else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # also where weights are loaded over these: a factory may leave some as drawn
        return _constructed(spec, exportable)


def _constructed(spec: ModelSpec, exportable: bool) -> nn.Module:
    if spec.is_factory:
        return made_by_factory(spec.name, spec.architecture, dict(spec.kwargs))
    import timm

    from_hub = spec.weights.startswith(HUB)
    try:
        # Six families export only with plain attention; what runs or is trained in torch has the fused one.
        with without_retries():
            return timm.create_model(spec.architecture, pretrained=from_hub, exportable=exportable, **dict(spec.kwargs))
    except (TypeError, AssertionError) as error:
        raise BadInput(f"{spec.name}: timm refuses these arguments ({first_line(error)}); check `kwargs`") from error
    except Exception as error:  # the hub's client, pickle and safetensors each raise their own
        if not from_hub:
            raise
        if spec.architecture.startswith(LOCAL):
            raise BadInput(
                f"{spec.architecture}: timm cannot load this folder ({type(error).__name__}: {first_line(error)}); "
                "write it again with timm.models.save_for_hf, and check `kwargs`"
            ) from error
        raise Missing(
            f"the weights of {spec.architecture} could not be fetched ({type(error).__name__}: {first_line(error)}); "
            "connect to the model hub once, or give a local `checkpoint`"
        ) from error
