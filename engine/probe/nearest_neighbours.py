"""Nearest-neighbour classifier on frozen features; the number of neighbours is chosen on val."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import BadInput
from ..logistic_regression import Rows, refuse_unfinite, stacked_rows
from .protocol import Metric, strongest_best
from .truth_matrix import truth_matrices

Distance = Literal["cosine", "euclidean"]
Weighting = Literal["temperature", "uniform", "distance"]
COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
# Wu et al. 2018 (instance discrimination): a vote weighs exp(cosine / temperature).
TEMPERATURE = 0.07
WORKING_BYTES = 64 << 20


@dataclass(frozen=True)
class Neighbours:
    """A nearest-neighbour classifier: rows [n, d] in, votes float32 [n, k] that sum to 1 over classes out.

    points: the remembered rows, float64, ready for the distance; truth: bool [n, k].
    count: neighbours asked, chosen on val; val_values: the metric on val at each of `counts`.
    Of equally distant neighbours the one with the lowest row number comes first (scikit-learn leaves this
    open); of equal votes `argmax` takes the lowest class, as scikit-learn does. With several labels per
    image the votes of each class are a share by themselves.
    """

    points: Tensor
    truth: NDArray
    distance: Distance
    weighting: Weighting
    temperature: float
    count: int
    counts: tuple[int, ...]
    val_values: NDArray

    def __call__(self, rows: Rows) -> NDArray:
        near, apart = nearest(self.points, as_points(rows, self.distance), self.count, self.distance)
        return votes(self.truth, near, apart, self.weighting, self.temperature)


def knn(
    train_rows: Rows,
    train_truth: ArrayLike,
    val_rows: Rows,
    val_truth: ArrayLike,
    metric: Metric,
    counts: Sequence[int] = COUNTS,
    *,
    classes: int | None = None,
    distance: Distance = "cosine",
    weighting: Weighting = "temperature",
    temperature: float = TEMPERATURE,
) -> Neighbours:
    """Choose the count of neighbours by the metric on val; of equals, the largest. Remember train + val.

    weighting: every vote 1, or 1 / distance (only exact copies vote where there are any), or
    exp(-distance / temperature). Counts above the number of training rows are left out.
    """
    points, others = as_points(train_rows, distance), as_points(val_rows, distance)
    train, val, many = truth_matrices(train_truth, len(points), val_truth, len(others), classes)
    possible = tuple(sorted({count for count in counts if 1 <= count <= len(points)}))
    if not possible:
        raise BadInput(f"counts {tuple(counts)} and {len(points)} rows found; expected one of 1 to {len(points)}")
    near, apart = nearest(points, others, possible[-1], distance)
    truth = val if many else np.asarray(val_truth)
    values = np.array([
        metric(truth, votes(train, near[:, :count], apart[:, :count], weighting, temperature))
        for count in possible
    ])  # fmt: skip
    count = possible[strongest_best(np.array(possible, float), values)]
    both = torch.cat([points, others])
    return Neighbours(both, np.concatenate([train, val]), distance, weighting, temperature, count, possible, values)


def as_points(rows: Rows, distance: Distance) -> Tensor:
    """Points float64 whose squared distances order the rows [n, d]; for cosines, unit vectors [n, d + 2]."""
    if distance not in ("cosine", "euclidean"):
        raise BadInput(f"distance {distance!r} found; expected cosine or euclidean")
    stack = stacked_rows(rows)
    points = stack.read(slice(0, len(stack)), "cpu", torch.float64)
    refuse_unfinite(torch.nonzero(~torch.isfinite(points).all(1))[:, 0].tolist(), len(points))
    if distance == "euclidean":
        return points
    length = torch.linalg.vector_norm(points, dim=1, keepdim=True)
    return torch.cat([points / length.clamp_min(1e-300), length == 0, torch.zeros_like(length)], 1)


def nearest(points: Tensor, others: Tensor, count: int, distance: Distance) -> tuple[NDArray, NDArray]:
    """Row numbers int64 [m, count] of the points nearest to each of the others [m, d], and how far apart.

    Nearest first, equals by row number. A product of matrices finds the candidates, among them all whose
    distance could be a tie up to rounding; these are then measured by their differences.
    """
    if distance == "cosine":
        # A row of zeros has cosine 0 to everything, another such row too: each side has its own spare axis.
        others = torch.cat([others[:, :-2], others[:, -1:], others[:, -2:-1]], 1)
    squares = points.square().sum(1)
    near, apart = [], []
    at_once = max(1, WORKING_BYTES // (8 * len(points)))
    for chunk in others.split(at_once):
        apart_squared = torch.addmm(squares, chunk, points.T, alpha=-2)
        blur = 1e-12 * (squares.max() + chunk.square().sum(1))
        last = apart_squared.kthvalue(count, dim=1).values + blur
        most = int((apart_squared <= last[:, None]).sum(1).max())
        candidates = apart_squared.topk(most, dim=1, largest=False).indices.sort(1).values
        for some, which in zip(*_pieces(chunk, candidates), strict=True):
            exact = (points[which] - some[:, None]).square().sum(2)
            ordered, order = exact.sort(dim=1, stable=True)
            near.append(which.gather(1, order[:, :count]))
            apart.append(ordered[:, :count])
    found = torch.cat(apart)
    return torch.cat(near).numpy(), (found / 2 if distance == "cosine" else found.sqrt()).numpy()


def _pieces(chunk: Tensor, candidates: Tensor) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
    at_once = max(1, WORKING_BYTES // (16 * candidates.shape[1] * chunk.shape[1]))
    return chunk.split(at_once), candidates.split(at_once)


def votes(truth: NDArray, near: NDArray, apart: NDArray, weighting: Weighting, temperature: float) -> NDArray:
    """Weighted share float32 [m, k] of the neighbours near [m, count] for which each class is true [n, k]."""
    weights = _weights(apart, weighting, temperature)
    shares = np.zeros((len(near), truth.shape[1]))
    for column in range(near.shape[1]):
        shares += weights[:, column, None] * truth[near[:, column]]
    return (shares / weights.sum(1, keepdims=True)).astype(np.float32)


def _weights(apart: NDArray, weighting: Weighting, temperature: float) -> NDArray:
    if weighting == "uniform":
        return np.ones_like(apart)
    if weighting == "temperature":
        return np.exp((apart.min(1, keepdims=True) - apart) / temperature)
    if weighting != "distance":
        raise BadInput(f"weighting {weighting!r} found; expected temperature, uniform or distance")
    copies = apart == 0
    inverse = 1 / np.where(copies, 1.0, apart)
    return np.where(copies.any(1, keepdims=True), copies.astype(float), inverse)
