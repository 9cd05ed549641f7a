"""Geometry of features: how far classes lie apart, how alike two models see, how far apart two sets of images lie.

Each takes rows [n, width] of one or two models, or of two sets of images, and works in double precision.
"""

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from .feature_scores import feature_rows
from .source_scores import class_indices


def class_separation(rows: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """R^2 of the classes in cosine distance, at most 1: the share of the distance that lies between classes.

    labels: classes [n]. 1 - (mean distance within a class) / (mean distance of all), each class of the same weight,
    an image's distance to itself (0) among them. Higher after losses that pull classes apart, such as label smoothing,
    which make frozen features transfer worse. Rows of zeros have cosine 0 with every other. NaN where all rows point in
    one direction. Source: Kornblith et al. 2021 (Why Do Better Loss Functions Lead to Less Transferable Features?),
    section 3.4.

    With unit rows u, a class mean m_k and m the mean of the m_k, the mean cosine of all pairs in a class is |m_k|^2,
    and of all pairs over classes |m|^2, so that no pair is formed.
    """
    features, truth = feature_rows(rows), class_indices(labels)
    if len(features) != len(truth):
        raise BadInput(f"{len(features)} rows and {len(truth)} labels found; expected as many of each")
    norms = np.linalg.norm(features, axis=1, keepdims=True)
    unit = np.divide(features, norms, out=np.zeros_like(features), where=norms > 0)
    sums = np.zeros((int(truth.max()) + 1, features.shape[1]))
    np.add.at(sums, truth, unit)
    means = sums / np.bincount(truth)[:, None]
    within = 1 - (means**2).sum(axis=1).mean()
    total = 1 - (means.mean(axis=0) ** 2).sum()
    return float(1 - within / total) if total > _rounding(features) else float("nan")


def linear_cka(one: npt.ArrayLike, other: npt.ArrayLike, *, debiased: bool = True) -> float:
    """How alike two models or layers see the same images: 1 for the same but for rotation and scale, 0 for nothing.

    one, other: rows [n, width] of the same n images; the widths may differ. The plain index is high between unrelated
    features where n is not far above the widths; the debiased one estimates 0 there, and may be slightly negative.
    NaN where the rows of one are all equal. Source: Kornblith et al. 2019 (Similarity of Neural Network Representations
    Revisited), equation 4; debiased by HSIC_1 of Song et al. 2012, as in Nguyen et al. 2021.
    """
    a, b = feature_rows(one), feature_rows(other)
    if len(a) != len(b):
        raise BadInput(f"{len(a)} and {len(b)} rows found; CKA is of the same images, in one order")
    if debiased and len(a) < 4:
        raise BadInput(f"{len(a)} images found, 4 or more expected; give more, or take the plain index")
    a, b = a - a.mean(axis=0), b - b.mean(axis=0)
    inner = _hsic if debiased else _inner
    own = inner(a, a) * inner(b, b)
    return float(inner(a, b) / np.sqrt(own)) if own > 0 and a.any() and b.any() else float("nan")


def _inner(a: Array, b: Array) -> float:
    """|A^T B|^2, which is the inner product of the Gram matrices, by whichever is the smaller."""
    if len(a) < max(a.shape[1], b.shape[1]):
        return float(((a @ a.T) * (b @ b.T)).sum())
    return float(((a.T @ b) ** 2).sum())


def _hsic(a: Array, b: Array) -> float:
    """n (n - 3) times HSIC_1 of linear kernels, of centred rows.

    With K and L the Gram matrices without their diagonals k and l, it is
    tr(K L) + (sum K)(sum L) / ((n - 1)(n - 2)) - 2 / (n - 2) sum(K L). The rows of a Gram matrix of centred rows add up
    to 0, those of K to -k, so that nothing but |A^T B|^2 and the diagonals is needed.
    """
    n, k, l = len(a), (a**2).sum(axis=1), (b**2).sum(axis=1)  # noqa: E741
    trace = _inner(a, b) - k @ l
    return float(trace + k.sum() * l.sum() / ((n - 1) * (n - 2)) - 2 / (n - 2) * (k @ l))


def frechet_distance(one: npt.ArrayLike, other: npt.ArrayLike) -> float:
    """Squared Frechet distance of two sets of images as one model sees them, each taken for a Gaussian; at least 0.

    one, other: rows [n, width] and [m, width]. |m1 - m2|^2 + tr(S1 + S2 - 2 (S1 S2)^(1/2)), covariances over n - 1.
    Too large for few images: below some ten per feature column most of it is sampling error; compare equal n.
    Source: Dowson and Landau 1982; of features, Heusel et al. 2017.

    tr (S1 S2)^(1/2) is the sum of the singular values of S1^(1/2) S2^(1/2): no root of a matrix that is not symmetric,
    which rounding makes complex. With R the centred rows over sqrt(n - 1), S^(1/2) and R have the same R^T R, so that
    R1 R2^T will do where there are fewer rows than columns.
    """
    a, b = feature_rows(one), feature_rows(other)
    if a.shape[1] != b.shape[1]:
        raise BadInput(
            f"features of width {a.shape[1]} and {b.shape[1]} found; the distance is of one model's features"
        )
    away = ((a.mean(axis=0) - b.mean(axis=0)) ** 2).sum()
    a, b = ((of - of.mean(axis=0)) / np.sqrt(len(of) - 1) for of in (a, b))
    shared = np.linalg.svd(_root(a) @ _root(b).T, compute_uv=False).sum()
    return float(max(away + (a**2).sum() + (b**2).sum() - 2 * shared, 0.0))


def frechet_nearness(rows: npt.ArrayLike, source: npt.ArrayLike) -> float:
    """Minus the squared Frechet distance, so that a task that lies near to the source has the higher number."""
    return -frechet_distance(rows, source)


def _root(rows: Array) -> Array:
    """A matrix [at most width, width] with the same R^T R as the rows."""
    if len(rows) <= rows.shape[1]:
        return rows
    return np.asarray(np.linalg.qr(rows, mode="r"))


def _rounding(rows: Array) -> float:
    return float(8 * np.finfo(np.float64).eps * rows.shape[1])
