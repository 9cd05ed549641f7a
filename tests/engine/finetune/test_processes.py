import errno
import os
import socket
import subprocess
import sys
import threading
import time
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from two_processes import main

from featune.engine.errors import BadInput, FeatuneError, Missing, SaidElsewhere
from featune.engine.finetune import processes
from featune.engine.images import Labelled

SCRIPT = Path(__file__).parents[2] / "cases" / "two_processes.py"


def started(out: Path, items: Labelled, **environment: str) -> "subprocess.Popen[bytes]":
    command = [sys.executable, str(SCRIPT), items.root, str(out)]
    return subprocess.Popen(command, env={**os.environ, **environment, "PYTHONWARNINGS": "ignore"})


def test_two_processes_train_what_one_does_and_score_each_image_once(items: Labelled, tmp_path: Path) -> None:
    """With gloo, as torchrun sets it up, and without batch norm: 8 images a step, 4 of each process in two parts."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    processes = [started(tmp_path / "two", items, **place, RANK=rank, LOCAL_RANK=rank) for rank in ("0", "1")]
    main(Path(items.root), tmp_path / "one")
    assert [process.wait(120) for process in processes] == [0, 0]
    one = torch.load(tmp_path / "one", weights_only=True)
    for rank in "01":
        two = torch.load(tmp_path / f"two{rank}", weights_only=True)
        for name, value in one["weights"].items():
            assert torch.allclose(value, two["weights"][name], rtol=0, atol=1e-5), name
        assert two["scores"].shape == (11, 3)  # of eleven images, which two processes cannot share evenly
        assert torch.allclose(one["scores"], two["scores"], rtol=0, atol=1e-4)
        # On rows of what is frozen, of which each process computes every other one and has them all.
        assert two["frozen"] == one["frozen"]
        assert {kept["rows"] for kept in two["frozen"].values()} == {11}
        for name, value in one["on_rows"].items():
            assert torch.allclose(value, two["on_rows"][name], rtol=0, atol=1e-5), name


def store() -> Any:
    return dist.HashStore()


@pytest.mark.parametrize(("device", "backends"), [("cuda", "cpu:gloo,cuda:nccl"), ("cpu", "gloo")])
def test_processes_on_gpus_also_share_numbers_of_the_cpu_and_wait_for_a_long_preparation(
    device: str, backends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[Any, ...], Any]] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr(processes, "require_device", lambda device: None)
    monkeypatch.setattr(processes.dist, "rendezvous", lambda url, timeout: iter([(store(), 0, 2)]))
    monkeypatch.setattr(
        processes.dist, "init_process_group", lambda *words, timeout, **_: asked.append((words, timeout))
    )
    with processes.joined(device):
        pass
    assert asked == [((backends,), timedelta(hours=12))]


BROKEN = RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:1234")

DUPLICATE = RuntimeError(
    "NCCL error in: NCCLUtils.cpp:77, invalid usage, NCCL version 2.27.3\nDuplicate GPU detected : rank 0 and rank 1"
)
MISSING = RuntimeError(
    "Error(s) in loading state_dict for Net:\n\tMissing key(s) in state_dict: skip_connection.weight"
)


def ended(*errors: BaseException, delay: float = 0.0) -> list[BaseException | None]:
    """What each of several processes raises in place of its own error, in threads that share a store; None: its own."""
    shared, found = store(), [None] * len(errors)

    def end(rank: int, error: BaseException) -> None:
        ending = processes.Ending(shared, rank, len(errors), timedelta(seconds=5), 0.0)
        if error is BROKEN:  # felt when the other has gone
            while not any(shared.check([f"error{other}"]) for other in range(len(errors)) if other != rank):
                time.sleep(0.01)
        time.sleep(delay if rank == 0 else 0.0)
        ending.publish(error)
        found[rank] = ending.instead_of(error)  # type: ignore[call-overload]

    threads = [threading.Thread(target=end, args=each) for each in enumerate(errors)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    return found


@pytest.mark.parametrize(
    ("errors", "speaks", "code"),
    [
        ((BadInput("one class"), BROKEN, BROKEN), 0, 2),
        ((BROKEN, BadInput("an image that cannot be read"), BROKEN), 1, 2),
        ((Missing("no GPU"), Missing("no GPU"), Missing("no GPU")), 0, 4),
        ((KeyboardInterrupt(), KeyboardInterrupt(), KeyboardInterrupt()), 0, 130),
        ((BROKEN, BadInput("an image"), BadInput("another image")), 1, 2),
        ((BROKEN, RuntimeError("a fault of ours"), BROKEN), 1, 1),
        ((OSError(errno.ENOSPC, "No space left on device", "a.pt"), BROKEN, BROKEN), 0, 2),
    ],
)
def test_one_of_several_processes_says_why_they_end_and_the_others_have_its_exit_code(
    errors: tuple[BaseException, ...], speaks: int, code: int
) -> None:
    found = ended(*errors, delay=0.2)
    assert found[speaks] is None
    others = [each for rank, each in enumerate(found) if rank != speaks]
    assert [type(each) for each in others] == [SaidElsewhere] * 2
    assert {each.exit_code for each in others} == {code}  # type: ignore[union-attr]


def test_a_process_that_was_killed_is_told_of_in_one_sentence() -> None:
    ending = processes.Ending(store(), 0, 2, timedelta(seconds=0.01), 0.0)
    ending.publish(BROKEN)
    said = ending.instead_of(BROKEN)
    assert type(said) is FeatuneError
    assert "another of 2 processes has ended and left no word" in str(said)
    assert "Connection closed by peer" in str(said)


@pytest.mark.parametrize("error", [DUPLICATE, MISSING], ids=["NCCL", "weights"])
def test_an_error_that_all_meet_is_said_though_it_speaks_of_nccl_or_of_a_connection(error: RuntimeError) -> None:
    both = [processes.Ending(shared, rank, 2, timedelta(seconds=0.01), 0.0) for shared in [store()] for rank in (0, 1)]
    for ending in both:
        ending.publish(error)
    said = [ending.instead_of(error) for ending in both]
    assert [type(each) for each in said] == [type(None), SaidElsewhere]


def test_where_one_of_three_was_killed_one_of_the_others_tells_of_it() -> None:
    """Both felt it at once, and neither of them is the reason."""
    shared, both = store(), [processes.Ending(None, rank, 3, timedelta(seconds=0.05), 0.0) for rank in (0, 1)]
    for ending in both:
        ending.store = Blind(shared)
        ending.publish(BROKEN)
        ending.store = shared
    said = [ending.instead_of(BROKEN) for ending in both]
    assert [type(each) for each in said] == [FeatuneError, SaidElsewhere]


def test_an_error_is_said_though_another_process_only_felt_that_one_had_gone_before() -> None:
    shared = store()
    first, second = (processes.Ending(shared, rank, 2, timedelta(seconds=0.05), 0.0) for rank in (0, 1))
    first.publish(BROKEN)
    second.publish(MISSING)
    assert second.instead_of(MISSING) is None
    assert type(first.instead_of(BROKEN)) is SaidElsewhere


class Blind:
    """A store that another process writes to a moment later."""

    def __init__(self, of: Any):
        self.set = of.set

    def check(self, keys: list[str]) -> bool:
        return False


def test_a_process_that_waits_for_one_that_ends_with_an_error_ends_too(tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port, "PYTHONWARNINGS": "ignore"}
    both = [
        subprocess.Popen(
            [sys.executable, str(SCRIPT.with_name("two_endings.py"))], text=True,
            env={**os.environ, **place, "RANK": rank, "LOCAL_RANK": rank}, stdout=subprocess.PIPE,
        )
        for rank in ("0", "1")
    ]  # fmt: skip
    assert [process.communicate(timeout=120)[0] for process in both] == ["one class\n", "said elsewhere, 2\n"]
