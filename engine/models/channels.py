"""A model for images of another number of channels, and the names of weights that a factory loads itself."""

import dataclasses
import statistics
from collections.abc import Callable

from torch import nn

from ..errors import BadInput
from .factories import check_arguments
from .hub import FACTORY
from .modules import classifier
from .spec import ModelSpec
from .weights import state_digest

_OWN_WEIGHTS: dict[str, str] = {}  # names of those that factories load, by the digest of the spec that asked


def _own_weights(asked: str, build: Callable[[], nn.Module]) -> str:
    """A study asks once for each of its cells."""
    if asked not in _OWN_WEIGHTS:
        _OWN_WEIGHTS[asked] = f"{FACTORY}{state_digest(build())}"
    return _OWN_WEIGHTS[asked]


def border_fill(crop_mode: str, mean: tuple[float, ...]) -> tuple[int, ...]:
    """Source: timm.data.transforms_factory.transforms_imagenet_eval."""
    return tuple(round(255 * value) for value in mean) if crop_mode == "border" else ()


def one_for_each_channel(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The values, or as many of their average: which channel is which colour is not known."""
    return values if len(values) == channels else (statistics.fmean(values),) * channels


def with_channels(spec: ModelSpec, channels: int) -> ModelSpec:
    """The same model for images of so many channels, as timm makes it with `in_chans`.

    The first convolution's weights are timm's adaption of the pretrained ones: summed for one channel, else
    repeated in their order and scaled by 3 / channels. Every channel gets the average of the three means and
    standard deviations. Raises BadInput where `in_chans` of the entry says another number, or for a factory
    without that parameter.
    Source: timm.models._manipulate.adapt_input_conv, timm.data.loader.adapt_to_chs.
    """
    if channels == spec.view.channels:
        return spec
    if "in_chans" in dict(spec.kwargs):
        raise BadInput(
            f"{spec.name} has in_chans {spec.view.channels}, images of {channels} channel(s) found; leave in_chans "
            "out of the model, or declare the images' channels with --in-chans or the task's in_chans"
        )
    mean = one_for_each_channel(spec.mean, channels)
    made = dataclasses.replace(
        spec,
        view=dataclasses.replace(spec.view, channels=channels, fill=border_fill(spec.view.crop_mode, mean)),
        mean=mean,
        std=one_for_each_channel(spec.std, channels),
        kwargs=tuple(sorted([*spec.kwargs, ("in_chans", channels)])),
    )
    if made.is_factory:
        check_arguments(made.name, made.architecture, dict(made.kwargs))
        if made.weights.startswith(FACTORY):
            return dataclasses.replace(made, weights=_own_weights(made.digest, lambda: classifier(made)))
    return made
