"""Whether other work took the machine's time while a speed was measured."""

from pathlib import Path

import pytest

from featune.bench.throughput import LoadWatch
from featune.bench.throughput.load import busy_seconds


def watched(
    busy: tuple[float | None, float | None], own: float, seconds: float = 10.0, processors: int = 2
) -> LoadWatch:
    """A watch over `seconds` of wall time: the machine's busy seconds before and after, and this process's own."""
    counts, mine, clock = iter(busy), iter((0.0, own)), iter((0.0, seconds))
    watch = LoadWatch(processors, lambda: next(counts), lambda: next(mine), lambda: next(clock))
    with watch:
        pass
    return watch


def test_a_quiet_machine_is_quiet() -> None:
    watch = watched((100.0, 110.3), own=9.9)
    assert watch.others == pytest.approx(0.04)
    assert not watch.loaded(on_cpu=True)


def test_other_processes_on_the_same_processors_are_load() -> None:
    watch = watched((100.0, 118.0), own=9.9)
    assert watch.others == pytest.approx(0.81)
    assert watch.loaded(on_cpu=True)
    assert watch.loaded(on_cpu=False)


def test_a_large_machine_bears_more() -> None:
    assert not watched((0.0, 40.0), own=10.0, processors=64).loaded(on_cpu=True)


def test_waiting_for_a_processor_is_load_for_work_on_a_cpu_alone() -> None:
    watch = watched((None, None), own=5.0)  # a container's quota, of which the counts tell nothing
    watch.others = 0.0
    assert watch.loaded(on_cpu=True)
    assert not watch.loaded(on_cpu=False)


def test_busy_seconds_leave_out_idling_and_waiting_for_disks(tmp_path: Path) -> None:
    stat = tmp_path / "stat"
    stat.write_text("cpu  100 10 20 5000 400 5 5 60 0 0\ncpu0 1 1 1 1\n")
    found, again = busy_seconds(stat), stat.write_text("cpu  200 10 20 9000 900 5 5 60 0 0\n")
    assert again
    assert busy_seconds(stat) == pytest.approx(1.5 * found)  # type: ignore[operator]
    stat.write_text("cpu  0 0 0 0 0 0 0 0 0 0\n")
    assert busy_seconds(stat) is None
    assert busy_seconds(tmp_path / "none") is None
