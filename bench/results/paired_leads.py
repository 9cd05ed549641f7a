"""Who leads where, and whether that is settled: paired tests on the same test images where the scores were kept."""

import dataclasses
import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from featune.engine.metrics import METRICS

from ..stats import ERROR, holm, mcnemar, permutation_test
from .rows import Cell
from .table import Results, clear_lead, ranking


@dataclasses.dataclass(frozen=True)
class Right:
    """Which test images a cell got right: correct [n], 0 or 1, NaN where an image does not count; classes int [n]."""

    correct: NDArray[np.float64]
    classes: NDArray[np.int64]


@dataclasses.dataclass(frozen=True)
class Lead:
    """The best model and the runner-up on a task in a regime.

    p: of the paired test, adjusted for all leads of the report (Holm); None where the intervals were compared, as the
    scores were not kept or the metric is no mean over images. settled: None where an interval is missing too.
    """

    task: str
    regime: str
    first: str
    second: str
    p: float | None
    settled: bool | None


def leads(results: Results, right: Mapping[Cell, Right]) -> list[Lead]:
    """Of every task and measured regime with two models or more."""
    found = []
    for regime in results.measured_regimes:
        for task in results.tasks:
            order = ranking(results, task, regime)
            if len(order) > 1:
                p = _paired(results, right, task, regime, order[0], order[1])
                settled = clear_lead(results, task, regime, order) if p is None else None
                found.append(Lead(task, regime, order[0], order[1], p, settled))
    paired = [at for at, one in enumerate(found) if one.p is not None]
    adjusted = holm([one.p for one in found if one.p is not None])
    for at, p in zip(paired, adjusted, strict=True):
        found[at] = dataclasses.replace(found[at], p=p, settled=p <= ERROR)
    return found


def _paired(
    results: Results, right: Mapping[Cell, Right], task: str, regime: str, first: str, second: str
) -> float | None:
    """McNemar's exact test for a mean over images, exchanged predictions for a mean over classes."""
    cells = [results.cells.get((task, model, regime), ()) for model in (first, second)]
    known = [[right[cell] for cell in of if cell in right] for of in cells]
    metric = METRICS.get(results.metric[task])
    if metric is None or not all(known) or [len(of) for of in known] != [len(of) for of in cells]:
        return None
    if len({len(one.correct) for of in known for one in of}) > 1:
        return None
    a, b = (np.mean([one.correct for one in of], axis=0) for of in known)
    if not same_images(a, b):
        return None
    if metric.name == "mean_per_class":
        return permutation_test(a, b, classes=known[0][0].classes).p
    if not metric.is_proportion:
        return None
    single = all(len(of) == 1 for of in known)
    p = (mcnemar if single else permutation_test)(a, b).p
    return p if math.isfinite(p) else None


def correct_over_seeds(
    results: Results, task: str, model: str, regime: str, right: Mapping[Cell, Right]
) -> NDArray[np.float64] | None:
    """Which test images are right [n], the mean over seeds; None where scores or a metric that is such a mean lack."""
    metric = METRICS.get(results.metric[task])
    cells = results.cells.get((task, model, regime), ())
    if metric is None or not metric.is_proportion or not cells or not all(cell in right for cell in cells):
        return None
    each = [right[cell].correct for cell in cells]
    return None if len({len(of) for of in each}) > 1 else np.mean(each, axis=0)


def same_images(a: NDArray[np.float64], b: NDArray[np.float64]) -> bool:
    """Whether two models' correctness [n] can be compared: the same images count, NaN for the others, one or more."""
    return a.shape == b.shape and np.array_equal(np.isnan(a), np.isnan(b)) and not np.isnan(a).all()
