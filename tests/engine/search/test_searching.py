"""Search over candidates, with made-up trainings."""

import json
from pathlib import Path

import pytest

from featune.engine.errors import BadInput
from featune.engine.search import (
    Round,
    TrialFailed,
    grid,
    halving,
    longest_within,
    search,
    total_steps,
)

CANDIDATES = [0.1 * number for number in range(1, 10)]


def rising(candidate: float, steps: int) -> float:
    """The best at the end is 0.6; all rise alike."""
    return (1 - (candidate - 0.6) ** 2) * steps / (steps + 10)


@pytest.mark.parametrize("count", [6, 7, 9, 20, 40, 56])
@pytest.mark.parametrize("steps", [100, 500, 20_000])
def test_halving_takes_at_most_a_quarter_of_the_grid(count: int, steps: int) -> None:
    rounds = halving(count, steps)
    assert total_steps(rounds) <= 0.25 * total_steps(grid(count, steps))
    assert rounds[0].candidates == count
    assert rounds[-1].steps == steps


def test_what_the_first_rounds_leave_goes_to_whole_trainings() -> None:
    # 56 / 16 + 20 * 3 / 16 + 14 / 4 + 6 / 2 = 13.75 of 14 trainings; with seven to the end it would be 14.25.
    assert halving(56, 1600) == (Round(56, 100), Round(20, 400), Round(14, 800), Round(6, 1600))
    assert halving(9, 1600) == (Round(9, 100), Round(3, 400), Round(2, 800), Round(1, 1600))
    assert halving(6, 1600) == (Round(6, 100), Round(2, 400), Round(1, 1600))
    assert halving(3, 1600) == (Round(3, 400), Round(1, 1600))


@pytest.mark.parametrize("count", [1, 2, 3, 5, 6, 9, 56])
@pytest.mark.parametrize("steps", [*range(1, 40), 79, 80])
def test_every_candidate_is_in_the_first_round_however_short_the_training(count: int, steps: int) -> None:
    try:
        rounds = halving(count, steps)
    except BadInput as error:
        assert "too short for halving" in str(error)  # noqa: PT017
        assert steps < 80
        return
    assert rounds[0].candidates == count
    assert rounds[0].steps >= 5 or count == 1
    assert rounds[-1].steps == steps
    assert total_steps(rounds) <= max(0.25 * count, 1.5) * steps
    assert [each.steps for each in rounds] == sorted({each.steps for each in rounds})


def test_total_steps_counts_only_what_each_round_adds() -> None:
    assert total_steps([Round(4, 10), Round(2, 30), Round(1, 100)]) == 4 * 10 + 2 * 20 + 70


def test_halving_finds_the_best_where_the_order_is_the_same_at_every_length(tmp_path: Path) -> None:
    found = search(CANDIDATES, halving(9, 900), rising, tmp_path)
    assert found.best == pytest.approx(0.6)
    assert found.steps == total_steps(halving(9, 900))


def test_a_grid_trains_every_candidate_to_the_end(tmp_path: Path) -> None:
    found = search(CANDIDATES, grid(9, 100), rising, tmp_path)
    assert [trial.steps for trial in found.trials] == [100] * 9
    assert found.best == pytest.approx(0.6)


@pytest.mark.parametrize("kills_after", range(1, 13))
def test_a_killed_search_gives_the_same_answer_and_trains_nothing_twice(tmp_path: Path, kills_after: int) -> None:
    rounds, asked = halving(9, 900), []

    def train(candidate: float, steps: int) -> float:
        if len(asked) == kills_after:
            raise KeyboardInterrupt
        asked.append((candidate, steps))
        return rising(candidate, steps)

    whole = search(CANDIDATES, rounds, rising, tmp_path / "whole", clock=lambda: 0.0)
    with pytest.raises(KeyboardInterrupt):
        search(CANDIDATES, rounds, train, tmp_path / "killed", clock=lambda: 0.0)
    kills_after = 10**6
    resumed = search(CANDIDATES, rounds, train, tmp_path / "killed", clock=lambda: 0.0)
    assert resumed == whole
    assert len(asked) == len(set(asked)) == len(whole.trials)


def test_a_diverged_candidate_never_goes_on(tmp_path: Path) -> None:
    def train(candidate: float, steps: int) -> float:
        if candidate > 0.55:
            raise TrialFailed("the loss is nan")
        return rising(candidate, steps)

    found = search(CANDIDATES, halving(9, 900), train, tmp_path)
    assert found.best == pytest.approx(0.5)
    assert {trial.error for trial in found.trials if trial.value is None} == {"the loss is nan"}


def test_where_all_diverge_there_is_no_best(tmp_path: Path) -> None:
    def train(candidate: float, steps: int) -> float:
        return float("nan")

    found = search(CANDIDATES, halving(9, 900), train, tmp_path)
    assert found.best is None
    assert len(found.trials) == 9


def test_the_earlier_of_two_equals_wins(tmp_path: Path) -> None:
    assert search([3, 1, 2], grid(3, 5), lambda candidate, steps: 0.5, tmp_path).best == 3


def test_candidates_that_go_out_are_told_once(tmp_path: Path) -> None:
    out: list[float] = []
    found = search(CANDIDATES, halving(9, 900), rising, tmp_path, dropped=out.append)
    assert sorted([*out, found.best]) == sorted(CANDIDATES)


@pytest.mark.parametrize("steps", [200, 1000, 12_345])
def test_a_budget_of_steps_gives_the_longest_training_that_fits(steps: int) -> None:
    longest = longest_within(7, steps, halving)
    assert total_steps(halving(7, longest)) <= steps < total_steps(halving(7, longest + 1))


def test_a_budget_of_fewer_steps_than_candidates_is_refused() -> None:
    with pytest.raises(BadInput, match="give at least 9"):
        longest_within(9, 5, grid)


def test_a_diverged_candidate_counts_with_the_steps_that_it_made(tmp_path: Path) -> None:
    def train(candidate: float, steps: int) -> float:
        if candidate == 0.2:
            raise TrialFailed("the loss is nan", 1)
        if candidate == 0.3:
            raise TrialFailed("the loss is nan", 25)
        return candidate

    rounds = [Round(3, 10), Round(2, 30)]
    found = search([0.1, 0.2, 0.3], [Round(3, 40)], train, tmp_path / "grid")
    assert found.steps == 40 + 1 + 25
    assert search([0.1, 0.2, 0.3], [Round(3, 40)], train, tmp_path / "grid").steps == found.steps, "read again"

    def late(candidate: float, steps: int) -> float:
        if candidate == 0.2 and steps == 30:
            raise TrialFailed("the loss is nan", 25)
        return candidate

    found = search([0.1, 0.2, 0.3], rounds, late, tmp_path / "rounds")
    assert found.steps == 3 * 10 + 15 + 20
    assert found.best == pytest.approx(0.3)


def test_a_trial_says_what_its_round_asked_for_and_what_was_made_also_from_files_of_before(tmp_path: Path) -> None:
    def train(candidate: float, steps: int) -> float:
        if candidate == 0.2:
            raise TrialFailed("the loss is nan", 7)
        return candidate

    found = search([0.1, 0.2], [Round(2, 40)], train, tmp_path)
    assert [(trial.until, trial.steps) for trial in found.trials] == [(40, 40), (40, 7)]
    for path in tmp_path.glob("*.json"):
        known = json.loads(path.read_text())
        path.write_text(json.dumps({key: value for key, value in known.items() if key != "until"}))
    assert search([0.1, 0.2], [Round(2, 40)], train, tmp_path).trials == found.trials
