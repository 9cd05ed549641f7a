"""A fine-tuning that left the finite numbers: what is said, what is left, and the step repeated."""

import json
import math
from pathlib import Path
from typing import Any

import pytest
from commands import run

from featune.bench.results import RunStore
from featune.bench.training_log import read_log
from featune.engine.store import read_json, write_json

WORDS = ("--scratch", "--img-size", "32", "--batch-size", "8", "-q", "--opt", "sgd", "--set", "clip_norm=null",
         "--set", "warmup=0")  # fmt: skip


@pytest.fixture(scope="module")
def diverged(colours: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, list[object], str]:
    """(the folder of a training that diverged, its command, what the command said)."""
    cache, out = tmp_path_factory.mktemp("cache"), tmp_path_factory.mktemp("diverged") / "a run"
    words: list[object] = ["finetune", "test_resnet", colours, *WORDS, "--out", out, "--lr", "1e30", "--steps", "40"]
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUNE_CACHE_DIR", str(cache))
        code, _, stderr = run(*words)
    assert code == 1
    return out, words, stderr


def kept(out: Path) -> Path:
    (step,) = (out / "work").rglob("step.json")
    return step.parent


def test_the_sentence_names_the_command_that_repeats_the_step(diverged: tuple[Path, list[object], str]) -> None:
    out, _, said = diverged
    assert f"`featune finetune --replay '{kept(out)}'` repeats the step" in said
    assert said.count("\n") == 1


def test_one_training_that_diverged_is_a_row_and_a_result_that_say_so(
    diverged: tuple[Path, list[object], str],
) -> None:
    out, _, said = diverged
    (row,) = RunStore(out / "runs").rows()
    assert row.value is None
    assert row.error is not None
    assert row.error in said
    result: dict[str, Any] = read_json(out / "result.json")  # type: ignore[assignment]
    assert (result["error"], result["row"]) == (row.error, row.cell.name)
    (trial,) = result["search"]["trials"]
    assert trial["value"] is None


def test_the_steps_of_a_search_are_those_that_were_made(diverged: tuple[Path, list[object], str]) -> None:
    out, _, _ = diverged
    (log,) = (out / "work").glob("*.jsonl")
    made = [line["step"] for line in read_log(log) if "loss" in line]
    result: dict[str, Any] = read_json(out / "result.json")  # type: ignore[assignment]
    assert result["search"]["steps"] == result["search"]["trials"][0]["steps"] == len(made) < 40


def test_a_run_that_diverged_says_so_again_and_trains_nothing(
    diverged: tuple[Path, list[object], str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    out, words, _ = diverged
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path))
    monkeypatch.setattr("featune.bench.finetune.training.fit_once", None)
    result: dict[str, Any] = read_json(out / "result.json")  # type: ignore[assignment]
    earlier = (
        f"featune: an earlier run of this command ended so ({out / 'result.json'}); remove the folder, or change the "
        f"options, to train again: {result['error']}\n"
    )
    assert run(*words) == (1, "", earlier)
    code, stdout, stderr = run(*words, "--json")
    assert (code, stderr) == (1, earlier)
    assert json.loads(stdout) == {"folder": str(out), **result}
    assert (kept(out) / "step.pt").exists()


def test_a_replayed_step_is_compared_with_the_recorded_one(
    diverged: tuple[Path, list[object], str], tmp_path: Path
) -> None:
    folder = kept(diverged[0])
    code, stdout, _ = run("finetune", "--replay", folder)
    assert code == 0
    assert "on cpu: loss" in stdout
    assert "the same loss as recorded" in stdout
    # Another loss in the record is not the same.
    (tmp_path / "step.pt").symlink_to(folder / "step.pt")
    record: dict[str, Any] = read_json(folder / "step.json")  # type: ignore[assignment]
    write_json(tmp_path / "step.json", record | {"loss": "0.25", "processes": 2})
    code, stdout, _ = run("finetune", "--replay", tmp_path)
    assert code == 0
    assert "loss 0.25 was recorded; the step's loss was over the images of 2 processes" in stdout


def test_a_replayed_step_is_json_that_every_reader_takes(diverged: tuple[Path, list[object], str]) -> None:
    folder = kept(diverged[0])
    record: dict[str, Any] = read_json(folder / "step.json")  # type: ignore[assignment]
    code, stdout, _ = run("finetune", "--replay", folder, "--json")
    assert code == 0

    def refuse(name: str) -> None:
        raise AssertionError(name)

    found = json.loads(stdout, parse_constant=refuse)
    assert found["same"] is True
    assert found["files"] == record["files"]
    assert found["recorded"]["device"] == found["device"] == "cpu"
    assert float(found["recorded"]["loss"]) == pytest.approx(float(record["loss"]), nan_ok=True)
    assert not math.isfinite(float(found["norm"])) or not math.isfinite(float(found["loss"])) or found["loss"] > 1e4


def test_a_step_of_a_gpu_is_repeated_there_or_where_the_user_says(
    diverged: tuple[Path, list[object], str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = kept(diverged[0])
    (tmp_path / "step.pt").symlink_to(folder / "step.pt")
    record: dict[str, Any] = read_json(folder / "step.json")  # type: ignore[assignment]
    write_json(tmp_path / "step.json", record | {"device": "cuda:0"})
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    code, _, stderr = run("finetune", "--replay", tmp_path)
    assert (code, "choose --device cpu" in stderr) == (4, True)
    code, stdout, _ = run("finetune", "--replay", tmp_path, "--device", "cpu")
    assert code == 0
    assert "the same loss as recorded; the step ran on cuda:0" in stdout
