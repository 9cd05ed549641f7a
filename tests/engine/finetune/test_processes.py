import os
import socket
import subprocess
import sys
from pathlib import Path

import torch
from two_processes import main

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
