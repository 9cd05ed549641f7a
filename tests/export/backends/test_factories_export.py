"""Modules of users that other exporters fail on, each as a bug report has it: exported right, or refused.

Sources: pytorch#64806 and #109370 (pooling, bicubic), pytorch#122321 (encoder), onnxruntime#11384 (overflow in fp16),
pytorch#26338 (dropout that is always on), pytorch-lightning#1556 (the classifier is defined first).
"""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch

from featune.engine.models import ModelSpec, spec_from_entry
from featune.export.backends import exported
from featune.export.gate import Sample, own_sample

NETS = """
import torch
from torch import nn
from torch.nn import functional


class Net(nn.Module):
    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.fc, self.conv = nn.Linear(8, 10), nn.Conv2d(3, 8, 8, stride=8)

    def forward(self, x):
        return self.fc(self.features(x))


def adaptive():
    torch.manual_seed(0)
    body = nn.Sequential(nn.Conv2d(3, 8, 5, stride=4), nn.ReLU(), nn.AdaptiveAvgPool2d((3, 3)), nn.Flatten())
    return nn.Sequential(body, nn.Linear(72, 10))


class Positions(Net):
    antialias = False

    def __init__(self):
        super().__init__()
        self.places = nn.Parameter(torch.randn(1, 8, 5, 5))

    def features(self, x):
        x = self.conv(x)
        size = x.shape[-2:]
        x = x + functional.interpolate(self.places, size=size, mode="bicubic", antialias=self.antialias)
        return torch.relu(x).mean((2, 3))


class Antialiased(Positions):
    antialias = True


class Spread(Net):
    def features(self, x):
        x = self.conv(x).flatten(2)
        return x.std(-1) + x.var(-1)


class Encoder(Net):
    def __init__(self):
        super().__init__()
        self.cls = nn.Parameter(torch.randn(1, 1, 8))
        self.body = nn.TransformerEncoder(nn.TransformerEncoderLayer(8, 2, 16, batch_first=True), 2)

    def features(self, x):
        x = self.conv(x).flatten(2).transpose(1, 2)
        return self.body(torch.cat([self.cls.expand(x.shape[0], -1, -1), x], 1))[:, 0]


class Loud(Net):
    '''Values near a million before the normalisation.'''

    def __init__(self):
        super().__init__()
        self.norm = nn.GroupNorm(1, 8)
        with torch.no_grad():
            self.conv.weight.mul_(1e6)

    def features(self, x):
        return torch.relu(self.norm(self.conv(x))).mean((2, 3))


class Dropping(Net):
    def features(self, x):
        return functional.dropout(self.conv(x).mean((2, 3)), 0.5)


class Drawing(Net):
    '''Noise in every forward.'''

    def features(self, x):
        x = self.conv(x).mean((2, 3))
        return x + torch.randn_like(x)
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    (folder / "hard_nets.py").write_text(NETS)
    return folder


def made(nets: Path, name: str) -> tuple[ModelSpec, Sample]:
    spec = spec_from_entry({"factory": f"hard_nets.py:{name}", "side": 32}, nets)
    return spec, own_sample(spec.view, 16)


@pytest.mark.parametrize("name", ["adaptive", "Positions", "Antialiased", "Spread"])
def test_pooling_and_interpolation_of_odd_sizes_are_exported_right(nets: Path, tmp_path: Path, name: str) -> None:
    spec, sample = made(nets, name)
    verdict = exported(spec, tmp_path / "m.onnx", sample)
    assert verdict.passed, verdict.report
    assert "tap" in verdict.judged


def test_an_encoder_takes_any_batch_and_any_file_name(nets: Path, tmp_path: Path) -> None:
    spec, sample = made(nets, "Encoder")
    path = tmp_path / "größe, 2 #.onnx"
    verdict = exported(spec, path, sample)
    assert verdict.passed, verdict.report
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    images = torch.cat([sample.images, sample.images.flip(3)]).numpy()
    one = np.concatenate([session.run(["features"], {"images": images[i : i + 1]})[0] for i in range(32)])
    for batch in (2, 5, 32):
        found = session.run(["features"], {"images": images[:batch]})[0]
        np.testing.assert_allclose(found, one[:batch], atol=1e-4)


def test_what_overflows_fp16_stays_in_fp32(nets: Path, tmp_path: Path) -> None:
    spec, sample = made(nets, "Loud")
    verdict = exported(spec, tmp_path / "m.onnx", sample, precision="fp16")
    assert verdict.passed, verdict.report


@pytest.mark.parametrize("name", ["Dropping", "Drawing"])
def test_a_model_that_draws_at_random_never_passes(nets: Path, tmp_path: Path, name: str) -> None:
    spec, sample = made(nets, name)
    verdict = exported(spec, tmp_path / "m.onnx", sample)
    assert not verdict.passed
    assert verdict.reasons
