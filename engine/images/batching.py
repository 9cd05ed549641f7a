"""Images in batches, in order, decoded ahead by threads."""

import collections
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from torch import Tensor

from ..errors import BadImages
from ..machine import processors
from ..models import View
from .decoding import read_image
from .labelled import Labelled
from .views import Pixels, eval_view


def batches(
    items: Labelled,
    view: View,
    size: int,
    *,
    workers: int | None = None,
    start: int = 0,
    make: Callable[[int], Pixels] | None = None,
) -> Iterator[Tensor]:
    """The images from number `start` on, in order: uint8 [b, channels, side, side], b = size but for the last.

    `make` gives image i's pixels; by default its eval view. Threads decode ahead, two batches at most,
    and the order is the items' for any size and any number of workers.
    Raises BadImages at the end of the pass, naming every unreadable file; no batch follows the first of them.
    """
    items.require_channels(view.channels)
    square = eval_view(view)
    produce = make or (lambda index: square(read_image(items.file(index), items.channels)))
    bad: list[tuple[str, str]] = []
    ahead: collections.deque[list[Future[Pixels]]] = collections.deque()
    starts = iter(range(start, len(items), size))
    with ThreadPoolExecutor(workers or processors()) as pool:
        try:
            while True:
                while len(ahead) < 2 and (first := next(starts, None)) is not None:
                    ahead.append([pool.submit(produce, i) for i in range(first, min(first + size, len(items)))])
                if not ahead:
                    break
                pixels = []
                for future in ahead.popleft():
                    try:
                        pixels.append(future.result())
                    except BadImages as error:
                        bad.extend(error.problems)
                if not bad:
                    yield torch.from_numpy(np.stack(pixels))
        finally:
            pool.shutdown(wait=True, cancel_futures=True)
    if bad:
        raise BadImages(bad)
