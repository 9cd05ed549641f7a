"""The Runner contract, checked for every backend that this machine has."""

import importlib.util
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch
from torch import Tensor

from featune.engine.errors import BadInput, Missing
from featune.engine.models import ModelSpec, feature_model, spec_from_entry
from featune.engine.runners import Runner, onnxruntime_runner, torch_runner
from featune.export.graph import graph_from_spec

DEVICES = ["cpu", pytest.param("cuda", marks=pytest.mark.gpu)]
Opener = Callable[[str], AbstractContextManager[Runner]]


@pytest.fixture(scope="module")
def graph(spec: ModelSpec, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return graph_from_spec(spec, tmp_path_factory.mktemp("graph") / "model.onnx")


@pytest.fixture(params=["torch", "onnxruntime"])
def opener(request: pytest.FixtureRequest, spec: ModelSpec, graph: Path) -> Iterator[Opener]:
    if request.param == "torch":
        yield lambda device: torch_runner(feature_model(spec), device)
    else:
        yield lambda device: onnxruntime_runner(graph, device)


def images(b: int, device: str = "cpu") -> torch.Tensor:
    made = torch.randint(0, 256, (b, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(b))
    return made.to(device)


@pytest.fixture(autouse=True)
def _needs_the_device(request: pytest.FixtureRequest) -> None:
    if request.node.get_closest_marker("gpu") and not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")


@pytest.mark.parametrize("device", DEVICES)
def test_rows_are_float32_on_the_images_device_for_any_batch(opener: Opener, device: str) -> None:
    with opener(device) as run:
        for b in (1, 3, 8):
            rows = run(images(b, device))
            assert (rows.dtype, rows.shape, rows.device.type) == (torch.float32, (b, 96), device)


@pytest.mark.parametrize("device", DEVICES)
def test_a_row_does_not_depend_on_its_batch(opener: Opener, device: str) -> None:
    with opener(device) as run:
        batch = images(8, device)
        alone = torch.cat([run(batch[i : i + 1]) for i in range(8)])
        torch.testing.assert_close(run(batch), alone, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_a_result_is_the_callers_and_never_written_again(opener: Opener, device: str) -> None:
    with opener(device) as run:
        first = run(images(4, device))
        kept = first.clone()
        run(images(4, device).flip(0))
        assert torch.equal(first, kept)


@pytest.mark.parametrize("device", DEVICES)
def test_images_in_another_memory_order_give_the_same_rows(opener: Opener, device: str) -> None:
    with opener(device) as run:
        batch = images(4, device)
        for strided in (batch.to(memory_format=torch.channels_last), batch.permute(0, 1, 3, 2).permute(0, 1, 3, 2)):
            torch.testing.assert_close(run(strided), run(batch), rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("device", DEVICES)
def test_all_backends_agree_with_torch_in_double_precision(opener: Opener, spec: ModelSpec, device: str) -> None:
    exact = feature_model(spec).double()
    batch = images(8)
    with opener(device) as run, torch.inference_mode():
        floats = (batch.double() / 255 - torch.tensor(spec.mean).double().view(3, 1, 1)) / torch.tensor(
            spec.std
        ).double().view(3, 1, 1)
        wanted = exact[1](floats)
        rows = run(batch.to(device)).cpu().double()
    assert torch.nn.functional.cosine_similarity(wanted, rows).min() > 0.99999


@pytest.mark.parametrize("wrong", [torch.zeros(1, 3, 32, 32), torch.zeros(3, 32, 32, dtype=torch.uint8)])
def test_what_is_no_batch_of_uint8_images_is_refused(opener: Opener, wrong: torch.Tensor) -> None:
    with opener("cpu") as run, pytest.raises(BadInput, match=r"uint8 images \[b, channels, side, side\]"):
        run(wrong)


@pytest.mark.parametrize("channels", [1, 4])
def test_images_of_another_number_of_channels_are_refused(opener: Opener, channels: int) -> None:
    """One channel would be spread over three by the normalisation's arithmetic."""
    wrong = torch.zeros(2, channels, 32, 32, dtype=torch.uint8)
    with opener("cpu") as run, pytest.raises(BadInput, match=rf"takes images of .*3 channels.*found .*{channels}"):
        run(wrong)


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has a GPU")
def test_a_gpu_that_is_not_there_is_missing_and_never_the_cpu(opener: Opener) -> None:
    with pytest.raises(Missing, match="choose --device cpu"), opener("cuda"):
        pass


@pytest.mark.parametrize("device", ["meta", "foo", "", "cuda:x", "cpu:-2"])
def test_an_unknown_device_is_bad_input(opener: Opener, device: str) -> None:
    with pytest.raises(BadInput, match=f"no device named '{device}'"), opener(device):
        pass


def test_a_session_that_took_another_provider_is_refused(graph: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ONNX Runtime gives a CPU session where CUDA's libraries are missing, and says so on stderr only."""
    import featune.engine.runners.onnx_runtime as runners

    if torch.cuda.is_available():
        pytest.skip("here CUDA is what would run")
    monkeypatch.setattr(runners, "require_device", lambda device: None)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    monkeypatch.setattr("torch.cuda.Stream", lambda device: SimpleNamespace(cuda_stream=77))
    said = "CUDAExecutionProvider was asked for and CPUExecutionProvider would run"
    with pytest.raises(Missing, match=said), onnxruntime_runner(graph, "cuda"):
        pass


def test_a_tensorrt_provider_without_its_libraries_is_missing_with_the_version_that_it_needs(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    import featune.engine.runners.onnx_runtime as runners

    if "TensorrtExecutionProvider" not in onnxruntime.get_available_providers():
        pytest.skip("onnxruntime-gpu is not installed")
    if importlib.util.find_spec("tensorrt_libs"):
        pytest.skip("here TensorRT is what would run")
    monkeypatch.setattr(runners, "require_device", lambda device: None)
    with pytest.raises(Missing, match="needs TensorRT 10") as caught, onnxruntime_runner(graph, provider="tensorrt"):
        pass
    assert caught.value.exit_code == 4


def test_a_truncated_graph_is_bad_input(graph: Path, tmp_path: Path) -> None:
    broken = tmp_path / "broken.onnx"
    broken.write_bytes(graph.read_bytes()[:2000])
    with pytest.raises(BadInput, match="ONNX Runtime refuses it"), onnxruntime_runner(broken):
        pass
    with pytest.raises(BadInput, match="no such graph file"), onnxruntime_runner(tmp_path / "absent.onnx"):
        pass


def test_a_vision_transformer_keeps_the_contract_too(tmp_path: Path) -> None:
    entry = {"architecture": "test_vit", "pretrained": False, "kwargs": {"img_size": 32, "patch_size": 8}}
    spec = spec_from_entry(entry)
    graph = graph_from_spec(spec, tmp_path / "vit.onnx")
    with onnxruntime_runner(graph) as run, torch_runner(feature_model(spec)) as t:
        assert torch.nn.functional.cosine_similarity(run(images(5)), t(images(5))).min() > 0.99999


def test_a_model_with_convolutions_over_three_dimensions_runs_in_torch() -> None:
    class Deep(torch.nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.flat, self.deep = torch.nn.Conv2d(3, 4, 3), torch.nn.Conv3d(1, 2, 3)

        def forward(self, images: Tensor) -> Tensor:
            return self.deep(self.flat(images.float())[:, None]).mean((3, 4)).flatten(1)

    with torch_runner(Deep()) as runner:
        assert runner(torch.zeros(2, 3, 8, 8, dtype=torch.uint8)).shape == (2, 4)
