"""Nearest-class-mean classifier on frozen features; nothing is chosen."""

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..logistic_regression import ABSENT, Rows, checked_labels, refuse_unfinite, stacked_rows
from .nearest_neighbours import Distance
from .ridge_classifier import _chunks


@dataclass(frozen=True)
class ClassMeans:
    """Scores float32 [n, k] of rows [n, d]: minus the squared distance to each class's mean [k, d].

    Cosine: rows are brought to length 1 first, and the score is the cosine to the mean's direction.
    A class without examples scores ABSENT.
    """

    means: NDArray
    present: NDArray
    distance: Distance

    def __call__(self, rows: Rows) -> NDArray:
        scores = []
        for _, chunk in _chunks(rows, 4096):
            if self.distance == "cosine":
                scores.append(_unit(chunk) @ self.means.T)
            else:
                squares = (chunk**2).sum(1, keepdims=True) + (self.means**2).sum(1)
                scores.append(2 * chunk @ self.means.T - squares)
        return np.where(self.present, np.concatenate(scores), ABSENT).astype(np.float32)


def class_means(
    rows: Rows, labels: ArrayLike, *, classes: int | None = None, distance: Distance = "cosine"
) -> ClassMeans:
    """The nearest-class-mean classifier of labels [n]; there is nothing to choose, so rows may be train + val."""
    truth = checked_labels(labels, len(stacked_rows(rows)), classes)
    count = classes if classes is not None else int(truth.max()) + 1
    sums, bad = np.zeros((count, stacked_rows(rows).width)), []
    for where, chunk in _chunks(rows, 4096):
        finite = np.isfinite(chunk).all(1)
        bad += (np.flatnonzero(~finite) + where.start).tolist()
        chunk = np.where(finite[:, None], chunk, 0)
        np.add.at(sums, truth[where], _unit(chunk) if distance == "cosine" else chunk)
    refuse_unfinite(bad, len(truth))
    sizes = np.bincount(truth, minlength=count)
    means = sums / np.maximum(sizes, 1)[:, None]
    return ClassMeans(_unit(means) if distance == "cosine" else means, sizes > 0, distance)


def _unit(rows: NDArray) -> NDArray:
    return rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
