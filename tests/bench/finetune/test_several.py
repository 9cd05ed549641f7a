"""`featune finetune` in two processes, as torchrun starts them: one folder, one result, what one process gives."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file
from torch import nn
from two_finetunes import main

from featune.bench.finetune.folder import Folder
from featune.bench.finetune.several import claimed, first_alone
from featune.engine.errors import BadInput
from featune.engine.finetune import processes

SCRIPT = Path(__file__).parents[2] / "cases" / "two_finetunes.py"
# Without batch norm, whose statistics are those of each process's own images.
WORDS = [
    "test_vit", "--scratch", "--img-size", "32", "--batch-size", "8", "--steps", "6", "--lr", "0.003",
    "-q", "--json", "--set", "ema=0.9", "--refit",
]  # fmt: skip


def started(said: Path, arguments: list[str], **environment: str) -> "subprocess.Popen[bytes]":
    given = {**os.environ, **environment, "PYTHONWARNINGS": "ignore", "OMP_NUM_THREADS": "1"}
    given["PYTHONPATH"] = str(Path(__file__).parents[3])
    return subprocess.Popen([sys.executable, str(SCRIPT), str(said), *arguments], env=given)


def test_two_processes_leave_the_folder_of_one_and_one_of_them_tells(colours: Path, tmp_path: Path) -> None:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = str(free.getsockname()[1])
    place = {"WORLD_SIZE": "2", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": port}
    place["FEATUNE_CACHE_DIR"] = str(tmp_path / "cache")
    words = ["finetune", WORDS[0], str(colours), *WORDS[1:], "--out"]
    both = [
        started(tmp_path / "two", [*words, str(tmp_path / "both")], **place, RANK=rank, LOCAL_RANK=rank)
        for rank in ("0", "1")
    ]
    assert main([*words, str(tmp_path / "alone")], tmp_path / "one") == 0
    assert [process.wait(300) for process in both] == [0, 0]
    two, one = (json.loads((tmp_path / name).read_text()) for name in ("two0", "one"))
    assert (tmp_path / "two1").read_text() == ""
    assert Path(two["folder"]) == tmp_path / "both"
    assert two["test"] == one["test"]
    assert two["kept"] == one["kept"]
    assert len(list((tmp_path / "both" / "runs").rglob("*.json"))) == 1
    weights = [load_file(tmp_path / name / "model.safetensors") for name in ("both", "alone")]
    for name, value in weights[1].items():
        assert torch.allclose(value, weights[0][name], rtol=0, atol=1e-4), name
    assert json.loads((tmp_path / "both" / "run.json").read_text())["processes"] == 2


def test_one_process_has_the_folder_itself_and_a_second_one_a_copy_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featune.bench.finetune.several.wait", lambda: None)
    folder = Folder(tmp_path / "run", {"seed": 0})
    with first_alone(), claimed(folder) as (own, apart):
        assert (own, apart) == (folder, False)
    (tmp_path / "run" / "work").mkdir()
    (tmp_path / "run" / "work" / "a.pt").write_text("a checkpoint")
    monkeypatch.setattr("featune.bench.finetune.several.place", lambda: (1, 2))
    with first_alone(), claimed(folder) as (own, apart):
        assert apart
        assert own.path != folder.path
        assert (own.work / "a.pt").read_text() == "a checkpoint"
        (own.work / "b.pt").touch()
    assert not own.path.exists()
    assert not (folder.work / "b.pt").exists()


def test_batch_norm_over_all_processes_is_a_choice_for_gpus() -> None:
    model = nn.Sequential(nn.Conv2d(3, 4, 1), nn.BatchNorm2d(4))
    with pytest.raises(BadInput, match="batch_norm: frozen"):
        processes.with_shared_norm(model, torch.device("cpu"))
    before = model[1].state_dict()
    shared = processes.with_shared_norm(model, torch.device("cuda"))
    assert isinstance(shared[1], nn.SyncBatchNorm)  # type: ignore[index]
    assert shared[1].state_dict().keys() == before.keys()  # type: ignore[index]
