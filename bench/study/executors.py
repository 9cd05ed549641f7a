"""Where work runs: in this process, or in a pool of single-threaded ones."""

import multiprocessing
import os
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import FIRST_COMPLETED, ProcessPoolExecutor, wait
from typing import Protocol, TypeVar

from featune.engine.machine import processors

Item = TypeVar("Item")
Result = TypeVar("Result")


class Executor(Protocol):
    """Applies a function to every item, in their order, and gives (item, result) as they come.

    One with an attribute `jobs` works on so many items at a time, others on one.
    """

    def __call__(
        self, function: Callable[[Item], Result], items: Iterable[Item], /
    ) -> Iterator[tuple[Item, Result]]: ...


def in_process(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[tuple[Item, Result]]:
    for item in items:
        yield item, function(item)


def processes(jobs: int, threads: int = 1) -> Executor:
    """`jobs` processes of `threads` threads each. The thread count is fixed so that numbers repeat to the digit.

    Two processes of one thread beat one process of two: small networks spend their second thread on barriers.
    """

    def execute(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[tuple[Item, Result]]:
        context = multiprocessing.get_context("spawn")  # forking a process that has run torch can hang
        pool = ProcessPoolExecutor(jobs, mp_context=context, initializer=_start_worker, initargs=(threads, os.getpid()))
        try:
            waiting = {pool.submit(function, item): item for item in items}
            while waiting:
                done, _ = wait(waiting, return_when=FIRST_COMPLETED)
                for future in done:
                    yield waiting.pop(future), future.result()
        finally:
            pool.shutdown(wait=True, cancel_futures=True)

    execute.jobs = jobs  # type: ignore[attr-defined]
    return execute


def jobs_of(execute: Executor) -> int:
    return int(getattr(execute, "jobs", 1))


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
