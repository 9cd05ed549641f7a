"""log.jsonl."""

from pathlib import Path

from featune.bench.training_log import LogFile, read_log


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
