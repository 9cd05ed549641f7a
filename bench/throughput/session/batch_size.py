"""The batch that a setup is fastest with, under a limit of latency if one is given."""

import dataclasses
from collections.abc import Callable, Sequence

import numpy as np

from .. import Refused, WorkerDied

CPU_BATCHES = (1, 2, 4, 8, 16, 32, 64)
GPU_BATCHES = (1, 4, 16, 32, 64, 128, 256, 512)
GAIN = 1.02  # less is noise
WORSE = 2  # batches in a row that are no faster, after which no larger one is tried
LATENCY = 90  # percentile of a trial's calls that must keep the limit


@dataclasses.dataclass(frozen=True)
class Trial:
    """A short look at one batch; no interval, for the choice only. latency_ms: the percentile LATENCY of its calls."""

    batch: int
    images_per_second: float
    latency_ms: float
    error: str | None = None


def batches_of(device: str) -> Sequence[int]:
    return CPU_BATCHES if device == "cpu" else GPU_BATCHES


def fastest_batch(
    trial: Callable[[int], Sequence[float]], batches: Sequence[int], limit_ms: float | None = None
) -> tuple[int | None, list[Trial]]:
    """(the batch, all trials). The smallest batch that is within noise of the fastest that keeps the limit.

    trial: seconds of a few calls with a batch. batches: in rising order; larger ones are left out once the limit is
    broken, the rate falls, or the memory does not hold one. The batch is None where no batch keeps the limit.
    """
    trials: list[Trial] = []
    best, worse = 0.0, 0
    for batch in batches:
        try:
            samples = trial(batch)
        except (WorkerDied, Refused) as error:
            trials.append(Trial(batch, 0.0, 0.0, str(error)))
            break
        rate = batch / float(np.median(samples))
        latency = 1000 * float(np.percentile(samples, LATENCY))
        trials.append(Trial(batch, rate, latency))
        if limit_ms is not None and latency > limit_ms:
            break
        worse = 0 if rate > best * GAIN else worse + 1
        best = max(best, rate)
        if worse >= WORSE:
            break
    good = [each for each in trials if not each.error and (limit_ms is None or each.latency_ms <= limit_ms)]
    if not good:
        return None, trials
    enough = max(each.images_per_second for each in good) / GAIN
    return next(each.batch for each in good if each.images_per_second >= enough), trials
