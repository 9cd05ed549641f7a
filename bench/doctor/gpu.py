"""The GPUs as NVIDIA's driver shows them, whether they are busy, and whether torch sees them."""

import contextlib
import dataclasses
import subprocess
from collections.abc import Callable, Sequence

from .check import Check, fault, fine, note

QUERY = ("index", "name", "driver_version", "utilization.gpu", "memory.used", "memory.total")
BUSY, LEAST_FREE = 20.0, 1024.0  # percent; MiB
ABSENT = (
    "install the NVIDIA driver (580 or later); in a container, start it with --gpus all; or leave --device cuda out"
)


@dataclasses.dataclass(frozen=True)
class Gpu:
    """As nvidia-smi lists it. busy: percent of the last moment, used and total: MiB; None where it does not tell."""

    index: int
    name: str
    driver: str
    busy: float | None
    used: float | None
    total: float | None


def nvidia_smi() -> str | None:
    """What the driver's own tool lists; None where there is no tool or no driver."""
    command = ["nvidia-smi", f"--query-gpu={','.join(QUERY)}", "--format=csv,noheader,nounits"]
    with contextlib.suppress(OSError, subprocess.SubprocessError):
        return subprocess.run(command, capture_output=True, text=True, timeout=20, check=True).stdout
    return None


def listed(text: str | None) -> list[Gpu]:
    """The GPUs of nvidia-smi's lines; lines that are none of its table are left out."""
    found = []
    for line in (text or "").splitlines():
        words = [word.strip() for word in line.split(",")]
        if len(words) == len(QUERY) and words[0].isdigit():
            found.append(Gpu(int(words[0]), words[1], words[2], *map(_number, words[3:])))
    return found


def _number(word: str) -> float | None:
    try:
        return float(word)
    except ValueError:  # [N/A], of a GPU that is cut in parts
        return None


def gpu_checks(gpus: Sequence[Gpu], asked: str | None, seen_by_torch: int) -> list[Check]:
    """asked: the device that is wanted, None for whatever is there. seen_by_torch: how many torch can use.

    Where a CPU is asked for, nothing of a GPU is a fault.
    """
    from featune.engine.runners import device_kind  # which needs torch

    serious = serious_for(asked)
    wanted = asked is not None and device_kind(asked) == "cuda"
    if not gpus and not seen_by_torch:
        said = "no NVIDIA GPU: nvidia-smi lists none, and torch sees none"
        return [fault("GPU", f"{said}; {asked} was asked for", ABSENT) if wanted else note("GPU", said)]
    index = int(asked.partition(":")[2] or 0) if wanted and asked else None
    checks = [
        _gpu_check(gpu, serious if index == gpu.index or (index is None and len(gpus) == 1) else note) for gpu in gpus
    ]
    if gpus and not seen_by_torch:
        remedy = "look at the lines on driver and CUDA; in a container, start it with --gpus all"
        checks.append(serious("GPU", f"the driver lists {len(gpus)}, torch can use none", remedy))
    if index is not None and 0 < seen_by_torch <= index:
        remedy = f"choose cuda:0 to cuda:{seen_by_torch - 1}, or look at CUDA_VISIBLE_DEVICES"
        checks.append(fault("GPU", f"{asked} was asked for, torch sees {seen_by_torch}", remedy))
    return checks or [fine("GPU", f"torch sees {seen_by_torch}")]


def serious_for(asked: str | None) -> Callable[[str, str, str], Check]:
    """What hinders a GPU: a note where a CPU is asked for, and a fault elsewhere."""
    from featune.engine.runners import device_kind

    return note if asked is not None and device_kind(asked) == "cpu" else fault


def _gpu_check(gpu: Gpu, serious: Callable[[str, str, str], Check]) -> Check:
    said = f"cuda:{gpu.index} {gpu.name}, driver {gpu.driver}"
    if gpu.used is not None and gpu.total is not None:
        said += f", {gpu.used:,.0f} of {gpu.total:,.0f} MiB used"
        if gpu.total - gpu.used < LEAST_FREE:
            return serious("GPU", said, "close what else uses it (nvidia-smi shows it), or choose another device")
    if gpu.busy is not None and gpu.busy >= BUSY:
        remedy = "speeds that are measured now are too low"
        return note("GPU", f"{said}, busy {gpu.busy:.0f} % of the time with other work", remedy)
    return fine("GPU", said)
