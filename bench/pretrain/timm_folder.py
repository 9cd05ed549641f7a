"""A trained network of timm's as a folder that `local-dir:FOLDER` names: weights, constructor, view, class names."""

import json
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featune.engine.errors import BadInput
from featune.engine.models import ModelSpec, classifier, source_model, spec_from_string
from featune.engine.store import refusals_of, written_whole

MODEL, CONFIG = "model.safetensors", "config.json"


def write_network(spec: ModelSpec, state: dict[str, Tensor], classes: Sequence[str], folder: Path) -> ModelSpec:
    """Write model.safetensors and config.json; the spec of what lies there then, with the logits of these weights.

    spec: of timm, with the view, and without what only training has, such as dropout. state: of its network.
    """
    from timm.models import save_for_hf

    network = classifier(spec)
    network.load_state_dict(state)
    view = spec.view
    seen: dict[str, Any] = {
        "input_size": (view.channels, view.side, view.side), "mean": list(spec.mean), "std": list(spec.std),
        "crop_pct": view.crop_pct, "crop_mode": view.crop_mode, "interpolation": view.interpolation,
    }  # fmt: skip
    arguments = {name: value for name, value in spec.kwargs if name not in ("num_classes", "in_chans")}
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=folder, prefix=".model.") as name:
        place = Path(name)
        with refusals_of(folder / MODEL, place):
            save_for_hf(
                network, str(place), model_config={"label_names": list(classes)}, model_args=arguments,
                data_config=seen, safe_serialization=True,
            )  # fmt: skip
        config = json.loads((place / CONFIG).read_text(encoding="utf-8"))
        config["pretrained_cfg"] |= {**seen, "input_size": list(seen["input_size"])}
        (place / CONFIG).write_text(json.dumps(config, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")
        for part in (MODEL, CONFIG):
            with written_whole(folder / part) as temporary:
                temporary.write_bytes((place / part).read_bytes())
    found = spec_from_string(f"local-dir:{folder.absolute()}")
    _require_same(spec, network, found)
    return found


def _require_same(spec: ModelSpec, network: torch.nn.Module, found: ModelSpec) -> None:
    """That the folder is the network and its view; anything else is our own mistake."""
    view = spec.view
    images = torch.rand(2, view.channels, view.side, view.side, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        wanted, got = network(images), source_model(found)[1](images)  # type: ignore[index]
    same_view = (found.view.side, found.view.channels, found.mean, found.std) == (
        view.side, view.channels, spec.mean, spec.std,
    )  # fmt: skip
    if not same_view or not torch.allclose(wanted, got, rtol=0, atol=1e-5 * float(wanted.abs().max().clamp(min=1))):
        raise BadInput(f"{spec.name}: timm's folder of it has another view or logits; report this fault of Featune")
