"""timm's models at a glance: parameters, input, licence, multiply-adds, published accuracies."""

import csv
import dataclasses
import functools
import warnings
from pathlib import Path

from featune.engine.accuracies import timm_accuracies
from featune.engine.errors import BadInput, nearest
from featune.engine.models import current_name, say_renamed

ZOO = Path(__file__).with_name("zoo.csv")  # written by benchmarks/zoo.py


@dataclasses.dataclass(frozen=True)
class TimmModel:
    """One set of timm weights. top1, real, v2: published fractions at that side, None where not published.

    million_parameters: with the source classifier. gmacs: 1e9 multiply-adds for one image, None unless asked for.
    exports: whether the zoo exported this architecture exactly (docs/zoo.md), None where it was not tried.
    """

    model: str
    side: int
    licence: str
    million_parameters: float | None
    gmacs: float | None
    top1: float | None
    real: float | None
    v2: float | None
    exports: bool | None = None


def timm_models_like(pattern: str = "*", macs: bool = False) -> list[TimmModel]:
    """timm's pretrained models that match a pattern, such as `resnet50*`, in timm's order; an old name's new ones.

    Raises BadInput with the nearest names where none matches.
    """
    import timm

    new = current_name(pattern)
    if new != pattern and timm.is_model(new):
        say_renamed(pattern, new)
        pattern = new
    names = timm.list_models(pattern, pretrained=True) or timm.list_models(f"*{pattern}*", pretrained=True)
    if not names:
        raise BadInput(f"no timm model matches {pattern!r}{nearest(pattern, timm.list_models())}")
    return [_known(name, macs) for name in names]


@functools.cache
def zoo() -> dict[str, bool]:
    """Which architectures passed fp32 parity with random weights."""
    with open(ZOO, newline="", encoding="utf-8") as file:
        return {row["architecture"]: row["fp32"] == "passed" for row in csv.DictReader(file)}


def model_cost(architecture: str, side: int) -> tuple[float, float]:
    """1e6 parameters and 1e9 multiply-adds of one image, counted on a model without memory (torch's meta device)."""
    import timm
    import torch
    from torch.utils.flop_counter import FlopCounterMode

    with warnings.catch_warnings(), torch.device("meta"):
        warnings.simplefilter("ignore")
        model = timm.create_model(architecture, pretrained=False, exportable=True).eval()
        with FlopCounterMode(display=False) as counter, torch.no_grad():
            model(torch.empty(1, 3, side, side))
    return sum(p.numel() for p in model.parameters()) / 1e6, counter.get_total_flops() / 2e9


def _known(name: str, macs: bool) -> TimmModel:
    import timm

    config = timm.get_pretrained_cfg(name)
    side = int(config.input_size[-1])
    rows = timm_accuracies()
    # A model that was tested at one side only is listed with that one.
    row = rows.get((name, side)) or next((rows[key] for key in rows if key[0] == name), {})
    parameters, gmacs = (row.get("million_parameters"), None) if row and not macs else (None, None)
    if macs:
        parameters, gmacs = model_cost(name, side)
    shares = row.get("top1"), row.get("real"), row.get("v2")
    return TimmModel(name, side, config.license or "", parameters, gmacs, *shares, zoo().get(name.partition(".")[0]))
