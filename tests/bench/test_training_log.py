"""log.jsonl."""

from pathlib import Path

import pytest

from featune.bench.training_log import LogFile, read_log, steps_to_odds


def told(step: int, **values: float) -> dict[str, float]:
    return {"step": step, "epoch": step // 10, "rate": 0.1, "loss": 1.0 / (step + 1), "norm": 2.0, **values}


def test_a_line_has_step_rate_loss_norm_and_seconds(tmp_path: Path) -> None:
    times = iter([0.0, 1.5])
    LogFile(tmp_path / "log.jsonl", clock=lambda: next(times))(told(0))
    assert read_log(tmp_path / "log.jsonl") == [
        {"step": 1, "epoch": 0, "lr": 0.1, "loss": 1.0, "grad_norm": 2.0, "seconds": 1.5}
    ]


def test_a_resumed_training_leaves_one_line_for_each_step(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    first = LogFile(path)
    for step in range(5):
        first(told(step))
    first({"step": 5, "epoch": 0, "val": 0.5})
    second = LogFile(path)  # from the checkpoint after step 3
    for step in range(3, 8):
        second(told(step))
    lines = read_log(path)
    assert [line["step"] for line in lines] == list(range(1, 9))
    assert all("loss" in line for line in lines)
    assert [line["seconds"] for line in lines] == sorted(line["seconds"] for line in lines)


def test_a_line_that_a_kill_cut_short_is_left_out(tmp_path: Path) -> None:
    path = tmp_path / "log.jsonl"
    LogFile(path)(told(0))
    with open(path, "a") as file:
        file.write('{"step": 2, "lo')
    assert [line["step"] for line in read_log(path)] == [1]
    LogFile(path)(told(1))
    assert [line["step"] for line in read_log(path)] == [1, 2]


def test_what_is_not_finite_is_null(tmp_path: Path) -> None:
    LogFile(tmp_path / "log.jsonl")(told(0, loss=float("nan")))
    assert read_log(tmp_path / "log.jsonl")[0]["loss"] is None


def test_steps_to_a_share_of_the_final_odds_are_worked_out_by_hand() -> None:
    """Odds of 0.5, 0.8, 0.9, 0.89 of 1,000 images are about 1, 4, 9 and 8.1: 90 % of the last is 7.3."""
    looks = [{"step": step, "val": value} for step, value in ((0, 0.5), (10, 0.8), (20, 0.9), (30, 0.89))]
    lines = [{"step": 1, "loss": 0.3}, *looks]
    for metric in ("top1", "mean_per_class"):
        assert steps_to_odds(lines, 1000, metric) == 20
    assert steps_to_odds(lines, 1000, "top1", share=0.4) == 10
    assert steps_to_odds([*looks, {"step": 40, "val": 1.0}], 1000, "top1") == 40
    assert steps_to_odds(looks[:1], 1000, "top1") is None


@pytest.mark.parametrize("metric", ["quadratic_kappa", "f1_macro", "roc_auc", "log_loss", "map"])
def test_a_metric_that_is_no_share_of_images_has_no_odds(metric: str) -> None:
    assert steps_to_odds([{"step": 0, "val": 0.5}, {"step": 10, "val": 0.8}], 1000, metric) is None


def test_looks_that_do_not_begin_before_training_do_not_say_how_soon_it_learned() -> None:
    """As of a training that an earlier version began, which kept no looks."""
    assert steps_to_odds([{"step": 20, "val": 0.9}, {"step": 30, "val": 0.89}], 1000, "top1") is None
