"""Faster, equal, undecided."""

import dataclasses
import itertools

import numpy as np
import pytest

from featune.bench.throughput import Block, unpaired_verdict, verdict_of
from featune.bench.throughput.verdicts import decided, spread_of


def blocks(
    rng: np.random.Generator, seconds: float, noise: float, shared: np.ndarray, session: int = 0, process: float = 0.0
) -> list[Block]:
    """Ten blocks of one image; `shared` is what the machine did to both of a round, `process` the standard deviation of
    what this process differs by from others of the same."""
    own = float(np.exp(rng.normal(0, process))) * seconds
    return [
        Block(session, turn, (own * float(np.exp(shared[turn] + rng.normal(0, noise))),), 1, own) for turn in range(10)
    ]


def words(ratio: float, noise: float, trials: int = 60, process: float = 0.0) -> dict[str, int]:
    """Verdicts as `measured_in_turns` comes to them: what one look leaves undecided is looked at once more."""
    found = dict.fromkeys(("faster", "slower", "equal", "undecided"), 0)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        slow, fast, twin = list[Block](), list[Block](), list[Block]()
        for session in (0, 1):
            shared = rng.normal(0, 0.2, 10)
            for side, seconds in ((slow, 0.01 * ratio), (fast, 0.01), (twin, 0.01)):
                side += blocks(rng, seconds, noise, shared, session, process)
            word = verdict_of(fast, slow, spread_of([(fast, twin)]), seed=trial).word
            if word != "undecided":
                break
        found[word] += 1
    return found


def test_the_same_is_hardly_ever_called_faster() -> None:
    for noise in (0.002, 0.01, 0.05):
        found = words(1.0, noise)
        assert found["faster"] + found["slower"] <= 3


def test_processes_that_differ_as_long_as_they_live_are_not_called_faster() -> None:
    """No number of blocks shows it. A rule that takes one look for enough did so in 17 of 60 where `process` is 1 %."""
    found = words(1.0, 0.005, process=0.0075)
    assert found["faster"] + found["slower"] <= 3
    assert words(1.10, 0.005, process=0.01)["faster"] == 60
    assert words(1.03, 0.005, process=0.005)["faster"] >= 45


def test_a_small_lead_needs_fresh_processes_that_show_it_too() -> None:
    rng, none = np.random.default_rng(0), np.zeros(10)

    def both(*ratios: float) -> str:
        slow = [block for at, ratio in enumerate(ratios) for block in blocks(rng, 0.01 * ratio, 0.001, none, at)]
        fast = [block for at, _ in enumerate(ratios) for block in blocks(rng, 0.01, 0.001, none, at)]
        one, other = verdict_of(fast, slow).word, verdict_of(slow, fast).word
        assert (one, other) in (("faster", "slower"), ("undecided", "undecided"))
        return one

    assert both(1.04) == "undecided"
    assert both(1.04, 1.04) == "faster"
    assert both(1.065, 1.005) == "undecided"
    assert both(1.08) == "faster"


def test_the_spread_is_the_root_mean_square_of_what_twins_differ_by() -> None:
    def flat(seconds: float, session: int) -> list[Block]:
        return [Block(session, turn, (seconds,), 1, seconds) for turn in range(6)]

    pair = [*flat(0.01, 0), *flat(0.01, 1)], [*flat(0.01 * np.exp(0.03), 0), *flat(0.01 * np.exp(-0.04), 1)]
    assert spread_of([pair]) == pytest.approx(np.expm1(np.sqrt((0.03**2 + 0.04**2) / 2)))
    assert spread_of([]) == 0


def test_what_a_round_does_to_both_cancels() -> None:
    """The machine's speed changes by 20 % between rounds; 3 % are found all the same."""
    assert words(1.03, 0.005)["faster"] >= 54
    assert words(1.10, 0.01)["faster"] == 60


def test_equal_needs_the_whole_interval_within_the_margin() -> None:
    assert decided(1.0, 0.98, 1.02, 10).word == "equal"
    assert decided(1.0, 0.96, 1.02, 10).word == "undecided"
    assert decided(1.0, 0.98, 1.031, 10).word == "undecided"
    assert decided(1.0, 0.98, 1.02, 10, spread=0.02).word == "undecided"
    assert words(1.0, 0.002)["equal"] >= 57


def test_a_difference_within_the_machines_spread_is_none() -> None:
    assert decided(1.04, 1.02, 1.06, 10, spread=0.0).word == "faster"
    assert decided(1.04, 1.02, 1.06, 10, spread=0.05).word == "undecided"
    assert decided(1.015, 1.005, 1.025, 10).word == "equal"  # below the 1 % that counts as noise


@pytest.mark.parametrize(("low", "high"), list(itertools.product((0.9, 0.975, 1.005, 1.02), (1.025, 1.04, 1.2))))
def test_the_order_of_the_two_does_not_matter(low: float, high: float) -> None:
    ratio = (low * high) ** 0.5
    one, other = decided(ratio, low, high, 10).word, decided(1 / ratio, 1 / high, 1 / low, 10).word
    assert other == {"faster": "slower", "slower": "faster"}.get(one, one)


def test_a_sentence_names_the_faster_one_first() -> None:
    found = decided(0.8, 0.75, 0.85, 10)
    assert found.sentence("torch", "onnxruntime") == "onnxruntime is 1.250 times as fast as torch (1.176 to 1.333)"
    assert "undecided" in decided(1.0, 0.9, 1.1, 10, looks=2).sentence("a", "b")
    assert "measured twice" in decided(1.0, 0.9, 1.1, 10, looks=2).sentence("a", "b")


def test_rounds_that_only_one_of_them_had_are_not_paired() -> None:
    rng = np.random.default_rng(0)
    first = blocks(rng, 0.01, 0.01, np.zeros(10))
    assert verdict_of(first, [dataclasses.replace(each, session=1) for each in first]).word == "undecided"
    assert verdict_of(first, first[:4]).pairs == 4


def test_two_runs_are_compared_without_pairs() -> None:
    rng = np.random.default_rng(3)
    old, new = blocks(rng, 0.01, 0.005, np.zeros(10)), blocks(rng, 0.008, 0.005, np.zeros(10))
    found = unpaired_verdict(new, old)
    assert found.word == "faster"
    assert found.low < 1.25 < found.high
    assert unpaired_verdict(old, old).word == "equal"
