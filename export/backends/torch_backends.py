"""Eager torch as a backend: the module itself, in the precisions of the device."""

import contextlib
from collections.abc import Iterator

from featune.engine.models import feature_model
from featune.engine.runners import TORCH_PRECISIONS, Runner, require_device, torch_runner

from .contract import Asked, Backend, Ready


@contextlib.contextmanager
def _opened(asked: Asked, ready: Ready) -> Iterator[Runner]:
    with torch_runner(feature_model(asked.spec), asked.device, ready.precision) as runner:
        yield runner


TORCH = Backend(
    "the torch module, eager",
    TORCH_PRECISIONS,
    lambda asked: Ready(precision=asked.precision),
    _opened,
    require_device,
    lambda asked, ready: ready.precision == "fp32",  # what all others are compared with
)
