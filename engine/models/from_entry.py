"""A ModelSpec from a name or from a study file's entry."""

import dataclasses
import logging
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadInput, nearest
from ..paths import is_below
from .channels import border_fill, one_for_each_channel
from .factories import made_by_factory, require_own, resolved_factory
from .hub import FACTORY, LOCAL, MODEL_FILE, RANDOM, factory_config, hub_name, weight_file
from .spec import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, View
from .timm_configs import config_of_module, pretrained_config
from .weights import checkpoint_name, state_digest

log = logging.getLogger("featune")
CROPS = ("center", "squash", "border")
INTERPOLATIONS = ("nearest", "bilinear", "bicubic", "lanczos", "box", "hamming")
# What an entry calls the parts of a view, and what a record does.
RECORDED = {
    "side": "input_size", "mean": "mean", "std": "std", "crop_pct": "crop_pct", "crop_mode": "crop_mode",
    "interpolation": "interpolation",
}  # fmt: skip
ESSENTIAL = ("side", "mean", "std")  # a wrong one makes other features of every image


@dataclasses.dataclass(frozen=True)
class ViewOrigin:
    """Which view was taken, and where each of its parts is from.

    source: who says the parts that are `stated`, such as "the model's pretrained_cfg". given: by the user. assumed:
    nobody says them.
    """

    taken: str
    source: str
    stated: tuple[str, ...]
    given: tuple[str, ...]
    assumed: tuple[str, ...]

    @property
    def is_assumed(self) -> bool:
        """Whether a part that matters for every image was assumed."""
        return bool(set(ESSENTIAL) & set(self.assumed))

    def line(self) -> str:
        """For people: `view: 128 px, mean 0.5, ... (from the model's pretrained_cfg)`."""
        if set(ESSENTIAL) <= set(self.assumed):
            return f"view: assumed: {self.taken}; the model does not say; {REMEDY}"
        parts = [f"from {self.source}"] if self.stated else []
        parts += [f"given: {', '.join(self.given)}"] if self.given else []
        if self.is_assumed:
            parts.append(f"assumed, since the model does not say: {', '.join(self.assumed)}; {REMEDY}")
        return f"view: {self.taken} ({'; '.join(parts)})"

    def tell(self, say: Callable[[str], None] = log.info) -> None:
        """Say the line; an assumption is a warning."""
        (log.warning if self.is_assumed else say)(self.line())


REMEDY = "give --img-size, --mean and --std (side, mean, std) where it is another"

# Arguments of timm.create_model that say which weights to load and where to keep them.
LOADING = {"cache_dir", "checkpoint_path", "pretrained", "pretrained_cfg", "pretrained_cfg_overlay"}


def spec_from_entry(entry: Mapping[str, Any], folder: Path = Path()) -> ModelSpec:
    """A spec from a study file's entry, or from `{"architecture": "resnet18"}` alone.

    Keys: architecture or factory; name, checkpoint, kwargs, side, in_chans, mean, std, crop_pct, crop_mode,
    interpolation, tap, family, source_top1, source_n, pretrained (true). in_chans becomes one of the kwargs.
    What is not given of the view is timm's record, or what a factory's model says in its `pretrained_cfg`.
    Relative paths are seen from `folder`.
    Raises BadInput for an unknown architecture (nearest names) or a missing file.
    """
    return spec_and_origin(entry, folder)[0]


def spec_and_origin(entry: Mapping[str, Any], folder: Path = Path()) -> tuple[ModelSpec, ViewOrigin]:
    """As `spec_from_entry`, with where the view is from."""
    entry = _of_tuned_factory(entry)
    factory = entry.get("factory")
    architecture = resolved_factory(factory, folder) if factory else str(entry["architecture"])
    kwargs = dict(entry.get("kwargs") or {})
    if not factory and (loading := sorted(LOADING & kwargs.keys())):
        raise BadInput(
            f"kwargs: {', '.join(loading)} found, which would load or write files behind the model's name; expected "
            "the architecture's own arguments, and weights as `checkpoint`"
        )
    if entry.get("in_chans"):
        kwargs["in_chans"] = entry["in_chans"]
    checkpoint = weight_file(folder / entry["checkpoint"]) if entry.get("checkpoint") else None
    if checkpoint is not None and not checkpoint.is_file():
        found = "a folder without a weight file" if checkpoint.is_dir() else "no such weight file"
        raise BadInput(f"{checkpoint}: {found}; give `checkpoint` as a path seen from {folder.resolve()}")
    if factory:
        with torch.random.fork_rng(devices=[]):
            torch.manual_seed(0)  # as `classifier` does
            model = made_by_factory(str(entry.get("name") or architecture), architecture, kwargs)
        config, source = config_of_module(model)
        weights = FACTORY + state_digest(model) if checkpoint is None else checkpoint_name(checkpoint)
    else:
        config = pretrained_config(architecture)
        source = f"timm's record of {config.get('resolved_name', architecture)}"
        weights = _weights_name(entry, checkpoint, config)
    size = config.get("input_size", (3, 224, 224))
    side = _side(entry, kwargs, size[-1])
    channels = _whole("in_chans", kwargs.get("in_chans")) or int(size[0])
    mean = _statistics("mean", entry.get("mean"), config.get("mean") or IMAGENET_MEAN, channels)
    crop_mode = _one_of("crop_mode", entry, CROPS) or str(config.get("crop_mode") or "center")
    interpolation = _one_of("interpolation", entry, INTERPOLATIONS)
    spec = ModelSpec(
        name=str(entry.get("name") or config.get("resolved_name") or architecture),
        architecture=config.get("resolved_name", architecture),
        view=View(
            side=side,
            crop_pct=_share(entry.get("crop_pct")) or float(config.get("crop_pct") or 0.875),
            crop_mode=crop_mode,
            interpolation=interpolation or str(config.get("interpolation") or "bicubic"),
            channels=channels,
            fill=border_fill(crop_mode, mean),
        ),
        mean=mean,
        std=_statistics("std", entry.get("std"), config.get("std") or IMAGENET_STD, channels),
        weights=weights,
        kwargs=tuple(sorted(kwargs.items())),
        checkpoint=str(checkpoint.resolve()) if checkpoint else None,
        tap=str(entry.get("tap") or ""),
        family=str(entry.get("family") or config.get("family") or "other"),
        source_top1=entry.get("source_top1"),
        source_n=entry.get("source_n"),
    )
    by_user = {**entry, "side": entry.get("side") or kwargs.get("img_size")}
    given = tuple(part for part in RECORDED if by_user.get(part) is not None)
    stated = tuple(part for part, name in RECORDED.items() if part not in given and config.get(name) is not None)
    assumed = tuple(part for part in RECORDED if part not in given + stated)
    return spec, ViewOrigin(view_words(spec), source, stated, given, assumed)


def _of_tuned_factory(entry: Mapping[str, Any]) -> Mapping[str, Any]:
    """The entry of a folder that `featune finetune` left of a factory's model; any other as it is.

    Its config.json names code, and whoever wrote the folder chose the name: only code of the user's own is run.
    """
    name = str(entry.get("architecture") or "")
    folder = Path(name.removeprefix(LOCAL)).resolve()
    if not name.startswith(LOCAL) or not (config := factory_config(folder / MODEL_FILE)):
        return entry
    factory = str(config["factory"])
    code = factory.rpartition(":")[0]
    if code.endswith(".py") and is_below(Path(code), [folder]):
        raise BadInput(
            f"{folder}: it names code of its own, {code}; look at it, and keep it outside the model's folder"
        )
    require_own(factory, [Path.cwd()], f"start the command in the folder that holds {code or factory}")
    parts = {part: config[part] for part in RECORDED if config.get(part) is not None}
    rest = {key: value for key, value in entry.items() if key != "architecture" and value is not None}
    weights = {"checkpoint": str(folder / MODEL_FILE)} if entry.get("pretrained", True) else {}
    kwargs = {**(config.get("kwargs") or {}), **(entry.get("kwargs") or {})}
    return {**parts, "name": name, **weights, **rest, "factory": factory, "kwargs": kwargs}


def view_words(spec: ModelSpec) -> str:
    """Side, mean, std and crop of a spec, in a line."""
    usual = spec.mean == IMAGENET_MEAN and spec.std == IMAGENET_STD
    numbers = "ImageNet's mean and std" if usual else f"mean {_numbers(spec.mean)}, std {_numbers(spec.std)}"
    view = spec.view
    return f"{view.side} px, {numbers}, crop {view.crop_pct:g} {view.crop_mode}, {view.interpolation}"


def stated_view(spec: ModelSpec, model: nn.Module) -> tuple[dict[str, Any], str]:
    """The parts of the view that something other than the spec says, and what says them; empty where nothing does.

    model: `classifier(spec)`, asked where the spec is a factory's.
    """
    if spec.is_factory:
        config, source = config_of_module(model)
    else:
        config, source = pretrained_config(spec.architecture), f"timm's record of {spec.architecture}"
    channels, found = spec.view.channels, {}
    for part, name in RECORDED.items():
        value = config.get(name)
        if value is not None and part in ("mean", "std"):
            found[part] = one_for_each_channel(tuple(map(float, value)), channels)
        elif value is not None:
            found[part] = value[-1] if part == "side" else value
    return found, source


def spec_from_string(name: str) -> ModelSpec:
    """A spec from a timm name (`resnet50.a1_in1k`), `hf-hub:owner/name` or `local-dir:path`."""
    return spec_from_entry({"architecture": name})


def _weights_name(entry: Mapping[str, Any], checkpoint: Path | None, config: Mapping[str, Any]) -> str:
    if checkpoint is not None:
        return checkpoint_name(checkpoint)
    if entry.get("pretrained", True) and config.get("hub"):
        return hub_name(config)
    if entry.get("pretrained", True):
        raise BadInput(f"{entry['architecture']} has no published weights; give a `checkpoint` or `pretrained: false`")
    return f"{RANDOM}0"


def _side(entry: Mapping[str, Any], kwargs: Mapping[str, Any], usual: int) -> int:
    """Pixels: of the entry, or of the constructor's `img_size`, which may be two equal numbers."""
    given = kwargs.get("img_size")
    if isinstance(given, (list, tuple)) and given and len(set(given)) == 1:
        given = given[0]
    return _whole("side (--img-size)", entry.get("side")) or _whole("img_size", given) or int(usual)


def _whole(name: str, value: Any) -> int | None:
    if value is not None and (isinstance(value, bool) or not isinstance(value, int) or value < 1):
        raise BadInput(f"{name}: expected one whole number, for views are squares, found {value!r}; give one number")
    return value


def _one_of(part: str, entry: Mapping[str, Any], known: Sequence[str]) -> str:
    given = entry.get(part)
    if given is not None and given not in known:
        option = f"--{part.replace('_', '-')}"
        raise BadInput(f"{part} ({option}) {given!r} found{nearest(str(given), known)}; one of {', '.join(known)}")
    return str(given or "")


def _share(given: float | None) -> float | None:
    if given is not None and not 0 < given <= 1:
        raise BadInput(f"crop_pct (--crop-pct) {given} found; a share above 0 and at most 1 expected, such as 0.95")
    return given


def _numbers(values: tuple[float, ...]) -> str:
    return " ".join(f"{value:g}" for value in (values[:1] if len(set(values)) == 1 else values))


def _statistics(part: str, given: Any, usual: Any, channels: int) -> tuple[float, ...]:
    """mean or std of an entry, one number for each channel, or one for all; by default the pretrained model's."""
    if given is None:
        return one_for_each_channel(tuple(float(value) for value in usual), channels)
    numbers = tuple(float(value) for value in ([given] if isinstance(given, (int, float)) else given))
    numbers = numbers * channels if len(numbers) == 1 else numbers
    if len(numbers) != channels:
        raise BadInput(f"mean and std need {channels} numbers, as many as in_chans, found {len(numbers)}")
    wanted = "from 0 to 1" if part == "mean" else "above 0 and up to 1"
    if not all(0 <= each <= 1 and (part == "mean" or each > 0) for each in numbers):
        raise BadInput(
            f"{part} {_numbers(numbers)} found; numbers {wanted} expected, of images between 0 and 1; divide by 255 "
            "what is of images between 0 and 255"
        )
    return numbers
