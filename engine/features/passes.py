"""One pass over images that feeds every model: decode once, make each view once, run each runner.

On a CPU each worker takes the next few images and does all of it, decoding and models, so that no processor waits
for another; it decodes more than the models see at a time, since each of the two must fetch its code and tables again
after the other. On a GPU the workers decode into pinned memory and the models run on a stream of their own, with
the copies of images beside them. The chunks come in the images' order either way.
"""

import collections
import dataclasses
import functools
import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, TypeVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ..images import Labelled
from ..models import View
from ..runners import Runner
from .squares import Seconds, Squares, squares_of_run

Rows = NDArray[Any]
T = TypeVar("T")
# Images that a worker on a CPU decodes before it runs the models. A vision transformer sees 2 at a time; its pass is
# 3 % faster by 8 and 5 % by 16. A small network's is another 2 to 7 % faster by 32, and no more by 64.
TOGETHER = 32
PINNED_BYTES = 1 << 30  # of decoded batches that wait for a GPU; the kernel cannot page them out
# Why an image has no row though it could be read. The file is in order, so it is not tried again.
NOT_FINITE = "the model gives NaN or infinity for it"


@dataclasses.dataclass(frozen=True)
class Stream:
    """The rows that one model gives: of which view, by which runner, from which image on."""

    view: View
    runner: Runner
    start: int = 0


@dataclasses.dataclass(frozen=True)
class Setting:
    """batch: images that a runner sees at a time. workers: threads."""

    batch: int
    workers: int


@dataclasses.dataclass(frozen=True)
class Chunk:
    """What became of images `start` to `stop`. rows: for each stream, of the good images from the stream's start on.

    bad: (index, reason) of each image that could not be read.
    """

    start: int
    stop: int
    rows: tuple[Rows, ...]
    bad: tuple[tuple[int, str], ...]
    seconds: Seconds

    def finite(self, stream: int, start: int) -> tuple[Rows, list[tuple[int, str]]]:
        """Of one stream, the rows that hold finite numbers, and (index, reason) of its images that have none.

        start: the first image that is new to the stream.
        """
        rows, bad = self.rows[stream], [each for each in self.bad if each[0] >= start]
        if not len(rows) or rows.dtype.kind != "f":
            return rows, bad
        good = np.isfinite(rows).all(axis=1)
        if good.all():
            return rows, bad
        indices = np.setdiff1d(np.arange(max(start, self.start), self.stop), [index for index, _ in bad])
        return rows[good], sorted([*bad, *((int(index), NOT_FINITE) for index in indices[~good])])


def chunks(
    items: Labelled,
    streams: Sequence[Stream],
    setting: Setting,
    squares: Squares,
    device: str = "cpu",
    first: int = 0,
    stop: int | None = None,
) -> Iterator[Chunk]:
    """Every chunk of the images `first` to `stop` in order, from the first one that any stream wants."""
    for stream in streams:
        items.require_channels(stream.view.channels)
    first = max(first, min(stream.start for stream in streams))
    stop = min(len(items), stop or len(items))
    step = loaded_together(setting, len(items), device)
    starts = range(first, stop, step)
    load = functools.partial(_loaded, items, streams, step, stop, squares)
    if torch.device(device).type == "cpu":
        yield from _in_order(lambda start: _run_on_cpu(load(start), streams, setting.batch), starts, setting.workers)
    else:
        ahead = _pinned_ahead(streams, step, setting.workers)
        yield from _run_on_gpu(
            _in_order(lambda start: load(start, pinned=True), starts, setting.workers, ahead), streams, device
        )


def loaded_together(setting: Setting, count: int, device: str) -> int:
    """Images of a chunk: whole batches, fewer where there are so few images that a worker would wait at the end."""
    if torch.device(device).type != "cpu":
        return setting.batch
    together = min(TOGETHER, count // (4 * setting.workers))
    return max(1, together // setting.batch) * setting.batch


@dataclasses.dataclass(frozen=True)
class _Loaded:
    """Decoded images of a chunk. images: uint8 [b, channels, side, side] for each view. kept: their indices."""

    start: int
    stop: int
    images: dict[View, Tensor]
    kept: NDArray[np.int64]
    bad: tuple[tuple[int, str], ...]
    seconds: Seconds

    def of(self, stream: Stream) -> Tensor:
        """The images that the stream has not seen yet."""
        return self.images[stream.view][int(np.searchsorted(self.kept, stream.start)) :]


def _loaded(
    items: Labelled,
    streams: Sequence[Stream],
    count: int,
    stop: int,
    squares: Squares,
    start: int,
    *,
    pinned: bool = False,
) -> _Loaded:
    stop = min(start + count, stop)
    views = list(dict.fromkeys(stream.view for stream in streams if stream.start < stop))
    images = {
        view: torch.empty((stop - start, view.channels, view.side, view.side), dtype=torch.uint8, pin_memory=pinned)
        for view in views
    }
    seconds = Seconds()
    places = {view: held.numpy() for view, held in images.items()}
    kept, bad = squares_of_run(squares, start, stop, places, seconds)
    images = {view: held[: len(kept)] for view, held in images.items()}
    return _Loaded(start, stop, images, kept, bad, seconds)


def _run_on_cpu(loaded: _Loaded, streams: Sequence[Stream], batch: int) -> Chunk:
    began = time.perf_counter()
    rows = tuple(_rows(stream, loaded, batch) for stream in streams)
    loaded.seconds.compute += time.perf_counter() - began
    return Chunk(loaded.start, loaded.stop, rows, loaded.bad, loaded.seconds)


def _rows(stream: Stream, loaded: _Loaded, batch: int) -> Rows:
    if stream.start >= loaded.stop or not len(images := loaded.of(stream)):
        return np.empty((0, 0))
    return np.concatenate([stream.runner(part).numpy() for part in images.split(batch)])


def _run_on_gpu(batches: Iterator[_Loaded], streams: Sequence[Stream], device: str) -> Iterator[Chunk]:
    """Copies run on a stream of their own and the rows come back two batches later: nothing waits for one batch."""
    copies = torch.cuda.Stream(device)
    waiting: collections.deque[tuple[_Loaded, list[Tensor], list[torch.cuda.Event]]] = collections.deque()
    for loaded in batches:
        with torch.cuda.stream(copies):
            marks = [_mark(copies)]
            resident = {view: images.to(device, non_blocking=True) for view, images in loaded.images.items()}
            marks.append(_mark(copies))
        main = torch.cuda.current_stream(device)
        main.wait_stream(copies)
        marks.append(_mark(main))
        rows = []
        for stream in streams:
            seen = int(np.searchsorted(loaded.kept, stream.start))
            if seen == len(loaded.kept):  # none that is good, or new to this stream
                rows.append(torch.empty((0, 0)))
                continue
            resident[stream.view].record_stream(main)
            made = stream.runner(resident[stream.view][seen:])
            rows.append(torch.empty(made.shape, dtype=made.dtype, pin_memory=True).copy_(made, non_blocking=True))
        marks.append(_mark(main))
        waiting.append((loaded, rows, marks))
        if len(waiting) > 2:
            yield _arrived(*waiting.popleft())
    while waiting:
        yield _arrived(*waiting.popleft())


def _arrived(loaded: _Loaded, rows: Sequence[Tensor], marks: Sequence[torch.cuda.Event]) -> Chunk:
    marks[-1].synchronize()
    loaded.seconds.copy += marks[0].elapsed_time(marks[1]) / 1000
    loaded.seconds.compute += marks[2].elapsed_time(marks[3]) / 1000
    return Chunk(loaded.start, loaded.stop, tuple(each.numpy() for each in rows), loaded.bad, loaded.seconds)


def _mark(stream: torch.cuda.Stream) -> torch.cuda.Event:
    event = torch.cuda.Event(enable_timing=True)
    event.record(stream)
    return event


def _pinned_ahead(streams: Sequence[Stream], batch: int, workers: int) -> int:
    """Batches that may be decoded ahead: two for each worker, and no more than `PINNED_BYTES` of them, but two."""
    views = {stream.view for stream in streams}
    size = batch * sum(view.channels * view.side * view.side for view in views)
    return max(2, min(2 * workers, PINNED_BYTES // size))


def _in_order(
    function: Callable[[int], T], starts: Sequence[int], workers: int, most: int | None = None
) -> Iterator[T]:
    """function(start) of each, in order, by threads that are at most `most` calls ahead of the reader, or two each."""
    ahead: collections.deque[Future[T]] = collections.deque()
    waiting = iter(starts)
    # One thread per operator: the workers are the parallelism.
    with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
        try:
            for start in itertools.islice(waiting, most or 2 * workers):
                ahead.append(pool.submit(function, start))
            while ahead:
                yield ahead.popleft().result()
                for start in itertools.islice(waiting, 1):
                    ahead.append(pool.submit(function, start))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
