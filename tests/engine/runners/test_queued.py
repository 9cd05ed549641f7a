"""ONNX Runtime on a GPU without one: what is bound, in which order streams wait, and that the host never does.

The binding itself runs for real, on the CPU; CUDA's streams are fakes that write down what was asked of them.
"""

import contextlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch
from torch import Tensor

from featune.engine.errors import BadInput
from featune.engine.runners import onnx_runtime as runners
from featune.engine.runners import onnxruntime_runner
from featune.engine.runners.onnx_runtime import bound_run

IMAGES = torch.arange(2 * 3 * 4 * 4, dtype=torch.uint8).reshape(2, 3, 4, 4)


@pytest.fixture
def graph(tmp_path: Path) -> Path:
    """Sums each image's channels: rows float32 [batch, 3]."""
    return summing(tmp_path / "sum.onnx", width=3)


def summing(path: Path, width: int | str) -> Path:
    make = onnx.helper
    nodes = [
        make.make_node("Cast", ["images"], ["float"], to=onnx.TensorProto.FLOAT),
        make.make_node("ReduceSum", ["float", "axes"], ["features"], keepdims=0),
    ]
    axes = onnx.numpy_helper.from_array(np.array([2, 3]), "axes")
    images = make.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", width, 4, 4])
    features = make.make_tensor_value_info("features", onnx.TensorProto.FLOAT, ["batch", width])
    opsets = [make.make_opsetid("", 20)]
    graph = make.make_graph(nodes, "sum", [images], [features], [axes])
    onnx.save(make.make_model(graph, opset_imports=opsets, ir_version=10), path)
    return path


class Stream:
    """A stream that writes down what waits for what."""

    def __init__(self, name: str, said: list[str], handle: int = 0):
        self.name, self.said, self.cuda_stream = name, said, handle

    def wait_stream(self, other: "Stream") -> None:
        self.said.append(f"{self.name} waits for {other.name}")


@pytest.fixture
def said(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A machine whose CUDA is the CPU and notes; what the runner asked of it, in order."""
    notes: list[str] = []

    @contextlib.contextmanager
    def within(stream: Stream) -> Iterator[None]:
        notes.append(f"rows allocated on {stream.name}")
        yield

    def bound(session: Any, inputs: dict[str, Tensor], outputs: dict[str, Tensor], wait: bool = True) -> None:
        notes.append("run" if wait else "queued")
        bound_run(session, inputs, outputs, wait)

    def kept(tensor: Tensor, stream: Stream) -> None:
        notes.append(f"{'images' if tensor.dtype == torch.uint8 else 'rows'} kept for {stream.name}")

    session = runners._session

    def opened(*arguments: Any) -> Any:
        graph, provider, _, *others = arguments
        notes.append(f"{provider} on stream {others[-1]['user_compute_stream']}")
        found = session(graph, "cpu", "cpu", 1, False, {})
        found.get_providers = lambda: ["CUDAExecutionProvider"]
        return found

    monkeypatch.setattr(runners, "require_device", lambda device: None)
    monkeypatch.setattr(runners, "bound_run", bound)
    monkeypatch.setattr(runners, "_session", opened)
    monkeypatch.setattr("torch.cuda.Stream", lambda device: Stream("own", notes, 77))
    monkeypatch.setattr("torch.cuda.current_stream", lambda device: Stream("caller", notes))
    monkeypatch.setattr("torch.cuda.stream", within)
    monkeypatch.setattr("torch.cuda.synchronize", lambda *_: notes.append("the host waits"))
    monkeypatch.setattr(Tensor, "record_stream", kept)
    return notes


def test_a_batch_on_a_gpu_is_queued_and_no_side_waits_but_for_what_it_needs(graph: Path, said: list[str]) -> None:
    with onnxruntime_runner(graph, "cuda") as run:
        rows = run(IMAGES)
    assert torch.equal(rows, IMAGES.float().sum((2, 3)))
    assert said == [
        "cuda on stream 77",
        "own waits for caller",
        "rows allocated on own",
        "queued",
        "caller waits for own",
        "images kept for own",
        "rows kept for caller",
    ]


@pytest.mark.parametrize("provider", ["cuda", "tensorrt"])
def test_every_gpu_provider_of_a_session_gets_the_same_stream(provider: str) -> None:
    """What TensorRT leaves to the CUDA provider would otherwise run beside it, in no order."""
    asked = runners._providers(provider, "cuda:1", {"user_compute_stream": "77", "x": "y"})
    assert [name for name, _ in asked][-1] == "CUDAExecutionProvider"
    assert all(options["user_compute_stream"] == "77" and options["device_id"] == "1" for _, options in asked)
    assert [options.get("x") for _, options in asked] == ["y", None][: len(asked)]


@pytest.mark.parametrize("wait", [True, False])
def test_a_bound_run_writes_where_it_was_told(graph: Path, wait: bool) -> None:
    session = runners._session(graph, "cpu", "cpu", 1, False, {})
    rows = torch.full((2, 3), -1.0)
    bound_run(session, {"images": IMAGES}, {"features": rows}, wait)
    assert torch.equal(rows, IMAGES.float().sum((2, 3)))


def test_a_tensor_of_other_strides_is_not_bound(graph: Path) -> None:
    session = runners._session(graph, "cpu", "cpu", 1, False, {})
    with pytest.raises(BadInput, match="make it contiguous"):
        bound_run(session, {"images": IMAGES.to(memory_format=torch.channels_last)}, {"features": torch.empty(2, 3)})


def test_rows_of_unknown_width_are_refused_on_a_gpu(tmp_path: Path, said: list[str]) -> None:
    with (
        onnxruntime_runner(summing(tmp_path / "x.onnx", "wide"), "cuda") as run,
        pytest.raises(BadInput, match=r"float \[batch, width\] expected"),
    ):
        run(IMAGES)
    assert "queued" not in said


def test_an_allowed_fallback_runs_on_the_cpu_and_gives_rows_where_the_images_are(
    graph: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if torch.cuda.is_available():
        pytest.skip("here CUDA is what would run")
    monkeypatch.setattr(runners, "require_device", lambda device: None)
    monkeypatch.setattr("onnxruntime.preload_dlls", lambda: None)
    monkeypatch.setattr("torch.cuda.Stream", lambda device: Stream("own", [], 77))
    with onnxruntime_runner(graph, "cuda", allow_fallback=True) as run:
        assert torch.equal(run(IMAGES), IMAGES.float().sum((2, 3)))
        assert set(run.ran) == {"CPUExecutionProvider"}  # type: ignore[attr-defined]
