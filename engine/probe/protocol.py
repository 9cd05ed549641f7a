"""Linear probes on frozen features by the papers' protocol: choose on val, refit on train + val, score once."""

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..logistic_regression import (
    DEFAULT_SOLVER,
    KORNBLITH_PENALTIES,
    PathFit,
    Rows,
    Solver,
    fit_path,
    fit_path_multilabel,
    stacked_rows,
)

__all__ = [
    "KORNBLITH_PENALTIES",
    "PathFit",
    "Probe",
    "Solver",
    "choose_penalty",
    "fit_path",
    "fit_path_multilabel",
    "linear_scores",
    "probe",
    "scores",
    "strongest_best",
]

Metric = Callable[[NDArray, NDArray], float]
SCORED_AT_ONCE = 4096


def scores(fit: PathFit, index: int, rows: Rows) -> NDArray:
    """Logits, float32 [n, k], of rows [n, d] at the fit's penalty number `index`."""
    return linear_scores(fit.weights[index], fit.bias[index], rows)


def choose_penalty(fit: PathFit, rows: Rows, truth: ArrayLike, metric: Metric) -> int:
    """Index of the penalty with the best metric(truth, scores); of equals, the strongest penalty.

    The stronger of two equals has the smaller weights, so it is the one that moves least on new data.
    """
    return strongest_best(fit.penalties, _values(fit, rows, np.asarray(truth), metric))


@dataclass(frozen=True)
class Probe:
    """A logistic regression by the papers' protocol: rows [n, d] in, scores float32 [n, k] out.

    weights: float32 [k, d]; bias: float32 [k]; penalty: the one chosen on val.
    val_values: the metric on val at each of the penalties [p], before the refit on train + val.
    converged: of the refit and of the chosen fit before it; unconverged: how many of the p were not.
    """

    weights: NDArray
    bias: NDArray
    penalty: float
    penalties: NDArray
    val_values: NDArray
    converged: bool
    unconverged: int
    seconds: float

    def __call__(self, rows: Rows) -> NDArray:
        return linear_scores(self.weights, self.bias, rows)


def probe(
    train_rows: Rows,
    train_truth: ArrayLike,
    val_rows: Rows,
    val_truth: ArrayLike,
    metric: Metric,
    penalties: ArrayLike = KORNBLITH_PENALTIES,
    *,
    classes: int | None = None,
    refit: bool = True,
    clock: Callable[[], float] = time.perf_counter,
    solver: Solver = DEFAULT_SOLVER,
) -> Probe:
    """Fit the path on train, choose the penalty by the metric on val, refit on train + val.

    truth: int labels [n], or bool [n, k] for several labels per image.
    """
    began = clock()
    train, val = np.asarray(train_truth), np.asarray(val_truth)
    if train.ndim != val.ndim:
        raise BadInput(f"train truth {train.shape} and val truth {val.shape} found; expected the same kind in both")
    if train.ndim == 1 and classes is None:
        classes = int(max(train.max(initial=0), val.max(initial=0))) + 1

    def fitted(rows: Rows, truth: NDArray, path: ArrayLike) -> PathFit:
        if truth.ndim == 2:
            return fit_path_multilabel(rows, truth, path, solver=solver)
        return fit_path(rows, truth, path, classes=classes, solver=solver)

    path = fitted(train_rows, train, penalties)
    values = _values(path, val_rows, val, metric)
    chosen = strongest_best(path.penalties, values)
    penalty = float(path.penalties[chosen])
    last, index = path, chosen
    if refit:
        both = (*stacked_rows(train_rows).parts, *stacked_rows(val_rows).parts)
        # From zero: train's weights are sure and wrong about some of val, which takes longer to mend and may not end.
        last, index = fitted(both, np.concatenate([train, val]), [penalty]), 0
    return Probe(
        weights=last.weights[index],
        bias=last.bias[index],
        penalty=penalty,
        penalties=path.penalties,
        val_values=values,
        converged=bool(last.converged[index] and path.converged[chosen]),
        unconverged=int((~path.converged).sum()),
        seconds=clock() - began,
    )


def _values(fit: PathFit, rows: Rows, truth: NDArray, metric: Metric) -> NDArray:
    if len(truth) != len(stacked_rows(rows)):
        raise BadInput(
            f"{len(stacked_rows(rows))} rows and {len(truth)} truths found; expected one each; check the split"
        )
    return np.array([metric(truth, scores(fit, index, rows)) for index in range(len(fit.penalties))])


def strongest_best(penalties: NDArray, values: NDArray) -> int:
    if np.isnan(values).any():
        raise BadInput(
            "the metric is not a number on val; expected a fraction; check that val has every class it needs"
        )
    winners = np.flatnonzero(values == values.max())
    return int(winners[np.argmax(penalties[winners])])


def linear_scores(weights: NDArray, bias: NDArray, rows: Rows) -> NDArray:
    stack = stacked_rows(rows)
    if stack.width != weights.shape[1]:
        raise BadInput(f"rows of width {stack.width} found; expected {weights.shape[1]}; use the model of the fit")
    out = np.empty((len(stack), len(weights)), np.float32)
    for begin in range(0, len(stack), SCORED_AT_ONCE):
        where = slice(begin, min(begin + SCORED_AT_ONCE, len(stack)))
        out[where] = stack.read(where, "cpu", torch.float32).numpy() @ weights.T + bias
    return out
