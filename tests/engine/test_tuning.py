import time
from pathlib import Path

import pytest
from torch import Tensor

import engine.tuning
from engine.images import Labelled
from engine.models import View
from engine.passes import Setting, Stream, decoded_squares
from engine.store import read_json
from engine.tuning import setting_file, tuned

VIEW, USUAL = View(side=16), Setting(8, 1)


class Timed:
    """A runner that takes so many seconds per call, whatever the batch: the largest batch is the fastest."""

    def __init__(self, seconds: float):
        self.seconds, self.calls = seconds, 0

    def __call__(self, images: Tensor, /) -> Tensor:
        self.calls += 1
        time.sleep(self.seconds)
        return images.float().mean((2, 3))


@pytest.fixture
def many(items: Labelled, monkeypatch: pytest.MonkeyPatch) -> Labelled:
    monkeypatch.setattr(engine.tuning, "LEAST", 100)
    monkeypatch.setattr(engine.tuning, "CPU_BATCHES", (8, 4, 16, 32))
    return items.take([i % 11 for i in range(150)])


def search(items: Labelled, runner: Timed, file: Path) -> Setting:
    return tuned(items, [Stream(VIEW, runner)], decoded_squares(items, "exact"), "cpu", file, USUAL)


def test_the_search_finds_the_batch_that_is_fastest_and_remembers_it(many: Labelled, tmp_path: Path) -> None:
    file = tmp_path / "settings" / "one.json"
    assert search(many, Timed(0.05), file) == Setting(32, 1)
    assert read_json(file)["batch"] == 32
    again = Timed(0.0)
    assert search(many, again, file) == Setting(32, 1)
    assert again.calls == 0


def test_few_images_are_not_searched_with(items: Labelled, tmp_path: Path) -> None:
    runner = Timed(0.0)
    assert search(items, runner, tmp_path / "one.json") == USUAL
    assert runner.calls == 0


def test_a_choice_is_of_its_models_and_machine(tmp_path: Path) -> None:
    assert setting_file(tmp_path, ["a", "b"], "cpu") == setting_file(tmp_path, ["b", "a"], "cpu")
    assert setting_file(tmp_path, ["a"], "cpu") != setting_file(tmp_path, ["b"], "cpu")
