"""The training images of each step: decoded once where memory allows, augmented by threads beside the computation."""

import collections
import dataclasses
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import BadImages
from ..images import Labelled, Pixels, batches, eval_view, read_image, train_view
from ..machine import processors
from ..models import View
from ..recipe import Recipe

DECODED_BYTES = 2 << 30
SAMPLES = 256
AHEAD = 2  # batches that are made before they are asked for


class Decoded:
    """Decoded images by their addresses, kept up to so many bytes; several trainings may share one."""

    def __init__(self, limit: int = DECODED_BYTES):
        self.room = limit
        self.kept: dict[tuple[str, int], Image.Image] = {}
        self.lock = threading.Lock()

    def image(self, items: Labelled, index: int) -> Image.Image:
        address = (str(items.file(index)), items.channels)
        image = self.kept.get(address)
        if image is None:
            image = read_image(address[0], items.channels)
            size = image.width * image.height * items.channels
            with self.lock:
                if size <= self.room and address not in self.kept:
                    self.room -= size
                    self.kept[address] = image
        return image


def eval_batches(items: Labelled, view: View, size: int, decoded: Decoded | None = None) -> Iterator[Tensor]:
    """As `batches`, of images that may be decoded already."""
    if decoded is None:
        return batches(items, view, size)
    square = eval_view(view)
    return batches(items, view, size, make=lambda index: square(decoded.image(items, index)))


def channels_last(recipe: Recipe, on_gpu: bool) -> bool:
    """How images lie. Where the recipe does not say: on a CPU as the weights do.

    Where they lie in another order each convolution reorders them, and resnet18 takes 1.4 times as long; networks of
    few convolutions do not care. Measured in benchmarks/finetune_speed.md, on a CPU alone: on a GPU they come as
    they always did.
    """
    return on_gpu if recipe.channels_last is None else recipe.channels_last


class Steps:
    """The images of a training's steps. Order, crops and flips depend on (seed, epoch, index) only.

    size: images of a step; part: (rank, of so many) processes, each of which makes its share. waited: seconds that
    the training stood still for images.
    """

    def __init__(
        self, items: Labelled, view: View, recipe: Recipe, seed: int, decoded: Decoded, size: int,
        part: tuple[int, int] = (0, 1), pinned: bool = False,
    ):  # fmt: skip
        items.require_channels(view.channels)
        self.items, self.view, self.recipe, self.seed = items, view, recipe, seed
        self.decoded, self.size, self.part, self.pinned = decoded, size, part, pinned
        self.channels_last = channels_last(recipe, on_gpu=pinned)
        self.per_epoch = recipe.steps_per_epoch(len(items))
        self.epochs = -(-recipe.total_steps(len(items)) // self.per_epoch)
        self.orders: dict[int, NDArray[np.int64]] = {}

    def indices(self, step: int) -> NDArray[np.int64]:
        """Of the images of a step that are this process's, in their order."""
        epoch, position = divmod(step, self.per_epoch)
        if epoch not in self.orders:
            order = np.random.default_rng((self.seed, epoch)).permutation(len(self.items))
            self.orders = {**dict(list(self.orders.items())[-1:]), epoch: order}
        rank, world = self.part
        return self.orders[epoch][position * self.recipe.batch :][: self.size][rank::world]

    def images(self, first: int, last: int) -> Iterator[Tensor]:
        """uint8 [b, channels, side, side] of the steps from `first` up to `last`, made ahead by threads.

        Raises BadImages with every unreadable file where one of them is met.
        """
        ahead: collections.deque[tuple[Tensor, list[Future[None]]]] = collections.deque()
        steps = iter(range(first, last))
        with ThreadPoolExecutor(processors()) as pool:
            try:
                while True:
                    while len(ahead) < AHEAD and (step := next(steps, None)) is not None:
                        ahead.append(self._begun(pool, step))
                    if not ahead:
                        return
                    images, parts = ahead.popleft()
                    for part in parts:
                        part.result()
                    yield images
            except BadImages:
                pool.shutdown(wait=True, cancel_futures=True)
                for _ in batches(self.items, self.view, self.recipe.batch):  # names all of them
                    pass
                raise
            finally:
                pool.shutdown(wait=True, cancel_futures=True)

    def samples(self, device: torch.device) -> Iterator[Tensor]:
        """Eval views of SAMPLES of the images at most, drawn evenly: of which batch norm can learn its statistics."""
        count = min(SAMPLES, len(self.items))
        chosen = np.linspace(0, len(self.items) - 1, count).astype(np.int64)[: None if count % 64 != 1 else -1]
        for images in eval_batches(self.items.take(chosen.tolist()), self.view, 64, self.decoded):
            yield images.to(device)

    def _begun(self, pool: ThreadPoolExecutor, step: int) -> tuple[Tensor, list[Future[None]]]:
        epoch, chosen = step // self.per_epoch, self.indices(step)
        view = self.view_of(epoch)
        order = (0, 2, 3, 1) if self.channels_last else (0, 1, 2, 3)  # of numbers in memory
        sides = (len(chosen), view.channels, view.side, view.side)
        empty = torch.empty([sides[axis] for axis in order], dtype=torch.uint8, pin_memory=self.pinned)
        images = empty.permute([order.index(axis) for axis in range(4)])
        places = images.numpy()

        def make(place: int, index: int) -> None:
            places[place] = self._pixels(index, epoch, view)

        return images, [pool.submit(make, place, int(index)) for place, index in enumerate(chosen)]

    def _pixels(self, index: int, epoch: int, view: View) -> Pixels:
        rng = np.random.default_rng((self.seed, epoch, index))
        return train_view(self.decoded.image(self.items, index), view, self.recipe.augmentation, rng)

    def view_of(self, epoch: int) -> View:
        """The view of an epoch: its side goes from `start_size` to the last epoch's in steps of 32."""
        start, end = self.recipe.start_size, self.view.side
        if start is None or epoch >= self.epochs - 1:
            return self.view
        grown = int((start + (end - start) * epoch / (self.epochs - 1)) // 32 * 32)
        return dataclasses.replace(self.view, side=min(max(grown, min(start, end)), max(start, end)))
