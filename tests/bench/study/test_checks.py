"""What can be known before work is found before work."""

import dataclasses
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from featune.bench.progress import Silent
from featune.bench.study import prepared, read_study
from featune.bench.study.checks import check_estimators, check_model, check_place, check_settings
from featune.engine.errors import BadInput, FeatuneError, Missing
from featune.engine.models import spec_from_entry

CODE = """
import torch
from torch import nn
class Net(nn.Module):
    def __init__(self):
        super().__init__()
        self.stem = nn.Conv2d(3, 4, 3)
        self.stage = nn.Sequential(nn.Conv2d(4, 5, 3), nn.ReLU())
    def forward(self, x):
        return self.stage(self.stem(x))
def build():
    return Net()
def broken(width=3):
    if width != 3:
        raise KeyError('layer4')
    return Net()
"""


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)


@pytest.fixture
def one_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(
    ("backend", "device", "kind", "says"),
    [
        ("torch", "cuda", Missing, "no CUDA device is usable"),
        ("onnxruntime", "cuda:1", Missing, "no CUDA device is usable"),
        ("tensorrt", "cuda", Missing, "no CUDA device is usable"),
        ("torch", "gpu", BadInput, "no device named 'gpu'; cpu, cuda or cuda:N"),
        ("tensorrt", "cpu", BadInput, "backend tensorrt runs on cuda, device cpu found; choose device cuda"),
        ("onnxruntime-tensorrt", "cpu", BadInput, "runs on cuda, device cpu found"),
    ],
)
def test_a_place_that_is_not_there_is_told(backend: str, device: str, kind: type[FeatuneError], says: str) -> None:
    with pytest.raises(kind, match=says):
        check_place(backend, device)


@pytest.mark.usefixtures("one_gpu")
def test_what_a_gpu_needs_beside_itself_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(Missing, match=r"device cuda:1 found, this machine has cuda:0 to cuda:0; choose one"):
        check_place("torch", "cuda:1")
    monkeypatch.setattr("onnxruntime.get_available_providers", lambda: ["CPUExecutionProvider"])
    with pytest.raises(Missing, match="CUDAExecutionProvider is not among ONNX Runtime's providers"):
        check_place("onnxruntime", "cuda")
    check_place("torch", "cuda:0")


@pytest.mark.parametrize(
    ("entry", "says"),
    [
        ({"architecture": "test_vit", "side": 100}, "refuses images of 100 x 100"),
        ({"architecture": "test_vit", "kwargs": {"dept": 3}}, "timm refuses these arguments .*dept.*; check `kwargs`"),
        ({"architecture": "test_resnet", "kwargs": {"pretrained": True}}, "kwargs: pretrained found"),
        ({"architecture": "test_resnet", "kwargs": {"layers": "abc"}}, "cannot be built|timm refuses"),
        (
            {"architecture": "test_resnet", "tap": "layer9"},
            "no node 'layer9'; nearest: .*; the last ones that run: .*fc",
        ),
    ],
)
def test_a_model_that_cannot_be_built_as_asked_is_told(entry: dict[str, object], says: str) -> None:
    with pytest.raises(BadInput, match=says):
        check_model(spec_from_entry({"pretrained": False, **entry}))


def test_a_tap_that_is_needed_is_asked_for_with_the_layers(tmp_path: Path) -> None:
    (tmp_path / "own.py").write_text(CODE)
    entry = {"factory": "own.py:build", "side": 32}
    with pytest.raises(BadInput, match=r"`tap`.*; its layers in the order in which they run: stem, stage\.0, stage\.1"):
        check_model(spec_from_entry(entry, tmp_path))
    with pytest.raises(BadInput, match=r"no node 'stages'; nearest: .*; the last ones that run: x, stem"):
        check_model(spec_from_entry({**entry, "tap": "stages"}, tmp_path))
    check_model(spec_from_entry({**entry, "tap": "stage"}, tmp_path))


def test_models_that_fit_are_built_without_a_word() -> None:
    check_model(spec_from_entry({"architecture": "test_vit", "pretrained": False, "kwargs": {"img_size": 96}}))
    spec = spec_from_entry({"architecture": "test_resnet", "pretrained": False})
    check_model(dataclasses.replace(spec, weights="hub:timm/test_resnet.r160_in1k#1234"))


def test_weights_that_neither_hub_nor_cache_has_are_missing_before_work() -> None:
    spec = spec_from_entry({"architecture": "test_resnet", "pretrained": False})
    with pytest.raises(Missing, match="could not be fetched"):
        check_model(dataclasses.replace(spec, weights="hub:timm/test_resnet.r160_in1k"))


def test_estimators_that_no_model_has_classes_for_are_refused_unless_all_are_asked_for() -> None:
    random = spec_from_entry({"architecture": "test_resnet", "pretrained": False})
    known = dataclasses.replace(random, name="known", weights="hub:x#1")
    headless = dataclasses.replace(known, name="headless", kwargs=(("num_classes", 0),))
    with pytest.raises(BadInput, match=r"leep and nce of no model can be computed: .* random weights.*; leave leep"):
        check_estimators(("leep", "logme", "nce"), [random])
    with pytest.raises(BadInput, match="headless has num_classes: 0"):
        check_estimators(("nce",), [headless])
    assert len(check_estimators(("leep",), [random, known, headless])) == 2
    assert len(check_estimators(("logme", "leep", "nce", "h_score", "nleep", "transrate"), [random])) == 1
    assert check_estimators(("logme",), [random]) == []


@pytest.mark.usefixtures("no_gpu")
def test_a_study_without_its_gpu_is_missing_something_and_all_faults_of_the_file_come_with_it(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    image_folder("colours")
    path = tmp_path / "study.yaml"
    text = "name: s\nmodels: [{architecture: test_vit, pretrained: false, side: 100}]\ntasks: [{folder: colours}]\n"
    path.write_text(text)
    read_study(path, device="cuda")  # status and report run nothing
    with pytest.raises(Missing, match="1 problem\n  device: no CUDA device"):
        read_study(path, device="cuda", work=True)
    with pytest.raises(BadInput, match=r"models\[0\]: the model refuses images of 100 x 100"):
        read_study(path, work=True, progress=Silent())
    path.write_text(f"{text}seed: 3\ndevice: cuda\n")
    with pytest.raises(BadInput, match=r"(?s)3 problems.*seed: unknown key.*models\[0\].*device: no CUDA device"):
        read_study(path, work=True)


@pytest.mark.parametrize(
    ("regime", "says"),
    [
        ("{probe: {shots: 9}}", "probe: 9 shots asked for, colours has 8 training images of class blue; lower shots"),
        ("{few: {kind: probe, shots: 100}}", "few: 100 shots asked for, colours has 8"),
        ("{knn: {counts: [25, 50]}}", "knn: counts of 25 and more found, colours has 24 training images; give smaller"),
    ],
)
def test_settings_that_a_task_cannot_meet_are_told_before_work(
    regime: str, says: str, image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    image_folder("colours")
    path = tmp_path / "study.yaml"
    model = "{architecture: test_resnet, pretrained: false, side: 32}"
    path.write_text(f"name: s\nmodels: [{model}]\ntasks: [{{folder: colours}}]\nregimes: {regime}\n")
    with pytest.raises(BadInput, match=says):
        prepared(*read_study(path, tmp_path / "out"))
    path.write_text(path.read_text().replace("9", "8").replace("100", "8").replace("25", "24"))
    prepared(*read_study(path, tmp_path / "out"))
    study = prepared(*read_study(path, tmp_path / "out"))
    several = dataclasses.replace(study, tasks=(dataclasses.replace(study.tasks[0], multilabel=True),))
    if "shots" in regime:
        with pytest.raises(BadInput, match="8 shots asked for, images of colours have several labels; leave shots out"):
            check_settings(several)
