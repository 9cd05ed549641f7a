"""The Runner contract and the backends that keep it: torch and ONNX Runtime.

A runner is one call: uint8 images [b, 3, side, side] to float32 rows [b, width] on the same device, for
any b from 1 up. The rows are the caller's. Work on a GPU is queued; the caller synchronizes. Opening a
runner raises where what was asked for is not what would run; nothing falls back in silence.
"""

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Protocol

import numpy as np
import torch
from torch import Tensor, nn

from engine.errors import BadInput, Missing

PROVIDERS = {"cpu": "CPUExecutionProvider", "cuda": "CUDAExecutionProvider"}


class Runner(Protocol):
    def __call__(self, images: Tensor, /) -> Tensor: ...


@contextlib.contextmanager
def torch_runner(model: nn.Module, device: str = "cpu") -> Iterator[Runner]:
    """Runs a module of uint8 images in eager torch, fp32 with TF32 off.

    model: as from `engine.models.feature_model`; it is moved to the device.
    """
    _require_device(device)
    # Convolutions on this CPU and on tensor cores are laid out by channels last.
    model = model.eval().to(torch.device(device)).to(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: Tensor, /) -> Tensor:
        _check_images(images)
        with _no_tf32():
            return model(images).float()

    yield run


@contextlib.contextmanager
def onnxruntime_runner(
    graph: str | os.PathLike[str], device: str = "cpu", *, threads: int | None = None
) -> Iterator[Runner]:
    """Runs a graph file's first output in ONNX Runtime.

    threads: inside one operator; by default the processors that this process may use.
    Raises Missing where the asked provider is not what the session took, BadInput for a broken file.
    """
    import onnxruntime

    _require_device(device)
    kind = torch.device(device).type
    wanted = PROVIDERS[kind]
    if kind == "cuda":
        onnxruntime.preload_dlls()
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = threads or len(os.sched_getaffinity(0))
    options.log_severity_level = 3
    if not Path(graph).is_file():
        raise BadInput(f"{graph}: no such graph file; export the model first")
    settings = {"use_tf32": "0", "arena_extend_strategy": "kSameAsRequested"} if kind == "cuda" else {}
    try:
        session = onnxruntime.InferenceSession(
            os.fspath(graph), options, providers=[(wanted, settings)], enable_fallback=0
        )
    except Exception as error:  # ONNX Runtime's exceptions share no public base class
        raise BadInput(f"{graph}: ONNX Runtime refuses it ({str(error)[:300]}); export the model again") from error
    if session.get_providers()[0] != wanted:
        raise Missing(
            f"{wanted} was asked for and {session.get_providers()[0]} would run; "
            "install onnxruntime-gpu with its CUDA libraries, or choose --device cpu"
        )
    session.disable_fallback()
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(images: Tensor, /) -> Tensor:
        _check_images(images)
        images = images.contiguous()  # a bound pointer says nothing of strides
        if kind == "cpu":
            return torch.from_numpy(session.run([output], {name: images.numpy()})[0])
        binding = session.io_binding()
        binding.bind_input(name, kind, images.device.index or 0, np.uint8, tuple(images.shape), images.data_ptr())
        binding.bind_output(output, kind, images.device.index or 0)
        torch.cuda.current_stream().synchronize()  # ONNX Runtime works on a stream of its own
        session.run_with_iobinding(binding)
        return torch.from_dlpack(binding.get_outputs()[0]).clone()

    yield run


def _check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4 or images.shape[1] != 3:
        raise BadInput(f"a runner takes uint8 images [b, 3, side, side], found {images.dtype} {tuple(images.shape)}")


def _require_device(device: str) -> None:
    kind = torch.device(device).type
    if kind not in PROVIDERS:
        raise BadInput(f"no device named {device!r}; cpu, cuda or cuda:N")
    if kind == "cuda" and not torch.cuda.is_available():
        raise Missing("no CUDA device is usable by torch on this machine; choose --device cpu")


@contextlib.contextmanager
def _no_tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
