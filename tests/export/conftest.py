"""A small model whose every layer matters, and its graph, made once."""

import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from featune.engine.models import ModelSpec, Normalise, classifier, spec_from_entry
from featune.engine.models.spec import IMAGENET_MEAN, IMAGENET_STD
from featune.export.gate import Sample, own_sample
from featune.export.graph import graph_from_spec


def enliven(model: nn.Module, images: torch.Tensor) -> nn.Module:
    """Give every layer a part in the output: no zero scales, and norms with the statistics of real images.

    timm starts the last norm of each residual branch at zero, so that untrained branches are dead.
    """
    with torch.no_grad():
        for name, value in model.named_parameters():
            if name.endswith("weight") and value.ndim == 1 and not value.any():
                value.fill_(1.0)
        for module in model.modules():
            if isinstance(module, nn.BatchNorm2d):
                module.momentum = None
                module.reset_running_stats()
        model.train()(images)
    return model.eval()


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """test_resnet on 32 x 32 pixels from a checkpoint without zeros, with ImageNet's mean and std."""
    entry = {"architecture": "test_resnet", "pretrained": False, "side": 32}
    entry |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    folder = tmp_path_factory.mktemp("weights")
    spec = spec_from_entry(entry)
    images = Normalise(spec.mean, spec.std)(own_sample(spec.view, 32).images)
    torch.save(enliven(classifier(spec), images).state_dict(), folder / "lively.pth")
    return spec_from_entry(entry | {"checkpoint": "lively.pth"}, folder)


@pytest.fixture(scope="session")
def sample(lively: ModelSpec) -> Sample:
    return own_sample(lively.view, 24)


@pytest.fixture(scope="session")
def right(lively: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph_from_spec(lively, tmp_path_factory.mktemp("right") / "model.onnx")


@pytest.fixture
def quick(right: Path, lively: ModelSpec, monkeypatch: pytest.MonkeyPatch) -> None:
    """One export of the lively model for all: exporting it again gives the same file and takes seconds."""

    def exported(asked: ModelSpec, path: Path, **options: Any) -> Path:
        if options.get("optimise", True) and not options.get("logits") and asked.digest == lively.digest:
            return Path(shutil.copy(right, path))
        return graph_from_spec(asked, path, **options)

    monkeypatch.setattr("featune.export.gate.reasons.graph_from_spec", exported)
    monkeypatch.setattr("featune.export.backends.artefacts.graph_from_spec", exported)


@pytest.fixture
def graph(right: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(right, tmp_path / "model.onnx"))
