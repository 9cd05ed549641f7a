import os
import socket
import subprocess
import sys
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
import torch
from two_processes import main

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


@pytest.mark.parametrize(("device", "backends"), [("cuda", "cpu:gloo,cuda:nccl"), ("cpu", "gloo")])
def test_processes_on_gpus_also_share_numbers_of_the_cpu_and_wait_for_a_long_preparation(
    device: str, backends: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[tuple[Any, ...], dict[str, Any]]] = []
    monkeypatch.setenv("WORLD_SIZE", "2")
    monkeypatch.setattr("torch.cuda.set_device", lambda device: None)
    monkeypatch.setattr(processes.dist, "init_process_group", lambda *words, **options: asked.append((words, options)))
    monkeypatch.setattr(processes.dist, "destroy_process_group", lambda: None)
    with processes.joined(device):
        pass
    assert asked == [((backends,), {"timeout": timedelta(hours=12)})]
