"""The bill: minutes and images per second for each point of accuracy that fine-tuning or a larger model buys."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..results import FROZEN, Choice, Option, Results, frontier, label, short_label, signed_points

LEAST = 0.05  # points, below which nothing is bought that a price could be given for
MOST = 8  # steps along the frontier


def bill(results: Results, choice: Choice | None) -> list[dict[str, Any]]:
    """A line for each thing that is bought: first fine-tuning, of all models, of the one to take and of
    the best options', then speed.

    points: of the mean over the tasks. minutes: of one task's cell. rate: images per second.
    """
    if choice is None:
        return []
    by = {(one.model, one.regime): one for one in choice.options}
    frozen = next((name for name in FROZEN if name in results.measured_regimes), None)
    lines = []
    if frozen and "finetune" in results.measured_regimes:
        both = [
            (one, by[one.model, "finetune"])
            for one in choice.options
            if one.regime == frozen and (one.model, "finetune") in by
        ]
        if len(both) > 1:
            lines.append(_mean(both, frozen))
        named = dict.fromkeys([choice.chosen.model, *(one.model for one in choice.options[:3])])
        lines += [_line(f"fine-tuning {one.model}", one, two) for model in named for one, two in both
                  if one.model == model]  # fmt: skip
    steps = frontier(choice.options, "rate")[: MOST + 1]
    for better, cheaper in itertools.pairwise(steps):
        lines.append(_line(f"{_named(better)} instead of {_named(cheaper)}", cheaper, better))
    return lines


def _named(one: Option) -> str:
    return f"{one.model}, {short_label(one.regime)}"


def _mean(both: Sequence[tuple[Option, Option]], frozen: str) -> dict[str, Any]:
    points = 100 * float(np.mean([two.value - one.value for one, two in both]))
    known = [(two.seconds - one.seconds) / 60 for one, two in both if one.seconds and two.seconds]
    minutes = float(np.mean(known)) if len(known) == len(both) else None
    return _priced(f"fine-tuning instead of {label(frozen)}, the mean of {len(both)} models", points, minutes, None)


def _line(what: str, cheap: Option, dear: Option) -> dict[str, Any]:
    minutes = (dear.seconds - cheap.seconds) / 60 if dear.seconds and cheap.seconds else None
    rate = None
    if dear.model != cheap.model and dear.rate is not None and cheap.rate is not None:
        rate = dear.rate - cheap.rate
    return _priced(what, 100 * (dear.value - cheap.value), minutes, rate)


def _priced(what: str, points: float, minutes: float | None, rate: float | None) -> dict[str, Any]:
    buys = points >= LEAST
    return {
        "what": what,
        "points": points,
        "minutes": minutes,
        "minutes_per_point": minutes / points if buys and minutes is not None else None,
        "images_per_second": rate,
        "images_per_second_per_point": rate / points if buys and rate is not None else None,
    }


def bill_texts(line: Mapping[str, Any]) -> dict[str, str]:
    """The line's cells."""

    def text(value: float | None, digits: str = "+.3g") -> str:
        if value is None:
            return "–"
        said = f"{value:{digits}}".replace("-", "−")
        return said.lstrip("+−") if not said.strip("+−0.") else said

    rate = line["images_per_second"]
    return {
        "what": line["what"],
        "points": signed_points(line["points"]),
        "minutes": text(line["minutes"], "+.2f"),
        "minutes_per_point": text(line["minutes_per_point"], ".2f"),
        "rate": "same" if rate is None and line["what"].startswith("fine-tuning") else text(rate, "+,.0f"),
        "rate_per_point": text(line["images_per_second_per_point"], "+,.0f"),
    }
