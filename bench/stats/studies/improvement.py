"""How likely is one model better than another on a task and seed of the study?"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput

from ...stats import tail_of

RESAMPLES = 10_000


@dataclass(frozen=True)
class Improvement:
    """Mean over tasks of the chance that a run of a is better than one of b, ties counting half, with its interval.

    low, high: stratified bootstrap over the seeds of each task; NaN with fewer than two seeds, which vary nothing.
    """

    probability: float
    low: float
    high: float
    tasks: int
    level: float


def probability_of_improvement(
    a: npt.ArrayLike, b: npt.ArrayLike, *, level: float = 0.95, resamples: int = RESAMPLES, seed: int = 0
) -> Improvement:
    """a, b: results [tasks, seeds], the higher the better; the numbers of seeds may differ.

    Every seed of a is compared with every one of b: Mann and Whitney's U over the number of pairs. Source: Agarwal et
    al. 2021, Deep Reinforcement Learning at the Edge of the Statistical Precipice.
    """
    a, b = np.asarray(a, dtype=np.float64), np.asarray(b, dtype=np.float64)
    if a.ndim != 2 or b.ndim != 2 or len(a) != len(b) or not a.size or not b.size:
        raise BadInput(f"a and b: [tasks, seeds] of the same tasks expected, {a.shape} and {b.shape} found")
    if not (np.isfinite(a).all() and np.isfinite(b).all()):
        raise BadInput("a and b: finite numbers expected; leave out tasks with failed cells")
    tail, tasks = tail_of(level), len(a)
    better = (a[:, :, None] > b[:, None]) + 0.5 * (a[:, :, None] == b[:, None])  # [tasks, seeds of a, seeds of b]
    value, low, high = float(better.mean(axis=(1, 2)).mean()), np.nan, np.nan
    if min(a.shape[1], b.shape[1]) > 1:
        rng = np.random.default_rng(seed)
        counts = [
            rng.multinomial(of.shape[1], np.full(of.shape[1], 1 / of.shape[1]), size=(resamples, tasks)) / of.shape[1]
            for of in (a, b)
        ]
        drawn = np.einsum("rts,tsu,rtu->r", counts[0], better, counts[1]) / tasks
        low, high = np.quantile(drawn, [tail, 1 - tail])
    return Improvement(value, float(low), float(high), tasks, level)
