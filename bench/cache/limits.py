"""A size that the cache keeps by itself: FEATUNE_CACHE_LIMIT, looked after while a command runs and when it ends."""

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.store import locked_if_free, read_json, write_json

from .pruning import Pruned, parsed_size, pruned

LIMIT = "FEATUNE_CACHE_LIMIT"
# A look walks the whole cache, so the next one waits for so many times what this one took: a hundredth of the time.
PAUSES = 100.0
EVERY = 60.0  # seconds between two looks of one command
LOOKING = threading.Lock()  # of a look while a command runs, or of a block in which it times something


def limit_of(environment: Mapping[str, str]) -> int | None:
    """Bytes of FEATUNE_CACHE_LIMIT, `200GB` for example; None where it is not set. Raises BadInput for other text."""
    text = environment.get(LIMIT)
    if not text:
        return None
    try:
        return parsed_size(text)
    except BadInput as error:
        raise BadInput(f"{LIMIT}: {error}") from error


def keep_limit(cache: Path, most: int, *, clock: Callable[[], float] = time.time) -> Pruned | None:
    """Prune the cache to a size, as `featune cache prune --max-size` does, but for HELD kinds.

    None where there is nothing to do, where the last look was a short while ago or another process is at it, and
    where the cache cannot be read or written. Each user has a record of his own, since he can remove his own items
    alone.
    """
    record, found = cache / f"limit-{os.getuid()}.json", None
    # What cannot be written cannot be removed either; a look is no part of the work, which no fault of it may end.
    with contextlib.suppress(BadInput, OSError):
        if cache.is_dir() and _is_due(record, clock()):
            with locked_if_free(record) as free:
                if free and _is_due(record, clock()):
                    began = time.monotonic()
                    found = pruned(cache, most=most, held_too=False, clock=clock)
                    write_json(record, {"looked": clock(), "seconds": time.monotonic() - began})
    return found


def _is_due(record: Path, now: float) -> bool:
    known = read_json(record)
    looked, seconds = (known.get("looked"), known.get("seconds")) if isinstance(known, dict) else (None, None)
    if not isinstance(looked, float) or not isinstance(seconds, float):
        return True
    return not 0 <= now - looked < PAUSES * seconds


@contextlib.contextmanager
def looks_paused() -> Iterator[None]:
    """No look while the block runs, which times something; one that is under way is waited for."""
    with LOOKING:
        yield


@contextlib.contextmanager
def limit_kept(
    cache: Path, most: int | None, told: Callable[[Pruned], None] = lambda found: None, every: float | None = EVERY
) -> Iterator[None]:
    """Keep the cache to a size, or to none, while the block runs, by looks at it every so many seconds, and at its end.

    told: gets what each look removed or could not. every: None for a look at the end alone, of a block that is timed.
    No error of a look or of `told` ends the block.
    """
    if most is None:
        yield
        return
    ended = threading.Event()

    def look() -> None:
        if found := keep_limit(cache, most):
            with contextlib.suppress(OSError, ValueError):  # of a stderr that is closed
                told(found)

    def watch() -> None:
        pause = every
        while not ended.wait(pause):
            began = time.monotonic()
            if LOOKING.acquire(blocking=False):
                try:
                    look()
                finally:
                    LOOKING.release()
            pause = max(every or 0.0, PAUSES * (time.monotonic() - began))  # also where no record can be written

    watching = threading.Thread(target=watch, daemon=True, name="cache limit")
    if every is not None:
        watching.start()
    try:
        yield
    finally:
        ended.set()
        if every is not None:
            watching.join()
        look()
