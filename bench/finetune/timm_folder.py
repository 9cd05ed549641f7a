"""A trained classifier as a folder in timm's layout: `timm.create_model("local-dir:FOLDER", pretrained=True)`."""

import dataclasses
import json
import logging
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.models import (
    MODEL_FILE,
    ModelSpec,
    Normalise,
    checkpoint_name,
    classifier,
    classifier_layer,
    source_model,
)
from featune.engine.store import refusals_of, written_whole

log = logging.getLogger("featune")
MODEL, CONFIG = MODEL_FILE, "config.json"
CLOSE = 1e-5  # of the largest logit; the same layers in the same order


class NoTimmForm(FeatuneError):
    """The network has no form in which timm alone could load it."""


def write_model(spec: ModelSpec, trained: nn.Module, classes: Sequence[str], folder: Path) -> str:
    """Write model.safetensors and, where timm can make the architecture, config.json; what is to be known of them.

    trained: [Normalise, body, head] as `fresh_classifier` makes it, with the spec's view. The folder is loaded by timm
    alone, once, and its logits compared with the trained network's. Raises FeatuneError where they differ.
    """
    from safetensors.torch import save

    try:
        plain = timm_form(spec, trained, len(classes))
    except NoTimmForm as reason:
        if spec.is_factory and not spec.tap:
            return _write_factory(spec, trained, classes, folder)
        (folder / CONFIG).unlink(missing_ok=True)  # of an earlier model
        body, head = trained[1], trained[2]  # type: ignore[index]
        state = {f"body.{key}": value for key, value in body.state_dict().items()}
        state |= {f"head.{key}": value for key, value in head.state_dict().items()}
        with written_whole(folder / MODEL) as temporary:
            temporary.write_bytes(save({key: value.contiguous() for key, value in state.items()}))
        return f"timm alone cannot load it: {reason}; model.safetensors holds its body and head"
    with tempfile.TemporaryDirectory(dir=folder, prefix=".model.") as place:
        with refusals_of(folder / MODEL, Path(place)):
            _save(spec, plain, classes, Path(place))
        _compare(spec, trained, Path(place))
        for name in (MODEL, CONFIG):
            with written_whole(folder / name) as temporary:
                temporary.write_bytes((Path(place) / name).read_bytes())
    return "timm loads it, with equal logits"


def _write_factory(spec: ModelSpec, trained: nn.Module, classes: Sequence[str], folder: Path) -> str:
    """The factory's own state dict with its classifier replaced, and a config.json that says how to make the network.

    It is loaded as Featune's commands load it, once, and its logits compared.
    """
    from safetensors.torch import save

    body, head = trained[1], trained[2]  # type: ignore[index]
    whole = classifier(spec)
    layer = classifier_layer(whole, spec)
    names = [name for name, each in whole.named_modules(remove_duplicate=False) if each is layer]
    state = {key: value.detach().cpu().contiguous() for key, value in body.state_dict().items()}
    for name in names:
        state |= {f"{name}.{key}": value.detach().cpu().clone() for key, value in head.state_dict().items()}
    view, kwargs = spec.view, dict(spec.kwargs)
    config = {
        "factory": spec.architecture, "kwargs": kwargs, "classifier": names, "num_classes": len(classes),
        "label_names": list(classes), "side": view.side, "mean": list(spec.mean), "std": list(spec.std),
        "crop_pct": view.crop_pct, "crop_mode": view.crop_mode, "interpolation": view.interpolation,
    }  # fmt: skip
    with tempfile.TemporaryDirectory(dir=folder, prefix=".model.") as place:
        with refusals_of(folder / MODEL, Path(place)):
            (Path(place) / MODEL).write_bytes(save(state))
            text = json.dumps(config, indent=1, ensure_ascii=False) + "\n"
            (Path(place) / CONFIG).write_text(text, encoding="utf-8")
        kept = str(Path(place) / MODEL)
        again = dataclasses.replace(spec, checkpoint=kept, weights=checkpoint_name(kept))
        trained = trained.cpu().eval()
        images = _noise(spec)
        with torch.inference_mode():
            if not _equal(source_model(again)(images), trained(images)):
                raise BadInput(
                    f"{spec.name}: its factory with the trained weights has other logits; let it make the same model "
                    "each time"
                )
        for name in (MODEL, CONFIG):
            with written_whole(folder / name) as temporary:
                temporary.write_bytes((Path(place) / name).read_bytes())
    return f"{spec.architecture} loads it, with equal logits (docs/finetune.md); timm alone has no such network"


def timm_form(spec: ModelSpec, trained: nn.Module, classes: int) -> nn.Module:
    """The network as timm makes it, with its own classifier layer. Raises NoTimmForm where it has none."""
    import timm

    normalise, body, head = trained[0], trained[1], trained[2]  # type: ignore[index]
    assert isinstance(normalise, Normalise)
    if spec.is_factory or spec.tap or spec.architecture == "artefact":
        raise NoTimmForm(f"{spec.name} is a factory's")
    kwargs = {key: value for key, value in spec.kwargs if key != "num_classes"}
    model = timm.create_model(spec.architecture, pretrained=False, exportable=True, num_classes=classes, **kwargs)
    state = {key: value.detach().cpu() for key, value in body.state_dict().items()}
    layer = model.get_classifier()
    if not isinstance(layer, nn.Linear) or layer.weight.shape != head.weight.shape:
        raise NoTimmForm(f"the classifier of {spec.architecture} is not one linear layer on its features")
    own = {id(value): key for key, value in model.state_dict(keep_vars=True).items()}
    state[own[id(layer.weight)]] = head.weight.detach().cpu()
    if layer.bias is None:
        raise NoTimmForm(f"the classifier of {spec.architecture} has no bias")
    state[own[id(layer.bias)]] = head.bias.detach().cpu()
    if missing := model.state_dict().keys() ^ state.keys():
        raise NoTimmForm(f"{spec.architecture} with a classifier has other layers: {', '.join(sorted(missing)[:3])}")
    model.load_state_dict(state, strict=True)
    return model.eval()


def _save(spec: ModelSpec, model: nn.Module, classes: Sequence[str], place: Path) -> None:
    from timm.models import save_for_hf

    view = spec.view
    seen: dict[str, Any] = {
        "input_size": (view.channels, view.side, view.side), "mean": list(spec.mean), "std": list(spec.std),
        "crop_pct": view.crop_pct, "crop_mode": view.crop_mode, "interpolation": view.interpolation,
    }  # fmt: skip
    save_for_hf(
        model, str(place), model_config={"label_names": list(classes)}, data_config=seen, safe_serialization=True
    )
    path = place / CONFIG
    config = json.loads(path.read_text())
    config["pretrained_cfg"] |= {key: list(value) if isinstance(value, tuple) else value for key, value in seen.items()}
    path.write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")


def _compare(spec: ModelSpec, trained: nn.Module, place: Path) -> None:
    import timm

    model = timm.create_model(f"local-dir:{place}", pretrained=True).eval()
    images = _noise(spec)
    trained = trained.cpu().eval()
    with torch.inference_mode():
        wanted = trained(images)
        found = model(trained[0](images))  # type: ignore[index]
    if not _equal(found, wanted):
        raise BadInput(
            f"{spec.name}: timm's form of the trained network has other logits; this is a fault of Featune, report it"
        )


def _noise(spec: ModelSpec) -> Tensor:
    shape = (2, spec.view.channels, spec.view.side, spec.view.side)
    return torch.randint(0, 256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))


def _equal(found: Any, wanted: Tensor) -> bool:
    if not isinstance(found, Tensor) or found.shape != wanted.shape:
        return False
    return bool((found - wanted).abs().max() <= CLOSE * wanted.abs().max().clamp(min=1))
