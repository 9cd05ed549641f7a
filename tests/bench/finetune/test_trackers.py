"""What MLflow, Weights & Biases and TensorBoard are told, with fakes that record it."""

import importlib.util
import sys
import types
from pathlib import Path
from typing import Any

import pytest

from featune.bench.finetune.trackers import opened, tracker_names
from featune.bench.training_log import LogFile
from featune.engine.errors import BadInput, Missing

RECIPE = {"optimizer": "adamw", "learning_rates": [0.003]}
STEP = {"step": 0, "epoch": 0, "rate": 0.01, "loss": 1.5, "norm": 2.0}


def told(folder: Path, name: str, *lines: dict[str, Any]) -> None:
    log = LogFile(folder / "work" / "abc.jsonl", trackers=opened([name], folder, "abc", RECIPE))
    for line in lines:
        log(line)
    log.close()


@pytest.fixture
def mlflow(monkeypatch: pytest.MonkeyPatch) -> list[tuple[Any, ...]]:
    """Calls of a client, without the time's own fields."""
    calls: list[tuple[Any, ...]] = []

    class Client:
        def __init__(self, tracking_uri: str):
            calls.append(("at", tracking_uri))

        def get_experiment_by_name(self, name: str) -> None:
            return None

        def create_experiment(self, name: str) -> str:
            calls.append(("experiment", name))
            return "7"

        def create_run(self, experiment: str, run_name: str) -> Any:
            calls.append(("run", experiment, run_name))
            return types.SimpleNamespace(info=types.SimpleNamespace(run_id="r1"))

        def update_run(self, run: str, status: str) -> None:
            calls.append(("again", run, status))

        def log_param(self, run: str, key: str, value: Any) -> None:
            calls.append(("param", run, key, value))

        def log_metric(self, run: str, key: str, value: float, step: int) -> None:
            if key != "seconds":
                calls.append(("metric", run, key, value, step))

        def set_terminated(self, run: str) -> None:
            calls.append(("end", run))

    monkeypatch.setitem(sys.modules, "mlflow", types.SimpleNamespace(MlflowClient=Client))
    monkeypatch.delenv("MLFLOW_TRACKING_URI", raising=False)
    return calls


def test_mlflow_is_told_the_recipe_and_every_number_and_goes_on_in_the_same_run(
    mlflow: list[tuple[Any, ...]], tmp_path: Path
) -> None:
    (tmp_path / "work").mkdir()
    told(tmp_path, "mlflow", STEP)
    assert mlflow == [
        ("at", f"sqlite:///{tmp_path}/mlflow.db"),
        ("experiment", "featune"),
        ("run", "7", f"{tmp_path.name}/abc"),
        ("param", "r1", "optimizer", "adamw"),
        ("param", "r1", "learning_rates", [0.003]),
        ("metric", "r1", "epoch", 0, 1),
        ("metric", "r1", "lr", 0.01, 1),
        ("metric", "r1", "loss", 1.5, 1),
        ("metric", "r1", "grad_norm", 2.0, 1),
        ("end", "r1"),
    ]
    mlflow.clear()
    told(tmp_path, "mlflow", {"step": 1, "epoch": 0, "val": 0.5})
    assert mlflow[1:] == [
        ("again", "r1", "RUNNING"),
        ("metric", "r1", "epoch", 0, 1),
        ("metric", "r1", "val", 0.5, 1),
        ("end", "r1"),
    ]


def test_mlflow_goes_to_the_server_that_the_environment_names(
    mlflow: list[tuple[Any, ...]], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "flowers")
    (tmp_path / "work").mkdir()
    told(tmp_path, "mlflow")
    assert mlflow[:2] == [("at", "http://tracking:5000"), ("experiment", "flowers")]


def test_weights_and_biases_has_one_run_for_a_training_that_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    begun: list[dict[str, Any]] = []
    logged: list[tuple[dict[str, Any], int]] = []

    class Run:
        def log(self, values: dict[str, Any], step: int) -> None:
            logged.append((values, step))

        def finish(self) -> None:
            logged.append(({}, -1))

    def init(**options: Any) -> Run:
        begun.append(options)
        return Run()

    monkeypatch.setitem(sys.modules, "wandb", types.SimpleNamespace(init=init))
    monkeypatch.setenv("WANDB_PROJECT", "flowers")
    (tmp_path / "work").mkdir()
    told(tmp_path, "wandb", STEP)
    told(tmp_path, "wandb", {**STEP, "step": 1})
    assert begun[0] == begun[1]
    assert begun[0]["project"] == "flowers"
    assert begun[0]["config"] == RECIPE
    assert begun[0]["resume"] == "allow"
    assert [step for _, step in logged] == [1, -1, 2, -1]
    assert logged[0][0]["grad_norm"] == 2.0


def test_names_are_checked_before_anything_is_trained(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None if name == "wandb" else object())
    assert tracker_names("") == ()
    assert tracker_names("mlflow, tensorboard,mlflow") == ("mlflow", "tensorboard")
    with pytest.raises(BadInput, match=r"--log 'mlfow' found; nearest: mlflow"):
        tracker_names("mlfow")
    with pytest.raises(Missing, match=r"wandb is not installed; pip install 'featune\[wandb\]', or leave it out"):
        tracker_names("mlflow,wandb")
