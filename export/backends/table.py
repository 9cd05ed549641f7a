"""BACKENDS: the table of all backends by name; and opening a spec on one of them, judged where it runs."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from featune.engine.errors import BadInput, nearest
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import Runner, torch_runner
from featune.engine.store import digest

from ..gate import Sample, held_out, varied
from .contract import Asked, Backend
from .judged_here import Identity, require_agreement
from .onnx_backends import ONNXRUNTIME, ONNXRUNTIME_TENSORRT
from .tensorrt_backends import tensorrt_backend
from .torch_backends import TORCH, TORCH_COMPILE

BACKENDS: dict[str, Backend] = {
    "torch": TORCH,
    "torch-compile": TORCH_COMPILE,
    "onnxruntime": ONNXRUNTIME,
    "onnxruntime-tensorrt": ONNXRUNTIME_TENSORRT,
    "tensorrt": tensorrt_backend("tensorrt", "a TensorRT plan, built for this GPU"),
    "tensorrt-rtx": tensorrt_backend("tensorrt-rtx", "a plan of TensorRT for RTX, for GeForce and RTX cards"),
}


def check_backend(name: str) -> None:
    """Raises BadInput for a name that is not in the table."""
    if name not in BACKENDS:
        raise BadInput(f"no backend named {name!r}{nearest(name, BACKENDS)}; one of {', '.join(BACKENDS)}")


def backend_named(name: str) -> Backend:
    check_backend(name)
    return BACKENDS[name]


@contextlib.contextmanager
def open_runner(
    spec: ModelSpec,
    backend: str,
    *,
    device: str = "cpu",
    cache: Path,
    sample: Callable[[], Tensor],
    threads: int | None = None,
    precision: str = "fp32",
    allow_fallback: bool = False,
) -> Iterator[Runner]:
    """A runner of the spec's features on a backend, judged on the device before its first row is used.

    sample: as of `artefact`. The verdict of a runner that was judged here is its attribute
    `judged_here`. Raises BadInput for an unknown backend, or a device or precision that it does not have;
    ParityFailed for rows that are not the model's; Missing for an absent device.
    """
    found = backend_named(backend)
    found.check(backend, device, precision)
    found.require(device)
    asked = Asked(spec, device, cache, sample, threads, precision, allow_fallback)
    ready = found.ready(asked)
    with found.open(asked, ready) as runner:
        if not found.checks_itself(asked, ready):
            runner.judged_here = require_agreement(  # type: ignore[attr-defined]
                runner,
                Identity(spec.name, digest([spec.digest, spec.view, ready.artefact]), backend, ready.precision),
                device=device,
                cache=cache,
                images=lambda: (
                    varied(
                        held_out(Sample(sample(), "the user's images"), ready.precision), spec.view, ready.precision
                    ).images
                ),
                reference=lambda: torch_runner(feature_model(spec), device),
            )
        yield runner
