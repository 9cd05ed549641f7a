"""torch-compile as a runner."""

import contextlib
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from featune.engine.errors import Missing, ParityFailed
from featune.engine.models import ModelSpec
from featune.engine.runners import Runner, compiled_runner, torch_runner
from featune.export.backends import open_runner


class Tiny(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(12, 5)

    def forward(self, images: Tensor) -> Tensor:
        return self.layer(images.float().flatten(1) / 255).relu()


def images(b: int) -> Tensor:
    return torch.randint(0, 256, (b, 3, 2, 2), dtype=torch.uint8, generator=torch.Generator().manual_seed(b))


@pytest.mark.skipif(not shutil.which("g++"), reason="no C++ compiler here")
@pytest.mark.filterwarnings("ignore")
def test_compiled_rows_are_eager_ones_for_any_batch() -> None:
    model = Tiny()
    with compiled_runner(model, threads=1) as run, torch_runner(model) as eager:
        for b in (1, 3, 8):
            torch.testing.assert_close(run(images(b)), eager(images(b)), rtol=1e-4, atol=1e-5)


def test_without_a_compiler_it_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(Missing, match="torch-compile needs a compiler"), compiled_runner(Tiny()):
        pass


@pytest.mark.filterwarnings("ignore")
def test_what_cannot_be_compiled_whole_is_missing_and_does_not_run_eagerly() -> None:
    class Broken(Tiny):
        def forward(self, images: Tensor) -> Tensor:
            torch._dynamo.graph_break()
            return super().forward(images)

    with compiled_runner(Broken()) as run, pytest.raises(Missing, match="cannot compile this model whole"):
        run(images(2))


def test_compiled_rows_that_are_not_eager_torchs_are_refused(
    spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    @contextlib.contextmanager
    def wrong(model: nn.Module, device: str, threads: int | None) -> Iterator[Runner]:
        with torch_runner(model, device) as run:
            yield lambda batch: run(batch).flip(1)

    monkeypatch.setattr("featune.export.backends.torch_backends.compiled_runner", wrong)
    sample = torch.randint(0, 256, (4, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with (
        pytest.raises(ParityFailed, match="by torch-compile in fp32 on cpu is not the model"),
        open_runner(spec, "torch-compile", cache=tmp_path, sample=lambda: sample),
    ):
        pass
