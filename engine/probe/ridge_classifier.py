"""Ridge classifier on frozen features, its penalty chosen on val."""

import time
from collections.abc import Callable, Iterator

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray

from ..logistic_regression import KORNBLITH_PENALTIES, Rows, check_penalties, refuse_unfinite, stacked_rows
from .protocol import Metric, Probe, linear_scores, strongest_best
from .truth_matrix import truth_matrices


def fit_ridge_path(rows: Rows, truth: NDArray, penalties: ArrayLike, at_once: int = 4096) -> tuple[NDArray, NDArray]:
    """Ridge regressions of truth, bool [n, k] as -1 and 1, on rows [n, d]: weights [p, k, d], bias [p, k].

    The squared error + penalty x squared norm of the weights, as scikit-learn's RidgeClassifier, float64.
    One eigendecomposition serves all penalties: of the smaller of the rows' two Gram matrices.
    """
    strengths = np.asarray(penalties, float)
    check_penalties(strengths)
    stack = stacked_rows(rows)
    mean, sign_mean = _means(rows, truth, at_once)
    if len(stack) < stack.width:
        centred = stack.read(slice(0, len(stack)), "cpu", torch.float64).numpy() - mean
        values, vectors = np.linalg.eigh(centred @ centred.T)
        back, image = centred.T @ vectors, vectors.T @ (2.0 * truth - 1 - sign_mean)
    else:
        gram = np.zeros((stack.width, stack.width))
        cross = np.zeros((stack.width, truth.shape[1]))
        for where, chunk in _chunks(rows, at_once):
            centred = chunk - mean
            gram += centred.T @ centred
            cross += centred.T @ (2.0 * truth[where] - 1 - sign_mean)
        values, back = np.linalg.eigh(gram)
        image = back.T @ cross
    values = values.clip(0)
    weights = np.stack([(back @ (image / (values + strength)[:, None])).T for strength in strengths])
    return weights, sign_mean - weights @ mean


def _means(rows: Rows, truth: NDArray, at_once: int) -> tuple[NDArray, NDArray]:
    total, bad = 0.0, []
    for where, chunk in _chunks(rows, at_once):
        bad += (np.flatnonzero(~np.isfinite(chunk).all(1)) + where.start).tolist()
        total = total + chunk.sum(0)
    refuse_unfinite(bad, len(truth))
    return np.asarray(total / len(truth)), 2.0 * truth.mean(0) - 1


def _chunks(rows: Rows, at_once: int) -> Iterator[tuple[slice, NDArray]]:
    stack = stacked_rows(rows)
    for begin in range(0, len(stack), at_once):
        where = slice(begin, min(begin + at_once, len(stack)))
        yield where, stack.read(where, "cpu", torch.float64).numpy()


def ridge(
    train_rows: Rows,
    train_truth: ArrayLike,
    val_rows: Rows,
    val_truth: ArrayLike,
    metric: Metric,
    penalties: ArrayLike = KORNBLITH_PENALTIES,
    *,
    classes: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Probe:
    """A ridge classifier: the penalty chosen on val (of equals, the strongest), refitted on train + val."""
    began = clock()
    strengths = np.asarray(penalties, float)
    lengths = len(stacked_rows(train_rows)), len(stacked_rows(val_rows))
    train, val, many = truth_matrices(train_truth, lengths[0], val_truth, lengths[1], classes)
    weights, bias = fit_ridge_path(train_rows, train, strengths)
    truth = val if many else np.asarray(val_truth)
    values = np.array([
        metric(truth, linear_scores(weights[i], bias[i], val_rows)) for i in range(len(strengths))
    ])  # fmt: skip
    penalty = float(strengths[strongest_best(strengths, values)])
    both = (*stacked_rows(train_rows).parts, *stacked_rows(val_rows).parts)
    weights, bias = fit_ridge_path(both, np.concatenate([train, val]), [penalty])
    return Probe(
        weights=weights[0].astype(np.float32),
        bias=bias[0].astype(np.float32),
        penalty=penalty,
        penalties=strengths,
        val_values=values,
        converged=True,
        unconverged=0,
        seconds=clock() - began,
    )
