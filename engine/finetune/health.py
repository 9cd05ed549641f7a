"""Whether a training can start, whether it still makes sense, and what is kept of a step that does not."""

import math
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import BadInput, FeatuneError
from ..images import Labelled
from ..models import View, is_in_memory
from ..recipe import BLOWN_UP, Objective, Recipe
from ..store import plain, write_json
from . import checkpoints
from .checkpoints import State
from .processes import place

if TYPE_CHECKING:
    from .loop import Run

LOOK_EVERY = 20  # steps between looks at the numbers of a GPU: each look waits for it
LISTED = 3  # files that a message names


class Diverged(FeatuneError):
    """The loss, the gradient or the scores left the finite numbers.

    kept: the folder that holds the step, if any. steps: how many were computed, that one among them, where it is known.
    """

    def __init__(self, said: str, kept: Path | None = None, steps: int | None = None):
        self.kept, self.steps = kept, steps
        super().__init__(said)


class Wrong(Exception):
    """A step went wrong some steps ago. said: the words for it."""

    def __init__(self, said: str):
        self.said = said
        super().__init__(said)


class Health:
    """Looks at each step's loss and gradient: before the update on a CPU, some steps later on a GPU, without waiting.

    It hands them to the run's log as it looks.
    """

    def __init__(
        self, device: torch.device, run: "Run", recipe: Recipe, seed: int, classes: int, aim: Objective,
        view: View, look_every: int | None,
    ):  # fmt: skip
        self.run, self.recipe, self.seed, self.classes, self.aim = run, recipe, seed, classes, aim
        self.view = view
        self.every = look_every or (1 if device.type == "cpu" else LOOK_EVERY)
        self.limit = BLOWN_UP * max(math.log(max(classes, 2)), 1.0)
        self.scaled = recipe.amp and recipe.amp_dtype == "float16"  # a scaler skips steps whose gradient overflows
        self.unseen: list[tuple[int, int, float, Tensor, Tensor]] = []
        self.batch: tuple[Tensor, Tensor] | None = None
        self.random: dict[str, Any] = {}
        self.last_loss, self.largest_norm = math.nan, 0.0

    def before(self, step: int, images: Tensor, target: Tensor) -> None:
        if self.every == 1:
            self.batch, self.random = (images, target), checkpoints.random_state()

    def after(
        self, step: int, epoch: int, rate: float, loss: Tensor, norm: Tensor, state: State, items: Labelled,
        chosen: NDArray[np.int64],
    ) -> None:  # fmt: skip
        """Raises Diverged before the update, where each step is looked at; elsewhere Wrong, when a look finds it."""
        self.unseen.append((step, epoch, rate, loss.detach(), norm.detach()))
        if self.every > 1:
            if len(self.unseen) >= self.every:
                self.look()
            return
        try:
            self.look()
        except Wrong as wrong:
            files = [str(items.file(int(index))) for index in chosen]
            kept = self._keep(step, files, rate, loss, norm, state)
            listed = ", ".join(files[:LISTED]) + (f" and {len(files) - LISTED} more" if len(files) > LISTED else "")
            where = f"; kept in {kept}, {self._repeating(kept)} repeats the step" if kept else ""
            raise Diverged(f"{wrong.said}; its images: {listed}{where}", kept, step + 1) from None

    def look(self) -> None:
        if not self.unseen:
            return
        values = torch.stack([torch.stack((loss.float(), norm.float())) for *_, loss, norm in self.unseen]).tolist()
        seen, self.unseen = self.unseen, []
        for (step, epoch, rate, _, _), (loss, norm) in zip(seen, values, strict=True):
            if self.run.log:
                self.run.log({"step": step, "epoch": epoch, "rate": rate, "loss": loss, "norm": norm})
            grown = not math.isfinite(norm) and not self.scaled
            if not math.isfinite(loss) or loss > self.limit or grown:
                what = f"the gradient's norm is {norm}" if math.isfinite(loss) and grown else f"the loss is {loss:g}"
                peak = self.recipe.learning_rates[0]
                raise Wrong(f"{what} at step {step} with learning rate {peak:g}; lower it")
            self.last_loss = loss
            if math.isfinite(norm):
                self.largest_norm = max(self.largest_norm, norm)

    def _repeating(self, kept: Path) -> str:
        """The command; for a model that only this process could build, the function."""
        if self.run.spec is None or is_in_memory(self.run.spec):
            return "replay(folder, model) of featune.engine.finetune"
        return f"`{shlex.join(['featune', 'finetune', '--replay', str(kept)])}`"

    def account(self) -> dict[str, float]:
        return {"last_loss": self.last_loss, "largest_norm": self.largest_norm}

    def _keep(self, step: int, files: list[str], rate: float, loss: Tensor, norm: Tensor, state: State) -> Path | None:
        """The folder with all that the step depends on: `step.json` for people, `step.pt` for `replay`."""
        if self.run.work is None or self.batch is None:
            return None
        folder = self.run.work / f"{self.run.name}-step{step}"
        images, target = self.batch
        learning = [name for name, parameter in state.model.named_parameters() if parameter.requires_grad]
        batch = {"images": images, "target": target, "learning": learning, **vars(self.aim)}
        checkpoints.write(folder / "step.pt", {**state.values(), **self.random, "batch": batch})
        said = {
            "step": step, "loss": repr(loss.item()), "norm": repr(norm.item()), "rate": rate, "files": files,
            "parts": state.parts, "seed": self.seed, "classes": self.classes, "device": str(loss.device),
            "processes": place()[1],
            "image": [self.view.channels, self.view.side, self.view.side],
            "recipe": plain(self.recipe), "spec": plain(self.run.spec) if self.run.spec else None,
        }  # fmt: skip
        write_json(folder / "step.json", said)
        return folder


def check_weights(model: nn.Module, source: str = "") -> None:
    """Raises BadInput where a weight is no finite number. source: the file or name that they are from."""
    for name, value in model.state_dict().items():
        if value.is_floating_point() and not bool(torch.isfinite(value).all()):
            count = int((~torch.isfinite(value)).sum())
            raise BadInput(
                f"{source}{': ' if source else ''}{name}: {count} of {value.numel()} weights found that are no finite "
                "numbers; give another weight file"
            )


def check_start(model: nn.Module, truth: Tensor, classes: int, size: int, recipe: Recipe) -> None:
    """Raises BadInput for what no training can begin with."""
    check_weights(model)
    if not len(truth):
        raise BadInput("no training images found, at least one expected of each class; check the train split")
    if truth.ndim == 1:
        found = torch.unique(truth)
        if int(found.max()) >= classes or int(found.min()) < 0:
            raise BadInput(
                f"label {int(found.max())} found, 0 to {classes - 1} expected by a head of {classes} classes; give the "
                "model a new head, or remove the classes that it does not know"
            )
        if len(found) < 2:
            raise BadInput(
                f"{len(truth)} training images of one class found, two classes expected; add images of another class"
            )
    elif truth.shape[1] != classes:
        raise BadInput(f"labels of {truth.shape[1]} classes found, a head of {classes}; give the model a new head")
    if size < 1:
        raise BadInput("mixup and cutmix mix two images, one found; leave them out, or give more images")


def fitting_parts(model: nn.Module, view: View, size: int, recipe: Recipe, device: torch.device) -> int:
    """The fewest parts, at least the recipe's accumulation, in which a step's batch fits the GPU's memory.

    Found by a forward and backward pass on black images, before step 0 and never again: with batch norm, parts of
    another size have other statistics. The model's buffers and random numbers stay as they were.
    """
    buffers = {name: buffer.clone() for name, buffer in model.named_buffers()}

    def attempt(parts: int) -> None:
        shape = (-(-size // parts), view.channels, view.side, view.side)
        images = torch.zeros(shape, dtype=torch.uint8, device=device)
        with torch.random.fork_rng(), torch.autocast(device.type, getattr(torch, recipe.amp_dtype), enabled=recipe.amp):
            made = model(images)
            whole = made if isinstance(made, Tensor) else torch.cat([made.logits, made.auxiliary], dim=1)
            whole.float().sum().backward()

    try:
        return fewest_parts(attempt, recipe.accumulation, size)
    finally:
        model.zero_grad(set_to_none=True)
        for name, buffer in model.named_buffers():
            buffer.copy_(buffers[name])
        torch.cuda.empty_cache()


def fewest_parts(attempt: Callable[[int], None], least: int, size: int) -> int:
    """The first of least, 2 x least, 4 x least, ... that does not run out of memory."""
    parts = least
    while True:
        try:
            attempt(parts)
            return parts
        except torch.OutOfMemoryError as error:
            if parts >= size:
                raise BadInput(
                    "one image at a time does not fit the GPU's memory; choose a smaller model or image_size, or amp"
                ) from error
            parts = min(parts * 2, size)
