"""What the same test images settle: the runner-up of each place, and fine-tuning against the regimes beside it."""

import dataclasses
import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from ...results import (
    FROZEN,
    Cell,
    Lead,
    Results,
    Right,
    correct_over_seeds,
    counted,
    same_images,
    short_label,
    signed_points,
)
from ...stats import ERROR, holm, paired_wald
from ...stats.studies import no_worse
from .finding import Finding

MARGIN = 0.005  # half a point
MOST_PAIRS = 400  # of model and task whose scores are read for one comparison of regimes
NAMED = 4  # of the settled differences, the largest


def runners_up(results: Results, ahead: Sequence[Lead], right: Mapping[Cell, Right]) -> Finding | None:
    """In how many places the runner-up is settled to be no worse than the best by half a point."""
    numbers, named = [], []
    for lead in ahead:
        of = [results.cells.get((lead.task, model, lead.regime), ()) for model in (lead.second, lead.first)]
        known = [right.get(cells[0]) if len(cells) == 1 else None for cells in of]
        if results.metric[lead.task] != "top1" or known[0] is None or known[1] is None:
            continue
        if not same_images(known[0].correct, known[1].correct):
            continue
        found = no_worse(known[0].correct, known[1].correct, margin=MARGIN)
        numbers.append(dataclasses.asdict(found) | {"task": lead.task, "regime": lead.regime, "model": lead.second})
        if found.p_no_worse <= ERROR:
            named.append(f"{lead.second} on {lead.task}, {short_label(lead.regime)}")
    if not numbers:
        return None
    listed = f": {'; '.join(named)}" if 0 < len(named) <= 4 else ""
    said = (
        f"In {len(named)} of {counted(len(numbers), 'place')} the runner-up is settled to be no worse than the best "
        f"model by more than half a point (Tango’s test on the same images, not adjusted){listed}."
    )
    return Finding("no_worse", "", said, {"margin": MARGIN, "places": numbers})


def tuning_gains(results: Results, right: Mapping[Cell, Right]) -> list[Finding]:
    """Fine-tuned against frozen, and against from scratch: each model on each task, on the same test images.

    Means over seeds; the intervals are of test images, so what seeds change is no part of them. Of metrics that are
    means over images, where scores were kept; none of studies with more pairs than MOST_PAIRS.
    """
    frozen = next((regime for regime in FROZEN if regime in results.regimes), None)
    found = (_gains(results, right, other) for other in (frozen, "scratch") if other in results.measured_regimes)
    return [one for one in found if one is not None]


def _gains(results: Results, right: Mapping[Cell, Right], other: str) -> Finding | None:
    from scipy.stats import norm

    pairs = [(task, model) for task in results.tasks for model in results.models]
    both = [
        pair for pair in pairs
        if all((pair[0], pair[1], regime) in results.cells for regime in ("finetune", other))
    ]  # fmt: skip
    if not both or len(both) > MOST_PAIRS:
        return None
    numbers: list[dict[str, Any]] = []
    z = float(norm.isf(ERROR / 2))
    for task, model in both:
        tuned, beside = (correct_over_seeds(results, task, model, regime, right) for regime in ("finetune", other))
        if tuned is None or beside is None or not same_images(tuned, beside):
            continue
        middle, variance = paired_wald(tuned, beside)
        half = z * math.sqrt(variance)
        numbers.append(
            {
                "task": task, "model": model, "points": 100 * float(np.nanmean(tuned - beside)),
                "low": 100 * (middle - half), "high": 100 * (middle + half),
                "p": 2 * float(norm.sf(abs(middle) / math.sqrt(variance))),
            }
        )  # fmt: skip
    if not numbers:
        return None
    for one, p in zip(numbers, holm([one["p"] for one in numbers]), strict=True):
        one["p"] = p
    settled = sorted((one for one in numbers if one["p"] <= ERROR), key=lambda one: -abs(one["points"]))
    better = sum(one["points"] > 0 for one in settled)
    listed = "; ".join(
        f"{one['model']} on {one['task']} {signed_points(one['points'])} points ({signed_points(one['low'])} to "
        f"{signed_points(one['high'])})"
        for one in settled[:NAMED]
    )
    largest = f" The largest: {listed}." if settled else ""
    said = (
        f"Fine-tuned against {short_label(other)}, each model on the same test images of a task: better in {better} of "
        f"{counted(len(numbers), 'pair')} of model and task, worse in {len(settled) - better}, not settled in "
        f"{len(numbers) - len(settled)} (paired, Holm’s p\u00a0≤\u00a0{ERROR:g}; of test images alone, not of "
        f"seeds).{largest}"
    )
    return Finding("tuning_gains", other, said, {"pairs": numbers})
