"""What the numbers were measured on: hardware, instruction sets, clocks, versions; the machine's own peak; energy."""

import contextlib
import datetime
import os
import platform
import statistics
import time
from collections.abc import Callable, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch

from featune.engine.machine import instruction_sets, processors

from .load import LoadWatch

VERSIONS = ("featune", "torch", "timm", "onnxruntime-gpu", "onnxruntime", "tensorrt", "numpy", "nvidia-ml-py")
ROOT = Path("/")
SIDES, COPIED = (512, 1024, 2048), 64 << 20  # of the matrices; bytes that are copied
JOULES_WRAP = "max_energy_range_uj"


def environment(device: str = "cpu", root: Path = ROOT) -> dict[str, Any]:
    """For files and pages; JSON's types only."""
    found: dict[str, Any] = {
        "date": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "machine": platform.node(),
        "system": platform.platform(),
        "processor": _cpu_field("model name", root) or platform.processor() or platform.machine(),
        "processors": processors(),
        "instruction_sets": list(instruction_sets()),
        "memory_bytes": _memory(root),
        "megahertz": megahertz(root),
        "device": device,
        "tf32": "off",
        "versions": {"python": platform.python_version(), **_versions()},
    }
    if torch.device(device).type == "cuda":
        found |= _gpu(device)
    return found


def _versions() -> dict[str, str]:
    found = {}
    for name in VERSIONS:
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    return found


def _gpu(device: str) -> dict[str, Any]:
    properties = torch.cuda.get_device_properties(device)
    found = {"gpu": properties.name, "gpu_memory_bytes": properties.total_memory, "cuda": torch.version.cuda}
    with contextlib.suppress(Exception):  # nvidia-ml-py is optional, and its errors share no base class of Python's
        import pynvml

        pynvml.nvmlInit()
        found["driver"] = pynvml.nvmlSystemGetDriverVersion()
        handle = _nvml_handle(pynvml, device)
        found |= {
            "gpu_megahertz": pynvml.nvmlDeviceGetClockInfo(handle, pynvml.NVML_CLOCK_SM),
            "gpu_watts_limit": pynvml.nvmlDeviceGetPowerManagementLimit(handle) / 1000,
        }
    return found


def _nvml_handle(pynvml: Any, device: str) -> Any:
    """NVML's handle of the GPU, or part of one (MIG), that is torch's `device`.

    By UUID, since NVML numbers all GPUs of the machine, and torch those that CUDA_VISIBLE_DEVICES leaves, in its order.
    """
    uuid = torch.cuda.get_device_properties(device).uuid
    try:
        return pynvml.nvmlDeviceGetHandleByUUID(f"GPU-{uuid}")
    except Exception:  # NVML's errors share no base class of Python's
        with contextlib.suppress(Exception):
            return pynvml.nvmlDeviceGetHandleByUUID(f"MIG-{uuid}")
        raise


def _cpu_field(name: str, root: Path) -> str:
    try:
        lines = (root / "proc/cpuinfo").read_text().splitlines()
    except OSError:
        return ""
    return next((line.partition(":")[2].strip() for line in lines if line.startswith(name)), "")


def _first_line(path: Path) -> str:
    try:
        return path.read_text().split("\n", 1)[0]
    except OSError:
        return ""


def _memory(root: Path) -> int | None:
    with contextlib.suppress(OSError, ValueError, IndexError):
        first = (root / "proc/meminfo").read_text().split("\n", 1)[0]
        return int(first.split()[1]) * 1024
    return None


def megahertz(root: Path = ROOT) -> float | None:
    """The processors' clock in the mean, as the kernel scales it; None where it does not tell, as in most guests."""
    found = []
    for path in (root / "sys/devices/system/cpu").glob("cpu[0-9]*/cpufreq/scaling_cur_freq"):
        with contextlib.suppress(OSError, ValueError):
            found.append(int(path.read_text()) / 1000)
    return statistics.fmean(found) if found else None


def peak(
    threads: int, device: str = "cpu", *, seconds: float = 0.3, sides: Sequence[int] = SIDES
) -> dict[str, float | bool]:
    """What this machine can do at best, measured now: fp32 multiply-adds and bytes copied per second.

    With TF32 off, as the rows are. Of a few sizes and repetitions the fastest counts. loaded: whether other work took
    the machine's time meanwhile, so that both are too low.
    """
    torch.set_num_threads(threads)
    on_cpu = torch.device(device).type == "cpu"
    wait = (lambda: None) if on_cpu else (lambda: torch.cuda.synchronize(device))
    with LoadWatch() as load:
        multiplied = max(side**3 / _multiply(side, device, wait, seconds) for side in sides)
        source = torch.empty(COPIED // 4, device=device).fill_(1.0)
        target = torch.empty_like(source)
        copied = _fastest(lambda: target.copy_(source), wait, seconds)
    return {
        "gmacs_per_second": multiplied / 1e9,
        "gigabytes_per_second": 2 * COPIED / copied / 1e9,
        "loaded": load.loaded(on_cpu),
    }


def _multiply(side: int, device: str, wait: Callable[[], None], seconds: float) -> float:
    left, right = torch.rand(side, side, device=device), torch.rand(side, side, device=device)
    out = torch.empty(side, side, device=device)
    return _fastest(lambda: torch.matmul(left, right, out=out), wait, seconds)


def _fastest(
    work: Callable[[], Any],
    wait: Callable[[], None],
    seconds: float,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    best, began = float("inf"), clock()
    while clock() - began < seconds:
        start = clock()
        work()
        wait()
        best = min(best, clock() - start)
    return best


class EnergyMeter:
    """Joules that the machine's own counters show between two readings; `absent` says why there are none.

    On a CPU the packages' counters of powercap (all work of the machine is in them); on a GPU NVML's, of that GPU (all
    work on it). A counter that fails costs the joules, never the work: no error of it is raised.
    """

    def __init__(self, device: str = "cpu", root: Path = ROOT):
        self.absent = ""
        self._read = self._nvml(device) if torch.device(device).type == "cuda" else self._powercap(root)

    def joules(self, work: Callable[[], Any]) -> float | None:
        """What the counters went up by while the work ran; None without them."""
        since = self.running()
        work()
        return since() if since else None

    def running(self) -> Callable[[], float | None] | None:
        """Gives the joules since it was last asked, or made; None without counters.

        A counter wraps after minutes or hours, so it is to be asked more often than that. It gives None for good once
        a counter could not be read, or began again where it does not wrap (the GPU was reset): what was spent until
        then is not known.
        """
        before = self._readings()
        if before is None:
            return None

        def since() -> float | None:
            nonlocal before
            first, before = before, None if before is None else self._readings()
            if first is None or before is None:
                return None
            spent = [
                after - start if after >= start else after - start + wrap
                for (start, wrap), (after, _) in zip(first, before, strict=True)
            ]
            if min(spent) < 0:
                before, self.absent = None, "an energy counter began again meanwhile"
                return None
            return sum(spent)

        return since

    def _readings(self) -> list[tuple[float, float]] | None:
        try:
            return self._read() if self._read else None
        except Exception as error:  # NVML's errors share no base class of Python's
            self.absent = f"its energy counters could not be read to the end ({error})"
            return None

    def _powercap(self, root: Path) -> Callable[[], list[tuple[float, float]]] | None:
        """Readings (joules, where the counter wraps) of each package.

        Zones are told by their names: a package may be there twice (intel-rapl:0, intel-rapl-mmio:0), and `psys` holds
        the packages. Source: kernel.org/doc/html/latest/power/powercap/powercap.html
        """
        found = (root / "sys/class/powercap").glob("*:*")
        zones = sorted(found, key=lambda zone: (not zone.name.startswith("intel-rapl:"), zone.name))
        packages = [(name, zone) for zone in zones if (name := _first_line(zone / "name")).startswith("package-")]
        counters: dict[str, Path] = {}
        for name, zone in packages:
            with contextlib.suppress(OSError, ValueError):
                int((zone / "energy_uj").read_text())
                counters.setdefault(name, zone)
        if not counters:
            self.absent = (
                "its counters in /sys/class/powercap cannot be read by this user"
                if packages and not os.access(packages[0][1] / "energy_uj", os.R_OK)
                else "this machine has no energy counter in /sys/class/powercap"
            )
            return None
        return lambda: [
            (int((zone / "energy_uj").read_text()) / 1e6, int((zone / JOULES_WRAP).read_text()) / 1e6)
            for zone in counters.values()
        ]

    def _nvml(self, device: str) -> Callable[[], list[tuple[float, float]]] | None:
        try:
            import pynvml

            pynvml.nvmlInit()
            handle = _nvml_handle(pynvml, device)
            pynvml.nvmlDeviceGetTotalEnergyConsumption(handle)
        except ImportError:
            self.absent = "nvidia-ml-py is not installed; pip install nvidia-ml-py"
            return None
        except Exception as error:  # NVML's errors share no base class of Python's
            self.absent = f"NVML tells no energy of this GPU ({error})"
            return None
        return lambda: [(pynvml.nvmlDeviceGetTotalEnergyConsumption(handle) / 1000, 0.0)]
