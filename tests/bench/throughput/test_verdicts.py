"""Faster, equal, undecided."""

import dataclasses
import itertools

import numpy as np
import pytest

from featune.bench.throughput import Block, unpaired_verdict, verdict_of
from featune.bench.throughput.verdicts import decided


def blocks(rng: np.random.Generator, seconds: float, noise: float, shared: np.ndarray) -> list[Block]:
    """Ten blocks of one image; `shared` is what the machine did to both of a round."""
    return [
        Block(0, turn, (seconds * float(np.exp(shared[turn] + rng.normal(0, noise))),), 1, seconds)
        for turn in range(10)
    ]


def words(ratio: float, noise: float, trials: int = 60, **options: float) -> dict[str, int]:
    found = dict.fromkeys(("faster", "slower", "equal", "undecided"), 0)
    for trial in range(trials):
        rng = np.random.default_rng(trial)
        shared = rng.normal(0, 0.2, 10)
        slow, fast = blocks(rng, 0.01 * ratio, noise, shared), blocks(rng, 0.01, noise, shared)
        found[verdict_of(fast, slow, seed=trial, **options).word] += 1
    return found


def test_the_same_is_hardly_ever_called_faster() -> None:
    for noise in (0.002, 0.01, 0.05):
        found = words(1.0, noise)
        assert found["faster"] + found["slower"] <= 3


def test_what_a_round_does_to_both_cancels() -> None:
    """The machine's speed changes by 20 % between rounds; 3 % are found all the same."""
    assert words(1.03, 0.005)["faster"] >= 54
    assert words(1.10, 0.01)["faster"] == 60


def test_equal_needs_the_whole_interval_within_the_margin() -> None:
    assert decided(1.0, 0.98, 1.02, 10).word == "equal"
    assert decided(1.0, 0.96, 1.02, 10).word == "undecided"
    assert decided(1.0, 0.98, 1.031, 10).word == "undecided"
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
