"""A small model whose every layer matters, and its graph, made once."""

from pathlib import Path

import pytest
import torch
from torch import nn

from engine.models import IMAGENET_MEAN, IMAGENET_STD, ModelSpec, classifier, spec_from_entry
from export.graph import graph_from_spec
from export.samples import Sample, own_sample


def enliven(model: nn.Module, seed: int = 0) -> nn.Module:
    """Fill what timm starts at zero or one: norms, biases, layer scales. Untrained residual branches are dead."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, value in [*model.named_parameters(), *model.named_buffers()]:
            if not value.is_floating_point():
                continue
            if name.endswith("running_var"):
                value.uniform_(0.5, 1.5, generator=generator)
            elif value.ndim <= 1 or not value.any():
                value.normal_(0.1, 0.3, generator=generator)
    return model


@pytest.fixture(scope="session")
def lively(tmp_path_factory: pytest.TempPathFactory) -> ModelSpec:
    """test_resnet on 32 x 32 pixels from a checkpoint without zeros, with ImageNet's mean and std."""
    entry = {"architecture": "test_resnet", "pretrained": False, "side": 32}
    entry |= {"mean": IMAGENET_MEAN, "std": IMAGENET_STD}
    folder = tmp_path_factory.mktemp("weights")
    torch.save(enliven(classifier(spec_from_entry(entry))).state_dict(), folder / "lively.pth")
    return spec_from_entry(entry | {"checkpoint": "lively.pth"}, folder)


@pytest.fixture(scope="session")
def sample(lively: ModelSpec) -> Sample:
    return own_sample(lively.view, 24)


@pytest.fixture(scope="session")
def right(lively: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph_from_spec(lively, tmp_path_factory.mktemp("right") / "model.onnx")
