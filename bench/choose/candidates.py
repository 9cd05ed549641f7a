"""Which models are tried: the default list with its reasons, or what the user names; only those whose weights are here.

A list of a dozen from tiny to base. Each has pinned weights under Apache 2.0, so that they may be used commercially
and the list means the same tomorrow.
"""

import dataclasses
from collections.abc import Callable, Sequence
from pathlib import Path

from featune.engine.accuracies import timm_accuracies
from featune.engine.errors import BadInput, FeatuneError, Missing, first_line
from featune.engine.models import ModelSpec
from featune.export.commands import spec_of_model, timm_models_like

from ..study import check_model

# Smallest first: what a short budget gets to. Published top-1 and sizes: timm's results, `featune models NAME`.
DEFAULTS = {
    "mobilenetv4_conv_small.e2400_r224_in1k": "the fastest of the list on most processors, 3.8 M parameters",
    "efficientnet_b0.ra4_e3600_r224_in1k": "the usual small network, with a recent recipe",
    "tiny_vit_5m_224.dist_in22k_ft_in1k": "the most accurate on ImageNet of about 5 M parameters",
    "convnext_nano.in12k_ft_in1k": "a plain convolutional network, pre-trained on 12,000 classes",
    "resnet50.a1_in1k": "what others compare with",
    "tiny_vit_21m_224.dist_in22k_ft_in1k": "the most accurate on ImageNet of about 20 M parameters",
    "vit_small_patch16_224.dino": "pre-trained without labels: for classes that are unlike ImageNet's",
    "caformer_s18.sail_in22k_ft_in1k": "convolution below, attention above; pre-trained on 22,000 classes",
    "convnext_tiny.in12k_ft_in1k": "as convnext_nano, 29 M parameters: fine-tunes well",
    "vit_base_patch16_siglip_224.webli": "pre-trained on images with their texts: strong frozen features",
    "vit_base_patch16_clip_224.openai_ft_in12k_in1k": "CLIP's, then trained on 12,000 classes",
    "convnext_base.clip_laion2b_augreg_ft_in12k_in1k": "the most accurate on ImageNet of the list, 89 M parameters",
}
WEIGHTS = (".pth", ".pt", ".safetensors", ".bin")
REMEDY = (
    "connect to the model hub once, name models that are in its cache, local weights (NAME=FILE) or a "
    "file.py:function, or give --untrained to try the command on random weights"
)


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A model to be tried. reason: why it is in the list. top1: published on ImageNet at its side, a fraction."""

    spec: ModelSpec
    reason: str = ""
    top1: float | None = None
    million_parameters: float | None = None
    licence: str = ""

    @property
    def name(self) -> str:
        return self.spec.name


def backbones(
    names: Sequence[str], untrained: bool = False, say: Callable[[str], None] = lambda text: None
) -> tuple[list[Backbone], dict[str, str]]:
    """(the models to try, {name: why not} of the others). names: none for the default list.

    A name is a timm name, a pattern of such with * or ?, hf-hub:owner/name, file.py:function, a fine-tuned folder,
    or NAME=FILE for a local weight file. Raises BadInput for a name that is none, Missing where no weights are here.
    """
    wanted = dict(DEFAULTS) if not names else {each: "" for name in names for each in _named(name)}
    found: list[Backbone] = []
    absent: dict[str, str] = {}
    for name, reason in wanted.items():
        try:
            spec = _spec(name, untrained)
            if spec.weights.startswith("hub:") and "#" not in spec.weights:
                raise Missing("its weights are neither in the cache nor to be had from the hub")
            check_model(spec)
        except Missing as error:
            absent[name] = first_line(error)
            continue
        if any(each.name == spec.name for each in found):
            continue
        found.append(_known(spec, reason))
    if not found:
        raise Missing(f"none of {len(wanted)} models has its weights on this machine; {REMEDY}")
    if absent:
        say(
            f"{len(absent)} of {len(wanted)} models are left out, their weights are not on this machine: "
            f"{', '.join(absent)}"
        )
    return found, absent


def _named(text: str) -> list[str]:
    if "*" in text or "?" in text:
        return [each.model for each in timm_models_like(text)]
    return [text]


def _spec(name: str, untrained: bool) -> ModelSpec:
    model, _, file = name.partition("=")
    if not file:
        return spec_of_model(name, untrained=untrained, say=lambda text: None)
    if Path(file).suffix not in WEIGHTS:
        raise BadInput(f"--models {name}: NAME=FILE expected, with FILE one of *{', *'.join(WEIGHTS)}")
    spec = spec_of_model(model, Path(file), say=lambda text: None)
    return dataclasses.replace(spec, name=f"{model}={Path(file).stem}")


def _known(spec: ModelSpec, reason: str) -> Backbone:
    rows = timm_accuracies()
    row = rows.get((spec.architecture, spec.view.side)) or next(
        (row for key, row in rows.items() if key[0] == spec.architecture), None
    )
    trained = not spec.weights.startswith("random:")
    return Backbone(
        spec, reason, row.get("top1") if row and trained else None, _million_parameters(spec, row), _licence(spec)
    )  # fmt: skip


def _million_parameters(spec: ModelSpec, row: object) -> float | None:
    if isinstance(row, dict) and row.get("million_parameters"):
        return float(row["million_parameters"])
    from featune.engine.models import classifier

    try:
        bare = spec if spec.is_factory else spec.with_random_weights(0)
        return sum(each.numel() for each in classifier(bare).parameters()) / 1e6
    except FeatuneError:
        return None


def _licence(spec: ModelSpec) -> str:
    import timm

    if spec.is_factory or ":" in spec.architecture:
        return ""
    try:
        config = timm.get_pretrained_cfg(spec.architecture)
    except (RuntimeError, ValueError):
        return ""
    return str(config.license or "") if config is not None else ""
