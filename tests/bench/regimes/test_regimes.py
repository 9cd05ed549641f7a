from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from make_layouts import table

from featune.bench.data import Source, prepare
from featune.bench.regimes import REGIMES, Bench, FrozenData, ProbeSetting, regime_named
from featune.bench.regimes.selection import Goodness
from featune.bench.tasks import Task
from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe
from featune.engine.metrics import METRICS
from featune.engine.models import ModelSpec

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
        assert Goodness(metric, truth)(sure) >= Goodness(metric, truth)(unsure)
    assert Goodness("log_loss", truth)(sure) > Goodness("log_loss", truth)(unsure)


def test_what_nobody_can_judge_has_no_say_in_the_choice(
    image_folder: Callable[..., Path], spec: ModelSpec, tmp_path: Path
) -> None:
    """Reds are marks of nobody's: a head that calls them blue is as good as one that does not."""
    folder = image_folder()
    lines = []
    for split in ("train", "val", "test"):
        for path in sorted((folder / split).rglob("*.png")):
            colour = path.parent.name
            marks = (int(colour == "blue") - int(colour == "red"), int(colour == "green"))
            lines.append((path.relative_to(folder), split, *marks))
    table(folder / "t.csv", ("path", "split", "label:blue", "label:green"), lines)
    made = prepare(Source("t", csv=folder / "t.csv", metric="map"), tmp_path / "tasks")
    val = made.load("val")
    truth, judged = (val.truth(2, True, masked=masked) for masked in (False, True))
    data = FrozenData(*[np.zeros(1, dtype=np.float32)] * 3, np.zeros(1), truth, judged, 2, "map", 0)
    calls_reds_blue = np.where(judged != 0, 5.0, -5.0)
    assert METRICS["map"](truth, calls_reds_blue) < 1
    assert data.goodness()(calls_reds_blue) == METRICS["map"](judged, calls_reds_blue) == 1
    for name in ("probe", "ridge", "knn"):
        regime = REGIMES[name].make(Bench(tmp_path, backend="torch"), REGIMES[name].default)
        scores = regime(spec, made, made.load("train"), val, 0)(made.load("test"))
        assert METRICS["map"](made.load("test").truth(2, True, masked=True), scores) == 1


def test_a_training_that_keeps_its_best_says_when_it_had_learned(task: Task, spec: ModelSpec, tmp_path: Path) -> None:
    """Nine tenths of the odds at the end, by the looks at val after each epoch; without looks nothing is said."""
    of = {
        keep: REGIMES["scratch"].make(
            Bench(tmp_path, backend="torch"), Recipe(epochs=3, batch=8, learning_rates=(0.01,), keep=keep)
        )(spec, task, task.load("train"), task.load("val"), 0).details
        for keep in ("best", "last")
    }  # fmt: skip
    looks, n = of["best"]["looks"], len(task.load("val"))
    odds = {step: (value * n + 0.5) / ((1 - value) * n + 0.5) for step, value in looks}
    converged = min(step for step in odds if odds[step] >= 0.9 * odds[max(odds)])
    assert len(looks) == 4
    assert of["best"]["steps_to_90_percent_of_final_odds"] == converged
    assert "steps_to_90_percent_of_final_odds" not in of["last"]


def test_an_unknown_regime_is_answered_with_the_nearest() -> None:
    with pytest.raises(BadInput, match="no regime named 'fintune'; nearest: finetune"):
        regime_named("fintune")
