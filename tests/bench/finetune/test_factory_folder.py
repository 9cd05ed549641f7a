"""A factory's model leaves a folder that its own code loads, and that every command takes."""

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import pytest
import torch
from PIL import Image

from featune.bench.data import Request
from featune.bench.finetune import Asked, finetune_model, write_model
from featune.bench.study import source_of
from featune.engine.errors import BadInput
from featune.engine.models import (
    ModelSpec,
    feature_model,
    fresh_classifier,
    is_finetuned,
    label_names,
    source_model,
    spec_from_entry,
)
from featune.export.commands import Product, export_model, spec_of_model

CODE = """
import torch
from torch import nn


class Net(nn.Module):
    def __init__(self, width):
        super().__init__()
        self.conv, self.fc = nn.Conv2d(3, width, 3, 2), nn.Linear(width, 7)

    def forward(self, images):
        return self.fc(self.conv(images).relu().mean((2, 3)))


def net(width=4):
    torch.manual_seed(1)
    return Net(width)


def by_timm():
    import timm

    return timm.create_model("test_resnet")
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("code")
    (place / "net.py").write_text(CODE)
    return place


def spec_of(place: Path, function: str = "net", **kwargs: Any) -> ModelSpec:
    entry = {"factory": f"{place}/net.py:{function}", "side": 32, "mean": 0.4, "std": 0.2, "kwargs": kwargs}
    return spec_from_entry(entry)


@pytest.fixture(scope="module")
def left(place: Path, colours: Path) -> tuple[Path, dict[str, Any]]:
    source = source_of(Request(str(colours), None), "top1", 0, {})
    asked = Asked(options={"epochs": 2, "lr": 0.01}, out=place / "run")
    folder, result, _ = finetune_model(spec_of(place, width=6), source, asked)
    return folder, result


def test_its_own_code_loads_it_in_three_lines(
    left: tuple[Path, dict[str, Any]], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import importlib

    from safetensors.torch import load_file

    monkeypatch.syspath_prepend(place)
    net = importlib.import_module("net").net
    model = net(width=6)
    model.fc = torch.nn.Linear(6, 3)
    model.load_state_dict(load_file(left[0] / "model.safetensors"))
    images = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8)
    monkeypatch.chdir(place)
    taken = source_model(spec_of_model(str(left[0])))
    torch.testing.assert_close(model((images / 255 - 0.4) / 0.2), taken(images))
    assert "net.py:net loads it, with equal logits" in left[1]["files"]["timm"]


def test_commands_take_the_folder_with_its_view_and_its_classes(
    left: tuple[Path, dict[str, Any]], place: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    spec = spec_of_model("run")
    assert (spec.view.side, spec.mean, dict(spec.kwargs)) == (32, (0.4, 0.4, 0.4), {"width": 6})
    assert is_finetuned(spec)
    assert label_names(spec) == ("blue", "green", "red")
    assert feature_model(spec)(torch.zeros(1, 3, 32, 32, dtype=torch.uint8)).shape == (1, 6)


def test_the_folder_becomes_a_gated_onnx_with_its_classes(
    left: tuple[Path, dict[str, Any]], place: Path, colours: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(place)
    spec = spec_of_model("run")
    made = export_model(spec, Product(), data=colours / "test", out=place / "net.onnx")
    assert made.verdict["passed"] is True
    session = onnxruntime.InferenceSession(made.path)
    contract = json.loads(session.get_modelmeta().custom_metadata_map["featune"])
    assert contract["class_names"] == ["blue", "green", "red"]
    image = np.asarray(Image.new("RGB", (32, 32), (200, 30, 90))).transpose(2, 0, 1)[None]
    logits = session.run(["logits"], {"images": image})[0]
    np.testing.assert_allclose(logits, source_model(spec)(torch.tensor(image)).detach().numpy(), rtol=1e-4, atol=1e-4)


def test_a_timm_model_of_a_factory_has_its_classifier_replaced(place: Path, tmp_path: Path) -> None:
    spec = spec_of(place, "by_timm")
    model = fresh_classifier(spec, 3, 0)
    torch.nn.init.normal_(model[-1].weight)  # type: ignore[index, arg-type, union-attr]
    assert "loads it" in write_model(spec, model, ("a", "b", "c"), tmp_path)
    config = json.loads((tmp_path / "config.json").read_text())
    assert config["classifier"] == ["fc"]


def test_code_that_is_not_below_the_current_folder_is_not_run(
    left: tuple[Path, dict[str, Any]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(BadInput, match="its code lies outside") as refused:
        spec_of_model(str(left[0]))
    assert "start the command in the folder that holds" in str(refused.value)
    assert "--trust" not in str(refused.value)


@pytest.mark.parametrize("factory", ["{folder}/evil.py:net", "os:system"])
def test_a_folder_cannot_name_code_of_its_own_nor_of_a_library(
    place: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, factory: str
) -> None:
    (tmp_path / "evil.py").write_text("raise SystemExit('run')\n")
    (tmp_path / "model.safetensors").write_bytes(b"")
    said = {"factory": factory.format(folder=tmp_path), "kwargs": {"command": "true"}, "classifier": ["fc"]}
    (tmp_path / "config.json").write_text(json.dumps(said))
    monkeypatch.chdir(tmp_path.parent)
    with pytest.raises(BadInput, match=r"keep it outside the model's folder|its code lies outside"):
        spec_of_model(os.path.join(".", tmp_path.name))


def test_code_that_has_another_classifier_by_now_is_refused_in_one_sentence(
    left: tuple[Path, dict[str, Any]], place: Path, tmp_path: Path
) -> None:
    for name in ("model.safetensors", "config.json"):
        (tmp_path / name).write_bytes((left[0] / name).read_bytes())
    config = json.loads((tmp_path / "config.json").read_text())
    (tmp_path / "config.json").write_text(json.dumps({**config, "classifier": ["last"]}))
    entry = {"factory": config["factory"], "kwargs": config["kwargs"], "side": 32}
    spec = spec_from_entry({**entry, "checkpoint": str(tmp_path / "model.safetensors")})
    with pytest.raises(BadInput, match=r"config.json names \['last'\] of 3 outputs as the classifier of .*net.py:net"):
        source_model(spec)
