"""Which model (ModelSpec), and the torch modules that it stands for: uint8 images in, features or logits out."""

import dataclasses
import statistics
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from engine.configs import pretrained_config
from engine.errors import BadInput, Missing, first_line, nearest
from engine.factories import check_arguments, factory_of, resolved_factory, sources_digest
from engine.hub import HUB_NAMES, LOCAL, weights_now
from engine.store import added, digest, file_digest
from engine.weights import load_weights, state_digest

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
RANDOM, FACTORY, HUB = "random:", "factory:", "hub:"


@dataclasses.dataclass(frozen=True)
class View:
    """How an image file becomes the square that the model sees, by timm's rules.

    side: pixels. crop_pct: the square's share of the resized shorter side. EXIF orientation is not
    applied, as in timm and torchvision, so that published accuracies hold. channels: of the square; 3 are red,
    green and blue, other numbers are what the data declares (`Labelled.channels`). fill: grey level of each channel
    with which `border` pads, by timm's rule the model's mean; empty for the other crops, which do not pad.
    """

    side: int
    crop_pct: float = 0.875
    crop_mode: str = "center"
    interpolation: str = "bilinear"
    channels: int = added(3)
    fill: tuple[int, ...] = added(())

    def __post_init__(self) -> None:
        object.__setattr__(self, "fill", tuple(self.fill))  # a list where it comes from JSON


@dataclasses.dataclass(frozen=True)
class ModelSpec:
    """All that a model's features depend on.

    name: what the reports call it. architecture: a timm name, or `module:function` of a factory. mean, std: of each
    channel of the view. kwargs: keyword arguments of that constructor, as sorted pairs; `in_chans` among them fixes
    the channels. checkpoint: a local weight file.
    weights: SHA-256 of the checkpoint, `hub:<identifier>#<digest>` for timm's own weights (no digest where neither
    hub nor cache has them), `factory:<digest>` where the factory loads them itself, or `random:<seed>`.
    tap: for modules that are not timm's, the node whose output is the feature (mean over space);
    empty means the penultimate layer. source_top1: accuracy on the source task, a fraction, and source_n the
    images that it was measured on, where known.
    """

    name: str
    architecture: str
    view: View
    mean: tuple[float, ...]
    std: tuple[float, ...]
    weights: str
    kwargs: tuple[tuple[str, Any], ...] = ()
    checkpoint: str | None = None
    tap: str = ""
    family: str = ""
    source_top1: float | None = None
    source_n: int | None = None

    @property
    def digest(self) -> str:
        """Names what the features depend on: not the report's labels, nor where files lie."""
        value = {field.name: getattr(self, field.name) for field in dataclasses.fields(self)}
        for label in ("name", "family", "checkpoint", "source_top1", "source_n"):
            del value[label]
        if self.is_factory:
            value["architecture"] = (sources_digest(self.architecture), self.architecture.rpartition(":")[2])
        if self.architecture.startswith(LOCAL):
            value["architecture"] = LOCAL  # `weights` names the files
            value["weights"] = self.weights.rpartition("#")[2]
        return digest(value)

    @property
    def is_factory(self) -> bool:
        return ":" in self.architecture and not self.architecture.startswith(HUB_NAMES)

    def with_random_weights(self, seed: int) -> "ModelSpec":
        """The same architecture, drawn anew. Raises BadInput for a factory that loads its own weights."""
        if self.weights.startswith(FACTORY):
            raise BadInput(
                f"{self.name}: its factory loads the weights itself, so it has no untrained form; "
                "give a factory of the bare architecture and a `checkpoint`"
            )
        return dataclasses.replace(self, checkpoint=None, weights=f"{RANDOM}{seed}")

    def with_channels(self, channels: int) -> "ModelSpec":
        """The same model for images of so many channels, as timm makes it with `in_chans`.

        The first convolution's weights are timm's adaption of the pretrained ones: summed for one channel, else
        repeated in their order and scaled by 3 / channels. Every channel gets the average of the three means and
        standard deviations. Raises BadInput where `in_chans` of the entry says another number, or for a factory
        without that parameter.
        Source: timm.models._manipulate.adapt_input_conv, timm.data.loader.adapt_to_chs.
        """
        if channels == self.view.channels:
            return self
        if "in_chans" in dict(self.kwargs):
            raise BadInput(
                f"{self.name} has in_chans {self.view.channels}, images of {channels} channel(s) found; leave in_chans "
                "out of the model, or declare the images' channels with --in-chans or the task's in_chans"
            )
        mean = _of_channels(self.mean, channels)
        made = dataclasses.replace(
            self,
            view=dataclasses.replace(self.view, channels=channels, fill=_fill(self.view.crop_mode, mean)),
            mean=mean,
            std=_of_channels(self.std, channels),
            kwargs=tuple(sorted([*self.kwargs, ("in_chans", channels)])),
        )
        if made.is_factory:
            check_arguments(made.name, made.architecture, dict(made.kwargs))
            if made.weights.startswith(FACTORY):
                return dataclasses.replace(made, weights=_own_weights(made.digest, lambda: classifier(made)))
        return made


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
            fill=_fill(crop_mode, mean),
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


def classifier(spec: ModelSpec) -> nn.Module:
    """The model as it was trained, normalised float images [b, channels, side, side] to source logits, in eval mode."""
    seed = int(spec.weights.partition(":")[2]) if spec.weights.startswith(RANDOM) else 0
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)  # also where weights are loaded over these: a factory may leave some as drawn
        model = _constructed(spec)
    if spec.checkpoint is not None:
        if file_digest(spec.checkpoint) != spec.weights:
            raise BadInput(f"{spec.checkpoint} has changed since {spec.name} was resolved; start again")
        load_weights(model, Path(spec.checkpoint), spec.view.channels)
    elif spec.weights.startswith(HUB) and "#" in spec.weights:
        is_hub = spec.architecture.startswith(HUB_NAMES)
        config = {"hub": spec.architecture} if is_hub else pretrained_config(spec.architecture)
        if _hub_name(config, ask=False) != spec.weights:
            raise BadInput(
                f"the weights behind {spec.architecture} have changed since {spec.name} was resolved or exported; "
                "start again with the new ones"
            )
    return model.eval()


def body(spec: ModelSpec) -> nn.Module:
    """Normalised float images to the penultimate features [b, width].

    For timm models this is `forward_head(..., pre_logits=True)`, what `num_classes=0` gives.
    """
    model = classifier(spec)
    if spec.tap:
        return _Tapped(model, spec.tap)
    if hasattr(model, "reset_classifier") and hasattr(model, "forward_head"):
        model.reset_classifier(0)  # type: ignore[operator]
        return model
    return _without_last_linear(model, spec)


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


def feature_model(spec: ModelSpec) -> nn.Sequential:
    """uint8 images [b, channels, side, side] to float32 features [b, width], in eval mode."""
    return nn.Sequential(Normalise(spec.mean, spec.std), body(spec)).eval()


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
    except (AssertionError, RuntimeError, ValueError) as error:
        raise BadInput(
            f"the model refuses images of {side} x {side} and {channels} channels ({error}); set `side`, and "
            "`kwargs: {img_size: ...}` where the architecture fixes it, or `in_chans`"
        ) from error
    if not isinstance(rows, Tensor) or rows.ndim != 2:
        shape = tuple(rows.shape) if isinstance(rows, Tensor) else type(rows).__name__
        raise BadInput(f"the model's features are {shape}, expected [b, width]; name a layer with `tap`")
    return rows.shape[1]


class _Tapped(nn.Module):
    """One node's output, averaged over space, of a module that knows nothing of features."""

    def __init__(self, model: nn.Module, node: str):
        super().__init__()
        from torchvision.models.feature_extraction import create_feature_extractor, get_graph_node_names

        nodes = get_graph_node_names(model)[1]
        if not any(known == node or known.startswith(node + ".") for known in nodes):
            raise BadInput(f"the model has no node {node!r}{nearest(node, nodes)}; set `tap` to one of its layers")
        self.extractor = create_feature_extractor(model, {node: "rows"}).eval()

    def forward(self, images: Tensor) -> Tensor:
        rows = self.extractor(images)["rows"]
        return rows.mean((2, 3)) if rows.ndim == 4 else rows


def _without_last_linear(model: nn.Module, spec: ModelSpec) -> nn.Module:
    linear = [name for name, module in model.named_modules() if isinstance(module, nn.Linear)]
    if not linear:
        raise BadInput(f"{spec.name}: no linear classifier to cut off; name the feature layer with `tap`")
    parent, _, child = linear[-1].rpartition(".")
    setattr(model.get_submodule(parent), child, nn.Identity())
    return model


def _constructed(spec: ModelSpec) -> nn.Module:
    if spec.is_factory:
        check_arguments(spec.name, spec.architecture, dict(spec.kwargs))
        model = factory_of(spec.architecture)(**dict(spec.kwargs))
        if not isinstance(model, nn.Module):
            raise BadInput(f"{spec.architecture} returned {type(model).__name__}, expected a torch.nn.Module")
        return model
    import timm

    from_hub = spec.weights.startswith(HUB)
    try:
        # exportable: six families export only with plain attention, and both regimes shall run the same graph.
        return timm.create_model(spec.architecture, pretrained=from_hub, exportable=True, **dict(spec.kwargs))
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


def _weights_name(entry: Mapping[str, Any], checkpoint: Path | None, config: Mapping[str, Any]) -> str:
    if checkpoint is not None:
        return file_digest(checkpoint)
    if entry.get("pretrained", True) and config.get("hub"):
        return _hub_name(config)
    if entry.get("pretrained", True):
        raise BadInput(f"{entry['architecture']} has no published weights; give a `checkpoint` or `pretrained: false`")
    return f"{RANDOM}0"


def _hub_name(config: Mapping[str, Any], *, ask: bool = True) -> str:
    found = weights_now(config, ask=ask)
    return f"{HUB}{config['hub']}" + (f"#{found}" if found else "")


_OWN_WEIGHTS: dict[str, str] = {}  # names of those that factories load, by the digest of the spec that asked


def _own_weights(asked: str, build: Callable[[], nn.Module]) -> str:
    """A study asks once for each of its cells."""
    if asked not in _OWN_WEIGHTS:
        _OWN_WEIGHTS[asked] = f"{FACTORY}{state_digest(build())}"
    return _OWN_WEIGHTS[asked]


def _fill(crop_mode: str, mean: tuple[float, ...]) -> tuple[int, ...]:
    """Source: timm.data.transforms_factory.transforms_imagenet_eval."""
    return tuple(round(255 * value) for value in mean) if crop_mode == "border" else ()


def _statistics(given: Any, usual: Any, channels: int) -> tuple[float, ...]:
    """mean or std of an entry, one number for each channel; by default the pretrained model's."""
    if given is None:
        return _of_channels(tuple(float(value) for value in usual), channels)
    numbers = tuple(float(value) for value in given)
    if len(numbers) != channels:
        raise BadInput(f"mean and std need {channels} numbers, as many as in_chans, found {len(numbers)}")
    return numbers


def _of_channels(values: tuple[float, ...], channels: int) -> tuple[float, ...]:
    """The values, or as many of their average: which channel is which colour is not known."""
    return values if len(values) == channels else (statistics.fmean(values),) * channels
