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
    """Prune the cache to a size, as `featune cache prune --max-size` does.

    None where there is nothing to do, where the last look was a short while ago or another process is at it, and
    where the cache cannot be written. Each user has a record of his own, since he can remove his own items alone.
    """
    record = cache / f"limit-{os.getuid()}.json"
    if not cache.is_dir() or not _is_due(record, clock()):
        return None
    try:
        with locked_if_free(record) as free:
            if not free or not _is_due(record, clock()):
                return None
            began = time.monotonic()
            found = pruned(cache, most=most, clock=clock)
            write_json(record, {"looked": clock(), "seconds": time.monotonic() - began})
    except BadInput:  # it cannot be written, so nothing in it can be removed either
        return None
    return found


def _is_due(record: Path, now: float) -> bool:
    known = read_json(record)
    looked, seconds = (known.get("looked"), known.get("seconds")) if isinstance(known, dict) else (None, None)
    if not isinstance(looked, float) or not isinstance(seconds, float):
        return True
    return not 0 <= now - looked < PAUSES * seconds


@contextlib.contextmanager
def limit_kept(
    cache: Path, most: int | None, told: Callable[[Pruned], None] = lambda found: None, every: float | None = EVERY
) -> Iterator[None]:
    """Keep the cache to a size, or to none, while the block runs, by looks at it every so many seconds, and at its end.

    told: gets what each look removed or could not. every: None for a look at the end alone, of a block that is timed.
    """
    if most is None:
        yield
        return
    ended = threading.Event()

    def look() -> None:
        if found := keep_limit(cache, most):
            told(found)

    def watch() -> None:
        while not ended.wait(every):
            look()

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
