from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from bench.manifests import Source, prepare
from bench.regimes import REGIMES, Bench, ProbeSetting, goodness, regime_kind
from bench.tasks import Task
from engine.errors import BadInput
from engine.metrics import METRICS
from engine.models import ModelSpec

FROZEN = [name for name, kind in REGIMES.items() if kind.frozen]


@pytest.fixture
def task(image_folder: Callable[..., Path], tmp_path: Path) -> Task:
    return prepare(Source("colours", folder=image_folder()), tmp_path / "tasks")


@pytest.mark.parametrize("name", FROZEN)
def test_every_frozen_head_tells_plain_colours_apart(name: str, task: Task, spec: ModelSpec, tmp_path: Path) -> None:
    regime = REGIMES[name].make(Bench(tmp_path, backend="torch"), REGIMES[name].default)
    test = task.load("test")
    scores = regime(spec, task, task.load("train"), task.load("val"), 0)(test)
    assert scores.shape == (15, 3)
    assert METRICS["top1"](test.truth(3), scores) == 1.0


def test_a_few_shots_are_drawn_by_the_seed_and_leave_val_out_of_the_fit(
    task: Task, spec: ModelSpec, tmp_path: Path
) -> None:
    regime = REGIMES["probe"].make(Bench(tmp_path, backend="torch"), ProbeSetting(penalties=(1.0,), shots=2))
    train, val, test = (task.load(split) for split in ("train", "val", "test"))
    one, same, other = (regime(spec, task, train, val, seed)(test) for seed in (0, 0, 1))
    assert np.array_equal(one, same)
    assert not np.array_equal(one, other)
    with pytest.raises(BadInput, match="expected 9 or more"):
        REGIMES["probe"].make(Bench(tmp_path, backend="torch"), ProbeSetting(shots=9))(spec, task, train, val, 0)


def test_goodness_grows_where_the_metric_falls() -> None:
    truth = np.array([0, 1])
    sure, unsure = np.array([[5.0, 0], [0, 5]]), np.array([[0.1, 0], [0, 0.1]])
    for metric in ("top1", "log_loss", "brier"):
        assert goodness(metric)(truth, sure) >= goodness(metric)(truth, unsure)
    assert goodness("log_loss")(truth, sure) > goodness("log_loss")(truth, unsure)


def test_an_unknown_regime_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="no regime named 'fintune'; nearest: finetune"):
        regime_kind("fintune")
