import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from featune.bench.study import Killed, executors, processes
from featune.bench.study.executors import in_process


def start_light(threads: int, parent: int) -> None:
    """A worker's start without torch, whose import takes longer than all else here."""
    threading.Thread(target=executors._end_with, args=(parent,), daemon=True).start()


@pytest.fixture
def light(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(executors, "_start_worker", start_light)


def square(number: int) -> int:
    return number * number


def threads(_: int) -> tuple[int, int]:
    import torch

    return torch.get_num_threads(), os.getpid()


def fail(number: int) -> int:
    raise ValueError(f"item {number}")


@pytest.mark.usefixtures("light")
def test_every_item_is_answered_once_wherever_it_runs() -> None:
    expected = {number: number * number for number in range(5)}
    assert dict(in_process(square, range(5))) == expected
    assert dict(processes(2)(square, range(5))) == expected


def test_no_process_is_started_for_no_items(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("multiprocessing.context.SpawnProcess.start", lambda self: pytest.fail("started a process"))
    assert list(processes(2)(square, [])) == []


def test_workers_keep_to_their_threads_and_are_not_this_process() -> None:
    for _, (count, pid) in processes(2, threads=1)(threads, range(2)):
        assert count == 1
        assert pid != os.getpid()


@pytest.mark.usefixtures("light")
def test_an_error_in_a_worker_reaches_the_caller() -> None:
    with pytest.raises(ValueError, match="item 0"):
        list(processes(1)(fail, [0]))


def killed_at_three(number: int) -> int:
    if number == 3:
        os.kill(os.getpid(), signal.SIGKILL)  # as the system does to a process that takes too much memory
    return number


@pytest.mark.usefixtures("light")
def test_an_item_whose_process_is_killed_is_told_and_the_others_are_answered() -> None:
    found = dict(processes(2)(killed_at_three, range(6)))
    assert [number for number, result in found.items() if isinstance(result, Killed)] == [3]
    assert sorted(result for result in found.values() if not isinstance(result, Killed)) == [0, 1, 2, 4, 5]


def kill_when_first(path: Path) -> str:
    """Killed where nobody was here before: beside another process there was too little memory for both."""
    if not path.exists():
        path.write_text("")
        os.kill(os.getpid(), signal.SIGKILL)
    return path.name


@pytest.mark.usefixtures("light")
def test_an_item_that_is_killed_beside_others_and_not_alone_is_answered(tmp_path: Path) -> None:
    assert dict(processes(1)(kill_when_first, [tmp_path / "a"])) == {tmp_path / "a": "a"}


SCRIPT = """
import os, signal, sys, time
from pathlib import Path
from featune.bench.study import executors
from featune.bench.study.executors import processes
executors.limit_threads = lambda threads: None  # in the worker too, without its import of torch
signal.signal(signal.SIGINT, signal.default_int_handler)  # who was started in the background ignores it
def work(path):
    Path(path).write_text(str(os.getpid()))
    time.sleep(60)
if __name__ == "__main__":
    list(processes(1)(work, [sys.argv[1]]))
"""


def test_workers_end_with_a_killed_parent(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT)
    mark = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    parent = subprocess.Popen([sys.executable, str(tmp_path / "script.py"), str(mark)], env=environment)
    _until(lambda: mark.exists() and bool(mark.read_text()))
    worker = int(mark.read_text())
    parent.kill()
    parent.wait()
    _until(lambda: not _alive(worker))


def test_an_interrupt_of_the_parent_alone_ends_its_workers_at_once(tmp_path: Path) -> None:
    (tmp_path / "script.py").write_text(SCRIPT.replace("sleep(60)", "sleep(600)"))
    mark = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": str(Path(__file__).parents[3])}
    command = [sys.executable, str(tmp_path / "script.py"), str(mark)]
    with subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL) as parent:
        _until(lambda: mark.exists() and bool(mark.read_text()))
        parent.send_signal(signal.SIGINT)
        try:
            parent.wait(timeout=120)
        finally:
            parent.kill()
    assert not _alive(int(mark.read_text()))


def _until(condition: object, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not condition():  # type: ignore[operator]
        assert time.monotonic() < end, "waited in vain"
        time.sleep(0.1)


def _alive(pid: int) -> bool:
    try:
        return "zombie" not in Path(f"/proc/{pid}/status").read_text()
    except FileNotFoundError:
        return False
