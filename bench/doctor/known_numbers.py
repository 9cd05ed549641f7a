"""Each stage of the work once, on a problem whose answer was worked out by hand."""

import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn

from featune.engine.errors import FeatuneError, first_line
from featune.engine.images import read_image
from featune.engine.logistic_regression import fit_path
from featune.engine.models import ModelSpec, feature_model, spec_from_module
from featune.engine.runners import torch_runner
from featune.export.backends import open_runner

from .check import FITTING, Check, fault, fine

SIDE = 8
# Channel c of the image is full of 51 (c + 1), which is 0.2, 0.4 and 0.6 of 255. Kernel k of 3 x 3 sums channel k, the
# last one all three channels: 9 * 0.2, 9 * 0.4, 9 * 0.6, and 9 * 1.2.
KNOWN = (1.8, 3.6, 5.4, 10.8)
# Rows -1 and 1 of class 0 and 1, penalty 1: at the margin d the derivative of 2 log(1 + exp -d) + d**2 / 4, the loss of
# both rows and half the squares of two weights of d / 2, is 0, which is d (1 + exp d) = 4.
MARGIN = 1.042597
REMEDY = f"{FITTING}; where it stays wrong, report it with these lines"


class Sums(nn.Module):
    """A network of known weights: a convolution, its mean over space, a classifier."""

    def __init__(self) -> None:
        super().__init__()
        self.convolution = nn.Conv2d(3, len(KNOWN), 3, bias=False)
        self.head = nn.Linear(len(KNOWN), 2, bias=False)
        with torch.no_grad():
            self.convolution.weight.zero_()
            for k in range(3):
                self.convolution.weight[k, k] = 1.0
            self.convolution.weight[3] = 1.0
            self.head.weight.fill_(1.0)

    def forward(self, images: Tensor) -> Tensor:
        return self.head(self.convolution(images).relu().mean((2, 3)))


def self_test(device: str = "cpu", clock: Callable[[], float] = time.perf_counter) -> Iterator[Check]:
    """Decoding, torch, an export that is judged and run in ONNX Runtime, and a probe; each as one check."""
    began = clock()
    with tempfile.TemporaryDirectory() as folder:
        place = Path(folder)
        stages: dict[str, Callable[[], str]] = {
            "decoding": lambda: _decoded(place),
            f"torch on {device}": lambda: _torch_rows(device),
            f"export and ONNX Runtime on {device}": lambda: _exported_rows(place, device),
            "probe": _probed,
        }
        for name, stage in stages.items():
            try:
                wrong = stage()
            except FeatuneError as error:
                wrong = first_line(error)
            except Exception as error:  # whatever a broken library raises is what is looked for
                wrong = f"{type(error).__name__}: {first_line(error)}"
            subject = "self-test"
            yield fault(subject, f"{name}: {wrong}", REMEDY) if wrong else fine(subject, f"{name}: the known numbers")
    yield fine("self-test", f"took {clock() - began:.0f} s")


def _decoded(folder: Path) -> str:
    pixels = np.arange(SIDE * SIDE * 3, dtype=np.uint8).reshape(SIDE, SIDE, 3)
    Image.fromarray(pixels).save(folder / "known.png")
    found = np.asarray(read_image(folder / "known.png"))
    return "" if np.array_equal(found, pixels) else "the pixels of a PNG are not those that were written"


def _spec() -> ModelSpec:
    return spec_from_module(Sums(), {"side": SIDE, "mean": (0, 0, 0), "std": (1, 1, 1)}, "known-sums")


def _images() -> Tensor:
    """Two images [2, 3, SIDE, SIDE], one full of the known values, one black."""
    known = torch.stack([torch.full((SIDE, SIDE), 51 * (c + 1), dtype=torch.uint8) for c in range(3)])
    return torch.stack([known, torch.zeros_like(known)])


def _compared(rows: Tensor) -> str:
    expected = torch.tensor([KNOWN, [0.0] * len(KNOWN)])
    if torch.allclose(rows.float().cpu(), expected, rtol=1e-4, atol=1e-4):
        return ""
    return f"{rows.cpu().tolist()} found, {expected.tolist()} expected"


def _torch_rows(device: str) -> str:
    with torch_runner(feature_model(_spec()), device) as run:
        return _compared(run(_images().to(device)))


def _exported_rows(folder: Path, device: str) -> str:
    rng = np.random.default_rng(0)
    levels = rng.uniform(0, 1, (8, 3, 1, 1))  # so that no two images are alike
    noise = torch.from_numpy((levels * rng.integers(0, 256, (8, 3, SIDE, SIDE))).astype(np.uint8))
    with open_runner(_spec(), "onnxruntime", device=device, cache=folder, sample=lambda: noise) as run:
        return _compared(run(_images().to(device)))


def _probed() -> str:
    fit = fit_path(np.array([[-1.0], [1.0]], np.float32), [0, 1], [1.0], classes=2)
    weights = np.asarray(fit.weights)[0]
    margin = float(weights[1, 0] - weights[0, 0])
    return "" if abs(margin - MARGIN) < 1e-3 else f"a margin of {margin:.6f} found, {MARGIN} expected"
