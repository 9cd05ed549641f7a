"""What is told of the machine, and its energy counters."""

from pathlib import Path

import pytest

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
        for name in (f"intel-rapl:{number}", f"intel-rapl:{number}:0"):  # a package, and its cores, counted in it
            zone = root / "sys/class/powercap" / name
            zone.mkdir(parents=True, exist_ok=True)
            (zone / "energy_uj").write_text(f"{value}\n")
            (zone / "max_energy_range_uj").write_text("1000000000\n")


def test_joules_are_those_of_the_packages_and_a_counter_may_wrap(tmp_path: Path) -> None:
    powercap(tmp_path, 5_000_000, 999_000_000)
    meter = EnergyMeter(root=tmp_path)
    assert meter.joules(lambda: powercap(tmp_path, 8_000_000, 1_000_000)) == pytest.approx(3 + 2)
    assert meter.absent == ""


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


def test_the_environment_is_plain_and_the_peak_is_measured() -> None:
    found = environment()
    assert found["tf32"] == "off"
    assert {"featune", "torch", "python"} <= found["versions"].keys()
    best = peak(1, seconds=0.01, sides=(64,))
    assert best["gmacs_per_second"] > 0
    assert best["gigabytes_per_second"] > 0
