"""Where a training's time goes, by a clock that the test turns."""

import pytest
import torch

from featune.engine.finetune.watch import Clock, account_of


def test_the_rate_of_a_compiled_training_is_of_the_steps_that_do_not_compile(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("featune.engine.finetune.watch.time.monotonic", lambda: now[0])
    clock, seen = Clock(compiles=True), set()
    for images in clock.watching(torch.zeros(10, 3, side, side) for side in (32, 32, 32, 64, 64)):
        with clock.stopped():
            now[0] += 7.0  # a look at val
        now[0] += 2.0 if images.shape in seen else 30.0
        seen.add(images.shape)
    found = account_of(clock.spent(), 10)
    assert found["compile_seconds"] == 2 * 30.0
    assert found["images_per_second"] == pytest.approx(3 * 10 / (3 * 2.0))
    assert found["seconds"] == 2 * 30.0 + 3 * 2.0 + 5 * 7.0
    resumed = Clock(clock.spent(), compiles=True)
    assert account_of(resumed.spent(), 10)["images_per_second"] == found["images_per_second"]


def test_a_checkpoint_in_the_step_that_compiles_counts_its_time_as_compiling(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("featune.engine.finetune.watch.time.monotonic", lambda: now[0])
    clock, kept = Clock(compiles=True), []
    for step, _ in enumerate(clock.watching(iter([torch.zeros(10, 3, 8, 8)] * 3))):
        now[0] += 2.0 if step else 30.0
        with clock.stopped():
            now[0] += 7.0  # a look at val
        kept.append(clock.spent())
        now[0] += 1.0  # the checkpoint is written
        if step == 1:
            break
    assert (kept[0]["compiling"], kept[0]["busy"], kept[0]["steps"]) == (30.0, 0.0, 0.0)
    assert account_of(kept[0], 10)["images_per_second"] is None
    assert (kept[1]["compiling"], kept[1]["busy"], kept[1]["steps"]) == (31.0, 2.0, 1.0)
    only = Clock(compiles=True)
    for _ in only.watching(iter([torch.zeros(10, 3, 8, 8)] * 3)):
        now[0] += 30.0
        break  # SIGINT
    now[0] += 5.0  # of an end that is no part of the step
    assert (only.spent()["compiling"], only.spent()["steps"]) == (30.0, 0.0)


def test_a_training_of_nothing_but_a_compiled_step_has_no_rate_and_a_plain_one_counts_every_step(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    now = [0.0]
    monkeypatch.setattr("featune.engine.finetune.watch.time.monotonic", lambda: now[0])
    rates = []
    for compiles in (True, False):
        clock = Clock(compiles=compiles)
        for _ in clock.watching(iter([torch.zeros(4, 3, 8, 8)])):
            now[0] += 2.0
        rates.append(account_of(clock.spent(), 4)["images_per_second"])
    assert rates == [None, 2.0]
