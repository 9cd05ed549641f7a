"""Images per second of a runner, with what the clock included."""

import statistics
import time
from collections.abc import Callable

import numpy as np
import torch
from torch import Tensor

from featune.engine.runners import Runner

from ..results import Speed
from .load import LoadWatch

SCOPES = {"a": "kernel only, data resident", "b": "with host-device copies", "c": "from files"}


def measure(
    runner: Runner,
    images: Tensor,
    *,
    seconds: float = 1.0,
    least: int = 5,
    warmup: int = 2,
    clock: Callable[[], float] = time.perf_counter,
) -> list[float]:
    """Seconds of each call on the same resident batch, for at least `seconds` and at least `least` calls."""
    for _ in range(warmup):
        runner(images)
    _synchronize(images)
    samples: list[float] = []
    began = clock()
    while len(samples) < least or clock() - began < seconds:
        start = clock()
        runner(images)
        _synchronize(images)
        samples.append(clock() - start)
    return samples


def speed(
    model: str,
    backend: str,
    device: str,
    threads: int,
    images: Tensor,
    samples: list[float],
    precision: str = "fp32",
    watch: LoadWatch | None = None,
) -> Speed:
    """The samples as one row of a report, in scope (a). watch: of the machine while they were taken."""
    median = statistics.median(samples)
    return Speed(
        model=model,
        backend=backend,
        precision=precision,
        device=device,
        batch=len(images),
        threads=threads,
        scope="a",
        images_per_second=len(images) / median,
        median_ms=1000 * median,
        p95_ms=1000 * float(np.percentile(samples, 95)),
        iterations=len(samples),
        loaded=watch is not None and watch.loaded(not images.is_cuda),
        others_busy=None if watch is None else round(watch.others, 2),
    )


def _synchronize(images: Tensor) -> None:
    if images.is_cuda:
        torch.cuda.synchronize(images.device)
