"""Whether a runner gives the model's rows on the device where it runs, asked once for each place and kept.

A graph file's verdict is measured in ONNX Runtime on a CPU. On a GPU other kernels run, in another arithmetic, under
another library version: their rows are compared with torch's on the same device before the first one is used.
"""

import dataclasses
import logging
import platform
from collections.abc import Callable
from contextlib import AbstractContextManager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from featune.engine.errors import ParityFailed
from featune.engine.runners import Runner
from featune.engine.store import digest, locked, plain, read_json, write_json

from ..contract import Parity, failures, not_finite, parity, rows_of
from ..gate import parity_record

# Noise of fp32 rows that differ by rounding alone is 1e-7 to 1e-5, on 55 timm models. TF32 keeps 11 bits of each
# factor, which is 2e-4 and more.
FP32_NOISE = 1e-4
LIBRARIES = (
    "torch", "timm", "onnxruntime-gpu", "onnxruntime", "tensorrt", "tensorrt_cu13", "tensorrt_rtx_cu13_libs", "triton",
    "nvidia-cudnn-cu13", "nvidia-cublas",
)  # fmt: skip
RULES = 1  # of how our own runners run: one more when memory order or a provider's option changes
log = logging.getLogger("featune")


@dataclasses.dataclass(frozen=True)
class Identity:
    """What is judged. artefact: names all that its rows depend on but the place. model: its name, for people."""

    model: str
    artefact: str
    backend: str
    precision: str


def require_agreement(
    runner: Runner,
    what: Identity,
    *,
    device: str,
    cache: Path,
    images: Callable[[], Tensor],
    reference: Callable[[], AbstractContextManager[Runner]],
) -> dict[str, Any]:
    """The verdict. Raises ParityFailed where the runner's rows are not the reference's, by the precision's thresholds.

    The verdict is kept for this device, driver and library versions. images: uint8 [n, channels, side, side]; asked for
    where there is no verdict yet, as the reference is. fp32 rows that are as far from the reference's as TF32 would be
    are told in the log, and the verdict says so.
    """
    place = [*place_of(device), *ran_by(runner), f"rules {RULES}"]
    path = cache / "judged" / f"{digest([what.artefact, what.backend, what.precision, place])}.json"
    verdict: Any = read_json(path)
    if verdict is None:  # a cache that cannot be written serves what it has
        with locked(path):
            verdict = read_json(path)
            if verdict is None:
                seen = images().to(device)
                verdict = agreement(runner, reference, seen, what.precision)
                verdict |= {**plain(what), "place": place, "images": len(seen)}
                write_json(path, verdict)
    if not verdict["passed"]:
        raise ParityFailed(
            f"{what.model} by {what.backend} in {what.precision} on {device} is not the model: "
            f"{'; '.join(verdict['reasons'])}; use fp32 on --backend torch, or another precision "
            f"(to ask again, remove {path})"
        )
    if verdict["told"]:
        log.warning("%s by %s on %s: %s", what.model, what.backend, device, verdict["told"])
    return verdict


def agreement(
    runner: Runner, reference: Callable[[], AbstractContextManager[Runner]], images: Tensor, precision: str
) -> dict[str, Any]:
    """The verdict on a runner: passed, reasons, its parity with the reference, and what is `told` of its arithmetic.

    images: uint8 [n, channels, side, side] on the runner's device. reference: opens torch in fp32 there.
    """
    with reference() as wanted:
        rows = rows_of(wanted, runner, images)
    words = not_finite(rows.reference)
    found = parity(rows.reference, rows.candidate)
    reasons = [words] if words else failures(found, precision)
    told = "" if reasons else arithmetic(found, precision)
    return {"passed": not reasons, "reasons": reasons, "parity": parity_record(found), "told": told}


def arithmetic(found: Parity, precision: str) -> str:
    """In words, that rows called fp32 were computed in something coarser; empty where they were not."""
    if precision != "fp32" or found.noise < FP32_NOISE:
        return ""
    return (
        f"its fp32 rows differ from torch's by {found.noise:.1e} of the spread between images, where rounding in fp32 "
        f"gives less than {FP32_NOISE:.0e}: TF32 or another coarser arithmetic is at work, or the model is sensitive"
    )


def place_of(device: str) -> list[str]:
    """Where rows are made: the device, its driver, and the versions of all that computes there."""
    found = [f"{name} {each}" for name in LIBRARIES if (each := _version(name))]
    if torch.device(device).type != "cuda":
        return [platform.node(), platform.machine(), *found]
    major, minor = torch.cuda.get_device_capability(device)
    return [torch.cuda.get_device_name(device), f"{major}.{minor}", _driver(), *found]


def ran_by(runner: Runner) -> list[str]:
    """ONNX Runtime's providers that took a part of the graph: a fallback's verdict is not the asked one's."""
    return sorted(getattr(runner, "ran", {}))


def _driver(path: Path = Path("/proc/driver/nvidia/version")) -> str:
    """In the kernel's words; under WSL, which has no such file, the version of CUDA that the driver speaks."""
    try:
        return path.read_text().splitlines()[0]
    except (OSError, IndexError):
        speaks = getattr(torch._C, "_cuda_getDriverVersion", lambda: "unknown")
        return f"a driver of CUDA {speaks()}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""
