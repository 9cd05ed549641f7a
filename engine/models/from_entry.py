"""A ModelSpec from a name or from a study file's entry."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from ..errors import BadInput
from ..store import file_digest
from .channels import border_fill, one_for_each_channel
from .factories import resolved_factory
from .hub import FACTORY, RANDOM, hub_name
from .modules import classifier
from .spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, View
from .timm_configs import pretrained_config
from .weights import state_digest

# Arguments of timm.create_model that say which weights to load and where to keep them.
LOADING = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}


def spec_from_entry(entry: Mapping[str, Any], folder: Path = Path()) -> ModelSpec:
    """A spec from a study file's entry, or from `{"architecture": "resnet18"}` alone.

    Keys: architecture or factory; name, checkpoint, kwargs, side, in_chans, mean, std, crop_pct, crop_mode,
    interpolation, tap, family, source_top1, source_n, pretrained (true). in_chans becomes one of the kwargs.
    Relative paths are seen from `folder`.
    Raises BadInput for an unknown architecture (nearest names) or a missing file.
    """
    factory = entry.get("factory")
    architecture = resolved_factory(factory, folder) if factory else str(entry["architecture"])
    config = {} if factory else pretrained_config(architecture)
    kwargs = dict(entry.get("kwargs") or {})
    if not factory and (loading := sorted(LOADING & kwargs.keys())):
        raise BadInput(
            f"kwargs: {', '.join(loading)} found, which would load or write files behind the model's name; expected "
            "the architecture's own arguments, and weights as `checkpoint`"
        )
    if entry.get("in_chans"):
        kwargs["in_chans"] = entry["in_chans"]
    checkpoint = (folder / entry["checkpoint"]) if entry.get("checkpoint") else None
    if checkpoint is not None and not checkpoint.is_file():
        raise BadInput(f"{checkpoint}: no such weight file; give `checkpoint` as a path seen from {folder.resolve()}")
    size = config.get("input_size", (3, 224, 224))
    side, channels = entry.get("side") or kwargs.get("img_size") or size[-1], int(kwargs.get("in_chans") or size[0])
    mean = _statistics(entry.get("mean"), config.get("mean") or IMAGENET_MEAN, channels)
    crop_mode = str(entry.get("crop_mode") or config.get("crop_mode") or "center")
    spec = ModelSpec(
        name=str(entry.get("name") or config.get("resolved_name") or architecture),
        architecture=config.get("resolved_name", architecture),
        view=View(
            side=int(side),
            crop_pct=float(entry.get("crop_pct") or config.get("crop_pct") or 0.875),
            crop_mode=crop_mode,
            interpolation=str(entry.get("interpolation") or config.get("interpolation") or "bicubic"),
            channels=channels,
            fill=border_fill(crop_mode, mean),
        ),
        mean=mean,
        std=_statistics(entry.get("std"), config.get("std") or IMAGENET_STD, channels),
        weights=FACTORY if factory and checkpoint is None else _weights_name(entry, checkpoint, config),
        kwargs=tuple(sorted(kwargs.items())),
        checkpoint=str(checkpoint.resolve()) if checkpoint else None,
        tap=str(entry.get("tap") or ""),
        family=str(entry.get("family") or config.get("family") or "other"),
        source_top1=entry.get("source_top1"),
        source_n=entry.get("source_n"),
    )
    if spec.is_factory and checkpoint is None:
        return dataclasses.replace(spec, weights=f"{FACTORY}{state_digest(classifier(spec))}")
    return spec


def spec_from_string(name: str) -> ModelSpec:
    """A spec from a timm name (`resnet50.a1_in1k`), `hf-hub:owner/name` or `local-dir:path`."""
    return spec_from_entry({"architecture": name})


def _weights_name(entry: Mapping[str, Any], checkpoint: Path | None, config: Mapping[str, Any]) -> str:
    if checkpoint is not None:
        return file_digest(checkpoint)
    if entry.get("pretrained", True) and config.get("hub"):
        return hub_name(config)
    if entry.get("pretrained", True):
        raise BadInput(f"{entry['architecture']} has no published weights; give a `checkpoint` or `pretrained: false`")
    return f"{RANDOM}0"


def _statistics(given: Any, usual: Any, channels: int) -> tuple[float, ...]:
    """mean or std of an entry, one number for each channel; by default the pretrained model's."""
    if given is None:
        return one_for_each_channel(tuple(float(value) for value in usual), channels)
    numbers = tuple(float(value) for value in given)
    if len(numbers) != channels:
        raise BadInput(f"mean and std need {channels} numbers, as many as in_chans, found {len(numbers)}")
    return numbers
