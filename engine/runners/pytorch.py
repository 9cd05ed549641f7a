"""Runs a torch module as a Runner."""

import contextlib
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from .contract import Runner, check_images, require_device


@contextlib.contextmanager
def torch_runner(model: nn.Module, device: str = "cpu") -> Iterator[Runner]:
    """Runs a module of uint8 images in eager torch, fp32 with TF32 off.

    model: as from `featune.engine.models.feature_model`; it is moved to the device.
    """
    require_device(device)
    # Convolutions on this CPU and on tensor cores are laid out by channels last.
    model = model.eval().to(torch.device(device))
    for parameter in model.parameters():
        if parameter.ndim == 4:  # `Module.to` would refuse a model that has convolutions over three dimensions too
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: Tensor, /) -> Tensor:
        check_images(images)
        with _no_tf32():
            return model(images).float()

    yield run


@contextlib.contextmanager
def _no_tf32() -> Iterator[None]:
    before = torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
    try:
        yield
    finally:
        torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = before
