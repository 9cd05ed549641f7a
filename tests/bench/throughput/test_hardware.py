"""What is told of the machine, and its energy counters."""

import sys
import types
from pathlib import Path
from typing import Any

import pytest
import torch

from featune.bench.throughput import EnergyMeter, environment, megahertz, peak
from featune.engine.machine import instruction_sets


def test_instruction_sets_are_those_of_the_processor(tmp_path: Path) -> None:
    (tmp_path / "proc").mkdir()
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nflags\t\t: fpu sse avx2 fma avx512f avx512_vnni\n")
    assert instruction_sets(tmp_path) == ("avx2", "fma", "avx512f", "avx512_vnni")
    (tmp_path / "proc/cpuinfo").write_text("processor : 0\nFeatures\t: fp asimd asimddp\n")
    assert instruction_sets(tmp_path) == ("asimd", "asimddp")
    assert instruction_sets(tmp_path / "nowhere") == ()


def test_the_clock_is_the_mean_of_the_processors_or_none(tmp_path: Path) -> None:
    for number, kilohertz in enumerate((3_000_000, 2_000_000)):
        folder = tmp_path / f"sys/devices/system/cpu/cpu{number}/cpufreq"
        folder.mkdir(parents=True)
        (folder / "scaling_cur_freq").write_text(f"{kilohertz}\n")
    assert megahertz(tmp_path) == 2500
    assert megahertz(tmp_path / "none") is None


def powercap(root: Path, *microjoules: int) -> None:
    for number, value in enumerate(microjoules):
        counted(root, f"intel-rapl:{number}", f"package-{number}", value)
        counted(root, f"intel-rapl:{number}:0", "core", value)  # in the package


def counted(root: Path, zone: str, name: str, microjoules: int) -> None:
    folder = root / "sys/class/powercap" / zone
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "name").write_text(f"{name}\n")
    (folder / "energy_uj").write_text(f"{microjoules}\n")
    (folder / "max_energy_range_uj").write_text("1000000000\n")


def test_joules_are_those_of_the_packages_and_a_counter_may_wrap(tmp_path: Path) -> None:
    powercap(tmp_path, 5_000_000, 999_000_000)
    meter = EnergyMeter(root=tmp_path)
    assert meter.joules(lambda: powercap(tmp_path, 8_000_000, 1_000_000)) == pytest.approx(3 + 2)
    assert meter.absent == ""


def test_each_package_counts_once_whatever_zones_it_is_seen_in(tmp_path: Path) -> None:
    """As on a laptop: `psys` holds the package and more, and the package has a second counter beside the first."""

    def spend(microjoules: int) -> None:
        counted(tmp_path, "intel-rapl:0", "package-0", microjoules)
        counted(tmp_path, "intel-rapl:1", "psys", 2 * microjoules)
        counted(tmp_path, "intel-rapl-mmio:0", "package-0", microjoules + 7)

    spend(0)
    assert EnergyMeter(root=tmp_path).joules(lambda: spend(3_000_000)) == pytest.approx(3)


def test_a_package_that_is_seen_in_the_second_zone_alone_counts_there(tmp_path: Path) -> None:
    counted(tmp_path, "intel-rapl-mmio:0", "package-0", 0)
    meter = EnergyMeter(root=tmp_path)
    assert meter.joules(lambda: counted(tmp_path, "intel-rapl-mmio:0", "package-0", 2_000_000)) == pytest.approx(2)


def test_a_running_meter_gives_what_was_spent_since_it_was_asked(tmp_path: Path) -> None:
    powercap(tmp_path, 1_000_000)
    since = EnergyMeter(root=tmp_path).running()
    assert since is not None
    spent = []
    for microjoules in (4_000_000, 4_500_000, 500_000):  # the last has wrapped
        powercap(tmp_path, microjoules)
        spent.append(since())
    assert spent == pytest.approx([3, 0.5, 1000 - 4])


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    meter, ran = EnergyMeter(root=tmp_path), []
    assert meter.joules(lambda: ran.append(1)) is None
    assert ran == [1]
    assert "no energy counter" in meter.absent


class NvmlError(Exception):
    """As NVML's errors are: of no class of Python's but this."""


class Nvml(types.ModuleType):
    """nvidia-ml-py on a machine whose two GPUs torch sees in the other order; energy: millijoules by UUID."""

    NVML_CLOCK_SM = 1

    def __init__(self, first: str = "GPU-aa", second: str = "GPU-bb"):
        super().__init__("pynvml")
        self.uuids, self.energy = [first, second], {first: 1000, second: 2000}

    def nvmlInit(self) -> None: ...

    def nvmlSystemGetDriverVersion(self) -> str:
        return "570.1"

    def nvmlDeviceGetHandleByIndex(self, index: int) -> str:
        return self.uuids[index]

    def nvmlDeviceGetHandleByUUID(self, uuid: str) -> str:
        if uuid not in self.uuids:
            raise NvmlError("Not Found")
        return uuid

    def nvmlDeviceGetTotalEnergyConsumption(self, handle: str) -> int:
        if handle not in self.energy:
            raise NvmlError("GPU is lost")
        return self.energy[handle]

    def nvmlDeviceGetClockInfo(self, handle: str, clock: int) -> int:
        return 100 * (1 + self.uuids.index(handle))

    def nvmlDeviceGetPowerManagementLimit(self, handle: str) -> int:
        return 300_000


@pytest.fixture
def nvml(monkeypatch: pytest.MonkeyPatch) -> Nvml:
    found = Nvml()
    seen = {"cuda": "bb", "cuda:0": "bb", "cuda:1": "aa"}

    def properties(device: str) -> Any:
        return types.SimpleNamespace(uuid=seen[device], name="A GPU", total_memory=1 << 30)

    monkeypatch.setitem(sys.modules, "pynvml", found)
    monkeypatch.setattr(torch.cuda, "get_device_properties", properties)
    return found


@pytest.mark.parametrize(("device", "uuid"), [("cuda", "GPU-bb"), ("cuda:0", "GPU-bb"), ("cuda:1", "GPU-aa")])
def test_the_gpu_that_is_read_is_the_one_that_torch_computes_on(nvml: Nvml, device: str, uuid: str) -> None:
    """CUDA_VISIBLE_DEVICES and CUDA_DEVICE_ORDER change torch's numbers and not NVML's."""
    meter = EnergyMeter(device)
    assert meter.joules(lambda: nvml.energy.update({uuid: nvml.energy[uuid] + 5000})) == pytest.approx(5)
    assert environment(device)["gpu_megahertz"] == nvml.nvmlDeviceGetClockInfo(uuid, 1)


def test_a_part_of_a_gpu_has_a_uuid_of_its_own_form(nvml: Nvml) -> None:
    nvml.uuids[1], nvml.energy["MIG-bb"] = "MIG-bb", 0
    meter = EnergyMeter("cuda:0")
    assert meter.joules(lambda: nvml.energy.update({"MIG-bb": 3000})) == pytest.approx(3)


def test_a_gpu_whose_counter_fails_or_begins_again_has_no_joules_and_raises_nothing(nvml: Nvml) -> None:
    meter = EnergyMeter("cuda:0")
    assert meter.joules(lambda: nvml.energy.update({"GPU-bb": 0})) is None
    assert "began again" in meter.absent
    since = meter.running()
    assert since is not None
    lost = nvml.energy.pop("GPU-bb")
    assert since() is None
    assert "GPU is lost" in meter.absent
    assert meter.running() is None
    nvml.energy["GPU-bb"] = lost + 1000
    assert since() is None, "what was spent meanwhile is not known"


def test_the_environment_is_plain_and_the_peak_is_measured() -> None:
    found = environment()
    assert found["tf32"] == "off"
    assert {"featune", "torch", "python"} <= found["versions"].keys()
    best = peak(1, seconds=0.01, sides=(64,))
    assert best["gmacs_per_second"] > 0
    assert best["gigabytes_per_second"] > 0
