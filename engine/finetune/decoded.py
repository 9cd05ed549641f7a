"""The training images of each step: decoded once where memory allows, augmented by threads beside the computation."""

import collections
import dataclasses
import math
import threading
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor

from ..errors import BadImages
from ..images import Labelled, Pixels, Shrinking, batches, eval_view, read_image, train_view
from ..machine import processors
from ..models import View
from ..recipe import Recipe

DECODED_BYTES = 2 << 30
SAMPLES, SAMPLED = 256, 64  # images of which batch norm learns its statistics anew, and of a batch of them at most
AHEAD = 2  # batches that are made before they are asked for


class Decoded:
    """Decoded images, and eval views of large ones, kept up to so many bytes; several trainings may share one.

    What is given is to the bit what decoding anew would give.
    """

    def __init__(self, limit: int = DECODED_BYTES):
        self.room = limit
        self.kept: dict[tuple[str, int, Shrinking | None], Image.Image] = {}
        self.squares: dict[tuple[str, int, View], Pixels] = {}
        self.lock = threading.Lock()

    def image(self, items: Labelled, index: int, shrinking: Shrinking | None = None) -> Image.Image:
        address = (str(items.file(index)), items.channels)
        whole = self.kept.get((*address, None))
        if whole is not None and _stays_whole(whole, shrinking):
            return whole
        key = (*address, shrinking)
        image = self.kept.get(key)
        if image is None:
            image = read_image(*address, shrinking)
            self._keep(self.kept, key, image, _bytes(image))
        return image

    def square(
        self, items: Labelled, index: int, view: View, shrinking: Shrinking | None = None, *, again: bool = False
    ) -> Pixels:
        """The eval view, always of the whole image.

        again: it is asked for at each look at val, so the smaller of image and view is kept. Else the image is, for
        a training that takes it whole too; shrinking: of that training.
        """
        address = (str(items.file(index)), items.channels)
        square = self.squares.get((*address, view))
        if square is not None:
            return square
        whole = self.kept.get((*address, None))
        image = read_image(*address) if whole is None else whole
        square = eval_view(view)(image)
        if whole is None and again and square.nbytes < _bytes(image):
            self._keep(self.squares, (*address, view), square, square.nbytes)
        elif whole is None and (again or _stays_whole(image, shrinking)):
            self._keep(self.kept, (*address, None), image, _bytes(image))
        return square

    def _keep(self, kept: dict[Any, Any], key: tuple[Any, ...], value: Any, size: int) -> None:
        with self.lock:
            if size <= self.room and key not in kept:
                self.room -= size
                kept[key] = value


def _stays_whole(image: Image.Image, shrinking: Shrinking | None) -> bool:
    return shrinking is None or shrinking.size(*image.size) is None


def _bytes(image: Image.Image) -> int:
    """In memory: Pillow keeps grey in one byte of each pixel, all else in four."""
    return image.width * image.height * (1 if image.mode == "L" else 4)


def shrinking_of(recipe: Recipe, view: View) -> Shrinking | None:
    """How small the recipe's images may become. None where it takes them whole: by choice, or for eval views."""
    drawn = recipe.augmentation
    if not recipe.shrink_on_load or drawn.crop == "eval":
        return None
    side = max(view.side, recipe.start_size or 0)
    return Shrinking(side, math.floor(side / view.crop_pct), drawn.scale, drawn.ratio)


def eval_batches(
    items: Labelled, view: View, size: int, decoded: Decoded | None = None, shrinking: Shrinking | None = None, *,
    again: bool = False,
) -> Iterator[Tensor]:  # fmt: skip
    """As `batches`, of images that may be decoded already. shrinking, again: as of `Decoded.square`."""
    if decoded is None:
        return batches(items, view, size)
    return batches(items, view, size, make=lambda index: decoded.square(items, index, view, shrinking, again=again))


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
        self.shrinking = shrinking_of(recipe, view)
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
        """Eval views of SAMPLES of the images at most, drawn evenly: of which batch norm can learn its statistics.

        In batches of one size or nearly, so that each image counts the same in a mean over batches.
        """
        count = min(SAMPLES, len(self.items))
        chosen = np.linspace(0, len(self.items) - 1, count).astype(np.int64)
        for part in np.array_split(chosen, math.ceil(count / SAMPLED)):
            for images in eval_batches(self.items.take(part.tolist()), self.view, SAMPLED, self.decoded, again=True):
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
        image = self.decoded.image(self.items, index, self.shrinking)
        return train_view(image, view, self.recipe.augmentation, rng)

    def view_of(self, epoch: int) -> View:
        """The view of an epoch: its side goes from `start_size` to the last epoch's in steps of 32."""
        start, end = self.recipe.start_size, self.view.side
        if start is None or epoch >= self.epochs - 1:
            return self.view
        grown = int((start + (end - start) * epoch / (self.epochs - 1)) // 32 * 32)
        return dataclasses.replace(self.view, side=min(max(grown, min(start, end)), max(start, end)))
