"""A step that went wrong, repeated from the folder that was kept of it."""

import contextlib
import dataclasses
import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ..errors import BadInput
from ..models import ModelSpec, View, is_in_memory
from ..recipe import Objective, Recipe, cut_in_two, recipe_of, set_learning
from ..runners import require_device, true_fp32
from ..store import read_json
from . import checkpoints
from .loop import backward
from .starts import fresh


@dataclasses.dataclass(frozen=True)
class Recorded:
    """What was noted of the step when it went wrong."""

    loss: float
    norm: float
    device: str


@dataclasses.dataclass(frozen=True)
class Replayed:
    """A step that was repeated, on `device`. layer: the first whose output is not finite, None where all are.

    same: whether the loss is the recorded one, to the bit; NaN is the same as NaN. differs: what was not as in the
    recorded step. gradients: names of the parameters whose gradient is not finite. record: all that was noted of it.
    """

    step: int
    device: str
    loss: float
    norm: float
    recorded: Recorded
    same: bool
    differs: tuple[str, ...]
    layer: str | None
    gradients: tuple[str, ...]
    files: tuple[str, ...]
    record: Mapping[str, Any]


def replay(folder: Path | str, model: nn.Module | None = None, device: str | None = None) -> Replayed:
    """Forward and backward of the step whose folder an error named: the same images, weights and random numbers.

    model: the classifier, for one that only the process that trained it could build. device: by default the one that
    the step ran on, where the loss has the same bits; Missing where this machine lacks it. Nothing is trained.
    """
    folder = Path(folder)
    record, values = read_json(folder / "step.json"), checkpoints.read(folder / "step.pt")
    if record is None or values is None:
        raise BadInput(f"{folder}: step.json and step.pt expected, not both found; give the folder that an error named")
    device = device or record["device"]
    require_device(device)
    model = (model or _rebuilt(folder, record)).to(device)
    model.load_state_dict(values["model"])
    recipe, batch = recipe_of(record["recipe"]), values["batch"]
    set_learning(model, frozenset(batch["learning"]), recipe)
    weights = None if batch["weights"] is None else batch["weights"].to(device)
    aim = Objective(batch["kind"], batch["smoothing"], weights)
    scaler = torch.amp.GradScaler(torch.device(device).type, enabled=bool(values["scaler"]))
    scaler.load_state_dict(values["scaler"])
    checkpoints.set_random_state(values)
    is_rows = batch["images"].ndim == 2  # of what is frozen, which was computed once
    forward = cut_in_two(model, torch.zeros(1, *record["image"], dtype=torch.uint8).to(device))[1] if is_rows else model
    with _first_wrong(model) as wrong, contextlib.nullcontext() if recipe.amp else true_fp32():
        loss = backward(
            forward, batch["images"].to(device), batch["target"].to(device), aim, scaler, recipe, record["parts"]
        )
    scale = scaler.get_scale()
    gradients = {name: each.grad / scale for name, each in model.named_parameters() if each.grad is not None}
    bad = tuple(name for name, gradient in gradients.items() if not bool(torch.isfinite(gradient).all()))
    norm = torch.nn.utils.get_total_norm(list(gradients.values()))
    model.zero_grad(set_to_none=True)
    then = Recorded(float(record["loss"]), float(record["norm"]), record["device"])
    found = loss.item()
    same = found == then.loss or (math.isnan(found) and math.isnan(then.loss))
    differs = _differences(record, recipe, str(loss.device))
    return Replayed(
        record["step"], str(loss.device), found, norm.item(), then, same, differs, wrong[0] if wrong else None, bad,
        tuple(record["files"]), record,
    )  # fmt: skip


def _differences(record: Mapping[str, Any], recipe: Recipe, device: str) -> tuple[str, ...]:
    found = []
    if device != record["device"]:
        found.append(f"the step ran on {record['device']}")
    if recipe.compile:
        found.append("the step was compiled")
    if (count := record.get("processes", 1)) > 1:
        found.append(f"the step's loss was over the images of {count} processes, these are those of one")
    return tuple(found)


def _rebuilt(folder: Path, record: Mapping[str, Any]) -> nn.Module:
    found = record["spec"]
    if found is None:
        raise BadInput(f"{folder}: the step's model has no name by which to build it; give the model")
    view = View(**found.pop("view"))
    kwargs = tuple((name, value) for name, value in found.pop("kwargs"))
    spec = ModelSpec(**{**found, "view": view, "kwargs": kwargs, "mean": tuple(found["mean"])})
    spec = dataclasses.replace(spec, std=tuple(spec.std))
    if is_in_memory(spec):
        raise BadInput(f"{folder}: {spec.name} was a module of the process that trained it; give the model")
    # Its weights are the step's: they are loaded over whatever these are.
    recipe = recipe_of(record["recipe"])
    model = fresh(dataclasses.replace(spec, weights="random:0", checkpoint=None), record["classes"], 0, recipe)
    return model.to(memory_format=torch.channels_last) if recipe.channels_last else model


@contextlib.contextmanager
def _first_wrong(model: nn.Module) -> Iterator[list[str]]:
    """Names of the layers whose output is not finite, in the order in which they run."""
    wrong: list[str] = []

    def hook(name: str) -> Any:
        def look(module: nn.Module, given: Any, made: Any) -> None:
            if isinstance(made, Tensor) and made.is_floating_point() and not bool(torch.isfinite(made).all()):
                wrong.append(name)

        return look

    with contextlib.ExitStack() as stack:
        for name, module in model.named_modules():
            if name and not any(module.children()):
                stack.callback(module.register_forward_hook(hook(name)).remove)
        yield wrong
