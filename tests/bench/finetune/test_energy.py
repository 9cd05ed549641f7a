"""The energy of a run, by counters that a test writes."""

from pathlib import Path

import pytest

from featune.bench.finetune.command import cost_words
from featune.bench.throughput import EnergyMeter, EnergyOfRun


def counted(root: Path, microjoules: int) -> None:
    zone = root / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text(f"{microjoules}\n")
    (zone / "max_energy_range_uj").write_text("10000000000\n")


def test_a_run_that_goes_on_adds_its_energy_to_that_of_earlier_processes(tmp_path: Path) -> None:
    now = 0.0
    kept = tmp_path / "energy.json"

    def begun() -> EnergyOfRun:
        return EnergyOfRun(kept, "cpu", EnergyMeter(root=tmp_path), clock=lambda: now)

    counted(tmp_path, 0)
    killed = begun()
    counted(tmp_path, 3_600_000_000)
    killed.note()  # too early to look
    assert not kept.exists()
    now = 60.0
    killed.note()
    counted(tmp_path, 5_000_000_000)  # what others do between the two processes is not the run's
    again = begun()
    counted(tmp_path, 8_600_000_000)
    account = again.account()
    assert account["kwh"] == pytest.approx(0.002)
    assert "all work of the machine" in account["kwh_said"]


def test_a_machine_without_counters_says_so(tmp_path: Path) -> None:
    energy = EnergyOfRun(tmp_path / "energy.json", "cpu", EnergyMeter(root=tmp_path))
    energy.note()
    account = energy.account()
    assert account["kwh"] is None
    assert account["kwh_said"].startswith("not measured: this machine has no energy counter")


def test_the_cost_is_said_with_its_energy_or_that_it_is_unknown() -> None:
    cost = {"seconds": 90.0, "training_seconds": 60.0, "images_per_second": 12.0, "kwh": 0.0123}
    assert cost_words(cost) == "90 s, training 60 s, 12 images/s, 0.0123 kWh"
    assert cost_words({**cost, "images_per_second": None, "kwh": None}) == "90 s, training 60 s; kWh unknown"
