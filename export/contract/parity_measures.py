"""Do two runners agree on real images? Measures, thresholds, and the decision."""

import dataclasses
import itertools
import math
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from featune.engine.errors import BadInput, ParityFailed
from featune.engine.runners import Runner

from .thresholds import REQUIRED

NOT_FINITE = "torch's own rows hold NaN or infinity"
FIRST_BATCHES, BATCH = (1, 3, 8), 32  # an export with a frozen batch size fails on one of the first


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far a runner's rows are from the reference's, on n images.

    worst_cosine, mean_cosine: between rows of the same image. max_error: largest absolute difference.
    neighbours: share of images whose nearest other image is the same in both. noise: norm of all differences
    over the norm of the reference's rows less their mean, so 1 is an error as large as what tells images apart.
    """

    n: int
    worst_cosine: float
    mean_cosine: float
    max_error: float
    neighbours: float
    noise: float = 0.0


@dataclasses.dataclass(frozen=True)
class ProbeChange:
    """Accuracy of a linear probe on n held-out images, with reference and candidate features of the same images.

    low, high: 95 % interval of the difference candidate - reference, paired image by image.
    """

    n: int
    reference: float
    candidate: float
    difference: float
    low: float
    high: float


@dataclasses.dataclass(frozen=True)
class Rows:
    """What both runners gave for the same images, float64 [n, width] each; candidate may have another shape."""

    reference: NDArray[np.float64]
    candidate: NDArray[np.float64]


def compare(reference: Runner, candidate: Runner, images: Tensor, batches: tuple[int, int] = (1, BATCH)) -> Parity:
    """Run both over uint8 images [n, channels, side, side], the candidate in batches of 1, 3, 8 and more.

    batches: least and most that the candidate takes; it gets as many sizes between them. An export whose batch size
    is frozen, or whose rows depend on their neighbours, fails here.
    """
    found = rows_of(reference, candidate, images, batches)
    return parity(found.reference, found.candidate)


def rows_of(reference: Runner, candidate: Runner, images: Tensor, batches: tuple[int, int] = (1, BATCH)) -> Rows:
    if len(images) < 2:
        raise BadInput(f"parity needs at least 2 images, found {len(images)}")
    wanted = [reference(batch).double().cpu().numpy() for batch in images.split(BATCH)]
    rows = [candidate(batch)[:new].double().cpu().numpy() for batch, new in _uneven(images, *batches)]
    return Rows(np.concatenate(wanted), np.concatenate(rows))


def parity(wanted: NDArray[np.float64], rows: NDArray[np.float64]) -> Parity:
    """Compare rows [n, width] with those wanted. Another shape, NaN or infinity count as cosine -1."""
    if rows.shape != wanted.shape or not np.isfinite(rows).all() or not np.isfinite(wanted).all():
        return Parity(len(wanted), -1.0, -1.0, math.inf, 0.0, math.inf)
    cosines = row_cosines(wanted, rows)
    return Parity(
        n=len(wanted),
        worst_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        max_error=float(np.abs(wanted - rows).max()),
        neighbours=_same_neighbours(wanted, rows),
        noise=_noise(wanted, rows),
    )


def not_finite(reference: NDArray[np.float64]) -> str:
    """In words, that torch's own rows hold NaN or infinity, against which nothing is judged; else empty."""
    wrong = int((~np.isfinite(reference)).any(axis=tuple(range(1, reference.ndim))).sum())
    if not wrong:
        return ""
    return (
        f"{NOT_FINITE} for {wrong} of {len(reference)} images, finite numbers expected: the "
        "model or its weights are at fault, not the export; check the weight file"
    )


def probe_change(found: Rows, labels: NDArray[Any], seed: int = 0) -> ProbeChange:
    """Fit one probe on each side's rows and compare them, image by image, on the held-out two fifths.

    Each side is fitted on two fifths and chooses its penalty on one fifth, as a user of that artefact would.
    """
    from featune.engine.probe import probe

    order = np.random.default_rng(seed).permutation(len(labels))
    train, val, test = np.split(order, [2 * len(order) // 5, 3 * len(order) // 5])
    right = []
    for rows in (found.reference, found.candidate):
        rows32 = rows.astype(np.float32)
        fitted = probe(
            rows32[train], labels[train], rows32[val], labels[val], _accuracy,
            np.logspace(-4, 3, 15), classes=int(labels.max()) + 1,
        )  # fmt: skip
        right.append(fitted(rows32[test]).argmax(1) == labels[test])
    low, high = paired_interval(right[0], right[1])
    accuracies = [float(each.mean()) for each in right]
    return ProbeChange(len(test), accuracies[0], accuracies[1], accuracies[1] - accuracies[0], low, high)


def paired_interval(reference: NDArray[np.bool_], candidate: NDArray[np.bool_]) -> tuple[float, float]:
    """95 % interval of the difference of two accuracies on the same n images, candidate - reference.

    Half an image is added to each cell of the two-by-two table, so that no difference at all still has a
    width. Source: Agresti and Min 2005, "Simple improved confidence intervals for comparing matched
    proportions", section 3.
    """
    n = len(reference) + 2
    gained = float((candidate & ~reference).sum()) + 0.5
    lost = float((reference & ~candidate).sum()) + 0.5
    middle = (gained - lost) / n
    half = 1.959964 * math.sqrt(gained + lost - (gained - lost) ** 2 / n) / n
    return middle - half, middle + half


def failures(found: Parity, precision: str = "fp32", change: ProbeChange | None = None) -> list[str]:
    """Which of the precision's thresholds are missed, each with its number; empty where it passes."""
    required = REQUIRED[precision]
    missed = []
    if not found.worst_cosine >= required.worst_cosine:
        missed.append(
            f"worst row of {found.n} images has cosine {found.worst_cosine:.6f} against torch, "
            f"{required.worst_cosine} required"
        )
    if not found.noise <= required.noise:
        missed.append(f"noise is {found.noise:.4f} of the spread between images, {required.noise} allowed")
    if not found.neighbours >= required.neighbours:
        missed.append(f"{found.neighbours:.2f} of the images keep their neighbour, {required.neighbours} required")
    if change is not None and change.high < -required.probe_loss:
        missed.append(
            f"probe accuracy falls from {change.reference:.4f} to {change.candidate:.4f} "
            f"(95 % interval {change.low:+.4f} to {change.high:+.4f}), a loss of {required.probe_loss} allowed"
        )
    return missed


def require(found: Parity, name: str, precision: str = "fp32", change: ProbeChange | None = None) -> None:
    """Raises ParityFailed with every threshold of the precision that is missed."""
    missed = failures(found, precision, change)
    if missed:
        raise ParityFailed(f"{name} {precision}: {'; '.join(missed)}; do not use this artefact")


def parity_of(value: Mapping[str, Any]) -> Parity:
    """A Parity from its JSON; infinities are written as null, since JSON has none."""
    numbers: dict[str, Any] = {key: math.inf if item is None else item for key, item in value.items()}
    return Parity(**numbers)


def _uneven(images: Tensor, least: int, most: int) -> Iterator[tuple[Tensor, int]]:
    """All images once, in batches of uneven sizes from `least` to `most`, with how many of each batch's are new.

    1, 3, 8 and 32 are new at a time where `most` allows; images of before fill a batch up to as many above `least`.
    """
    start, count = 0, len(images)
    for size in itertools.chain(FIRST_BATCHES, itertools.repeat(BATCH)):
        size = min(size, count - start)
        sent = min(most, least + size - 1)
        yield images[torch.arange(start, start + sent, device=images.device) % count], min(size, sent)
        start += min(size, sent)
        if start == count:
            return


def row_cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosine of each row of a [n, width] with the same row of b [n]."""
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    equal = (a == b).all(axis=1)  # two rows of zeros agree
    return np.where(equal, 1.0, (a * b).sum(axis=1) / np.where(norms == 0, np.inf, norms))


def _noise(wanted: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    error = float(np.linalg.norm(wanted - rows))
    spread = float(np.linalg.norm(wanted - wanted.mean(axis=0)))
    return error / spread if spread else (math.inf if error else 0.0)


def _same_neighbours(wanted: NDArray[np.float64], rows: NDArray[np.float64]) -> float:
    """Share of images whose nearest neighbour in `rows` is a nearest one in `wanted` too; equals are equal."""
    similarity = _similarity(wanted)
    chosen = _similarity(rows).argmax(axis=1)
    own = similarity[np.arange(len(wanted)), chosen]
    return float((own >= similarity.max(axis=1) - 1e-9).mean())


def _similarity(rows: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cosines between the rows less their mean, [n, n]; -inf on the diagonal."""
    centred = rows - rows.mean(axis=0)
    scaled = centred / np.maximum(np.linalg.norm(centred, axis=1, keepdims=True), 1e-300)
    similarity = scaled @ scaled.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity


def _accuracy(truth: NDArray[Any], scores: NDArray[Any]) -> float:
    return float((scores.argmax(1) == truth).mean())
