"""Truths and scores of many kinds for the tests of metrics and intervals, and how two values are compared."""

import os
from collections.abc import Iterator

import numpy as np
import pytest

from featune.engine.errors import BadInput

CASES = int(os.environ.get("FEATUNE_METRIC_CASES", "1000"))  # per metric


def scores_of_many_kinds(rng: np.random.Generator, n: int, k: int, kind: int) -> np.ndarray:
    """Smooth, tied, extreme, constant or nearly decided scores."""
    scores = rng.normal(size=(n, k)) * 2
    if kind == 1:
        return np.round(scores)
    if kind == 2:
        return np.sign(scores) * 10.0 ** rng.integers(-300, 300, size=(n, k))
    if kind == 3:
        return np.zeros((n, k))
    if kind == 4:
        return scores * 200
    return scores


def single_label_cases(fewest: int = 2, most: int = 8) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """truth [n] of some of the k classes, and scores [n, k]."""
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(1, 40)), int(rng.integers(fewest, most + 1))
        present = rng.choice(k, size=rng.integers(1, k + 1), replace=False)
        yield rng.choice(present, size=n), scores_of_many_kinds(rng, n, k, seed % 5)


def multi_label_cases() -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """truth [n, k] with rare, absent and universal classes, and scores [n, k]."""
    for seed in range(CASES):
        rng = np.random.default_rng(seed)
        n, k = int(rng.integers(1, 40)), int(rng.integers(1, 6))
        truth = rng.random((n, k)) < rng.choice([0, 0.1, 0.5, 0.9, 1], size=k)
        yield truth, scores_of_many_kinds(rng, n, k, seed % 5)


def shifted_classes(n: int, k: int, seed: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    truth = rng.integers(0, k, n)
    scores = rng.normal(size=(n, k))
    scores[np.arange(n), truth] += 1
    return truth, scores


def mean_or_none(values: list[float]) -> float | None:
    return float(np.mean(values)) if values else None


def value_or_none(metric, truth, scores, **options):
    try:
        return metric(truth, scores, **options)
    except BadInput:
        return None


def same(ours: float | None, theirs: float | None) -> bool:
    return ours is theirs is None or ours == pytest.approx(theirs, rel=1e-9, abs=1e-12)
