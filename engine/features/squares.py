"""Files to the squares of pixels that models see: each file is read and decoded once for all views."""

import dataclasses
import time
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from ..errors import BadImages
from ..images import Decoder, Labelled, Pixels, eval_view, fast_view, image_of, pixels_of, read_bytes
from ..models import View
from .files import Stored


@dataclasses.dataclass
class Seconds:
    """Where the workers' time went, summed over them: they work side by side, so this is more than `wall`."""

    read: float = 0.0
    decode: float = 0.0
    resize: float = 0.0
    copy: float = 0.0
    compute: float = 0.0
    write: float = 0.0

    def add(self, other: "Seconds") -> None:
        for field in dataclasses.fields(self):
            setattr(self, field.name, getattr(self, field.name) + getattr(other, field.name))


class Squares(Protocol):
    """Gives image i in each of the views, uint8 [channels, side, side]. Raises BadImages."""

    def __call__(self, index: int, views: Sequence[View], seconds: Seconds, /) -> list[Pixels]: ...


def decoded_squares(items: Labelled, decoder: Decoder) -> Squares:
    """Views made of the files, each of which is read and decoded once."""

    def squares(index: int, views: Sequence[View], seconds: Seconds, /) -> list[Pixels]:
        path = items.file(index)
        began = time.perf_counter()
        data = read_bytes(path)
        was_read = time.perf_counter()
        image = image_of(data, path, items.channels)
        was_decoded = time.perf_counter()
        pixels = None
        found = []
        for view in views:
            fast = fast_view(view) if decoder == "fast" else None
            if fast is None:
                found.append(eval_view(view)(image))
            else:
                pixels = pixels_of(image) if pixels is None else pixels
                found.append(fast(pixels))
        seconds.read += was_read - began
        seconds.decode += was_decoded - was_read
        seconds.resize += time.perf_counter() - was_decoded
        return found

    return squares


def squares_of_run(
    squares: Squares, start: int, stop: int, places: Mapping[View, NDArray[np.uint8]], seconds: Seconds
) -> tuple[NDArray[np.int64], tuple[tuple[int, str], ...]]:
    """Fills the images `start` to `stop` into the places, good ones next to each other.

    places: uint8 [stop - start or more, channels, side, side] for each view. Gives the indices of the good images, and
    (index, reason) of those that could not be read.
    """
    together = getattr(squares, "together", None)
    if together is not None:
        return together(start, stop, places, seconds)
    kept: list[int] = []
    bad: list[tuple[int, str]] = []
    for index in range(start, stop):
        try:
            found = squares(index, list(places), seconds)
        except BadImages as error:
            bad.extend((index, reason) for _, reason in error.problems)
            continue
        for place, pixels in zip(places.values(), found, strict=True):
            place[len(kept)] = pixels
        kept.append(index)
    return np.array(kept, dtype=np.int64), tuple(bad)


def stored_squares(items: Labelled, stored: dict[View, Stored]) -> Squares:
    """Views from their stored files, bad files being those that were bad when the views were made."""
    files = {view: (each.rows, each.kept) for view, each in stored.items()}
    bad = {index: reason for each in stored.values() for index, _, reason in each.skipped}

    def squares(index: int, views: Sequence[View], seconds: Seconds, /) -> list[Any]:
        if index in bad:
            raise BadImages([(str(items.file(index)), bad[index])])
        began = time.perf_counter()
        found = []
        for view in views:
            rows, kept = files[view]
            found.append(rows[int(np.searchsorted(kept, index))].reshape(view.channels, view.side, view.side))
        seconds.read += time.perf_counter() - began
        return found

    return squares
