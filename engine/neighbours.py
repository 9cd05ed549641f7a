"""Probes without a descent: nearest neighbours, ridge regression, nearest class mean; few-shot draws.

Like `engine.probe.probe`, each is handed train and val, chooses on val, then uses train + val.
"""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from engine.errors import BadInput
from engine.path import ABSENT, KORNBLITH_PENALTIES, check_penalties
from engine.probe import Metric, Probe, linear_scores, strongest_best
from engine.rows import Rows, checked_labels, checked_truth, refuse_unfinite, stacked_rows

Distance = Literal["cosine", "euclidean"]
Weighting = Literal["temperature", "uniform", "distance"]

COUNTS = (1, 2, 5, 10, 20, 50, 100, 200)
# Wu et al. 2018 (instance discrimination): a vote weighs exp(cosine / temperature).
TEMPERATURE = 0.07

WORKING_BYTES = 64 << 20


# ------------------------------------------------------------------------------------------------ neighbours


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
    train, val, many = _truths(train_truth, len(points), val_truth, len(others), classes)
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


# ----------------------------------------------------------------------------------------------------- ridge


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
    train, val, many = _truths(train_truth, lengths[0], val_truth, lengths[1], classes)
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


# ------------------------------------------------------------------------------------- nearest class mean


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


# -------------------------------------------------------------------------------------------------- few-shot


def few_shot(labels: ArrayLike, k: int, draws: int, seed: int) -> list[NDArray]:
    """Row numbers of `draws` samples with k rows of each class in labels [n], sorted, without replacement.

    Draw number i is the same whatever the number of draws.
    """
    truth = np.asarray(labels)
    classes, sizes = np.unique(truth, return_counts=True)
    if k < 1 or draws < 1 or len(truth) == 0:
        raise BadInput(f"k = {k}, draws = {draws}, {len(truth)} labels found; expected at least one of each")
    if sizes.min() < k:
        rare = classes[sizes.argmin()]
        raise BadInput(f"class {rare} has {sizes.min()} rows; expected {k} or more; lower k or add rows")
    members = [np.flatnonzero(truth == label) for label in classes]
    samples = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        samples.append(np.sort(np.concatenate([rng.choice(rows, k, replace=False) for rows in members])))
    return samples


def _truths(
    train_truth: ArrayLike, train_rows: int, val_truth: ArrayLike, val_rows: int, classes: int | None
) -> tuple[NDArray, NDArray, bool]:
    """Truth of train and val as bool [n, k], and whether it came with several labels per row."""
    if np.ndim(train_truth) == 2:
        train, val = checked_truth(train_truth, train_rows), checked_truth(val_truth, val_rows)
        if train.shape[1] != val.shape[1]:
            raise BadInput(f"{train.shape[1]} classes in train and {val.shape[1]} in val found; expected the same")
        return train, val, True
    labels = checked_labels(train_truth, train_rows, classes)
    others = checked_labels(val_truth, val_rows, classes)
    count = classes if classes is not None else int(max(labels.max(), others.max())) + 1
    return labels[:, None] == np.arange(count), others[:, None] == np.arange(count), False
