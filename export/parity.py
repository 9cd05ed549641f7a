"""Do two runners agree on real images? The verdict that lets an exported model be used."""

import dataclasses

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from engine.errors import BadInput, ParityFailed
from engine.runners import Runner

# The worst row's cosine to torch fp32. Two correct fp32 backends differ by rounding, 1 - cosine of 1e-13 to
# 1e-12 over 55 timm models; a swapped mean or a wrong crop costs 1e-3 and more. So 1e-5 divides them well.
REQUIRED_COSINE = {"fp32": 0.99999}


@dataclasses.dataclass(frozen=True)
class Parity:
    """How far a runner's rows are from the reference's, on n images.

    worst_cosine, mean_cosine: between rows of the same image. max_error: largest absolute difference.
    neighbours: share of images whose nearest other image is the same in both.
    """

    n: int
    worst_cosine: float
    mean_cosine: float
    max_error: float
    neighbours: float


def compare(reference: Runner, candidate: Runner, images: Tensor) -> Parity:
    """Run both over uint8 images [n, 3, side, side], the candidate in batches of other sizes too.

    The candidate sees the images one by one for the first, then all at once: an export whose batch size is
    frozen, or whose rows depend on their neighbours, fails here.
    """
    if len(images) < 2:
        raise BadInput(f"parity needs at least 2 images, found {len(images)}")
    wanted = reference(images).double().cpu().numpy()
    rows = np.concatenate([candidate(images[:1]).double().cpu().numpy(), candidate(images[1:]).double().cpu().numpy()])
    return parity(wanted, rows)


def parity(wanted: NDArray[np.float64], rows: NDArray[np.float64]) -> Parity:
    """Compare rows [n, width] with those wanted. Another shape, NaN or infinity count as cosine -1."""
    if rows.shape != wanted.shape or not np.isfinite(rows).all():
        return Parity(len(wanted), -1.0, -1.0, float("inf"), 0.0)
    cosines = _cosines(wanted, rows)
    return Parity(
        n=len(wanted),
        worst_cosine=float(cosines.min()),
        mean_cosine=float(cosines.mean()),
        max_error=float(np.abs(wanted - rows).max()),
        neighbours=float((_nearest(wanted) == _nearest(rows)).mean()),
    )


def require(found: Parity, name: str, precision: str = "fp32") -> None:
    """Raises ParityFailed where the worst row lies below the precision's threshold."""
    required = REQUIRED_COSINE[precision]
    if not found.worst_cosine >= required:
        raise ParityFailed(
            f"{name} {precision}: worst row of {found.n} images has cosine {found.worst_cosine:.6f} against torch, "
            f"{required} required; do not use this artefact"
        )


def _cosines(a: NDArray[np.float64], b: NDArray[np.float64]) -> NDArray[np.float64]:
    norms = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    equal = (a == b).all(axis=1)  # two rows of zeros agree
    return np.where(equal, 1.0, (a * b).sum(axis=1) / np.where(norms == 0, np.inf, norms))


def _nearest(rows: NDArray[np.float64]) -> NDArray[np.int64]:
    scaled = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-300)
    similarity = scaled @ scaled.T
    np.fill_diagonal(similarity, -np.inf)
    return similarity.argmax(axis=1)
