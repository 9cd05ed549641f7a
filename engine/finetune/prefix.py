"""What a frozen part of a network gives for each image, computed once and kept in a file that is mapped into memory."""

import contextlib
import dataclasses
import hashlib
import logging
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import BadInput
from ..features import Part, open_stored
from ..images import Labelled, Shrinking
from ..models import View
from ..recipe import Frozen, Learning, Phase, Recipe, Uncut, cut_in_two, mixes, set_learning
from ..runners import true_fp32
from ..store import digest, locked, plain
from . import processes
from .decoded import Decoded, Steps, channels_last, eval_batches

log = logging.getLogger("featune")
KEPT_BYTES = 8 << 30  # of one file of rows, and of memory where several processes train
FOLDER = "frozen"  # of a work folder; what is in it can be made again
SAVE_SECONDS = 30.0


def why_not(recipe: Recipe) -> str | None:
    """Why an image is another one at each step, so that nothing of it can be kept; None where it is the same."""
    drawn = recipe.augmentation
    chances = (drawn.hflip, drawn.vflip, drawn.color_jitter, drawn.erasing)
    if mixes(recipe):
        return "images are mixed"
    if recipe.start_size is not None:
        return "images grow"
    if drawn.crop != "eval" or drawn.auto_augment != "none" or any(chances):
        return "images are cropped, flipped or changed at random; fixed are those of augmentation.crop=eval and hflip=0"
    return None


class Rows(Steps):
    """The steps' rows of the frozen part [b, width] in place of their images."""

    rows: NDArray[np.float32]

    def images(self, first: int, last: int) -> Iterator[Tensor]:
        for step in range(first, last):
            yield torch.from_numpy(self.rows[self.indices(step)])


@dataclasses.dataclass(frozen=True)
class Kept:
    """steps: give rows. learning: rows to logits."""

    steps: Rows
    learning: Learning


def begun(
    model: nn.Module, phase: Phase, steps: Steps, device: str, work: Path | None, parts: int
) -> tuple[nn.Module, Steps, dict[str, Any]]:
    """(what takes the phase's batches, what gives them, the account of what is frozen); the model is set to learn so.

    Where the frozen part gives an image the same at every step, and the phase's steps take as many images as there
    are, batches are its rows; else they are images, and the account says why. What is frozen in front of the head while
    it learns alone is cut off for that time.
    """
    recipe = steps.recipe
    set_learning(model, phase.learning, recipe)
    if recipe.trained == "all" and not phase.head_alone:
        return model, steps, {}
    name = "frozen_head_first" if phase.head_alone else "frozen"
    kept = kept_rows(model, phase, steps, device, work, parts)
    if isinstance(kept, str):
        return model, steps, {name: f"computed at each step: {kept}"}
    rows = kept.steps.rows
    return kept.learning, kept.steps, {name: {"rows": len(rows), "width": rows.shape[1], "bytes": rows.nbytes}}


def kept_rows(model: nn.Module, phase: Phase, steps: Steps, device: str, work: Path | None, parts: int) -> Kept | str:
    """The frozen part's rows of all images of the phase's steps, or why each step computes it anew.

    model: as `set_learning` left it, the batch norms below what learns with their own statistics. parts: in which each
    process computes its share of a step; the rows are computed by as many images at a time, and are those of the plain
    loop up to the rounding of batches of another composition. They are of this model and these images: a training
    that is killed finds them again in its `work` folder, and so do trainings of other rates beside it.
    """
    recipe, view, items = steps.recipe, steps.view, steps.items
    if reason := why_not(recipe):
        return reason
    # By the whole phase, so that a resumed training has rows where the killed one had them.
    if (phase.until - phase.first) * steps.size < len(items):
        return "fewer steps than one pass"
    images = _laid(torch.zeros(1, view.channels, view.side, view.side, dtype=torch.uint8).to(device), recipe)
    try:
        with _arithmetic(recipe, device):
            frozen, learning = cut_in_two(model, images)
        batch = -(-steps.size // (steps.part[1] * parts))
        key = _rows_key(frozen, items, view, device, batch, recipe)
        needed, room = len(items) * frozen.width * 4, processes.agreed(_room(work, key))
        if needed > room:
            raise Uncut(f"{needed / 1e9:.1f} GB of rows, room for {room / 1e9:.1f} GB")
    except Uncut as error:
        log.warning("what is frozen is computed at each step: %s", error)
        return str(error)
    found = Rows(items, view, recipe, steps.seed, steps.decoded, steps.size, steps.part, steps.pinned)
    found.rows = rows_of(frozen, items, view, device, work, steps.decoded, batch=batch, recipe=recipe, key=key)
    return Kept(found, learning)


def rows_of(
    frozen: nn.Module, items: Labelled, view: View, device: str, work: Path | None, decoded: Decoded | None = None, *,
    batch: int = 64, recipe: Recipe | None = None, key: str | None = None, shrinking: Shrinking | None = None,
) -> NDArray[np.float32]:  # fmt: skip
    """The module's rows float32 [n, width] of the items' eval views; from a file of `work` where they are there.

    recipe: whose order in memory and precision count; None for single precision, and images as they come.
    key: of the rows, where it is known. shrinking: of a training that takes the images afterwards.
    """
    if processes.place()[1] > 1 or not len(items):
        own = items.take(range(processes.place()[0], len(items), processes.place()[1]))
        made = list(_computed(frozen, own, view, device, decoded, batch, recipe, shrinking))
        return processes.gathered(torch.from_numpy(np.concatenate(made)), len(items)).numpy()
    key = key or _rows_key(frozen, items, view, device, batch, recipe)
    with contextlib.ExitStack() as stack:
        folder = work / FOLDER if work else Path(stack.enter_context(tempfile.TemporaryDirectory()))
        path = folder / key
        stack.enter_context(locked(path))
        if (stored := open_stored(path)) is None or len(stored.rows) != len(items):
            part = stack.enter_context(contextlib.closing(Part(path, SAVE_SECONDS)))
            if part.done % batch:
                part.rewind(part.done - part.done % batch)
            left = items.take(range(part.done, len(items)))
            for rows in _computed(frozen, left, view, device, decoded, batch, recipe, shrinking):
                part.append(part.done + len(rows), rows, [])
            part.save()
            part.finish({"skipped": []})
            stored = open_stored(path)
        assert stored is not None
        return stored.rows  # mapped: the file's bytes stay until it is let go, if its folder goes before


def forget(work: Path) -> None:
    """Remove what a training that has ended needs no more: checkpoints, and rows of what was frozen."""
    for path in work.glob("*.pt"):
        path.unlink()
    shutil.rmtree(work / FOLDER, ignore_errors=True)


@torch.inference_mode()
def _computed(
    frozen: nn.Module, items: Labelled, view: View, device: str, decoded: Decoded | None, batch: int,
    recipe: Recipe | None, shrinking: Shrinking | None,
) -> Iterator[NDArray[np.float32]]:  # fmt: skip
    for images in eval_batches(items, view, batch, decoded, shrinking):
        with _arithmetic(recipe, device):
            rows = frozen(_laid(images.to(device), recipe) if recipe else images.to(device))
        yield rows.float().cpu().numpy()


@contextlib.contextmanager
def _arithmetic(recipe: Recipe | None, device: str) -> Iterator[None]:
    """As in the training's steps."""
    if recipe is None or not recipe.amp:
        with true_fp32():
            yield
        return
    with torch.autocast(torch.device(device).type, getattr(torch, recipe.amp_dtype)):
        yield


def _laid(images: Tensor, recipe: Recipe) -> Tensor:
    """In the order in memory of the training's images."""
    lies = channels_last(recipe, images.device.type == "cuda")
    return images.contiguous(memory_format=torch.channels_last) if lies else images


def _rows_key(
    frozen: nn.Module, items: Labelled, view: View, device: str, batch: int, recipe: Recipe | None
) -> str:  # fmt: skip
    arithmetic = plain([recipe.amp, recipe.amp_dtype, recipe.channels_last]) if recipe else None
    return digest([_function_digest(frozen), items.content_digest, view, device, batch, arithmetic])


def _room(work: Path | None, key: str) -> int:
    """Bytes that these rows may take, those that are there among them: a twentieth of the disk stays free."""
    there = sum(file.stat().st_size for file in (work / FOLDER).glob(f"{key}.*")) if work else 0
    try:
        usage = shutil.disk_usage(next(each for each in (work, *work.parents) if each.exists()) if work
                                  else tempfile.gettempdir())  # fmt: skip
    except OSError as error:
        raise BadInput(f"{work}: {error.strerror}; choose another folder") from error
    return min(KEPT_BYTES, max(0, usage.free - usage.total // 20) + there)


def _function_digest(frozen: nn.Module) -> str:
    """Names what the module computes: its code as torch.fx or torch prints it, and all that it holds."""
    sha = hashlib.sha256(str(getattr(getattr(frozen, "graph", None), "code", "") or frozen).encode())
    if isinstance(frozen, Frozen):
        sha.update(repr(frozen.crossings).encode())
    for name, value in [*frozen.named_parameters(), *frozen.named_buffers()]:  # also those that no checkpoint has
        sha.update(f"{name}:{value.dtype}:{tuple(value.shape)};".encode())
        sha.update(value.detach().cpu().contiguous().flatten().view(torch.uint8).numpy().tobytes())
    return sha.hexdigest()


def body_of(model: nn.Module) -> nn.Module:
    """All of a classifier but its last child, the head."""
    return nn.Sequential(*list(model.children())[:-1])


def head_of(model: nn.Module) -> nn.Module:
    return list(model.children())[-1]
