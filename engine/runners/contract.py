"""The Runner contract, and what every runner checks.

A runner is one call: uint8 images [b, channels, side, side] to float32 rows [b, width] on the same device, for
any b from 1 up. The rows are the caller's. Work on a GPU is queued; the caller synchronizes. Opening a
runner raises where what was asked for is not what would run; nothing falls back in silence.
"""

from typing import Protocol

import torch
from torch import Tensor

from ..errors import BadInput, Missing

DEVICES = ("cpu", "cuda")
ALIGNMENT = 256  # bytes, of the addresses that TensorRT takes; cuDNN is faster with as much


class Runner(Protocol):
    def __call__(self, images: Tensor, /) -> Tensor: ...


def check_images(images: Tensor) -> None:
    if images.dtype != torch.uint8 or images.ndim != 4:
        found = f"{images.dtype} {tuple(images.shape)}"
        raise BadInput(f"a runner takes uint8 images [b, channels, side, side], found {found}")


def aligned(images: Tensor) -> Tensor:
    """The images at an address that GPU libraries take: themselves, or a copy where they are a slice of a batch.

    uint8 images of an odd side do not end at a multiple of `ALIGNMENT`; torch allocates at multiples of 512.
    """
    images = images.contiguous()  # an address says nothing of strides
    return images if images.data_ptr() % ALIGNMENT == 0 else images.clone()


def device_kind(device: str) -> str:
    """cpu or cuda, whether this machine has it or not. Raises BadInput for any other word."""
    try:
        kind = torch.device(device).type
    except RuntimeError:
        kind = ""
    if kind not in DEVICES:
        raise BadInput(f"no device named {device!r}; cpu, cuda or cuda:N")
    return kind


def require_device(device: str) -> None:
    kind = device_kind(device)
    if kind == "cuda" and not torch.cuda.is_available():
        raise Missing("no CUDA device is usable by torch on this machine; choose --device cpu")
    index = torch.device(device).index
    if kind == "cuda" and index is not None and index >= (count := torch.cuda.device_count()):
        raise Missing(f"device {device} found, this machine has cuda:0 to cuda:{count - 1}; choose one of these")
