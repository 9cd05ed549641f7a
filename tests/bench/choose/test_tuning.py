"""Fine-tuning within seconds: what is started, what it may take, what a kill changes. Training is a function here."""

from collections.abc import Mapping
from pathlib import Path

import pytest

from featune.bench.choose.journal import Journal
from featune.bench.choose.rules import Cost
from featune.bench.choose.tuning import Tuned, Tuning, Work, tune
from featune.engine.finetune import Recipe
from featune.engine.search import TrialFailed

RECIPE = Recipe(epochs=10, batch=10, learning_rates=(0.01,))
IMAGES = 400  # 40 steps a pass, 400 in all, at least 80
RATES = {"good": 1000.0, "fair": 1000.0, "poor": 1000.0}


class Killed(Exception):
    pass


class Lab:
    """A clock that training moves, and models whose value grows with their steps."""

    def __init__(self, folder: Path, seconds: float = 1.0, kill_after: int = 10**9):
        self.now, self.folder, self.kill_after = 0.0, folder, kill_after
        self.seconds, self.done = seconds, dict[Tuning, int]()
        self.asked, self.kills = list[Tuning](), 0

    def tune(
        self, deadline: float, rates: Mapping[str, float] = RATES, fails: str = "", at: int = 0
    ) -> tuple[Tuned, Journal]:
        journal = Journal(self.folder / "journal", clock=lambda: self.now)

        def train(one: Tuning, until: int) -> float:
            self.kill_after -= 1
            if self.kill_after < 0:
                raise Killed
            if one.model == fails and until > at:
                self.now += self.seconds * (at - self.done.get(one, 0))
                self.done[one] = at
                self.asked.append(one)
                if self.kills:
                    self.kills -= 1
                    raise Killed
                raise TrialFailed("its loss is nan", at)
            self.now += self.seconds * (until - self.done.get(one, 0))
            self.done[one] = until
            return {"good": 0.9, "fair": 0.8, "poor": 0.7}[one.model] + until / 1e4 - one.recipe.learning_rates[0]

        def cost(model: str) -> Cost:
            self.now += 10 * self.seconds
            return Cost(start=0.0, step=self.seconds)

        work = Work(cost, train)
        found = tune(
            list(rates), rates, RECIPE, IMAGES, work, journal, self.folder, deadline=deadline,
        )  # fmt: skip
        return found, journal


@pytest.fixture(autouse=True)
def clock_of_trials(monkeypatch: pytest.MonkeyPatch) -> None:
    """The search times its trials by the lab's clock."""
    from featune.bench.choose import tuning
    from featune.engine.search import search

    def by_the_lab(*arguments: object, **options: object) -> object:
        return search(*arguments, **options, clock=lambda: LABS[-1].now)  # type: ignore[arg-type]

    monkeypatch.setattr(tuning, "search", by_the_lab)


LABS: list[Lab] = []


def lab(folder: Path, **options: float) -> Lab:
    LABS.append(Lab(folder, **options))  # type: ignore[arg-type]
    return LABS[-1]


def test_the_best_of_three_is_trained_to_its_end_and_the_others_say_where_they_went_out(tmp_path: Path) -> None:
    found, _ = lab(tmp_path).tune(deadline=1000)
    assert found.finished[0].model == "good"
    assert found.finished[0].recipe.steps == 400
    assert "others were better on val" in found.out["poor"]


@pytest.mark.parametrize("deadline", [300.0, 600.0, 1000.0, 1500.0])
def test_time_that_is_left_is_spent_and_no_more(tmp_path: Path, deadline: float) -> None:
    _, journal = lab(tmp_path).tune(deadline=deadline)
    assert 0.85 * deadline <= journal.seconds <= deadline


def test_with_time_left_the_best_is_trained_at_other_rates(tmp_path: Path) -> None:
    found, _ = lab(tmp_path).tune(deadline=1500)
    rates = {one.recipe.learning_rates[0] for one in found.finished if one.model == "good"}
    assert rates == {0.00333, 0.01, 0.03}


def test_a_model_that_went_out_goes_on_from_where_it_was_where_time_is_left(tmp_path: Path) -> None:
    at = lab(tmp_path)
    found, journal = at.tune(deadline=100_000)
    assert {one.recipe.steps for one in found.finished if one.model == "poor"} == {400}
    assert journal.seconds == 3 * 10 + 5 * 400, "three models, and two further rates of the best"


def test_more_time_than_there_is_work_for_is_not_spent(tmp_path: Path) -> None:
    found, journal = lab(tmp_path).tune(deadline=100_000)
    assert journal.seconds < 2500
    assert {one.model for one in found.finished} == {"good", "fair", "poor"}


def test_too_little_time_starts_nothing_and_says_so(tmp_path: Path) -> None:
    found, journal = lab(tmp_path).tune(deadline=50)
    assert found.finished == ()
    assert "fine-tuning was not started" in found.said
    slow = {"good": 1.0, "fair": 1.0, "poor": 1.0}  # images per second: 30 s a step
    at, journal = lab(tmp_path / "slow").tune(deadline=1000, rates=slow)
    assert "fine-tuning was not started: it needs about 2400 s for 80 steps" in at.said
    assert journal.seconds == 0, "not even timed"


def test_a_model_that_is_too_slow_by_itself_is_left_to_its_probe(tmp_path: Path) -> None:
    found, _ = lab(tmp_path).tune(deadline=1000, rates={"good": 1.0, "fair": 1000.0})
    assert "not fine-tuned: 80 steps take about 2400 s" in found.out["good"]
    assert {one.model for one in found.finished} == {"fair"}


def test_a_further_model_is_not_even_timed_where_the_better_one_needs_the_time(tmp_path: Path) -> None:
    rates = {"good": 1000.0, "fair": 10.0}  # 3 s a step of the second one: 240 s for the least
    found, journal = lab(tmp_path, seconds=0.1).tune(deadline=241, rates=rates)
    assert found.out["fair"] == "not fine-tuned: no time for a further model"
    assert found.finished[0].model == "good"
    assert journal.stages()["time"] == 1.0, "of one model"


def test_a_training_that_fails_leaves_the_others(tmp_path: Path) -> None:
    found, _ = lab(tmp_path).tune(deadline=1000, fails="good")
    assert found.finished[0].model == "fair"
    assert "nan" in found.out["good"]
    nothing, _ = lab(tmp_path / "none").tune(deadline=1000, rates={"good": 1000.0}, fails="good")
    assert nothing.finished == ()


def test_a_training_that_diverges_is_not_tried_again_where_time_is_left(tmp_path: Path) -> None:
    at = lab(tmp_path)
    found, journal = at.tune(deadline=100_000, fails="fair", at=50)
    assert found.out["fair"] == "fine-tuning ended after 50 of 400 steps: its loss is nan"
    assert len(at.asked) == 1
    assert {one.model for one in found.finished} == {"good", "poor"}
    assert journal.seconds == 3 * 10 + 50 + 4 * 400, "two models, and two further rates of the best"


def test_the_seconds_of_a_training_that_diverges_count_once_those_of_killed_processes_too(tmp_path: Path) -> None:
    """It diverges at the step at which the round before has ended, under whose name its own seconds would be lost."""
    whole = lab(tmp_path / "whole")
    found, _ = whole.tune(deadline=100_000, fails="good", at=100)
    first = [trial for one, trial in found.trials if one.model == "good"]
    assert [(trial.until, trial.steps, trial.seconds) for trial in first] == [(100, 100, 100.0), (400, 100, 0.0)]
    at = lab(tmp_path / "killed")
    at.kills = 1
    with pytest.raises(Killed):
        at.tune(deadline=100_000, fails="fair", at=50)
    found, journal = at.tune(deadline=100_000, fails="fair", at=50)
    assert sum(trial.seconds for one, trial in found.trials if one.model == "fair") == 50
    assert journal.seconds == 3 * 10 + 50 + 4 * 400


def test_a_run_that_is_killed_at_every_step_finishes_the_same_trainings(tmp_path: Path) -> None:
    whole, _ = lab(tmp_path / "whole").tune(deadline=1500)
    kills = 0
    at = lab(tmp_path / "killed")
    while True:
        at.kill_after = 1
        try:
            killed, _ = at.tune(deadline=1500)
            break
        except Killed:
            kills += 1
    assert kills >= 4
    assert killed.finished == whole.finished


def test_the_seconds_of_a_training_that_was_killed_count(tmp_path: Path) -> None:
    at = lab(tmp_path)
    spent = 70.0
    journal = Journal(tmp_path / "journal", clock=lambda: at.now)

    def dies() -> float:
        at.now += spent
        raise Killed

    with pytest.raises(Killed):
        journal.watched("trial a 100", dies)
    assert journal.watched("trial a 100", lambda: 0.5) == 0.5
    assert Journal(tmp_path / "journal").add("trial a 100", 3.0) == spent
    assert journal.add("trial b 100", 3.0) == 3.0
