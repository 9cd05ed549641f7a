"""The bill: minutes, kWh and images per second for each point of accuracy that fine-tuning or a larger model buys."""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ..results import (
    FROZEN,
    LEAST_KWH,
    Choice,
    Option,
    Results,
    Row,
    frontier,
    label,
    plain_number,
    short_label,
    signed_points,
)

LEAST = 0.05  # points, below which nothing is bought that a price could be given for
MOST = 8  # steps along the frontier


def bill(results: Results, choice: Choice | None) -> list[dict[str, Any]]:
    """A line for each thing that is bought: first fine-tuning, of all models, of the one to take and of
    the best options', then speed.

    points: of the mean over the tasks. minutes, kwh: of one task's cell. rate: images per second.
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
    apart = [(_apart(one.seconds, two.seconds), _apart(one.kwh, two.kwh)) for one, two in both]
    seconds, kwh = (None if None in of else float(np.mean(of)) for of in zip(*apart, strict=True))
    what = f"fine-tuning instead of {label(frozen)}, the mean of {len(both)} models"
    return _priced(what, points, seconds, kwh, None)


def _apart(cheap: float | None, dear: float | None) -> float | None:
    return None if cheap is None or dear is None else dear - cheap


def _line(what: str, cheap: Option, dear: Option) -> dict[str, Any]:
    rate = _apart(cheap.rate, dear.rate) if dear.model != cheap.model else None
    seconds, kwh = _apart(cheap.seconds, dear.seconds), _apart(cheap.kwh, dear.kwh)
    return _priced(what, 100 * (dear.value - cheap.value), seconds, kwh, rate)


def _priced(
    what: str, points: float, seconds: float | None, kwh: float | None, rate: float | None
) -> dict[str, Any]:  # fmt: skip
    buys = points >= LEAST
    minutes = None if seconds is None else seconds / 60
    return {
        "what": what,
        "points": points,
        "minutes": minutes,
        "minutes_per_point": minutes / points if buys and minutes is not None else None,
        "kwh": kwh,
        "kwh_per_point": kwh / points if buys and kwh is not None else None,
        "images_per_second": rate,
        "images_per_second_per_point": rate / points if buys and rate is not None else None,
    }


def energy_unit(lines: Sequence[Mapping[str, Any]]) -> str:
    """Of the bill's energies: Wh where one is below 0.01 kWh, else kWh; empty where none is known."""
    known = [line[name] for line in lines for name in ("kwh", "kwh_per_point") if line[name] is not None]
    if not known:
        return ""
    return "Wh" if any(0 < abs(value) < LEAST_KWH for value in known) else "kWh"


def energy_said(lines: Sequence[Mapping[str, Any]], rows: Sequence[Row]) -> str:
    """Whose energy the bill's kWh are, or why there are none, in words; rows: of the study."""
    if not lines:
        return ""
    unit = energy_unit(lines)
    measured = [row for row in rows if row.source == "measured" and row.error is None]
    told = list(dict.fromkeys(row.kwh_said for row in measured if row.kwh is not None))
    absent = list(dict.fromkeys(row.kwh_said for row in measured if row.kwh is None and row.kwh_said))
    parts = []
    if told and unit:
        parts.append(f"{unit} of {'; of '.join(told)}.")
    if absent:
        parts.append(f"Energy {'of some cells ' if told else ''}{'; '.join(absent)}.")
    if any(not row.kwh_said for row in measured):
        parts.append(f"Energy{' of some cells' if told or absent else ''}: not asked for when they were measured.")
    return " ".join(parts)


def bill_texts(line: Mapping[str, Any], unit: str = "kWh") -> dict[str, str]:
    """The line's cells. unit: of energy."""

    def text(value: float | None, digits: str = "+.3g") -> str:
        if value is None:
            return "–"
        said = f"{value:{digits}}".replace("-", "−")
        return said.lstrip("+−") if not said.strip("+−0.") else said

    def energy(kwh: float | None, sign: str) -> str:
        if kwh is None:
            return "–"
        said = plain_number(1000 * kwh if unit == "Wh" else kwh, 2)
        return said if said == "0" or kwh < 0 else sign + said

    rate = line["images_per_second"]
    return {
        "what": line["what"],
        "points": signed_points(line["points"]),
        "minutes": text(line["minutes"], "+.2f"),
        "minutes_per_point": text(line["minutes_per_point"], ".2f"),
        "kwh": energy(line["kwh"], "+"),
        "kwh_per_point": energy(line["kwh_per_point"], ""),
        "rate": "same" if rate is None and line["what"].startswith("fine-tuning") else text(rate, "+,.0f"),
        "rate_per_point": text(line["images_per_second_per_point"], "+,.0f"),
    }
