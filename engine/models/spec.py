"""Which model: a ModelSpec names all that its features depend on."""

import dataclasses
from typing import Any

from ..errors import BadInput
from ..store import added, digest
from .factories import sources_digest
from .hub import FACTORY, HUB_NAMES, LOCAL, RANDOM

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)
LOGITS = "<logits>"  # a tap that stands for the module's whole output, as `with_logits` sets it
FEATURE_LAYER = 2  # of the rule in feature_layer.py; features of modules by another one are not these


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
    empty means the penultimate layer, LOGITS the output of the whole module. source_top1: accuracy on the source task,
    a fraction, and source_n the images that it was measured on, where known.
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
            if not self.tap:
                value["feature_layer"] = FEATURE_LAYER
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


def with_logits(spec: ModelSpec) -> ModelSpec:
    """The spec whose rows are the logits of its source classes in place of features; all else that runs it is alike."""
    return dataclasses.replace(spec, tap=LOGITS)
