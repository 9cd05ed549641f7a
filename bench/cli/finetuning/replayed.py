"""`featune finetune --replay`: a step that went wrong, repeated and printed."""

import dataclasses
import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ...terminal import json_text

if TYPE_CHECKING:
    from featune.engine.finetune import Replayed


def print_replayed(folder: Path, device: str | None, as_json: bool) -> None:
    """device: by default the one that the step ran on."""
    from featune.engine.finetune import replay

    found = replay(folder, device=device)
    print(json_text(_document(folder, found)) if as_json else "\n".join(_lines(found)))


def _document(folder: Path, found: "Replayed") -> dict[str, Any]:
    """A number that is not finite is its name, `nan` or `inf`, which JSON has no number for."""
    values = {**vars(found), "recorded": dataclasses.asdict(found.recorded)}
    del values["record"]
    return {"folder": str(folder), **_named(values)}


def _named(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _named(each) for key, each in value.items()}
    return repr(value) if isinstance(value, float) and not math.isfinite(value) else value


def _lines(found: "Replayed") -> list[str]:
    wrong = f"{found.layer} is the first layer whose output is not finite" if found.layer else "every output is finite"
    compared = "the same loss as recorded" if found.same else f"loss {found.recorded.loss:g} was recorded"
    return [
        f"step {found.step} on {found.device}: loss {found.loss:g}, norm of the gradient {found.norm:g}",
        "; ".join([compared, *found.differs]),
        f"{wrong}; {len(found.gradients)} gradients are not finite",
        "images:",
        *(f"  {file}" for file in found.files),
    ]
