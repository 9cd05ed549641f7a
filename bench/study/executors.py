"""Where work runs: in this process, or in a pool of single-threaded ones."""

import collections
import contextlib
import dataclasses
import multiprocessing
import os
import signal
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from typing import Protocol, TypeVar

from featune.engine.machine import processors

Item = TypeVar("Item")
Result = TypeVar("Result")
KILLED = (
    "killed, alone too (memory?): its process ended without a word, as the system does to one that takes too much "
    "memory; make room, or take a smaller model, batch or view"
)


@dataclasses.dataclass(frozen=True)
class Killed:
    """In place of a result: the process that worked on the item was killed, when it ran alone too."""

    reason: str


class Executor(Protocol):
    """Applies a function to every item, in their order, and gives (item, result) as they come, or (item, Killed).

    One with an attribute `jobs` works on so many items at a time, others on one.
    """

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[tuple[Item, Result | Killed]]: ...


def in_process(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[tuple[Item, Result]]:
    for item in items:
        yield item, function(item)


def processes(jobs: int, threads: int = 1) -> Executor:
    """`jobs` processes of `threads` threads each. The thread count is fixed so that numbers repeat to the digit.

    Two processes of one thread beat one process of two: small networks spend their second thread on barriers.
    Where one is killed, all that were at work are asked again, each alone, which tells whose fault it was.
    """

    def execute(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[tuple[Item, Result | Killed]]:
        waiting = collections.deque(items)
        while waiting:
            suspects: list[Item] = []
            yield from _pooled(function, waiting, jobs, threads, suspects)
            for item in suspects:
                alone: list[Item] = []
                yield from _pooled(function, collections.deque([item]), 1, threads, alone)
                if alone:
                    yield item, Killed(KILLED)

    execute.jobs = jobs  # type: ignore[attr-defined]
    return execute


def jobs_of(execute: Executor) -> int:
    return int(getattr(execute, "jobs", 1))


def one_at_a_time(execute: Executor, threads: int | None = None) -> Executor:
    """For what is timed: one process of so many threads, all by default, where `execute` has processes of its own.

    What the system kills there does not take this process with it.
    """
    return processes(1, threads or processors()) if hasattr(execute, "jobs") else execute


def _pooled(
    function: Callable[[Item], Result],
    items: collections.deque[Item],
    jobs: int,
    threads: int,
    lost: list[Item],
) -> Iterator[tuple[Item, Result]]:
    """Work off the items in one pool; where it breaks, those that were at work are added to `lost`."""
    context = multiprocessing.get_context("spawn")  # forking a process that has run torch can hang
    pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(threads, os.getpid()))
    working: dict[Future[Result], Item] = {}
    try:
        while (items or working) and not lost:
            while items and len(working) < jobs:  # no more, so that what is lost was at work
                working[pool.submit(function, items[0])] = items[0]
                items.popleft()
            done, _ = wait(working, return_when=FIRST_COMPLETED)
            for future in done:
                item = working.pop(future)
                try:
                    result = future.result()
                except BrokenProcessPool:
                    lost.append(item)
                else:
                    yield item, result
    except BrokenProcessPool:  # it broke between two items
        pass
    except (KeyboardInterrupt, GeneratorExit):
        _interrupt(pool)
        raise
    finally:
        pool.shutdown(wait=True, cancel_futures=True)
    if lost or working:
        lost.extend(working.values())


def _interrupt(pool: ProcessPoolExecutor) -> None:
    """Let the workers save what they have and stop; an interrupt of the parent alone would wait for their items."""
    for pid in list(pool._processes or {}):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGINT)


def limit_threads(threads: int) -> None:
    """Keep every numerical library of this process to so many threads."""
    os.environ["OMP_NUM_THREADS"] = str(threads)
    import torch
    from threadpoolctl import threadpool_limits

    torch.set_num_threads(threads)
    threadpool_limits(threads)


def _start_worker(threads: int, parent: int) -> None:
    limit_threads(threads)
    threading.Thread(target=_end_with, args=(parent,), daemon=True).start()


def _end_with(parent: int) -> None:
    """A killed parent tells its children nothing; without this they would wait for work for ever."""
    while os.getppid() == parent:
        time.sleep(1)
    os._exit(1)


def default_jobs() -> int:
    """One process per processor that this one may use; one where there is a GPU to share."""
    import torch

    return 1 if torch.cuda.is_available() else processors()
