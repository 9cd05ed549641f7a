"""What a number was made with: versions, machine, device, precision."""

import functools
import platform
from importlib.metadata import version
from pathlib import Path
from typing import Any

from .definition import Study


def environment(study: Study) -> dict[str, Any]:
    """What a number was made with: versions, machine, device, precision."""
    import torch

    names = ("featune", "torch", "timm", "onnxruntime-gpu", "numpy", "scikit-learn")
    device = torch.cuda.get_device_name(study.device) if study.device.startswith("cuda") else _processor()
    return {
        "versions": {name: version(name) for name in names} | {"python": platform.python_version()},
        "device": device,
        "backend": study.backend,
        "precision": "fp32",
        "threads": study.threads,
    }


@functools.cache
def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
