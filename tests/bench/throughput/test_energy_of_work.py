"""The energy of a piece of work, by counters that a test writes."""

import itertools
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from featune.bench.throughput import EnergyMeter, EnergyOfWork
from featune.engine.store import read_json


def counted(root: Path, joules: float) -> None:
    zone = root / "sys/class/powercap/intel-rapl:0"
    zone.mkdir(parents=True, exist_ok=True)
    (zone / "name").write_text("package-0\n")
    (zone / "energy_uj").write_text(f"{joules * 1e6:.0f}\n")
    (zone / "max_energy_range_uj").write_text("10000000000\n")


def worked(root: Path, own: float, busy: tuple[float | None, float | None], joules: float = 3600.0) -> EnergyOfWork:
    """Work of `own` processor seconds, while those of all went from one to the other of `busy`."""
    counted(root, 100.0)
    mine, all_ = iter((0.0, own)), iter(busy)
    energy = EnergyOfWork("cpu", EnergyMeter(root=root), lambda: next(mine), lambda: next(all_))
    with energy:
        counted(root, 100.0 + joules)
    return energy


def test_alone_on_the_machine_the_work_has_all_of_its_energy(tmp_path: Path) -> None:
    energy = worked(tmp_path, own=20.0, busy=(5.0, 25.0))
    assert energy.kwh == pytest.approx(0.001)


def test_beside_other_work_it_has_its_part_of_the_processor_time(tmp_path: Path) -> None:
    """So that the cells of a study that runs two at a time do not count the machine twice."""
    both = [worked(tmp_path, own=own, busy=(0.0, 20.0)) for own in (5.0, 15.0)]
    assert [each.kwh for each in both] == [pytest.approx(0.00025), pytest.approx(0.00075)]
    assert "this process's part" in both[0].said


def test_where_the_kernel_counts_no_processor_time_all_of_it_is_said_to_be_the_machines(tmp_path: Path) -> None:
    energy = worked(tmp_path, own=5.0, busy=(None, None))
    assert energy.kwh == pytest.approx(0.001)
    assert "all work of the machine" in energy.said


def test_a_machine_without_counters_or_that_loses_them_says_so(tmp_path: Path) -> None:
    with EnergyOfWork("cpu", EnergyMeter(root=tmp_path / "none")) as energy:
        pass
    assert energy.kwh is None
    assert energy.said.startswith("not told by this machine: this machine has no energy counter")
    counted(tmp_path, 1.0)
    with EnergyOfWork("cpu", EnergyMeter(root=tmp_path)) as energy:
        (tmp_path / "sys/class/powercap/intel-rapl:0/energy_uj").unlink()
    assert energy.kwh is None
    assert "could not be read to the end" in energy.said


def half_of_the_processors(root: Path, kept: Path) -> EnergyOfWork:
    counted(root, 0.0)
    own, all_ = itertools.count(0, 5), itertools.count(0, 10)
    return EnergyOfWork("cpu", EnergyMeter(root=root), lambda: next(own), lambda: next(all_), kept)


def test_work_that_goes_on_in_another_process_adds_to_what_was_counted_by_the_same_rule(tmp_path: Path) -> None:
    kept = tmp_path / "energy.json"
    with pytest.raises(KeyboardInterrupt), half_of_the_processors(tmp_path, kept):
        counted(tmp_path, 7200.0)
        raise KeyboardInterrupt
    counted(tmp_path, 9000.0)  # what others do between the two is not the work's
    with half_of_the_processors(tmp_path, kept) as energy:
        counted(tmp_path, 14400.0)
    assert energy.kwh == pytest.approx(0.001 + 0.002)
    assert "this process's part" in energy.said


def test_what_was_counted_is_kept_while_the_work_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a kill, after which nothing can be written."""
    monkeypatch.setattr("featune.bench.throughput.energy_of_work.SECONDS", 0.001)
    kept, ended = tmp_path / "energy.json", time.monotonic() + 10
    with half_of_the_processors(tmp_path, kept):
        counted(tmp_path, 7200.0)
        while read_json(kept) != {"joules": 3600.0, "whole": True}:
            assert time.monotonic() < ended
            time.sleep(0.001)


def test_of_work_that_has_a_gap_no_energy_is_told(tmp_path: Path) -> None:
    kept = tmp_path / "energy.json"
    with EnergyOfWork("cpu", EnergyMeter(root=tmp_path / "without"), path=kept):
        pass
    with half_of_the_processors(tmp_path, kept) as energy:
        counted(tmp_path, 7200.0)
    assert energy.kwh is None
    assert energy.said.endswith("its energy counters could not be read in an earlier process of this run")


def test_the_error_of_the_work_is_raised_and_not_that_of_a_counter(tmp_path: Path) -> None:
    def lost_after(readings: int) -> EnergyMeter:
        class Lost(EnergyMeter):
            """As that of a GPU that is lost; NVML's errors are of no class of Python's but this."""

            def _powercap(self, root: Path) -> Callable[[], list[tuple[float, float]]]:
                left = iter(range(readings))

                def read() -> list[tuple[float, float]]:
                    if next(left, None) is None:
                        raise Exception("GPU is lost")
                    return [(0.0, 0.0)]

                return read

        return Lost()

    for readings in (0, 1):
        with pytest.raises(ValueError, match="of the work"), EnergyOfWork("cpu", lost_after(readings)):
            raise ValueError("of the work")
        with EnergyOfWork("cpu", lost_after(readings)) as energy:
            pass
        assert energy.kwh is None
        assert energy.said.endswith("its energy counters could not be read to the end (GPU is lost)")
