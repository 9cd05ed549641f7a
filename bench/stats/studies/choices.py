"""What it costs to choose a model by a score, such as its ImageNet accuracy, instead of trying them all."""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import table, tied


@dataclass(frozen=True)
class Regret:
    """Regret by task [tasks], in units of the values; mean and worst over tasks, and the task where it is worst."""

    by_task: Array
    mean: float
    worst: float
    worst_task: int


def regret_of(score: npt.ArrayLike, values: npt.ArrayLike) -> Regret:
    """How much less than the best model the score's first choice gives, on each task.

    score: the higher the better, [models], or [models, tasks] where it knows the task; values: [models, tasks], the
    higher the better. Where several models are first, their mean counts.
    """
    values = table(values)
    score = np.asarray(score, dtype=np.float64)
    score = np.broadcast_to(score[:, None], values.shape) if score.ndim == 1 and len(score) == len(values) else score
    if score.shape != values.shape or not np.isfinite(score).all() or not np.isfinite(values).all():
        raise BadInput(f"score: a finite number per model expected ({len(values)}), {score.shape} found")
    lost = []
    for of, truth in zip(score.T, values.T, strict=True):
        of = tied(of)
        lost.append(float(truth.max() - truth[of == of.max()].mean()))
    by_task = np.array(lost)
    return Regret(by_task, float(by_task.mean()), float(by_task.max()), int(by_task.argmax()))
