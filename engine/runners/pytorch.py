"""Runs a torch module as a Runner, in a precision that is what it says."""

import contextlib
import threading
from collections.abc import Iterator

import torch
from torch import Tensor, nn

from ..errors import BadInput, first_line
from .contract import Runner, check_images, device_kind, require_device

# What eager torch computes on each kind of device, the fastest first. A CPU has few fp16 kernels.
TORCH_PRECISIONS = {"cpu": ("bf16", "fp32"), "cuda": ("fp16", "bf16", "fp32")}
DTYPES = {"fp32": torch.float32, "fp16": torch.float16, "bf16": torch.bfloat16}


@contextlib.contextmanager
def torch_runner(model: nn.Module, device: str = "cpu", precision: str = "fp32") -> Iterator[Runner]:
    """Runs a module of uint8 images in eager torch. fp32 is fp32: no TF32, no bf16 products.

    model: as from `featune.engine.models.feature_model`, whose first part makes floats of the pixels; it is moved to
    the device. precision: fp32, bf16, and fp16 on a GPU: the type of all parts after the first and of their weights.
    Raises BadInput for another one.
    """
    require_device(device)
    model = in_precision(model.eval().to(torch.device(device)), precision, device)
    # Convolutions on CPUs and on tensor cores are laid out by channels last.
    for parameter in model.parameters():
        if parameter.ndim == 4:  # `Module.to` would refuse a model that has convolutions over three dimensions too
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)

    @torch.inference_mode()
    def run(images: Tensor, /) -> Tensor:
        check_images(images)
        with true_fp32(), _in_words(precision):
            return model(images).float()

    yield run


def in_precision(model: nn.Module, precision: str, device: str = "cpu") -> nn.Module:
    """A model of uint8 images that scales them in fp32 and goes on in the precision; itself where that is fp32."""
    kind = device_kind(device)
    if precision not in TORCH_PRECISIONS[kind]:
        raise BadInput(f"torch on {kind} runs {', '.join(TORCH_PRECISIONS[kind])}, found {precision}; choose one")
    if precision == "fp32":
        return model
    normalise, *others = model.children() if isinstance(model, nn.Sequential) else (None, model)
    if normalise is None:
        raise BadInput(f"a model of normalised images cannot run in {precision}; give one of `feature_model`")
    return nn.Sequential(normalise, _Cast(DTYPES[precision]), *(part.to(DTYPES[precision]) for part in others))


@contextlib.contextmanager
def _in_words(precision: str) -> Iterator[None]:
    """A model that makes float32 of its values by itself cannot be run in another type."""
    try:
        yield
    except RuntimeError as error:
        if precision == "fp32" or "dtype" not in str(error):
            raise
        raise BadInput(
            f"this model does not run in {precision}, since it casts values itself ({first_line(error)}); use fp32"
        ) from error


class _Cast(nn.Module):
    def __init__(self, dtype: torch.dtype):
        super().__init__()
        self.dtype = dtype

    def forward(self, images: Tensor) -> Tensor:
        return images.to(self.dtype)


_ARITHMETIC = (("cudnn", "conv"), ("cudnn", "rnn"), ("mkldnn", "matmul"), ("mkldnn", "conv"))
_LOCK = threading.Lock()
_inside: list[str] = []  # what was set outside, while any thread is inside
_depth = 0


@contextlib.contextmanager
def true_fp32() -> Iterator[None]:
    """fp32 products are computed in fp32 inside: no TF32 on tensor cores, no bf16 in oneDNN, whatever is set outside.

    The setting is the process's own, and several threads run models: the first one sets it, the last one restores it.
    By torch's `fp32_precision`, since reading the older `allow_tf32` raises once a user has set the newer one.
    """
    global _depth
    places = [getattr(getattr(torch.backends, library), part) for library, part in _ARITHMETIC] + [
        torch.backends.cuda.matmul
    ]
    with _LOCK:
        _depth += 1
        if _depth == 1:
            _inside[:] = [place.fp32_precision for place in places]
            for place in places:
                place.fp32_precision = "ieee"
    try:
        yield
    finally:
        with _LOCK:
            _depth -= 1
            if _depth == 0:
                general = getattr(torch.backends, "fp32_precision")  # noqa: B009  (unknown to type checkers)
                for place, precision in zip(places, _inside, strict=True):
                    # What a part has from the general setting it shall go on to have from there.
                    place.fp32_precision = "none" if precision == general else precision
