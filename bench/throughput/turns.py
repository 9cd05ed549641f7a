"""Who is measured when: each configuration in a worker that stays alive, blocks in random balanced order."""

import dataclasses
import itertools
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Protocol, TypeVar

import numpy as np

from .rows import Block, Configuration, Effort, Row
from .samples import doubts, summarise
from .verdicts import Verdict, spread_of, verdict_of

T = TypeVar("T")


class WorkerDied(Exception):
    """A worker that is gone: its exit code or signal, and its last words."""


class Refused(Exception):
    """What a worker that is alive says of a request that failed."""


class Worker(Protocol):
    """A process that measures one configuration.

    open() gives what it found (`Row.opened`) and warms up (`warm`); block(seconds, calls) gives the fields of a Block;
    memory() gives bytes. Each raises WorkerDied or Refused.
    """

    def open(self, most: float) -> Mapping[str, Any]: ...

    def block(self, seconds: float, calls: int) -> Mapping[str, Any]: ...

    def memory(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


Start = Callable[[Configuration], Worker]
Emit = Callable[[Configuration, Block], None]


def balanced_order(items: Sequence[T], rounds: int, rng: np.random.Generator) -> list[list[T]]:
    """An order of the items for each round: random ones, each followed by its mirror image (ABBA).

    In a pair of rounds every item has the same mean place, so a drift that is even in time falls on all alike.
    """
    found: list[list[T]] = []
    while len(found) < rounds:
        order = [items[at] for at in rng.permutation(len(items))]
        found += [order, order[::-1]]
    return found[:rounds]


@dataclasses.dataclass
class _Turn:
    """What is known of one configuration so far."""

    configuration: Configuration
    worker: Worker | None = None
    blocks: list[Block] = dataclasses.field(default_factory=list)
    opened: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    warm: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    memory: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    error: str | None = None
    notes: list[str] = dataclasses.field(default_factory=list)


def measured_in_turns(
    configurations: Sequence[Configuration],
    start: Start,
    effort: Effort,
    *,
    seed: int = 0,
    emit: Emit = lambda configuration, block: None,
    progress: Callable[[int, int], None] = lambda done, total: None,
    clock: Callable[[], float] = time.monotonic,
) -> tuple[list[Row], float, list[tuple[Configuration, Configuration, Verdict]]]:
    """(rows, the spread of twins, verdicts on every pair), with what was undecided measured again in fresh workers.

    A worker that dies, or refuses, becomes a row with the reason; the others go on.
    """
    rng = np.random.default_rng(seed)
    turns = {each: _Turn(each) for each in configurations}
    _session(list(turns.values()), 0, start, effort, rng, emit, progress, clock)
    undecided = [pair for *pair, verdict in _verdicts(turns, seed)[1] if verdict.word == "undecided"]
    again = {each for pair in undecided for each in pair}
    if again:
        again |= {each for each in turns if each.twin and turns[each].error is None}
        again |= {dataclasses.replace(each, twin=False) for each in again if each.twin} & turns.keys()
        _session([turns[each] for each in turns if each in again], 1, start, effort, rng, emit, progress, clock)
    spread, verdicts = _verdicts(turns, seed)
    return [_row(turn) for turn in turns.values()], spread, verdicts


def _session(
    turns: Sequence[_Turn],
    session: int,
    start: Start,
    effort: Effort,
    rng: np.random.Generator,
    emit: Emit,
    progress: Callable[[int, int], None],
    clock: Callable[[], float],
) -> None:
    try:
        for turn in turns:  # all of them first: processes import their libraries side by side
            _attempt(turn, session, lambda turn=turn: _start(turn, start))  # type: ignore[misc]
        for turn in turns:
            if turn.worker is not None:
                _attempt(turn, session, lambda turn=turn: _open(turn, effort))  # type: ignore[misc]
        alive = [turn for turn in turns if turn.worker]
        done, total, began = 0, effort.rounds * len(alive), clock()
        for number, order in enumerate(balanced_order(alive, effort.rounds, rng)):
            if number >= effort.fewest and number % 2 == 0 and clock() - began > effort.most:
                break
            for turn in order:
                if turn.worker is not None:
                    _attempt(turn, session, lambda turn=turn, at=number: _block(turn, session, at, effort, emit))  # type: ignore[misc]
                done += 1
                progress(done, total)
        for turn in turns:
            if turn.worker is not None:
                _attempt(turn, session, lambda turn=turn: _remember(turn))  # type: ignore[misc]
    finally:
        for turn in turns:
            if turn.worker is not None:
                turn.worker.close()
                turn.worker = None


def _attempt(turn: _Turn, session: int, step: Callable[[], None]) -> None:
    try:
        step()
    except (WorkerDied, Refused) as error:
        if session:  # the first look stands
            turn.notes.append(f"the second look failed ({error})")
        else:
            turn.error = str(error)
        if turn.worker is not None:
            turn.worker.close()
            turn.worker = None


def _start(turn: _Turn, start: Start) -> None:
    turn.worker = start(turn.configuration)


def _open(turn: _Turn, effort: Effort) -> None:
    assert turn.worker is not None
    found = dict(turn.worker.open(effort.warm_up))
    turn.warm = found.pop("warm", {})
    turn.opened = found


def _block(turn: _Turn, session: int, number: int, effort: Effort, emit: Emit) -> None:
    assert turn.worker is not None
    found = turn.worker.block(effort.seconds, effort.calls)
    block = Block(session, number, **{**found, "samples": tuple(found["samples"])})
    turn.blocks.append(block)
    emit(turn.configuration, block)


def _remember(turn: _Turn) -> None:
    assert turn.worker is not None
    turn.memory = turn.worker.memory()


def _verdicts(
    turns: Mapping[Configuration, _Turn], seed: int
) -> tuple[float, list[tuple[Configuration, Configuration, Verdict]]]:
    """The spread of twins, and the verdict on every pair of others that were both measured."""
    good = {each: turn.blocks for each, turn in turns.items() if turn.error is None}
    spread = spread_of([
        (good[one], good[each])
        for each in good
        if each.twin and (one := dataclasses.replace(each, twin=False)) in good
    ])  # fmt: skip
    pairs = itertools.combinations([each for each in good if not each.twin], 2)
    return spread, [(one, other, verdict_of(good[one], good[other], spread, seed)) for one, other in pairs]


def _row(turn: _Turn) -> Row:
    asked = turn.configuration
    if turn.error is not None or not turn.blocks:
        return Row(asked, turn.blocks, opened=turn.opened, warm=turn.warm, error=turn.error or "nothing was measured")
    marks = [*doubts(turn.blocks), *turn.notes]
    if not turn.warm.get("settled", True):
        marks.append(f"not stable after {turn.warm['seconds']:.0f} s of warm-up")
    gate = turn.opened.get("gate")
    if not gate:
        marks.append("no gate verdict: nothing says that it computes what the model does")
    elif gate.get("stand_in"):
        marks.append(f"its gate judged a stand-in ({gate['stand_in']})")
    if gate and gate.get("told"):
        marks.append(gate["told"])
    return Row(asked, turn.blocks, summarise(turn.blocks, asked.batch), turn.opened, turn.warm, turn.memory, marks)
