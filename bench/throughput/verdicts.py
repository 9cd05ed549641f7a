"""Which of two is faster: by how much, or equal within a margin, or undecided."""

import dataclasses
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Block
from .samples import block_medians, bootstrap_interval

MARGIN = 0.03  # of speed: what counts as equal
NOISE = 0.01  # no smaller difference is called one; the default noise threshold of criterion.rs
# A lead whose interval begins beyond this is believed at once, a smaller one only where fresh processes show it too:
# two processes of the same differ by up to 3 % for as long as they live, which no number of blocks shows.
SURE = 0.05
# Two looks at the data, the second one only where the first does not decide: at this level each, both together are
# wrong in 5 % of the cases. Source: Pocock 1977, two looks, nominal 0.0294.
LOOK_LEVEL = 1 - 0.0294
FEWEST = 6  # pairs of blocks: a bootstrap never reaches past the outermost, and of 4 it misses the truth in 12 %
TRIM = 0.2  # of the pairs at either end: a block that another process disturbed shall not decide


@dataclasses.dataclass(frozen=True)
class Verdict:
    """How many times as fast the first is as the second. word: faster, slower, equal or undecided.

    low, high: interval of the ratio, of blocks. pairs: of blocks. looks: 2 where it was measured again in fresh
    workers. noise: what was asked of the interval's nearer end.
    """

    word: str
    ratio: float
    low: float
    high: float
    pairs: int
    looks: int = 1
    noise: float = NOISE

    def sentence(self, first: str, second: str) -> str:
        interval = f"{self.low:.3f} to {self.high:.3f}"
        if self.word == "equal":
            return f"{first} and {second} are equal within {MARGIN:.0%}: ratio {self.ratio:.3f} ({interval})"
        if self.word == "undecided":
            again = ", measured twice" if self.looks == 2 else ""
            return f"{first} against {second} is undecided: ratio {self.ratio:.3f} ({interval}){again}"
        fast, slow = (first, second) if self.word == "faster" else (second, first)
        ratio, low, high = self.ratio, self.low, self.high
        if self.word == "slower":
            ratio, low, high = 1 / ratio, 1 / high, 1 / low
        return f"{fast} is {ratio:.3f} times as fast as {slow} ({low:.3f} to {high:.3f})"


def trimmed_mean(values: NDArray[np.float64], axis: int = 0) -> Any:
    from scipy.stats import trim_mean

    return trim_mean(values, TRIM, axis=axis)


def paired_logs(first: Sequence[Block], second: Sequence[Block]) -> dict[tuple[int, int], float]:
    """log of how many times as fast the first was, of every (session, round) in which both had a turn."""
    seconds = [
        {(b.session, b.turn): value for b, value in zip(blocks, block_medians(blocks), strict=True)}
        for blocks in (first, second)
    ]
    return {key: math.log(seconds[1][key] / seconds[0][key]) for key in seconds[0] if key in seconds[1]}


def session_logs(first: Sequence[Block], second: Sequence[Block]) -> list[float]:
    """Middle of the `paired_logs` of each session, whose processes were others'."""
    logs = paired_logs(first, second)
    sessions = sorted({session for session, _ in logs})
    return [float(trimmed_mean(np.array([logs[key] for key in logs if key[0] == each]))) for each in sessions]


def spread_of(twins: Sequence[tuple[Sequence[Block], Sequence[Block]]]) -> float:
    """What processes of one configuration differ by on this machine: the root mean square over pairs of twins and
    sessions, as a ratio less one; 0 without any."""
    logs = [log for one, other in twins for log in session_logs(one, other)]
    return math.expm1(math.sqrt(sum(log**2 for log in logs) / len(logs))) if logs else 0.0


def verdict_of(first: Sequence[Block], second: Sequence[Block], spread: float = 0.0, seed: int = 0) -> Verdict:
    """The verdict on blocks that took turns. spread: of `spread_of`.

    A lead that is not beyond `SURE` needs two sessions, in each of which it is beyond `NOISE`; else it is undecided.
    """
    logs = list(paired_logs(first, second).values())
    low, high = bootstrap_interval(logs, trimmed_mean, LOOK_LEVEL, seed)
    middle = float(trimmed_mean(np.array(logs))) if logs else 0.0
    looks = len({block.session for block in first})
    found = decided(math.exp(middle), _exp(low), _exp(high), len(logs), looks, spread)
    if found.word in ("equal", "undecided") or found.low > 1 + SURE or found.high < 1 / (1 + SURE):
        return found
    sign = 1 if found.word == "faster" else -1
    seen = [sign * log > math.log1p(NOISE) for log in session_logs(first, second)]
    return found if len(seen) > 1 and all(seen) else dataclasses.replace(found, word="undecided")


def unpaired_verdict(first: Sequence[Block], second: Sequence[Block], spread: float = 0.0, seed: int = 0) -> Verdict:
    """Of blocks of two runs, two machines or two dates: nothing is paired, each side is drawn by itself."""
    sides = [np.log(block_medians(blocks)) for blocks in (first, second)]
    middles = [float(trimmed_mean(side)) for side in sides]
    # Half-widths of independent sides add in squares.
    halves = []
    for side, middle in zip(sides, middles, strict=True):
        low, high = bootstrap_interval(side.tolist(), trimmed_mean, 0.95, seed)
        halves.append((middle - low, high - middle))
    log = middles[1] - middles[0]
    low = log - math.hypot(halves[1][0], halves[0][1])
    high = log + math.hypot(halves[1][1], halves[0][0])
    return decided(math.exp(log), _exp(low), _exp(high), min(map(len, sides)), 1, spread)


def decided(ratio: float, low: float, high: float, pairs: int, looks: int = 1, spread: float = 0.0) -> Verdict:
    """Faster or slower where the whole interval lies beyond the noise, else equal where it lies within the margin,
    with the spread added to both ends, since the interval holds nothing of that.

    Undecided below `FEWEST` pairs.
    """
    noise = max(NOISE, spread)
    if pairs < FEWEST:
        word = "undecided"
    elif low > 1 + noise:
        word = "faster"
    elif high < 1 / (1 + noise):
        word = "slower"
    elif low / (1 + spread) > 1 / (1 + MARGIN) and high * (1 + spread) < 1 + MARGIN:
        word = "equal"
    else:
        word = "undecided"
    return Verdict(word, ratio, low, high, pairs, looks, noise)


def _exp(value: float) -> float:
    return math.exp(value) if value < 700 else math.inf
