"""Workers in turns, with workers that are functions of the clock."""

import dataclasses
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import pytest

from featune.bench.throughput import (
    Block,
    Configuration,
    Effort,
    Refused,
    Setup,
    WorkerDied,
    balanced_order,
    measured_in_turns,
)

EFFORT = Effort(rounds=8, seconds=0.1, calls=3)
TORCH, ONNX = (Configuration(Setup("m", backend), 4) for backend in ("torch", "onnxruntime"))


@dataclasses.dataclass
class World:
    """Seconds of a call of each backend at a time, which every block moves on; who was started, and asked when."""

    seconds: Callable[[Configuration, int], float]
    now: int = 0
    started: list[str] = dataclasses.field(default_factory=list)
    order: list[str] = dataclasses.field(default_factory=list)
    alive: int = 0
    gate: Any = dataclasses.field(default_factory=lambda: {"passed": True})

    def start(self, configuration: Configuration) -> "Fake":
        self.started.append(configuration.setup.backend)
        self.alive += 1
        return Fake(self, configuration)


class Fake:
    def __init__(self, world: World, configuration: Configuration):
        self.world, self.configuration = world, configuration

    def open(self, most: float) -> Mapping[str, Any]:
        return {"gate": self.world.gate, "warm": {"calls": 10, "seconds": 1.0, "settled": True}}

    def block(self, seconds: float, calls: int) -> Mapping[str, Any]:
        self.world.order.append(self.configuration.setup.backend)
        one = self.world.seconds(self.configuration, self.world.now)
        self.world.now += 1
        return {"samples": [one] * calls, "images": 4, "wall": calls * one}

    def memory(self) -> Mapping[str, Any]:
        return {"peak_resident": 1000}

    def close(self) -> None:
        self.world.alive -= 1


def test_in_each_pair_of_rounds_all_have_the_same_mean_place() -> None:
    items = ["a", "b", "c", "d"]
    orders = balanced_order(items, 10, np.random.default_rng(0))
    for one, mirror in zip(orders[::2], orders[1::2], strict=True):
        assert one == mirror[::-1]
        assert {(one + mirror).index(item) + 7 - (one + mirror)[::-1].index(item) for item in items} == {7}
    assert len({tuple(order) for order in orders}) > 4


def test_a_steady_drift_of_the_machine_favours_nobody() -> None:
    world = World(lambda one, now: 0.010 * 1.05**now)
    _, _, [(_, _, verdict)] = measured_in_turns([TORCH, ONNX], world.start, EFFORT)
    assert verdict.ratio == pytest.approx(1, abs=0.02)
    assert verdict.word != "faster"


def test_workers_stay_alive_take_turns_and_are_closed() -> None:
    world = World(lambda one, now: {"torch": 0.02, "onnxruntime": 0.01}[one.setup.backend])
    rows, _, [(first, _, verdict)] = measured_in_turns([TORCH, ONNX], world.start, EFFORT)
    assert world.started == ["torch", "onnxruntime"]
    assert Counter(world.order) == {"torch": 8, "onnxruntime": 8}
    assert world.order != sorted(world.order)
    assert world.alive == 0
    assert (first, verdict.word, verdict.ratio) == (TORCH, "slower", pytest.approx(0.5))
    assert [row.rate for row in rows] == pytest.approx([200, 400])


def test_what_is_undecided_is_measured_once_more_by_fresh_workers() -> None:
    rng = np.random.default_rng(0)
    world = World(lambda one, now: 0.01 * float(np.exp(rng.normal(0, 0.2))))
    rows, _, [(*_, verdict)] = measured_in_turns([TORCH, ONNX], world.start, EFFORT)
    assert world.started == ["torch", "onnxruntime"] * 2
    assert (verdict.word, verdict.looks, verdict.pairs) == ("undecided", 2, 16)
    assert {block.session for row in rows for block in row.blocks} == {0, 1}


def test_a_twin_shows_the_spread_and_is_in_no_verdict() -> None:
    twin = dataclasses.replace(TORCH, twin=True)
    world = World(lambda one, now: 0.0104 if one.twin else 0.01)
    rows, spread, verdicts = measured_in_turns([TORCH, ONNX, twin], world.start, EFFORT)
    assert spread == pytest.approx(0.04)
    assert len(verdicts) == 1
    assert len(rows) == 3


@pytest.mark.parametrize("error", [WorkerDied("ended by SIGKILL"), Refused("out of memory")])
def test_a_worker_that_fails_is_a_row_with_its_reason_and_the_others_go_on(error: Exception) -> None:
    def seconds(one: Configuration, now: int) -> float:
        if one is TORCH and now > 5:
            raise error
        return 0.01

    world = World(seconds)
    rows, _, verdicts = measured_in_turns([TORCH, ONNX], world.start, EFFORT)
    assert (rows[0].error, rows[0].rate) == (str(error), 0)
    assert rows[1].error is None
    assert rows[1].summary["blocks"] == 8
    assert (verdicts, world.alive) == ([], 0)


@pytest.mark.parametrize(("seconds", "rounds"), [(0.1, 8), (2.0, 4), (100.0, 2)])
def test_where_calls_are_long_there_are_fewer_rounds_but_never_too_few_or_half_of_a_pair(
    seconds: float, rounds: int
) -> None:
    world = World(lambda one, now: seconds)
    effort = dataclasses.replace(EFFORT, fewest=2, most=10.0)
    rows, _, _ = measured_in_turns([TORCH, ONNX], world.start, effort, clock=lambda: world.now * seconds)
    assert [sum(block.session == 0 for block in row.blocks) for row in rows] == [rounds, rounds]


def test_every_block_is_told_of_at_once() -> None:
    told: list[tuple[Configuration, Block]] = []
    world = World(lambda one, now: 0.01)
    measured_in_turns([TORCH], world.start, EFFORT, emit=lambda one, block: told.append((one, block)))
    assert [block.turn for _, block in told] == list(range(8))
    assert told[0][1].samples == (0.01, 0.01, 0.01)


def test_a_row_without_a_gate_is_marked() -> None:
    world = World(lambda one, now: 0.01, gate=None)
    [row], _, _ = measured_in_turns([ONNX], world.start, EFFORT)
    assert not row.passed
    assert "no gate verdict" in row.marks[0]
