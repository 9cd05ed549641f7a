"""The one training loop, in the order things happen; it resumes to the bit."""

import dataclasses
import math
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image
from torch import Tensor, nn

from ..errors import FeatuneError
from ..images import Labelled, Pixels, batches, read_image, train_view
from ..models import View
from ..store import written_whole
from .recipe import Recipe

Progress = Callable[[int, int], None]  # steps done, steps in all
DECODED_BYTES = 2 << 30


class Diverged(FeatuneError):
    """The loss or the scores left the finite numbers."""


@dataclasses.dataclass(frozen=True)
class Run:
    """Where and how a training runs, which its weights do not depend on but for the device's arithmetic.

    work: a folder for the checkpoint `<name>.pt`, from which a killed training resumes; written every `save_seconds`.
    """

    device: str = "cpu"
    work: Path | None = None
    name: str = "model"
    save_seconds: float = 30.0
    progress: Progress | None = None

    @property
    def checkpoint(self) -> Path | None:
        return self.work / f"{self.name}.pt" if self.work else None


HERE = Run()


OPTIMIZERS: dict[str, Callable[[list[dict[str, Any]], Recipe], torch.optim.Optimizer]] = {
    "sgd": lambda groups, recipe: torch.optim.SGD(
        groups, lr=0.0, momentum=recipe.momentum, nesterov=recipe.momentum > 0
    ),
    "adamw": lambda groups, recipe: torch.optim.AdamW(groups, lr=0.0),
}


def train(
    model: nn.Module, items: Labelled, truth: Tensor, view: View, recipe: Recipe, seed: int, run: Run = HERE
) -> nn.Module:
    """The one training loop, at the first of the recipe's learning rates.

    model: uint8 images to logits; it is trained in place and returned in eval mode. truth: int64 [n], or [n, classes]
    where several classes may hold, with -1 for unknown; such a pair has no part in the loss. Order, crops
    and flips depend on (seed, epoch, index) only, and a checkpoint keeps the rest of the state, so that a killed and
    resumed training gives the same weights as an uninterrupted one.
    """
    device, checkpoint, rate = run.device, run.checkpoint, recipe.learning_rates[0]
    model = model.to(device).train()
    optimizer = OPTIMIZERS[recipe.optimizer](_groups(model, recipe), recipe)
    loss_of = _loss(truth, recipe)
    total, per_epoch = recipe.total_steps(len(items)), recipe.steps_per_epoch(len(items))
    targets = truth.to(device)
    torch.manual_seed(seed)  # dropout and stochastic depth
    step = _restore(checkpoint, model, optimizer) if checkpoint else 0
    decoded = _Decoded(items)
    saved = time.monotonic()

    while step < total:
        epoch, position = divmod(step, per_epoch)
        order = np.random.default_rng((seed, epoch)).permutation(len(items))
        for chosen, images in _augmented(decoded, order, view, recipe, (seed, epoch), position, per_epoch):
            _set_rate(optimizer, rate * schedule(step / total, recipe.warmup))
            with torch.autocast(torch.device(device).type, torch.bfloat16, enabled=recipe.amp):
                logits = model(images.to(device, non_blocking=True))
            loss = loss_of(logits.float(), targets[chosen])
            if not math.isfinite(loss.item()):
                raise Diverged(f"the loss is {loss.item()} at step {step} with learning rate {rate:g}; lower it")
            optimizer.zero_grad(set_to_none=True)
            loss.backward()
            optimizer.step()
            step += 1
            if run.progress:
                run.progress(step, total)
            if checkpoint and time.monotonic() - saved > run.save_seconds:
                _save(checkpoint, model, optimizer, step)
                saved = time.monotonic()
            if step == total:
                break
    if checkpoint:
        _save(checkpoint, model, optimizer, step)
    return model.eval()


@torch.inference_mode()
def predict(model: nn.Module, items: Labelled, view: View, device: str = "cpu", batch: int = 64) -> NDArray[np.float32]:
    """The model's scores on the items' eval views, float32 [n, classes], in order.

    Raises Diverged where they are not finite.
    """
    model.eval()
    scores = np.concatenate([model(images.to(device)).float().cpu().numpy() for images in batches(items, view, batch)])
    if not np.isfinite(scores).all():
        raise Diverged("the trained model's scores are not finite; its learning rate diverged, lower it")
    return scores


def schedule(done: float, warmup: float) -> float:
    """The learning rate's share of its peak after a share `done` of the steps: a linear rise, then a cosine."""
    if done < warmup:
        return (done + 1e-3) / (warmup + 1e-3)
    return 0.5 * (1 + math.cos(math.pi * (done - warmup) / (1 - warmup)))


class _Decoded:
    """Decoded images of the items, kept in memory up to a limit, so that epochs after the first need no files."""

    def __init__(self, items: Labelled, limit: int = DECODED_BYTES):
        self.items, self.room = items, limit
        self.kept: dict[int, Image.Image] = {}

    def __getitem__(self, index: int) -> Image.Image:
        image = self.kept.get(index)
        if image is None:
            image = read_image(self.items.file(index), self.items.channels)
            size = image.width * image.height * self.items.channels
            if size <= self.room:
                self.room -= size
                self.kept[index] = image
        return image


def _augmented(
    decoded: _Decoded,
    order: NDArray[np.int64],
    view: View,
    recipe: Recipe,
    epoch_seed: tuple[int, int],
    position: int,
    per_epoch: int,
) -> Iterator[tuple[Tensor, Tensor]]:
    """(indices [b], uint8 images [b, channels, side, side]) of one epoch's batches from number `position` on."""
    order = order[: per_epoch * recipe.batch]

    def make(place: int) -> Pixels:
        index = int(order[place])
        rng = np.random.default_rng((*epoch_seed, index))
        return train_view(decoded[index], view, recipe.augmentation, rng)

    start = position * recipe.batch
    images = batches(decoded.items.take(order.tolist()), view, recipe.batch, start=start, make=make)
    for batch in images:
        yield torch.from_numpy(order[start : start + len(batch)]), batch
        start += len(batch)


def _groups(model: nn.Module, recipe: Recipe) -> list[dict[str, Any]]:
    """Weight decay on matrices and kernels, none on biases and norms, as timm and Kornblith's re-implementations do."""
    trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
    decayed: Sequence[Tensor] = [parameter for parameter in trained if parameter.ndim > 1]
    plain: Sequence[Tensor] = [parameter for parameter in trained if parameter.ndim <= 1]
    return [{"params": decayed, "weight_decay": recipe.weight_decay}, {"params": plain, "weight_decay": 0.0}]


def _loss(truth: Tensor, recipe: Recipe) -> Callable[[Tensor, Tensor], Tensor]:
    if truth.ndim == 2:
        return binary_loss
    return lambda logits, target: nn.functional.cross_entropy(logits, target, label_smoothing=recipe.label_smoothing)


def binary_loss(logits: Tensor, target: Tensor) -> Tensor:
    """Mean binary cross-entropy of the pairs [b, k] of which the truth is known, not -1; 0 where there is none."""
    known = target >= 0
    losses = nn.functional.binary_cross_entropy_with_logits(logits, target.float().clamp(min=0), reduction="none")
    return (losses * known).sum() / known.sum().clamp(min=1)


def _set_rate(optimizer: torch.optim.Optimizer, rate: float) -> None:
    for group in optimizer.param_groups:
        group["lr"] = rate


def _save(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer, step: int) -> None:
    state = {
        "model": model.state_dict(), "optimizer": optimizer.state_dict(),
        "step": step, "rng": torch.get_rng_state(), "cuda_rng": torch.cuda.get_rng_state_all(),
    }  # fmt: skip
    with written_whole(path) as temporary:
        torch.save(state, temporary)


def _restore(path: Path, model: nn.Module, optimizer: torch.optim.Optimizer) -> int:
    if not path.exists():
        return 0
    state = torch.load(path, weights_only=True)
    model.load_state_dict(state["model"])
    optimizer.load_state_dict(state["optimizer"])
    torch.set_rng_state(state["rng"])
    torch.cuda.set_rng_state_all(state["cuda_rng"])
    return int(state["step"])
