"""Which packages are installed, and whether they fit each other and the driver."""

import contextlib
import re
from collections.abc import Callable
from importlib.metadata import PackageNotFoundError
from pathlib import Path

from .check import FITTING, Check, fault, fine, note

Version = Callable[[str], str]  # of an installed package; raises PackageNotFoundError
Hinders = Callable[[str, str, str], Check]
SHOWN = ("featune", "torch", "torchvision", "timm", "onnx", "onnxruntime-gpu", "onnxruntime")
# Whose own requirements must be met: an installer that ran twice leaves pairs that no installer would choose.
REQUIRING = ("featune", "torchvision", "timm", "onnxruntime-gpu")
# The first driver of each CUDA major; all of the major's minors run on it.
# Source: docs.nvidia.com/deploy/cuda-compatibility, "CUDA Minor Version Compatibility".
LEAST_DRIVER = {11: 450, 12: 525, 13: 580}
CUDNN = 9  # of ONNX Runtime's CUDA provider, for CUDA 12 and 13
PROVIDER_FILE = "libonnxruntime_providers_tensorrt.so"
SO_NAME = re.compile(rb"libnvinfer\.so\.(\d+)")


def package_checks(version: Version, requires: Callable[[str], list[str] | None]) -> list[Check]:
    """The versions, and what stands against requirements; nothing is imported that may be broken."""
    shown = [f"{name} {found}" for name in SHOWN if (found := _version(version, name))]
    checks = [fine("packages", ", ".join(shown) or "none")]
    for name in REQUIRING:
        checks += _unmet(name, version, requires)
    return checks


def onnxruntime_checks(version: Version) -> list[Check]:
    """Whether the two packages are there that overwrite each other."""
    from featune.engine.runners import installed_onnxruntimes

    both = installed_onnxruntimes(version)
    if len(both) < 2:
        return []
    said = f"{' and '.join(both)} are both installed and overwrite each other in one folder"
    return [
        fault("onnxruntime", said, "pip uninstall -y onnxruntime onnxruntime-gpu, then pip install onnxruntime-gpu")
    ]


def _version(version: Version, name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:
        return ""


def _unmet(name: str, version: Version, requires: Callable[[str], list[str] | None]) -> list[Check]:
    """Requirements of a package that what is installed does not meet; extras are nobody's need."""
    from packaging.requirements import Requirement

    if not _version(version, name):
        return []
    found = []
    for text in requires(name) or []:
        wanted = Requirement(text)
        if wanted.marker and not wanted.marker.evaluate({"extra": ""}):
            continue
        there = _version(version, wanted.name)
        if not there:
            said = "is not installed"
        elif wanted.specifier and not wanted.specifier.contains(there, prereleases=True):
            said = f"{there} is installed"
        else:
            continue
        asked = f"{wanted.name}{wanted.specifier}"
        found.append(fault("packages", f"{name} needs {asked}, {wanted.name} {said}", f"pip install '{asked}'"))
    return found


def cuda_checks(
    torch_cuda: str | None, onnxruntime_cuda: str | None, cudnn: int | None, driver: str, hinders: Hinders = fault
) -> list[Check]:
    """Whether CUDA of torch and of ONNX Runtime, cuDNN and the driver fit.

    torch_cuda, onnxruntime_cuda: as 13.2, None for a build without. cudnn: as 92600. driver: as 580.65.06, empty
    without one; what would fail on a GPU is then worth a note. hinders: `fault`, or `note` where a CPU is asked for.
    """
    serious = hinders if driver else note
    checks = []
    if torch_cuda is None:
        checks.append(
            serious("CUDA", "this torch is built without CUDA", "install torch from PyPI, not its +cpu build")
        )
    if torch_cuda and onnxruntime_cuda:
        both = f"torch {torch_cuda}, onnxruntime {onnxruntime_cuda}"
        if _major(torch_cuda) == _major(onnxruntime_cuda):
            checks.append(fine("CUDA", both))
        else:
            remedy = f"install versions of one CUDA major: {FITTING}, or Dockerfile.gpu's"
            checks.append(serious("CUDA", f"{both}: two majors, of which each loads libraries of its own", remedy))
    if cudnn is not None:
        # cuDNN 9 counts 92600 for 9.26.0, cuDNN 8 counted 8907 for 8.9.7.
        major = cudnn // 10_000 if cudnn >= 90_000 else cudnn // 1000
        said = f"{major}.{cudnn % 10_000 // 100}.{cudnn % 100}" if cudnn >= 90_000 else f"{cudnn}"
        remedy = f"pip install nvidia-cudnn-cu13~={CUDNN}.0"
        checks.append(
            fine("cuDNN", said)
            if major == CUDNN
            else serious("cuDNN", f"{said} found, {CUDNN} expected by ONNX Runtime", remedy)
        )
    if driver and (wanted := max((_major(each) for each in (torch_cuda, onnxruntime_cuda) if each), default=0)):
        checks.append(_driver_check(driver, wanted, hinders))
    return checks


def _driver_check(driver: str, wanted: int, hinders: Hinders) -> Check:
    least = LEAST_DRIVER.get(wanted)
    if least is None:
        return note("driver", f"{driver}; which driver CUDA {wanted} needs is not known to this version")
    if _major(driver) < least:
        remedy = f"update the NVIDIA driver to {least} or later"
        return hinders("driver", f"{driver} found, {least} or later expected by CUDA {wanted}", remedy)
    return fine("driver", f"{driver}, {least} or later is what CUDA {wanted} needs")


def _major(text: str) -> int:
    found = re.match(r"\d+", text)
    return int(found[0]) if found else 0


def tensorrt_checks(version: Version, linked: int | None, hinders: Hinders = fault) -> list[Check]:
    """TensorRT's version, and whether ONNX Runtime's provider can use it. linked: major that the provider loads."""
    from featune.engine.tensorrt import LIBRARIES

    found = next((v for name in ("tensorrt", "tensorrt-cu13", "tensorrt_cu13") if (v := _version(version, name))), "")
    if not found:
        return [note("TensorRT", "not installed; --backend tensorrt needs it", LIBRARIES["tensorrt"].install)]
    majors = LIBRARIES["tensorrt"].majors
    if _major(found) not in majors:
        expected = " or ".join(map(str, majors))
        return [hinders("TensorRT", f"{found} found, {expected} expected", LIBRARIES["tensorrt"].install)]
    if linked and linked != _major(found):
        said = f"{found}: plans work (--backend tensorrt); ONNX Runtime's TensorRT provider loads TensorRT {linked}"
        return [note("TensorRT", said, f"pip install 'tensorrt=={linked}.*' for --backend onnxruntime-tensorrt")]
    return [fine("TensorRT", found)]


def linked_tensorrt(folder: Path) -> int | None:
    """The major of TensorRT that ONNX Runtime's provider in this folder loads; None without one."""
    with contextlib.suppress(OSError):
        found = SO_NAME.search((folder / PROVIDER_FILE).read_bytes())
        return int(found[1]) if found else None
    return None
