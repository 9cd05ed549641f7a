"""A training's whole state in one file, written whole or not at all, and what is kept of a step that went wrong."""

import dataclasses
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ..errors import BadInput
from ..store import read_json, write_json, written_whole


@dataclasses.dataclass
class State:
    """All that a step changes. key: names the training, so that no other one goes on from it.

    step: how many were made. average: the recipe's, of the weights; tail: of the last ones, where the caller wants it.
    parts: in which a step is computed. spent: what all processes of the training spent on them, by `Clock.spent`.
    frozen: the account of what was frozen, of all phases begun.
    """

    key: str
    model: nn.Module
    optimizer: torch.optim.Optimizer
    scaler: torch.amp.GradScaler
    average: nn.Module | None
    tail: nn.Module | None = None
    parts: int = 1
    step: int = 0
    spent: dict[str, float] = dataclasses.field(default_factory=dict)
    frozen: dict[str, Any] = dataclasses.field(default_factory=dict)

    def values(self) -> dict[str, Any]:
        return {
            "key": self.key, "step": self.step, "parts": self.parts, "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict(), "scaler": self.scaler.state_dict(),
            "average": self.average.state_dict() if self.average else None, "spent": self.spent,
            "frozen": self.frozen, "tail": self.tail.state_dict() if self.tail else None, **random_state(),
        }  # fmt: skip

    def load(self, values: Mapping[str, Any]) -> None:
        self.model.load_state_dict(values["model"])
        self.optimizer.load_state_dict(values["optimizer"])
        self.scaler.load_state_dict(values["scaler"])
        if self.average:
            self.average.load_state_dict(values["average"])
        if self.tail:
            self.tail.load_state_dict(values.get("tail") or values["model"])  # the model's at step 0, see `restore`
        self.step, self.parts = int(values["step"]), int(values["parts"])
        self.spent, self.frozen = dict(values.get("spent", {})), dict(values.get("frozen", {}))
        set_random_state(values)


def random_state() -> dict[str, Any]:
    return {"rng": torch.get_rng_state(), "cuda_rng": torch.cuda.get_rng_state_all()}


def set_random_state(values: Mapping[str, Any]) -> None:
    torch.set_rng_state(values["rng"])
    if len(values["cuda_rng"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(values["cuda_rng"])


def save(path: Path, state: State) -> None:
    write(path, state.values())


def restore(path: Path, state: State) -> bool:
    """Whether the file was there and the state is now its. Raises BadInput for another training's, or a damaged one."""
    values = read(path)
    if values is None:
        return False
    if values.get("key") != state.key:
        raise BadInput(
            f"{path}: it is of another training (its recipe, seed, data or version of Featune differ); remove it, or "
            "choose another folder"
        )
    if state.tail and values["step"] and not values.get("tail"):
        raise BadInput(
            f"{path}: a training without the average of its last weights found, one with it expected, by which a round "
            "of a search is judged; remove it, or choose another folder"
        )
    state.load(values)
    return True


def write(path: Path, values: Mapping[str, Any]) -> None:
    with written_whole(path) as temporary:
        torch.save(dict(values), temporary)


def read(path: Path) -> dict[str, Any] | None:
    if not path.exists():
        return None
    try:
        values: dict[str, Any] = torch.load(path, weights_only=True, map_location="cpu")
    except (RuntimeError, EOFError, ValueError, KeyError, OSError) as error:
        raise BadInput(f"{path}: no checkpoint that can be read ({error!s:.100}); remove it and start again") from error
    return values


class BestState:
    """The weights of a training that were best on val so far, its start among them.

    In files `<name>.best.pt` and `<name>.best.json` of `work`, so that a killed training goes on with them; without a
    folder, in memory.
    """

    def __init__(self, work: Path | None, name: str):
        self.kept = work / f"{name}.best.pt" if work else None
        self.record = work / f"{name}.best.json" if work else None
        self.held: tuple[dict[str, Any], dict[str, Any]] = {}, {}  # the record and the weights, without a folder

    @property
    def known(self) -> dict[str, Any]:
        """`value`, `step` and `details` of the best, and all `looks`, [step, value] each; empty before the first."""
        found = read_json(self.record) if self.record else self.held[0]
        return found if isinstance(found, dict) else {}

    def look(
        self,
        model: nn.Module,
        step: int,
        value: float,
        details: Mapping[str, Any],
        beside: Callable[[], None] = lambda: None,
    ) -> None:
        """Keep the weights where the value is the largest so far; of equals the earlier stays.

        beside: writes what belongs to the best, before the record says that it is.
        """
        known = self.known
        looks = sorted([*(each for each in known.get("looks", ()) if each[0] != step), [step, value]])
        weights = self.held[1]
        if not known or value > known["value"] or step == known["step"]:
            weights = {name: each.cpu().clone() for name, each in model.state_dict().items()}
            if self.kept:
                write(self.kept, weights)
            beside()
            known = {"value": value, "step": step, "details": dict(details)}
        if self.record:
            write_json(self.record, {**known, "looks": looks})
        else:
            self.held = {**known, "looks": looks}, weights

    def require_weights(self) -> None:
        """Begin anew where the record is there without its weights, as after a training that has ended."""
        if self.kept and self.record and not self.kept.exists():
            self.record.unlink(missing_ok=True)

    def weights(self) -> dict[str, Any]:
        return torch.load(self.kept, weights_only=True) if self.kept else self.held[1]
