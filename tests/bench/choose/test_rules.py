"""The rules by which models are dropped and one is chosen."""

import numpy as np
import pytest
from numpy.typing import NDArray

from featune.bench.choose.rules import (
    FINETUNED,
    FROZEN,
    Cost,
    Tried,
    best,
    clearly_worse,
    halving_rounds,
    least_steps,
    most_better,
    rounds_of,
    seconds_of,
    survivors,
)

N = 200


def truth() -> NDArray[np.int64]:
    return np.arange(N) % 2


def tried(name: str, right: int, *, first: int = 0, regime: str = FROZEN, ms: float = 1.0) -> Tried:
    """Right on `right` images from `first` on, in two classes."""
    told = 1 - truth()
    where = (np.arange(right) + first) % N
    told[where] = truth()[where]
    return Tried(name, regime, right / N, np.eye(2, dtype=np.float32)[told], ms)


def test_of_equal_values_the_frozen_model_is_taken_then_the_faster_one() -> None:
    slow, fast = tried("slow", 150, ms=9.0), tried("fast", 150, ms=2.0)
    tuned = tried("tuned", 150, regime=FINETUNED, ms=1.0)
    assert best([tuned, slow, fast]) is fast
    assert best([tried("better", 151, regime=FINETUNED, ms=99.0), slow, fast]).model == "better"


def test_a_model_is_dropped_where_it_loses_on_the_same_images_and_kept_within_chance() -> None:
    leader = tried("leader", 190)
    found = clearly_worse("top1", truth(), [leader, tried("near", 188), tried("far", 150)], leader)
    assert list(found) == ["far"]
    # 40 images of one against none: two-sided exact p is 2 / 2 ** 40, times 2 models at most
    assert found["far"] <= 6 / 2**40


def test_a_metric_that_is_no_share_of_images_drops_by_the_bootstrap() -> None:
    leader = tried("leader", 190)
    found = clearly_worse("mean_per_class", truth(), [leader, tried("near", 188), tried("far", 120)], leader)
    assert list(found) == ["far"]


def test_the_bound_on_what_else_may_be_better_is_above_what_was_seen_and_shrinks_with_images() -> None:
    winner, near, far = tried("winner", 190), tried("near", 188), tried("far", 100)
    near_alone = most_better("top1", truth(), [winner, near], winner)
    assert 0 < near_alone < 0.05
    assert most_better("top1", truth(), [winner, far], winner) < near_alone
    assert most_better("top1", truth(), [winner, near, far], winner) >= near_alone, "more pairs, less sure of each"
    assert most_better("top1", truth(), [winner], winner) == 0.0


def test_the_bound_of_models_that_never_differ_is_the_rule_of_three_or_so() -> None:
    """Zero of 200 images differ: at 2.5 % the share is below -ln(0.025) / 200 = 1.8 %; the score test says 1.9 %."""
    one, same = tried("one", 150), tried("same", 150)
    assert most_better("top1", truth(), [one, same], one) == pytest.approx(0.0184, abs=0.003)


def test_rounds_of_probes_begin_with_a_thousand_images_where_there_are_more_than_twice_as_many() -> None:
    assert rounds_of(900) == [900]
    assert rounds_of(2000) == [2000]
    assert rounds_of(2001) == [1000, 2001]
    assert rounds_of(100_000) == [1000, 4000, 16_000, 100_000]


def test_fine_tuning_is_worth_two_passes_and_fifty_steps_or_the_whole_recipe() -> None:
    assert least_steps(full=15_000, per_pass=1000) == 2000
    assert least_steps(full=150, per_pass=10) == 50
    assert least_steps(full=30, per_pass=2) == 30


def test_a_search_is_planned_as_if_the_slowest_models_went_on() -> None:
    rounds = halving_rounds(2, 100)
    (first, last) = rounds
    assert (first.candidates, last.candidates, last.steps) == (2, 1, 100)
    costs = [Cost(start=5, step=1), Cost(start=7, step=2)]
    assert seconds_of(costs, rounds) == 5 + 7 + first.steps * 3 + (100 - first.steps) * 2


def test_as_many_models_are_fine_tuned_as_get_the_least_number_of_steps() -> None:
    costs = [Cost(start=0, step=1)] * 3
    assert survivors(costs, seconds=10_000, full=200, least=50) == (3, 200)
    count, steps = survivors(costs, seconds=60, full=200, least=50)
    assert (count, 50 <= steps <= 60) == (1, True)
    assert survivors(costs, seconds=40, full=200, least=50) == (0, 0)
    assert survivors([], seconds=40, full=200, least=50) == (0, 0)
