"""Decoding in processes of their own, into shared memory.

Threads of one process share Python's lock, which decoding takes and gives back some hundred times per image: 16 of them
decode no more than a few thousand images per second, fewer than a large GPU takes. Processes have a lock each. A chunk
is decoded by one process into a block of shared memory, from which a thread of the pass copies it to where it belongs.
"""

import contextlib
import os
import shutil
import signal
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from multiprocessing import get_context
from multiprocessing.shared_memory import SharedMemory
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from ..errors import BadInput, FeatuneError
from ..images import Decoder, Labelled, Pixels
from ..models import View
from .squares import Seconds, Squares, decoded_squares, squares_of_run

DecodeIn = Literal["threads", "processes"]
Run = tuple[NDArray[np.int64], tuple[tuple[int, str], ...]]


def check_decode_in(name: str) -> DecodeIn:
    if name not in ("threads", "processes"):
        raise BadInput(f"decode_in {name!r} found; expected threads or processes")
    return name  # type: ignore[return-value]


@contextlib.contextmanager
def decoding(items: Labelled, decoder: Decoder, place: DecodeIn, workers: int) -> Iterator[Squares]:
    """The squares of the items' files, decoded where asked; workers: processes, where it is these."""
    if place == "threads":
        yield decoded_squares(items, decoder)
        return
    # Not forked: this process has threads. The limit of pixels is a setting of the process that decodes.
    pool = ProcessPoolExecutor(
        workers, get_context("spawn"), initializer=_begin, initargs=(items, decoder, Image.MAX_IMAGE_PIXELS)
    )
    try:
        yield DecoderProcesses(pool, decoded_squares(items, decoder), items.channels)
    finally:
        pool.shutdown(wait=True, cancel_futures=True)


class DecoderProcesses:
    """Squares that processes make, a run of images at a time; a single one is made here."""

    def __init__(self, pool: ProcessPoolExecutor, here: Squares, channels: int):
        self.pool, self.here, self.channels = pool, here, channels

    def __call__(self, index: int, views: Sequence[View], seconds: Seconds, /) -> list[Pixels]:
        return self.here(index, views, seconds)

    def together(self, start: int, stop: int, places: Mapping[View, NDArray[np.uint8]], seconds: Seconds) -> Run:
        """As `squares_of_run`. Raises FeatuneError where a process was killed."""
        views = list(places)
        size = max(1, sum(_bytes(view, stop - start) for view in views))
        _require_room(size)
        block = SharedMemory(create=True, size=size)
        try:
            kept, bad, spent = self.pool.submit(_decode, block.name, start, stop, views).result()
            for place, pixels in zip(places.values(), _parts(block, views, stop - start), strict=True):
                place[: len(kept)] = pixels[: len(kept)]
                del pixels  # or the block could not be closed
        except BrokenProcessPool as error:
            raise FeatuneError(
                "a process that decodes was killed (short of memory?), or a script has no `if __name__ == '__main__'`; "
                "take fewer --workers, or --decode-in threads"
            ) from error
        finally:
            block.close()
            block.unlink()
        seconds.add(spent)
        return kept, bad


def _require_room(size: int, place: str = "/dev/shm") -> None:
    """Raises FeatuneError before a process would be killed for writing where there is no room."""
    if os.path.isdir(place) and (free := shutil.disk_usage(place).free) < size:
        raise FeatuneError(
            f"{place} has {free / 1e6:.0f} MB free, {size / 1e6:.0f} MB expected for a batch; start the container with "
            "--shm-size=2g, take a smaller --batch, or --decode-in threads"
        )


def _bytes(view: View, count: int) -> int:
    return count * view.channels * view.side * view.side


def _parts(block: SharedMemory, views: Sequence[View], count: int) -> Iterator[NDArray[np.uint8]]:
    """uint8 [count, channels, side, side] of each view, one after the other in the block."""
    offset = 0
    for view in views:
        shape = (count, view.channels, view.side, view.side)
        yield np.ndarray(shape, np.uint8, buffer=block.buf, offset=offset)
        offset += _bytes(view, count)


_squares: Squares | None = None  # of a process that decodes


def _begin(items: Labelled, decoder: Decoder, most_pixels: int | None) -> None:
    import torch

    global _squares
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # the pass ends it
    torch.set_num_threads(1)
    Image.MAX_IMAGE_PIXELS = most_pixels
    _squares = decoded_squares(items, decoder)


def _decode(name: str, start: int, stop: int, views: list[View]) -> tuple[*Run, Seconds]:
    assert _squares is not None
    block, seconds = SharedMemory(name), Seconds()
    places = dict(zip(views, _parts(block, views, stop - start), strict=True))
    try:
        kept, bad = squares_of_run(_squares, start, stop, places, seconds)
    finally:
        places.clear()  # or the block could not be closed
        block.close()
    return kept, bad, seconds
