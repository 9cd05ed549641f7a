"""A model's accuracy on ImageNet or a variant, with intervals and what timm publishes, and a wrong order of labels."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.accuracies import timm_accuracies
from featune.engine.errors import BadInput
from featune.engine.store import plain

from ..stats import clopper_pearson, mcnemar, paired_difference
from .images import KINDS
from .label_orders import Fault, label_order_fault
from .predictions import Predictions, read_right

# The name of a variant's top-1 in timm's results and in a study file; of the validation images there is `real` too, and
# other images of ImageNet's classes have none.
NAMES = {"val": "top1", "v2": "v2", "a": "a", "r": "r", "sketch": "sketch"}
FORMAT = "featune-imagenet-1"


@dataclasses.dataclass(frozen=True)
class Share:
    """right of n images, with the exact 95 % interval (Clopper and Pearson)."""

    value: float
    low: float
    high: float
    n: int


@dataclasses.dataclass(frozen=True)
class Against:
    """This model less another on the same images. p: exact McNemar test."""

    file: str
    n: int
    difference: float
    low: float
    high: float
    p: float


@dataclasses.dataclass(frozen=True)
class Measured:
    """kind: a key of `KINDS`. classes: how many could be said. shares: `top1`, `top5`, and `real` where it is known.

    published: timm's numbers of these weights at this side, by the same names. backend and precision: what computed.
    rows: the file of predictions, if one was written. skipped: images that could not be read.
    """

    model: str
    data: str
    kind: str
    side: int
    classes: int
    backend: str
    precision: str
    shares: Mapping[str, Share]
    published: Mapping[str, float]
    fault: Fault | None = None
    against: Against | None = None
    notes: tuple[str, ...] = ()
    skipped: int = 0
    rows: str = ""

    def record(self) -> dict[str, Any]:
        """For --json, and for `measured` of a study file."""
        return {"format": FORMAT, **plain(self)}

    def lines(self) -> list[str]:
        """For people."""
        where = f"{self.model} on {KINDS[self.kind]} ({self.data}), {self.side} px, {self.backend} {self.precision}"
        masked = f", {self.classes} classes" if self.classes != 1000 else ""
        found = [f"{where}{masked}:"]
        for name, share in self.shares.items():
            known = self.published.get(name)
            said = f"; timm publishes {100 * known:.3f}" if known is not None else ""
            if known is not None and not share.low <= known <= share.high:
                said += ", which is outside of it: check images, labels and view"
            found.append(
                f"  {TITLES[name]} {100 * share.value:.3f} % ({100 * share.low:.2f} to {100 * share.high:.2f}, "
                f"{share.n:,} images){said}"
            )
        if self.against:
            one = self.against
            found.append(
                f"  against {one.file}: {100 * one.difference:+.2f} points ({100 * one.low:+.2f} to "
                f"{100 * one.high:+.2f}, {one.n:,} images in pairs), p = {one.p:.2g} (McNemar)"
            )
        found += [f"  note: {note}" for note in self.notes]
        if self.skipped:
            found.append(f"  {self.skipped} images could not be read and are left out")
        if self.fault:
            found.append(f"  WRONG LABEL ORDER: {self.fault.said}")
        return found


TITLES = {"top1": "top-1", "top5": "top-5", "real": "ReaL"}


def shares_of(found: Predictions) -> dict[str, Share]:
    """top-1 and top-5, and ReaL accuracy where the ReaL labels are known and an image has one."""
    columns: dict[str, NDArray[Any]] = {"top1": found.right, "top5": found.right5}
    if found.real and any(found.real):
        columns["real"] = found.real_right
    return {name: _share(column.astype(np.float64)) for name, column in columns.items()}


def _share(right: NDArray[np.float64]) -> Share:
    right = right[~np.isnan(right)]
    found = clopper_pearson(int(right.sum()), len(right))
    return Share(found.value, found.low, found.high, found.n)


def fault_of(found: Predictions) -> Fault | None:
    return label_order_fault(found.labels, found.unmasked)


def published_of(model: str, side: int, kind: str) -> dict[str, float]:
    """timm's published shares of these weights at this side, by the names of `Measured.shares`."""
    row = timm_accuracies().get((model, side), {})
    wanted = {"top1": NAMES.get(kind, ""), "real": "real" if kind == "val" else ""}
    return {name: value for name, column in wanted.items() if (value := row.get(column)) is not None}


def compared(found: Predictions, file: Path) -> Against:
    """In pairs with the images of a file of predictions, by path. Raises BadInput where the images are others."""
    other = read_right(file)
    places = [at for at, path in enumerate(found.paths) if path in other]
    if len(places) < len(found.paths) or len(places) < len(other):
        raise BadInput(
            f"{file}: {len(other)} images, of which {len(places)} are among these {len(found.paths)}; the same images "
            "expected, give the file of a run on the same data"
        )
    mine, theirs = found.right, np.array([other[path] for path in found.paths])
    test = mcnemar(mine, theirs)
    interval = paired_difference(mine, theirs)
    return Against(str(file), test.n, test.difference, interval.low, interval.high, test.p)


def accuracies_of_file(record: Any, model: str, where: Path) -> dict[str, tuple[float, int]]:
    """(share, images) of each measure of a model in a file of `featune imagenet --out`: top1, real, v2, a, r, sketch.

    Raises BadInput for another file, for a model that is not in it, and for one whose labels were in a wrong order.
    """
    entries = record if isinstance(record, list) else [record]
    if not entries or not all(isinstance(one, dict) and one.get("format") == FORMAT for one in entries):
        raise BadInput(f"{where}: no record of measured accuracies; give the measured.json of `featune imagenet --out`")
    of_model = [one for one in entries if one["model"] == model]
    if not of_model and len({one["model"] for one in entries}) == 1:
        of_model = entries  # the study calls it by another name
    if not of_model:
        names = ", ".join(sorted({one["model"] for one in entries}))
        raise BadInput(f"{where}: {model} was not measured there, only {names}; measure it, or name it so")
    found: dict[str, tuple[float, int]] = {}
    for one in of_model:
        if one.get("fault"):
            raise BadInput(f"{where}: the labels of {one['data']} were in a wrong order; measure it again")
        for name, share in one["shares"].items() if one["kind"] in NAMES else ():
            column = NAMES[one["kind"]] if name == "top1" else name
            if column != "top5":
                found[column] = (float(share["value"]), int(share["n"]))
    if not found:
        raise BadInput(
            f"{where}: {model} was measured on other images alone; measure it on ImageNet, or give --kind val"
        )
    return found
