"""Linear probes against scipy, scikit-learn and numeric gradients, and at the edges."""

from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import log_softmax
from sklearn.linear_model import LogisticRegression

from engine import probe as probes
from engine.errors import BadInput
from engine.probe import (
    ABSENT,
    KORNBLITH_PENALTIES,
    choose_penalty,
    fit_path,
    fit_path_multilabel,
    probe,
    scores,
)


def blobs(n: int, d: int, classes: int, seed: int = 0, spread: float = 1.0) -> tuple[NDArray, NDArray]:
    """Correlated non-negative rows float32 [n, d] and labels [n], every class present."""
    rng = np.random.default_rng(seed)
    labels = rng.permutation(np.arange(n) % classes)
    mixing = rng.standard_normal((d, d)) * np.arange(1, d + 1)[:, None] ** -0.5
    latent = spread * rng.standard_normal((classes, d))[labels] + rng.standard_normal((n, d))
    return np.maximum(latent @ mixing + 0.3, 0).astype(np.float32), labels


def objective(theta: NDArray, rows: NDArray, labels: NDArray, penalty: float, classes: int) -> tuple[float, NDArray]:
    """The definition, in float64: sum of cross-entropies + penalty / 2 x squared norm of the weights."""
    weights, bias = theta[:-classes].reshape(classes, -1), theta[-classes:]
    logs = log_softmax(rows @ weights.T + bias, axis=1)
    residual = np.exp(logs)
    residual[np.arange(len(labels)), labels] -= 1
    value = -logs[np.arange(len(labels)), labels].sum() + penalty / 2 * (weights**2).sum()
    return value, np.concatenate([(residual.T @ rows + penalty * weights).ravel(), residual.sum(0)])


def value_of(fit: probes.PathFit, index: int, rows: NDArray, labels: NDArray) -> float:
    theta = np.concatenate([fit.weights[index].ravel(), fit.bias[index]]).astype(np.float64)
    return objective(theta, rows.astype(np.float64), labels, fit.penalties[index], len(fit.bias[index]))[0]


def optimum(rows: NDArray, labels: NDArray, penalty: float, classes: int, start: NDArray) -> float:
    """scipy's float64 minimum."""
    exact = rows.astype(np.float64)
    options = {"maxiter": 20_000, "maxfun": 40_000, "gtol": 1e-13, "ftol": 1e-16, "maxcor": 30}
    arguments = (exact, labels, penalty, classes)
    return minimize(objective, start, arguments, method="L-BFGS-B", jac=True, options=options).fun


def top1(truth: NDArray, found: NDArray) -> float:
    return float((found.argmax(1) == truth).mean())


@pytest.mark.parametrize(("n", "d", "classes"), [(120, 8, 3), (60, 5, 2), (40, 60, 4)])
def test_every_objective_is_scipys_minimum_to_a_millionth(n: int, d: int, classes: int) -> None:
    rows, labels = blobs(n, d, classes)
    fit = fit_path(rows, labels, KORNBLITH_PENALTIES[::4])
    assert fit.converged.all()
    for index, penalty in enumerate(fit.penalties):
        ours = value_of(fit, index, rows, labels)
        start = np.concatenate([fit.weights[index].ravel(), fit.bias[index]]).astype(np.float64)
        best = min(optimum(rows, labels, penalty, classes, start), optimum(rows, labels, penalty, classes, 0 * start))
        assert ours <= best * (1 + 1e-6)
        assert fit.objective[index] == pytest.approx(ours, rel=1e-5)
