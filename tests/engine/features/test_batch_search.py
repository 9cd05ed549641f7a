import time
from pathlib import Path

import numpy as np
import pytest
from torch import Tensor

from featune.engine.features.batch_search import GPU_BATCHES, Search, _images, _Trial, setting_file
from featune.engine.features.passes import Chunk, Setting, Stream
from featune.engine.features.squares import Seconds, decoded_squares
from featune.engine.images import Labelled
from featune.engine.models import View
from featune.engine.store import read_json

VIEW, USUAL = View(side=16), Setting(8, 1)


class Timed:
    """A runner whose time grows with the square of the batch: the smallest is the fastest."""

    def __init__(self, seconds: float):
        self.seconds, self.calls = seconds, 0

    def __call__(self, images: Tensor, /) -> Tensor:
        self.calls += 1
        time.sleep(self.seconds * len(images) ** 2)
        return images.float().mean((2, 3))


def search(items: Labelled, runner: Timed, file: Path | None, start: int = 0) -> tuple[Setting, np.ndarray]:
    """The setting in the end, and the rows."""
    made = Search(USUAL, file)
    squares = decoded_squares(items, "exact")
    rows = [chunk.rows[0] for chunk in made.chunks(items, [Stream(VIEW, runner, start)], squares)]
    return made.setting, np.concatenate(rows)


@pytest.fixture
def many(items: Labelled) -> Labelled:
    return items.take([i % 11 for i in range(800)])


def test_the_search_finds_the_batch_that_is_fastest_and_remembers_it(many: Labelled, tmp_path: Path) -> None:
    file = tmp_path / "settings" / "one.json"
    runner = Timed(0.001)
    setting, rows = search(many, runner, file)
    assert setting == Setting(1, 1)
    assert read_json(file)["batch"] == 1
    again = Timed(0.0)
    assert search(many, again, file)[0] == Setting(1, 1)
    assert again.calls == 800  # 800 images, none of them tried with another batch
    assert len(rows) == 800


def test_trials_give_the_passs_own_rows(many: Labelled, tmp_path: Path) -> None:
    _, rows = search(many, Timed(0.0), tmp_path / "one.json")
    assert np.array_equal(rows, search(many, Timed(0.0), None)[1])
    assert np.array_equal(search(many, Timed(0.0), tmp_path / "two.json", start=7)[1], rows[7:])


def test_few_images_are_not_searched_with(items: Labelled, tmp_path: Path) -> None:
    setting, rows = search(items, Timed(0.0), tmp_path / "one.json")
    assert setting == USUAL
    assert len(rows) == 11
    assert not (tmp_path / "one.json").exists()


def test_a_setting_that_is_given_is_not_searched_for(many: Labelled) -> None:
    runner = Timed(0.0)
    assert search(many, runner, None)[0] == USUAL
    assert runner.calls == 100


def test_a_choice_is_of_its_models_and_machine(tmp_path: Path) -> None:
    assert setting_file(tmp_path, ["a", "b"], "cpu") == setting_file(tmp_path, ["b", "a"], "cpu")
    assert setting_file(tmp_path, ["a"], "cpu") != setting_file(tmp_path, ["b"], "cpu")


def chunk(start: int, stop: int) -> Chunk:
    return Chunk(start, stop, (), (), Seconds(decode=9.0))


def test_on_a_gpu_a_setting_is_timed_by_the_clock_and_not_by_what_its_decoders_spent() -> None:
    """The workers' seconds are those of decoding only, and grow with the number of workers."""
    times = iter([10.0, 10.0, 11.0, 13.0])
    trial = _Trial(Setting(64, 1), "cuda", lambda: next(times))
    for number in range(4):
        trial.count(chunk(64 * number, 64 * (number + 1)))
    assert trial.rate() == 128 / 3  # the first two came in a burst: they were decoded while the first was waited for


def test_a_search_on_a_gpu_needs_no_more_than_a_few_batches_of_each_size() -> None:
    settings = [Setting(batch, 16) for batch in (128, *GPU_BATCHES)]
    assert sum(_images(each, 10**6, "cuda") for each in settings) == 3 * 16 * (128 + sum(GPU_BATCHES))
