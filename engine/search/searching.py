"""Search over candidates: all of them to the end, or successive halving. Deterministic, and safe from kills.

Source: Karnin et al. 2013; Jamieson and Talwalkar 2016 (successive halving). Synchronous: each round is a set of
files, and a search that is asked for again reads those that are there.
"""

import dataclasses
import math
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Generic, TypeVar

from ..errors import BadInput
from ..store import digest, read_json, write_json

C = TypeVar("C")
SHARE = 0.25  # of the full grid's steps that halving takes at most
FIRST = 5  # steps of the first round at least; of fewer nothing can be told


@dataclasses.dataclass(frozen=True)
class Round:
    """How many candidates are in it, and the steps that each has been trained at its end, from its first step on."""

    candidates: int
    steps: int


@dataclasses.dataclass(frozen=True)
class Trial:
    """One candidate, trained to the end of one round.

    candidate: its place in the list. until: the steps that the round asked for, from the first on. steps: those that
    were made, fewer where the training diverged. value: on val, more is better; None where it diverged, which `error`
    says. seconds: of this round alone.
    """

    candidate: int
    until: int
    steps: int
    value: float | None
    seconds: float
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Searched(Generic[C]):
    """best: the candidate chosen, None where every one diverged. steps: of all trials. trials: in order."""

    best: C | None
    steps: int
    trials: tuple[Trial, ...]


class TrialFailed(Exception):
    """A candidate that cannot be trained to the end, such as one whose loss is not finite.

    steps: that it made from its first on, None for all that were asked for.
    """

    def __init__(self, said: str, steps: int | None = None):
        self.steps = steps
        super().__init__(said)


def grid(candidates: int, steps: int) -> tuple[Round, ...]:
    """Every candidate to the end."""
    return (Round(candidates, steps),)


def halving(candidates: int, steps: int, share: float = SHARE) -> tuple[Round, ...]:
    """Rounds that end at a sixteenth, a quarter, a half and all of the steps, within a share of the grid's steps.

    A quarter of the candidates gets to the half, 1.4 times as many to the quarter, and of the last round as many as
    the share leaves; fewer get so far where not even one would be left for it. Early rounds part what differs much,
    such as learning rates a factor apart, and what differs little is parted from the half on. Two and three
    candidates have rounds at a quarter and at all. A whole training is among the steps, so that fewer than six
    candidates take more than a quarter: 1.5 trainings at most. Raises BadInput where the first round would have fewer
    than FIRST steps.
    """
    most = max(share * candidates, 1.5) * steps
    if candidates == 1:
        return grid(1, steps)
    if candidates <= 3:
        rounds = [Round(candidates, steps // 4), Round(1, steps)]
        if rounds[0].steps >= FIRST and total_steps(rounds) <= most:
            return tuple(rounds)
    elif steps // 16 >= FIRST:
        for halfway in range(math.ceil(candidates / 4), 0, -1):
            counts = (candidates, math.ceil(1.4 * halfway), halfway)
            ends = (steps // 16, steps // 4, steps // 2)
            rounds = [Round(count, end) for count, end in zip(counts, ends, strict=True)]
            last = min(halfway, math.floor((most - total_steps(rounds)) / (steps - steps // 2)))
            if last >= 1:
                return (*rounds[: 3 if last < halfway else 2], Round(last, steps))
    raise BadInput(
        f"{candidates} candidates of {steps} steps found, too short for halving; give more steps or search a grid"
    )


def total_steps(rounds: Sequence[Round]) -> int:
    """Of all rounds; a candidate goes on from where it was."""
    before = [0, *(each.steps for each in rounds)]
    return sum(each.candidates * (each.steps - done) for each, done in zip(rounds, before, strict=False))


def longest_within(candidates: int, steps: int, plan: Callable[[int, int], tuple[Round, ...]]) -> int:
    """The steps of one whole training with which a search takes at most `steps`. Raises BadInput for too few."""
    low, high = 0, steps  # a search of `low` fits
    while low < high:
        middle = (low + high + 1) // 2
        try:
            fits = total_steps(plan(candidates, middle)) <= steps
        except BadInput:
            fits = True  # too short for the plan, so certainly short enough
        low, high = (middle, high) if fits else (low, middle - 1)
    if low < 1:
        raise BadInput(f"{steps} steps for a search of {candidates} candidates found; give at least {candidates}")
    return low


def search(
    candidates: Sequence[C],
    rounds: Sequence[Round],
    train: Callable[[C, int], float],
    folder: Path,
    *,
    told: Callable[[Trial], None] | None = None,
    dropped: Callable[[C], None] | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Searched[C]:
    """The candidate with the best value at the end of the last round.

    train: takes a candidate on from its own checkpoint until it has so many steps in all, and gives its value on val;
    raises TrialFailed where it cannot. Each result is a file in `folder`, written whole, named by the candidate's
    digest, so that a killed search loses at most the trial that it was at. Of equal values the earlier candidate
    wins. told: called with every trial. dropped: with every candidate that goes out, whose checkpoint is not needed.
    """
    alive, trials, spent, before = list(range(len(candidates))), [], 0, 0
    for each in rounds:
        for out in alive[each.candidates :]:
            if dropped:
                dropped(candidates[out])
        alive = sorted(alive[: each.candidates])
        found = []
        for index in alive:
            trial = _trial(candidates[index], index, each.steps, train, folder, clock)
            found.append(trial)
            spent += max(trial.steps - before, 0)
            if told:
                told(trial)
        trials += found
        best_first = sorted((one for one in found if one.value is not None), key=_worth)
        alive, before = [one.candidate for one in best_first], each.steps
    return Searched(candidates[alive[0]] if alive else None, spent, tuple(trials))


def _worth(trial: Trial) -> tuple[float, int]:
    assert trial.value is not None
    return -trial.value, trial.candidate


def _trial(
    candidate: C, index: int, steps: int, train: Callable[[C, int], float], folder: Path, clock: Callable[[], float]
) -> Trial:
    path = folder / f"{digest(candidate)}.{steps}.json"
    known = read_json(path)
    if isinstance(known, dict) and {"value", "seconds", "error"} <= known.keys():
        return Trial(index, steps, known.get("steps", steps), known["value"], known["seconds"], known["error"])
    began, value, error, made = clock(), None, None, steps
    try:
        value = float(train(candidate, steps))
        if not math.isfinite(value):
            value, error = None, f"its value on val is {value}"
    except TrialFailed as failed:
        error = str(failed)
        made = steps if failed.steps is None else failed.steps
    trial = Trial(index, steps, made, value, clock() - began, error)
    write_json(path, trial)
    return trial
