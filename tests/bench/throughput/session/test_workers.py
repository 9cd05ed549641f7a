"""Workers as processes: alive between requests, and outlived."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from featune.bench.throughput import Configuration, Refused, Setup, WorkerDied
from featune.bench.throughput.session import ProcessWorker
from featune.engine.errors import BadInput

ONE = Configuration(Setup("m", "torch"), 1)


class Clerk:
    """Counts its requests."""

    def __init__(self) -> None:
        self.count = 0

    def next(self, by: int) -> int:
        self.count += by
        return self.count

    def complain(self) -> None:
        print("not for the parent's stdout")
        raise BadInput("the file is broken; repair it")

    def fail(self) -> None:
        raise ValueError("wrong")

    def threads(self) -> str:
        return os.environ["OMP_NUM_THREADS"]

    def die(self) -> None:
        os.write(2, b"last words\n")
        os.kill(os.getpid(), signal.SIGKILL)

    def close(self) -> None: ...


def make(configuration: Configuration, cache: Path) -> Clerk:
    return Clerk()


@pytest.fixture(scope="module")
def worker(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProcessWorker]:
    made = ProcessWorker(ONE, make, Path("cache"), tmp_path_factory.mktemp("logs") / "worker.txt")
    yield made
    made.close()


def test_a_worker_lives_from_request_to_request(worker: ProcessWorker) -> None:
    first = worker.ask("next", by=2)
    assert worker.ask("next", by=3) == first + 3
    assert worker.ask("threads") == "1"


def test_a_request_that_fails_is_refused_with_its_reason_and_the_worker_goes_on(worker: ProcessWorker) -> None:
    with pytest.raises(Refused, match="the file is broken; repair it"):
        worker.ask("complain")
    with pytest.raises(Refused, match="ValueError: wrong"):
        worker.ask("fail")
    assert worker.ask("next", by=1)
    assert "not for the parent" in worker.log.read_text()


def test_a_killed_worker_is_told_of_with_its_signal_and_last_words(worker: ProcessWorker) -> None:
    with pytest.raises(WorkerDied, match=r"(?s)SIGKILL \(as the kernel does where memory runs out\).*last words"):
        worker.ask("die")
    with pytest.raises(WorkerDied):
        worker.ask("next", by=1)
    began = time.monotonic()
    worker.close()
    assert not worker.process.is_alive() or time.monotonic() - began < 1
