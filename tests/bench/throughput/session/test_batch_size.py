"""The search for a batch."""

from collections.abc import Callable, Sequence

import pytest

from featune.bench.throughput import Refused, WorkerDied
from featune.bench.throughput.session import fastest_batch

BATCHES = (1, 2, 4, 8, 16, 32, 64)


def overhead(fixed: float, each: float) -> Callable[[int], Sequence[float]]:
    return lambda batch: [fixed + each * batch] * 5


def test_the_smallest_batch_within_noise_of_the_fastest_is_taken() -> None:
    batch, trials = fastest_batch(overhead(0.008, 0.01), BATCHES)
    rates = {trial.batch: trial.images_per_second for trial in trials}
    fastest = max(rates.values())
    assert batch is not None
    assert rates[batch] >= fastest / 1.02
    assert all(rate < fastest / 1.02 for each, rate in rates.items() if each < batch)


def test_a_limit_of_latency_is_kept() -> None:
    batch, trials = fastest_batch(overhead(0.01, 0.01), BATCHES, limit_ms=60)
    assert batch == 4  # 50 ms; 8 would take 90
    assert trials[-1].batch == 8
    assert fastest_batch(overhead(0.01, 0.01), BATCHES, limit_ms=5)[0] is None


def test_the_search_ends_where_larger_batches_are_no_faster() -> None:
    asked = []

    def trial(batch: int) -> Sequence[float]:
        asked.append(batch)
        return [0.01 * batch] * 5

    assert fastest_batch(trial, BATCHES)[0] == 1
    assert asked == [1, 2, 4]


@pytest.mark.parametrize("error", [WorkerDied("killed"), Refused("out of memory")])
def test_a_batch_that_the_memory_does_not_hold_ends_the_search(error: Exception) -> None:
    def trial(batch: int) -> Sequence[float]:
        if batch > 4:
            raise error
        return [0.01 + 0.001 * batch] * 5

    batch, trials = fastest_batch(trial, BATCHES)
    assert (batch, trials[-1].batch, trials[-1].error) == (4, 8, str(error))
