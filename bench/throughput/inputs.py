"""The images of a timed call: batches that take turns, and the proof that nothing kept or changed them."""

import hashlib
import itertools
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from featune.engine.errors import BadInput

BATCHES, BYTES = 4, 256 << 20  # distinct batches, or as many as this memory holds, two at least


class Rotation:
    """Distinct batches uint8 [batch, channels, side, side] in turn, so that no call sees the images of the one before.

    images: uint8 [n, channels, side, side] on the host; a batch takes every image from an offset of its own on.
    pinned: for copies to a GPU.
    """

    def __init__(self, images: Tensor, batch: int, device: str = "cpu", pinned: bool = False):
        if len(images) < 2:
            raise BadInput(f"{len(images)} images found; at least 2 expected, so that inputs can take turns")
        size = batch * images[0].numel()
        count = max(2, min(BATCHES, len(images), BYTES // size))
        self.batches: list[Tensor] = []
        for number in range(count):
            chosen = (torch.arange(batch) + number * max(1, len(images) // count)) % len(images)
            made = images[chosen]
            self.batches.append(made.pin_memory() if pinned else made.to(device))
        self._began = [_digest(each) for each in self.batches]
        if len(set(self._began)) < 2:
            raise BadInput("the images are all the same; inputs that take turns need different ones")

    def __iter__(self) -> Iterator[Tensor]:
        return itertools.cycle(self.batches)

    def check(self, call: Callable[[Any], Any]) -> None:
        """Raises BadInput where a call changed its input, or gives the rows of other images: something is cached."""
        if [_digest(each) for each in self.batches] != self._began:
            raise BadInput("the runner changed its input images; later calls saw other data, so no speed is given")
        first, second = (call(each).clone() for each in self.batches[:2])
        if torch.equal(first, second):
            raise BadInput("the runner gives the same rows for different images; a result that is kept has no speed")
        flipped = self.batches[0].flip(0)
        if len(flipped) > 1 and not torch.allclose(call(flipped).flip(0), first, rtol=1e-2, atol=1e-3):
            raise BadInput("the runner gives other rows for the same images in another order; no speed is given")


def _digest(images: Tensor) -> str:
    return hashlib.sha256(images.cpu().numpy().tobytes()).hexdigest()
