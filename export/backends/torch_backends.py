"""Torch as a backend: the module itself, eager in the precisions of the device, or compiled."""

import contextlib
from collections.abc import Iterator

from featune.engine.models import feature_model
from featune.engine.runners import TORCH_PRECISIONS, Runner, compiled_runner, require_device, torch_runner

from .contract import Asked, Backend, Ready


@contextlib.contextmanager
def _opened(asked: Asked, ready: Ready) -> Iterator[Runner]:
    with torch_runner(feature_model(asked.spec), asked.device, ready.precision) as runner:
        yield runner


@contextlib.contextmanager
def _compiled(asked: Asked, ready: Ready) -> Iterator[Runner]:
    with compiled_runner(feature_model(asked.spec), asked.device, asked.threads) as runner:
        yield runner


TORCH = Backend(
    "the torch module, eager",
    TORCH_PRECISIONS,
    lambda asked: Ready(precision=asked.precision),
    _opened,
    require_device,
    lambda asked, ready: ready.precision == "fp32",  # what all others are compared with
)
TORCH_COMPILE = Backend(
    "the torch module, compiled by torch's inductor",
    {"cpu": ("fp32",), "cuda": ("fp32",)},
    lambda asked: Ready(precision=asked.precision),
    _compiled,
    require_device,
    lambda asked, ready: False,
)
