"""The whole examination, in the order in which one thing stands on another."""

import dataclasses
import importlib.metadata
import os
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path

from featune.engine.errors import first_line

from .check import Check, fault, fine
from .folders import Limits, folder_checks
from .gpu import gpu_checks, listed, nvidia_smi, serious_for
from .versions import cuda_checks, linked_tensorrt, onnxruntime_checks, package_checks, tensorrt_checks

# torch and what is built on it is imported where it is used: whether it can be is what is looked for.
TORCH = "pip install --force-reinstall torch torchvision"


def _torch_facts() -> tuple[str | None, int | None, int]:
    import torch

    cudnn = torch.backends.cudnn.version() if torch.version.cuda and torch.backends.cudnn.is_available() else None
    return torch.version.cuda, cudnn, torch.cuda.device_count() if torch.cuda.is_available() else 0


def _onnxruntime_facts() -> tuple[list[str], str | None, Path]:
    import onnxruntime
    from onnxruntime.capi import build_and_package_info

    cuda = getattr(build_and_package_info, "cuda_version", None) or None
    return list(onnxruntime.get_available_providers()), cuda, Path(onnxruntime.__file__).parent / "capi"


def _ran_on(provider: str) -> str:
    from .providers import ran_on

    return ran_on(provider)


def _self_test(device: str) -> Iterable[Check]:
    from .known_numbers import self_test

    return self_test(device)


@dataclasses.dataclass(frozen=True)
class Machine:
    """Where the answers come from; tests give their own.

    torch: CUDA as 13.2, cuDNN as 92600, usable GPUs. onnxruntime: listed providers, CUDA, the folder of its libraries.
    """

    version: Callable[[str], str] = importlib.metadata.version
    requires: Callable[[str], list[str] | None] = importlib.metadata.requires
    environment: Mapping[str, str] = dataclasses.field(default_factory=lambda: os.environ)
    limits: Limits = dataclasses.field(default_factory=Limits)
    smi: Callable[[], str | None] = nvidia_smi
    torch: Callable[[], tuple[str | None, int | None, int]] = _torch_facts
    onnxruntime: Callable[[], tuple[list[str], str | None, Path]] = _onnxruntime_facts
    run: Callable[[str], str] = _ran_on
    known_numbers: Callable[[str], Iterable[Check]] = _self_test


def examined(device: str | None = None, machine: Machine | None = None, *, quick: bool = False) -> Iterator[Check]:
    """Every check, as it is done. device: that is to be used; None for what is there. quick: no self-test.

    Raises BadInput for a device that is none.
    """
    machine = machine or Machine()
    try:
        from featune.engine.runners import device_kind

        wanted, hinders = device is not None and device_kind(device) == "cuda", serious_for(device)
        torch_cuda, cudnn, seen = machine.torch()
        from .providers import provider_checks
    except (ImportError, OSError) as error:  # the latter of a library that it loads
        yield from package_checks(machine.version, machine.requires)
        yield fault("torch", f"cannot be imported: {first_line(error)}", TORCH)
        yield from folder_checks(machine.environment, machine.limits)
        return
    yield from package_checks(machine.version, machine.requires)
    yield from onnxruntime_checks(machine.version)
    gpus = listed(machine.smi())
    yield from gpu_checks(gpus, device, seen)
    providers: list[str] = []
    onnxruntime_cuda, libraries = None, Path()
    try:
        providers, onnxruntime_cuda, libraries = machine.onnxruntime()
    except (ImportError, OSError) as error:
        yield fault("onnxruntime", f"cannot be imported: {error}", "pip install onnxruntime-gpu")
    yield from cuda_checks(torch_cuda, onnxruntime_cuda, cudnn, gpus[0].driver if gpus else "", hinders)
    yield from tensorrt_checks(machine.version, linked_tensorrt(libraries), hinders)
    if providers:
        yield from provider_checks(providers, machine.run, bool(gpus or seen) and hinders is fault, wanted)
    yield from folder_checks(machine.environment, machine.limits)
    if quick:
        yield fine("self-test", "left out")
    else:
        # On a GPU where one was asked for; one that is absent was told above.
        try:
            yield from machine.known_numbers(device if wanted and seen and device else "cpu")
        except (ImportError, OSError) as error:
            yield fault("self-test", f"cannot be imported: {first_line(error)}", TORCH)


def faults_of(checks: Iterable[Check]) -> list[Check]:
    return [check for check in checks if check.state == "fault"]
