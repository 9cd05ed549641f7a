"""What the numbers cannot show: the tap, the view and the weights, which torch's side and the artefact share."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.engine.models import ModelSpec, spec_from_entry
from featune.export.backends import exported
from featune.export.commands import verdict_lines
from featune.export.contract import VERDICT, entry_of, read_graph, set_entry
from featune.export.gate import Sample, judge, own_sample, require_passing, scope_of
from featune.export.gate import scope as scope_module
from featune.export.gate.samples import varied
from featune.export.graph import graph_from_spec

NETS = """
import torch
from torch import nn

def net():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(3, 8, 8, stride=8), nn.ReLU(), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(8, 5))

def said():
    made = net()
    made.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return made

def part():
    return nn.Sequential(said(), nn.ReLU(), nn.Linear(5, 4))

def nan():
    made = net()
    with torch.no_grad():
        made[0].weight[0] = float("nan")
    return made

class Overflow(nn.Module):
    def __init__(self):
        super().__init__()
        self.net, self.fc = net()[:4], nn.Linear(8, 5)

    def forward(self, x):
        return self.fc(self.net(x).exp().exp().exp().exp())

class Twice(nn.Module):
    def __init__(self):
        super().__init__()
        self.conv, self.relu, self.fc = nn.Conv2d(3, 3, 3, padding=1), nn.ReLU(), nn.Linear(3, 2)

    def forward(self, x):
        return self.fc(self.relu(self.conv(self.relu(x))).mean((2, 3)))
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    (folder / "scope_nets.py").write_text(NETS)
    return folder


def spec_of(nets: Path, name: str, **entry: Any) -> ModelSpec:
    return spec_from_entry({"factory": f"scope_nets.py:{name}", "side": 32, **entry}, nets)


def images_of(spec: ModelSpec, n: int = 8) -> torch.Tensor:
    return own_sample(spec.view, n).images


def test_the_tap_is_judged_by_the_modules_own_output(nets: Path) -> None:
    spec = spec_of(nets, "net")
    found = scope_of(spec, images_of(spec))
    assert found.judged["tap"] == "through the model's own classifier the features give its output"
    assert found.not_judged["view"] == "nothing but whoever asked says which images the model takes"
    assert found.not_judged["weights"].startswith("taken as the factory makes them")
    assert not found.reasons


def test_features_of_a_wrong_layer_are_refused_though_both_sides_agree(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the rule of before made them: the layer that is defined last is cut, and what runs after it goes on."""
    spec = spec_of(nets, "net")
    right = scope_module.feature_model(spec)
    right[1].add_module("more", torch.nn.ReLU())
    right[1].add_module("other", torch.nn.Linear(8, 8))
    monkeypatch.setattr(scope_module, "feature_model", lambda spec: right)
    (reason,) = scope_of(spec, images_of(spec)).reasons
    assert "through the model's own classifier the features do not give its output; name the layer" in reason


def test_a_chosen_tap_is_judged_by_what_its_layer_gives_while_the_module_runs(
    nets: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = spec_of(nets, "net", tap="1")
    assert scope_of(spec, images_of(spec)).judged["tap"] == "1 gives these features while the whole module runs"
    other = scope_module.feature_model(spec_of(nets, "net", tap="0"))
    monkeypatch.setattr(scope_module, "feature_model", lambda spec: other)
    assert "1 gives other values while the whole module runs" in scope_of(spec, images_of(spec)).reasons[0]


def test_a_tap_that_is_no_layer_that_runs_once_is_not_judged(nets: Path) -> None:
    for tap in ("relu", "mean"):
        spec = spec_of(nets, "Twice", tap=tap)
        assert scope_of(spec, images_of(spec)).not_judged["tap"].startswith(f"{tap} is no layer that runs once")


@pytest.mark.parametrize(
    ("name", "entry", "judged", "words"),
    [
        ("said", {}, True, "it is what the model's pretrained_cfg says"),
        ("said", {"side": 40}, False, "it is not what the model's pretrained_cfg says: side 40 taken, 32 said"),
        ("said", {"mean": 0.4}, False, "mean 0.4 0.4 0.4 taken, 0.5 0.5 0.5 said"),
        ("part", {}, False, "it is what the pretrained_cfg of its part 0 says; the model itself does not say"),
        ("net", {"mean": 0.4}, False, "nothing but whoever asked says"),
    ],
)
def test_the_view_is_judged_only_where_something_independent_says_it(
    nets: Path, name: str, entry: dict[str, Any], judged: bool, words: str
) -> None:
    spec = spec_of(nets, name, **entry)
    found = scope_of(spec, images_of(spec))
    assert words in (found.judged if judged else found.not_judged)["view"]


@pytest.mark.parametrize("name", ["test_resnet", "test_vit", "test_efficientnet", "test_convnext", "test_byobnet"])
def test_of_timms_models_tap_and_view_are_judged(name: str) -> None:
    spec = spec_from_entry({"architecture": name, "pretrained": False})
    found = scope_of(spec, images_of(spec, 4))
    assert set(found.judged) == {"tap", "view"}
    assert found.not_judged["weights"].startswith("taken at random by the seed 0")
    headless = spec_from_entry({"architecture": name, "pretrained": False, "kwargs": {"num_classes": 0}})
    assert scope_of(headless, images_of(spec, 4)).not_judged["tap"] == "the model has no classifier"


def test_a_verdict_says_what_it_judged_and_one_of_before_stays_readable(nets: Path, tmp_path: Path) -> None:
    spec = spec_of(nets, "said")
    path = graph_from_spec(spec, tmp_path / "m.onnx")
    verdict = judge(spec, path, own_sample(spec.view, 24))
    assert verdict.passed
    found = require_passing(path)
    assert (set(found["judged"]), set(found["not_judged"])) == ({"tap", "view"}, {"weights"})
    lines = verdict_lines("m.onnx", found)
    assert "judged: the view: it is what the model's pretrained_cfg says" in lines
    assert any(line.startswith("not judged: the weights: taken as the factory makes them") for line in lines)
    proto = read_graph(path)
    older = {key: value for key, value in found.items() if key not in ("judged", "not_judged")}
    set_entry(proto, VERDICT, older)
    onnx.save(proto, path)
    assert require_passing(path) == older == entry_of(read_graph(path), VERDICT)
    assert not any("judged: the" in line for line in verdict_lines("m.onnx", older))


@pytest.mark.parametrize(
    ("name", "at"),
    [
        ("nan", "the model's own weight 0.weight holds NaN or infinity"),
        ("Overflow", "from the model's own layer fc on, values are"),
    ],
)
def test_a_model_that_gives_nan_is_named_in_the_place_of_the_exporter(
    nets: Path, tmp_path: Path, name: str, at: str
) -> None:
    spec = spec_of(nets, name, std=0.02)
    verdict = judge(spec, graph_from_spec(spec, tmp_path / "m.onnx"), own_sample(spec.view, 8))
    assert not verdict.passed
    assert "the model or its weights are at fault, not the export" in verdict.reasons[0]
    assert at in verdict.departure
    assert "ONNX Runtime is at fault" not in verdict.report
    assert verdict.not_judged["tap"] == "the features are not finite"


def alike(spec: ModelSpec, kind: str) -> Sample:
    one = images_of(spec, 1)
    if kind == "two identical":
        return Sample(one.expand(2, -1, -1, -1), kind)
    if kind == "black":
        return Sample(torch.zeros_like(one).expand(12, -1, -1, -1), kind)
    if kind == "grey and equal":
        return Sample(torch.full_like(one, 128).expand(5, -1, -1, -1), kind)
    noise = torch.randint(-2, 3, (60, *one.shape[1:]), generator=torch.Generator().manual_seed(0))
    return Sample((one.int() + noise).clamp(0, 255).to(torch.uint8), kind)


@pytest.mark.parametrize("kind", ["two identical", "black", "grey and equal", "frames of a fixed camera"])
def test_a_right_export_passes_on_images_that_are_alike_and_a_wrong_one_does_not(
    lively: ModelSpec, right: Path, tmp_path: Path, kind: str
) -> None:
    sample = alike(lively, kind)
    path = tmp_path / "m.onnx"
    path.write_bytes(right.read_bytes())
    verdict = judge(lively, path, sample)
    assert verdict.passed, verdict.report
    assert verdict.source.startswith(f"2 of {len(sample.images)} images that are all alike ({kind}), and 62 of the")
    proto = onnx.load(right)
    weight = next(each for each in proto.graph.initializer if each.name == "1.layer3.0.conv1.weight")
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(1.05), weight.name))
    onnx.save(proto, path)
    assert not judge(lively, path, sample).passed


def test_int8_of_identical_images_is_calibrated_and_judged_with_the_projects_own(
    lively: ModelSpec, tmp_path: Path
) -> None:
    verdict = exported(lively, tmp_path / "int8.onnx", alike(lively, "two identical"), precision="int8")
    assert verdict.parity["noise"] is not None
    assert "2 of 2 images that are all alike" in verdict.source


def test_in_int8_frames_that_differ_a_little_are_judged_as_they_are(spec: ModelSpec, sample: Sample) -> None:
    frames = alike(spec, "frames")
    assert varied(frames, spec.view, "int8") is frames
    assert varied(frames, spec.view, "fp32") is not frames
    assert varied(sample, spec.view, "fp32") is sample


def test_export_says_the_view_and_what_was_not_judged(nets: Path, tmp_path: Path) -> None:
    out = tmp_path / "m.onnx"
    result = CliRunner().invoke(app, ["export", f"{nets}/scope_nets.py:said", "--out", str(out), "--crop-pct", "1"])
    assert result.exit_code == 0, result.output
    assert (
        "view: 32 px, mean 0.5, std 0.5, crop 1 center, bicubic (from the model's pretrained_cfg; given: crop_pct)"
        in (" ".join(result.stderr.split()))
    )
    assert "judged: the tap: through the model's own classifier" in result.stdout
    assert "not judged: the weights: taken as the factory makes them" in result.stdout
    verify = ["verify", str(out), "--model", f"{nets}/scope_nets.py:said", "--json"]
    assert CliRunner().invoke(app, verify).exit_code == 3
    result = CliRunner().invoke(app, [*verify, "--crop-pct", "1"])
    assert (result.exit_code, set(json.loads(result.stdout)["judged"])) == (0, {"tap", "view"})
