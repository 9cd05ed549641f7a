"""Seconds of calls: warmed up until stable, with the clock of the host or of the device, waited for at both ends."""

import dataclasses
import statistics
import time
from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from featune.engine.errors import BadInput
from featune.engine.runners import Runner

from ..results import SCOPES, Speed
from .load import LoadWatch
from .rows import Block
from .samples import summarise

STABLE = 0.05  # between the medians of two windows in a row
COVERED = 0.8  # of a block's wall time that its samples must sum to
BLOCKS = 10  # of a study's calls
QUEUED = 2  # calls that wait on a device while the host goes on
Clock = Callable[[], float]


class Watch(Protocol):
    """Times one call after another; `samples` are the seconds of all, once the device is done."""

    def time(self, call: Callable[[], Any]) -> None: ...

    def samples(self) -> list[float]: ...


class HostWatch:
    """The host's clock, read when the device has nothing left to do."""

    def __init__(self, synchronize: Callable[[], None] = lambda: None, clock: Clock = time.perf_counter):
        self.synchronize, self.clock = synchronize, clock
        self._samples: list[float] = []

    def time(self, call: Callable[[], Any]) -> None:
        start = self.clock()
        call()
        self.synchronize()
        self._samples.append(self.clock() - start)

    def samples(self) -> list[float]:
        return self._samples


class EventWatch:
    """A GPU's own clock: an event before and after each call on its stream, so that launches overlap with work.

    event: makes one, as torch.cuda.Event(enable_timing=True).
    """

    def __init__(self, event: Callable[[], Any] = lambda: torch.cuda.Event(enable_timing=True)):
        self.event = event
        self._pairs: list[tuple[Any, Any]] = []

    def time(self, call: Callable[[], Any]) -> None:
        if len(self._pairs) >= QUEUED:
            self._pairs[-QUEUED][1].synchronize()
        before, after = self.event(), self.event()
        before.record()
        call()
        after.record()
        self._pairs.append((before, after))

    def samples(self) -> list[float]:
        if self._pairs:
            self._pairs[-1][1].synchronize()
        return [before.elapsed_time(after) / 1000 for before, after in self._pairs]


@dataclasses.dataclass(frozen=True)
class Timed:
    """One block's samples, and its wall time from an idle device to an idle device."""

    samples: list[float]
    wall: float


def timed_block(
    call: Callable[[Any], Any],
    inputs: Iterable[Any],
    *,
    seconds: float,
    least: int,
    watch: Watch | None = None,
    synchronize: Callable[[], None] = lambda: None,
    clock: Clock = time.perf_counter,
) -> Timed:
    """Calls on the inputs in turn for at least `seconds` and at least `least` calls, after one that is not timed.

    Raises BadInput where the samples sum to far less than the block took: the clock did not wait for the device.
    """
    watch = watch or HostWatch(synchronize, clock)
    turns = iter(inputs)
    call(next(turns))  # another process had the caches since
    synchronize()
    began = clock()
    count = 0
    while count < least or clock() - began < seconds:
        images = next(turns)
        watch.time(lambda images=images: call(images))  # type: ignore[misc]
        count += 1
    synchronize()
    wall = clock() - began
    samples = watch.samples()
    if sum(samples) < COVERED * wall:
        raise BadInput(
            f"{len(samples)} calls took {sum(samples):.4g} s by their clock and {wall:.4g} s in all; the clock did not "
            "wait for the device, so no speed is given"
        )
    return Timed(samples, wall)


@dataclasses.dataclass(frozen=True)
class WarmUp:
    """settled: whether the medians of two windows in a row came to differ by no more than STABLE."""

    calls: int
    seconds: float
    settled: bool


def warm_up(
    call: Callable[[Any], Any],
    inputs: Iterable[Any],
    *,
    least: float = 0.3,
    most: float = 15.0,
    window: int = 5,
    synchronize: Callable[[], None] = lambda: None,
    clock: Clock = time.perf_counter,
) -> WarmUp:
    """Calls until their time is stable, for at least `least` seconds, or until `most` seconds have passed."""
    turns, samples, began = iter(inputs), list[float](), clock()
    while True:
        start = clock()
        call(next(turns))
        synchronize()
        samples.append(clock() - start)
        passed = clock() - began
        if len(samples) >= 2 * window and passed >= least:
            last, before = (statistics.median(samples[at:][:window]) for at in (-window, -2 * window))
            if abs(last - before) <= STABLE * before:
                return WarmUp(len(samples), passed, True)
            if passed >= most:
                return WarmUp(len(samples), passed, False)


def call_of(scope: str, runner: Callable[[Any], Any], device: str) -> Callable[[Any], Any]:
    """What a sample of a scope times: (a) the runner on resident images; (b) with the copies there and back."""
    if scope == "a":
        return runner
    return lambda images: runner(images.to(device, non_blocking=True)).cpu()


def check_places(scope: str, images: Any, rows: Any, device: str) -> None:
    """Raises BadInput where images or rows do not lie where a scope says that its clock starts and ends."""
    kind = torch.device(device).type
    wanted = kind if scope == "a" else "cpu"
    for what, tensor in (("images", images), ("rows", rows)):
        if tensor.device.type != wanted:
            raise BadInput(
                f"scope ({scope}), {SCOPES[scope]}: {what} found on {tensor.device.type}, on {wanted} expected; "
                "the clock would leave a copy out"
            )


def measure(
    runner: Runner,
    images: Tensor,
    *,
    seconds: float = 1.0,
    least: int = 5,
    clock: Clock = time.perf_counter,
) -> list[float]:
    """Seconds of each call, in scope (a), on two resident batches of the same images that take turns.

    Warmed up until stable; for at least `seconds` and at least `least` calls.
    """
    turns = [images, images.flip(0)]
    wait = synchronizer(str(images.device))
    warm_up(runner, _cycle(turns), most=5.0, least=0.0, window=2, synchronize=wait, clock=clock)
    return timed_block(runner, _cycle(turns), seconds=seconds, least=least, synchronize=wait, clock=clock).samples


def _cycle(turns: list[Tensor]) -> Iterable[Tensor]:
    import itertools

    return itertools.cycle(turns)


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
    """The samples as one row of a study's report, in scope (a), by the rules of a throughput report. watch: of the
    machine while they were taken. BLOCKS runs of calls in a row are what the interval draws."""
    parts = [part.tolist() for part in np.array_split(np.array(samples), min(BLOCKS, len(samples)))]
    found = summarise([Block(0, at, tuple(part), len(images), sum(part)) for at, part in enumerate(parts)], len(images))
    return Speed(
        model=model,
        backend=backend,
        precision=precision,
        device=device,
        batch=len(images),
        threads=threads,
        scope="a",
        images_per_second=found["images_per_second"],
        median_ms=found["median_ms"],
        p95_ms=found["p95_ms"],
        iterations=len(samples),
        loaded=watch is not None and watch.loaded(not images.is_cuda),
        others_busy=None if watch is None else round(watch.others, 2),
        images_per_second_low=found["images_per_second_low"],
        images_per_second_high=found["images_per_second_high"],
    )


def synchronizer(device: str) -> Callable[[], None]:
    """Waits until the device has nothing left to do."""
    if torch.device(device).type == "cuda":
        return lambda: torch.cuda.synchronize(device)
    return lambda: None
