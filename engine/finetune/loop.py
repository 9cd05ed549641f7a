"""The one training loop, in the order things happen; it resumes to the bit."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from ..errors import BadInput
from ..images import Labelled
from ..models import ModelSpec, View, feature_width
from ..recipe import (
    Objective,
    Recipe,
    average_of,
    loss_of,
    mixed,
    mixes,
    objective,
    optimizer_of,
    parameter_groups,
    parts_of,
    phases_of,
    rate_share,
    renew_statistics,
    set_learning,
    set_norm_momentum,
    tail_of,
)
from ..runners import require_compiler, true_fp32
from ..store import digest, plain
from . import checkpoints, processes
from .checkpoints import State
from .decoded import Decoded, Steps, eval_batches
from .health import Diverged, Health, Wrong, check_start, fitting_parts
from .prefix import begun
from .watch import Clock, account_of, finishing_steps

Progress = Callable[[int, int], None]  # steps done, steps in all
Evaluation = Callable[[nn.Module], Mapping[str, float]]  # a model in eval mode to values by their names
Log = Callable[[Mapping[str, Any]], None]


@dataclasses.dataclass(frozen=True)
class Run:
    """Where and how a training runs, which its weights do not depend on but for the device's arithmetic.

    work: a folder for the checkpoint `<name>.pt`, from which a killed training resumes; written every `save_seconds`.
    decoded: images that several trainings share. until: a step at which to stop, saved, for a later call to go on.
    evaluate: called after each epoch with the model, or the average of its weights. log: called with each step's
    step, epoch, rate, loss and norm (of the gradient), and with each evaluation's step, epoch and values.
    spec: of the model, for `replay` of a step that went wrong. apart: of several processes, whether `work` is this
    one's own, so that it saves too; else the first one saves for all. tail: keep an average of the last weights too.
    """

    device: str = "cpu"
    work: Path | None = None
    name: str = "model"
    save_seconds: float = 30.0
    progress: Progress | None = None
    decoded: Decoded | None = None
    until: int | None = None
    evaluate: Evaluation | None = None
    log: Log | None = None
    spec: ModelSpec | None = None
    apart: bool = False
    tail: bool = False

    @property
    def checkpoint(self) -> Path | None:
        return self.work / f"{self.name}.pt" if self.work else None


@dataclasses.dataclass(frozen=True)
class Trained:
    """The model, in eval mode, and the tail, if asked for. steps: made so far, of `total`. details: its account."""

    model: nn.Module
    steps: int
    total: int
    details: Mapping[str, Any]
    tail: nn.Module | None = None


HERE = Run()


def train(
    model: nn.Module, items: Labelled, truth: Tensor, view: View, recipe: Recipe, seed: int, run: Run = HERE
) -> Trained:
    """The one training loop, at the first of the recipe's learning rates.

    model: uint8 images to logits, its last child the head; it is trained in place. truth: int64 [n], or [n, classes]
    where several classes may hold, with -1 for unknown; such a pair has no part in the loss. Order, crops, flips and
    mixtures depend on (seed, epoch or step, index) only, and a checkpoint keeps the rest of the state, so that a killed
    and resumed training gives the same weights as an uninterrupted one. SIGINT finishes the step, saves and is raised.
    Raises Diverged where loss or gradient leave the finite numbers; with `run.work` a folder then holds the step.
    """
    learns = {name: parameter.requires_grad for name, parameter in model.named_parameters()}
    try:
        return _train(model, items, truth, view, recipe, seed, run)
    except ValueError as error:
        if "more than 1 value per channel" not in str(error):
            raise
        raise BadInput(
            "one image in a batch found, two expected by batch norm, which learns statistics of batches; choose a "
            "larger batch, less accumulation, or batch_norm: frozen"
        ) from error
    except Wrong as wrong:  # found some steps late, on a GPU: again from the last checkpoint, and look at each step
        if run.checkpoint is None or not run.checkpoint.exists():
            raise Diverged(wrong.said) from None
        model.load_state_dict((checkpoints.read(run.checkpoint) or {})["model"])
        for name, parameter in model.named_parameters():
            parameter.requires_grad_(learns[name])
        return _train(model, items, truth, view, recipe, seed, run, look_every=1)


def _train(
    model: nn.Module, items: Labelled, truth: Tensor, view: View, recipe: Recipe, seed: int, run: Run,
    look_every: int | None = None,
) -> Trained:  # fmt: skip
    # The device, the data, the loss.
    device, (rank, world) = torch.device(run.device), processes.place()
    size = min(recipe.batch, len(items)) // (2 if mixes(recipe) else 1) * (2 if mixes(recipe) else 1)
    if world > 1 and size < world:
        raise BadInput(f"{size} images in a step found, {world} expected, one for each process; raise the batch")
    model = model.to(device)
    if recipe.sync_bn and world > 1:
        model = processes.with_shared_norm(model, device)
    if recipe.channels_last:
        model = model.to(memory_format=torch.channels_last)
    classes = feature_width(model, view.side, view.channels)
    check_start(model, truth, classes, size, recipe)
    steps = Steps(items, view, recipe, seed, run.decoded or Decoded(), size, (rank, world), device.type == "cuda")
    total = recipe.total_steps(len(items))
    last = min(total, run.until) if run.until is not None else total
    targets = truth.to(device)
    aim = objective(recipe, targets, classes)

    # What learns, by which optimizer, and where an earlier process left it.
    parts = parts_of(model, recipe, torch.zeros(1, view.channels, view.side, view.side, dtype=torch.uint8).to(device))
    set_norm_momentum(model, recipe, steps.per_epoch)
    set_learning(model, parts.learning, recipe)
    optimizer = optimizer_of(parameter_groups(model, parts, recipe), recipe, device)
    scaler = torch.amp.GradScaler(device.type, enabled=recipe.amp and recipe.amp_dtype == "float16")
    average, tail = average_of(model, recipe), tail_of(model) if run.tail else None
    layers = [[parts.layers, parts.top]] if parts.layers else []  # they decide what learns, and how fast
    key = digest(plain([recipe, seed, items.paths, items.labels, view, classes, *layers]))
    state = State(key, model, optimizer, scaler, average and average.module, tail and tail.module, recipe.accumulation)
    torch.manual_seed(seed)  # dropout and stochastic depth
    if not (run.checkpoint and checkpoints.restore(run.checkpoint, state)) and device.type == "cuda":
        state.parts = fitting_parts(model, view, size // world, recipe, device)
        _save(run, state)
    health = Health(device, run, recipe, seed, classes, aim, view, look_every)
    if recipe.compile:
        require_compiler(run.device, "leave compile out")
    clock = Clock(state.spent, recipe.compile)

    def keep() -> None:
        with clock.stopped():
            health.look()
            state.spent = clock.spent()
            _save(run, state)
        clock.saved()

    for phase in phases_of(parts, recipe, total):
        if state.step >= min(phase.until, last):
            continue
        if 0 < state.step == phase.first:  # a stop while rows are computed must not take the phase before
            keep()
        with clock.stopped():
            whole, source, said = begun(model, phase, steps, run.device, run.work, state.parts)
        state.frozen |= said
        learning = [parameter for parameter in model.parameters() if parameter.requires_grad]
        forward = processes.shared(torch.compile(whole) if recipe.compile else whole)
        with finishing_steps() as interrupted:
            for images in clock.watching(source.images(state.step, min(phase.until, last))):
                step = state.step

                # Rate and data.
                rate = recipe.learning_rates[0] * rate_share(recipe, step, total, steps.per_epoch)
                for group in optimizer.param_groups:
                    group["lr"] = rate * group["lr_scale"]
                chosen = steps.indices(step)
                target = targets[torch.from_numpy(chosen).to(device)]
                images = images.to(device, non_blocking=True)
                if mixes(recipe):
                    draw = (seed, step, rank) if world > 1 else (seed, step)
                    images, target = mixed(images, target, classes, recipe, draw)
                if recipe.channels_last and images.ndim == 4:
                    images = images.contiguous(memory_format=torch.channels_last)
                health.before(step, images, target)

                # Forward and backward, then the step.
                with contextlib.nullcontext() if recipe.amp else true_fp32():
                    loss = backward(forward, images, target, aim, scaler, recipe, state.parts)
                scaler.unscale_(optimizer)
                norm = torch.nn.utils.get_total_norm([p.grad for p in learning if p.grad is not None])
                if recipe.clip_norm is not None:
                    torch.nn.utils.clip_grads_with_norm_(learning, recipe.clip_norm, norm)
                health.after(step, step // steps.per_epoch, rate, loss, norm, state, items, chosen)
                scaler.step(optimizer)
                scaler.update()
                optimizer.zero_grad(set_to_none=True)
                state.step = step + 1
                for each in filter(None, (average, tail)):
                    each.update(model, step=state.step)

                # What others want to know, and what a kill must not take.
                if run.progress:
                    run.progress(state.step, total)
                ends_epoch = state.step % steps.per_epoch == 0 or state.step == total
                if run.evaluate and ends_epoch:
                    with clock.stopped():
                        health.look()
                        processes.same_buffers(model, average and average.module)
                        _evaluate(run, average.module if average else model, state.step, step // steps.per_epoch)
                        set_learning(model, phase.learning, recipe)
                stop = processes.any_of(interrupted())
                if stop or (run.checkpoint and clock.since_save() > run.save_seconds):
                    keep()
                if stop:
                    raise KeyboardInterrupt
        del source  # its rows, before those of the next phase are made
    processes.same_buffers(model, average and average.module)
    keep()
    if tail:
        phase = next(each for each in phases_of(parts, recipe, total) if state.step <= each.until)
        with true_fp32():
            renew_statistics(tail.module, phase.learning, recipe, steps.samples(device))
    if average:
        model.load_state_dict(average.module.state_dict())
    details = {**account_of(state.spent, size), "accumulation": state.parts, **health.account()}
    return Trained(model.eval(), state.step, total, {**details, **state.frozen}, tail and tail.module)


def backward(
    forward: nn.Module, images: Tensor, target: Tensor, aim: Objective, scaler: torch.amp.GradScaler, recipe: Recipe,
    parts: int,
) -> Tensor:  # fmt: skip
    """The step's loss, a mean over the images of all parts and processes; gradients are added to the parameters."""
    world = processes.place()[1]
    pieces = list(zip(images.chunk(parts), target.chunk(parts), strict=True))
    whole = processes.summed(aim.weight(target)) if len(pieces) * world > 1 else None
    loss = torch.zeros((), device=images.device)
    for number, (piece, labels) in enumerate(pieces):
        with processes.quiet(forward, last=number == len(pieces) - 1):
            with torch.autocast(images.device.type, getattr(torch, recipe.amp_dtype), enabled=recipe.amp):
                made = forward(piece)
            mean = loss_of(aim, made, labels)
            if whole is not None:  # this part's share of the step; processes' gradients are averaged
                mean = mean * (aim.weight(labels) / whole.clamp(min=1e-12))
            scaler.scale(mean * world if world > 1 else mean).backward()
        loss = loss + mean.detach()
    return processes.summed(loss)


def predict(
    model: nn.Module, items: Labelled, view: View, device: str = "cpu", batch: int = 64, decoded: Decoded | None = None
) -> NDArray[np.float32]:
    """The model's scores on the items' eval views, float32 [n, classes], in order; each image once.

    Raises Diverged where they are not finite.
    """
    scores = _scores(model.eval(), items, view, device, batch, decoded)
    if not np.isfinite(scores).all():
        raise Diverged("the trained model's scores are not finite; its learning rate diverged, lower it")
    return scores


@torch.inference_mode()
def _scores(
    model: nn.Module, items: Labelled, view: View, device: str, batch: int = 64, decoded: Decoded | None = None
) -> NDArray[np.float32]:
    rank, world = processes.place()
    own = items.take(range(rank, len(items), world)) if world > 1 else items
    with true_fp32():
        rows = [model(each.to(device)).float().cpu() for each in eval_batches(own, view, batch, decoded, again=True)]
    scores: NDArray[np.float32] = processes.gathered(torch.cat(rows), len(items)).numpy()
    return scores


def _evaluate(run: Run, model: nn.Module, step: int, epoch: int) -> None:
    """Draws nothing from the training's random numbers."""
    assert run.evaluate is not None
    with torch.random.fork_rng():
        values = run.evaluate(model.eval())
    if run.log:
        run.log({"step": step, "epoch": epoch, **values})


def _save(run: Run, state: State) -> None:
    """By one process, where the others' state is the same; by each where each has a folder of its own."""
    if run.checkpoint and (run.apart or processes.place()[0] == 0):
        checkpoints.save(run.checkpoint, state)
