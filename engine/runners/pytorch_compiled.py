"""Runs a torch module through torch.compile as a Runner."""

import contextlib
import shutil
from collections.abc import Iterator
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import Missing, first_line
from .contract import Runner, check_images, device_kind, require_device
from .pytorch import true_fp32

COMPILERS = {"cpu": ("g++", "clang++", "c++"), "cuda": ("gcc", "clang", "cc")}  # of inductor, of Triton


def require_compiler(device: str, otherwise: str) -> None:
    """Raises Missing where torch.compile finds no compiler for the device. otherwise: what a user can do instead."""
    require_device(device)
    compilers = COMPILERS[device_kind(device)]
    if not any(map(shutil.which, compilers)):
        raise Missing(
            f"torch-compile needs a compiler, none of {', '.join(compilers)} found; install one (apt install g++), or "
            f"{otherwise}"
        )


@contextlib.contextmanager
def compiled_runner(model: nn.Module, device: str = "cpu", threads: int | None = None) -> Iterator[Runner]:
    """Runs a module of uint8 images compiled by torch's inductor, fp32 with TF32 off.

    One graph without breaks, for any number of images; batches of one get code of their own. threads: for which a
    CPU's code is made, by default as many as torch uses. The code is made at the first calls, which takes a minute.
    Raises Missing where no C++ compiler is found, or the model cannot be compiled whole.
    """
    require_compiler(device, "use --backend torch")
    model = model.eval().to(torch.device(device))
    options: dict[str, Any] = {"cpp.threads": threads or torch.get_num_threads()}
    # A whole graph, or an error: also where it was compiled for too many shapes, which otherwise runs eagerly.
    compiled = torch.compile(model, fullgraph=True, options=options)

    @torch.inference_mode()
    def run(images: Tensor, /) -> Tensor:
        check_images(images)
        if len(images) > 1:
            torch._dynamo.maybe_mark_dynamic(images, 0)
        with true_fp32(), _refusals():
            return compiled(images).float()

    yield run


@contextlib.contextmanager
def _refusals() -> Iterator[None]:
    """What cannot be compiled, in our words; nothing falls back to eager torch in silence."""
    from torch._dynamo.exc import FailOnRecompileLimitHit, TorchDynamoException

    try:
        yield
    except (TorchDynamoException, FailOnRecompileLimitHit) as error:
        raise Missing(
            f"torch.compile cannot compile this model whole ({first_line(error)}); use --backend torch or onnxruntime"
        ) from error
