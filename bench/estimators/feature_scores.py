"""Transferability from frozen features and labels alone: LogME, regularised H-score, TransRate and N-LEEP.

Each takes rows [n, width] of a model on a task's train images and the labels, and gives one number, the higher the
better. Rows are taken as they are, neither centred nor scaled beyond what a definition says. Double precision.
"""

import warnings
from typing import Any

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from .source_scores import class_indices, leep

MOST_STEPS = 1_000
SETTLED = 1e-9
STARTS = 49  # ratios of noise to signal, two to a power of ten, of which the best is where the fixed point starts
RATIO_RANGE = (1e-12, 1e12)  # of the noise to the largest eigenvalue: flat beyond, or no noise at all
ENERGY = 0.8  # of the variance, kept by N-LEEP's principal components
COMPONENTS = 5  # of N-LEEP's mixture, per target class
MIXTURE_BYTES = 2e9  # of the mixture's covariances; scikit-learn keeps a few arrays of that size


def logme(rows: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Log of the maximum evidence per image, averaged over classes; any real number.

    labels: target classes [n], or bool [n, classes] where an image has several: each class is a column of zeros
    and ones that a Bayesian linear model without offset predicts from the rows, whose prior and noise precisions
    (alpha, beta) maximise the evidence. Classes without an image are left out.
    Source: You et al. 2021; the fixed point in the singular basis is that of You et al.
    2022 (Ranking and Tuning Pre-trained Models).
    """
    features, targets = feature_rows(rows), _columns(labels)
    _same_length(features, targets)
    eigenvalues, left = _singular_basis(features)
    shares = (left.T @ targets) ** 2  # of each column along each singular direction [rank, classes]
    rest = np.maximum((targets**2).sum(axis=0) - shares.sum(axis=0), 0.0)
    return float(np.mean(_evidence(eigenvalues, shares, rest, len(features)) / len(features)))


def _evidence(eigenvalues: Array, shares: Array, rest: Array, n: int) -> Array:
    """Log evidence of each column at its best alpha and beta [classes].

    A column y is Gaussian with covariance F F^T / alpha + I / beta. Along singular directions of F with
    eigenvalues s of F F^T, and t = alpha / beta, the covariance is (s + t) / alpha: only t must be searched, as
    the best alpha for a t is n over the sum of squares of y weighted by 1 / (s + t). Setting the derivatives by
    alpha and beta to zero gives alpha = gamma / |m|^2 and beta = (n - gamma) / |y - F m|^2 with
    gamma = sum s / (s + t) and the posterior mean m; their ratio is the next t. The evidence may have several
    maxima over t, with few images one of no noise among them: the fixed point starts at the best of a grid.
    """
    if not len(eigenvalues):  # rows of zeros: noise is all there is
        return -n / 2 * (np.log(2 * np.pi * rest / n) + 1)
    s = eigenvalues[:, None]
    grid = eigenvalues.max() * np.geomspace(*RATIO_RANGE, STARTS)
    evidences = np.stack([_evidence_at(np.full(len(rest), t), s, shares, rest, n) for t in grid])
    ratio = grid[evidences.argmax(axis=0)]
    moving = np.arange(len(rest))
    for _ in range(MOST_STEPS):
        t, x2 = ratio[moving], shares[:, moving]
        gamma = (s / (s + t)).sum(axis=0)
        free = (t / (s + t)).sum(axis=0) + n - len(s)  # n - gamma, without the loss of digits where t is small
        mean_square = (s * x2 / (s + t) ** 2).sum(axis=0)
        residual = (x2 * (t / (s + t)) ** 2).sum(axis=0) + rest[moving]
        # A mean of zero (a column that the rows know nothing of) sends t up, a residual of zero sends it down.
        with np.errstate(divide="ignore", invalid="ignore"):
            proposed = gamma * residual / (mean_square * free)
        ratio[moving] = np.clip(np.where(np.isnan(proposed), t, proposed), grid[0], grid[-1])
        moving = moving[abs(ratio[moving] - t) > SETTLED * t]
        if not len(moving):
            break
    return np.maximum(_evidence_at(ratio, s, shares, rest, n), evidences.max(axis=0))


def _evidence_at(ratio: Array, s: Array, shares: Array, rest: Array, n: int) -> Array:
    """Log evidence of each column at a ratio alpha / beta of its own and the best alpha for it [classes]."""
    square = (shares / (s + ratio)).sum(axis=0) + rest / ratio
    log_determinant = np.log(s + ratio).sum(axis=0) + (n - len(s)) * np.log(ratio)
    return -0.5 * (n * np.log(2 * np.pi * square / n) + log_determinant + n)


def h_score(rows: npt.ArrayLike, labels: npt.ArrayLike) -> float:
    """Regularised H-score, from 0 to the smaller of classes - 1 and width.

    trace of (shrunken covariance of the rows)^-1 (1 - a) (covariance of the class means), where a is the
    Ledoit-Wolf shrinkage a of the covariance towards a multiple of the identity. labels: [n]. Covariances are
    divided by n. 0 where the rows are all equal.
    Source: Ibrahim et al. 2022; without shrinkage it is that of Bao et al. 2019.
    """
    features, truth = feature_rows(rows), class_indices(labels)
    _same_length(features, truth)
    centred = features - features.mean(axis=0)
    variance = (centred**2).mean()
    if variance <= _rounding(features):
        return 0.0
    counts = np.bincount(truth)
    eigenvalues, left = _singular_basis(centred)
    shrinkage = _shrinkage(centred, eigenvalues)
    # Along the right singular direction of eigenvalue s a row is sqrt(s) times its entry of the left vector, so
    # that the class means, which lie in the span of the rows, need no rows any more.
    sums = np.zeros((len(counts), len(eigenvalues)))
    np.add.at(sums, truth, left)
    between = (sums**2 / counts[:, None]).sum(axis=0) * eigenvalues / len(features)
    total = (1 - shrinkage) * eigenvalues / len(features) + shrinkage * variance
    return float((1 - shrinkage) * (between / total).sum())


def _shrinkage(centred: Array, eigenvalues: Array) -> float:
    """Ledoit and Wolf's (2004) weight of the identity from the eigenvalues of the rows' Gram matrix.

    With the covariance S, the distance d^2 = |S - m I|^2 / width is known from the eigenvalues, and so is all of
    b^2 = sum over rows of |x x^T - S|^2 / (n^2 width) but the fourth powers of the rows' lengths.
    """
    n, width = centred.shape
    if width == 1:
        return 0.0
    spread = eigenvalues / n
    square = (spread**2).sum()
    distance = (square - spread.sum() ** 2 / width) / width
    error = (((centred**2).sum(axis=1) ** 2).mean() - square) / (n * width)
    return float(min(error / distance, 1.0)) if error > 0 and distance > 0 else float(error > 0)


def transrate(rows: npt.ArrayLike, labels: npt.ArrayLike, epsilon: float = 1e-4) -> float:
    """Coding rate of the centred rows less that within classes, in nats; 0 or more, and as large as rows are wide.

    The rate of Z [n, width] is log det(I + Z^T Z / (n epsilon)) / 2; the rates of the classes are averaged by their
    share of the images. labels: [n]. The authors' listing averages classes alike, which is the same where they are
    balanced. Depends on the scale of the rows. Source: Huang et al. 2022.
    """
    features, truth = feature_rows(rows), class_indices(labels)
    _same_length(features, truth)
    centred = features - features.mean(axis=0)
    shares = np.bincount(truth) / len(truth)
    within = sum(share * _coding_rate(centred[truth == c], epsilon) for c, share in enumerate(shares))
    return float(_coding_rate(centred, epsilon) - within)


def _coding_rate(rows: Array, epsilon: float) -> float:
    """log det(I + Z^T Z / (n epsilon)) / 2, by the smaller of the two Gram matrices, whose determinants agree."""
    n, width = rows.shape
    gram = rows.T @ rows if width <= n else rows @ rows.T
    return float(np.linalg.slogdet(np.eye(len(gram)) + gram / (n * epsilon))[1]) / 2


def nleep(rows: npt.ArrayLike, labels: npt.ArrayLike, seed: int = 0) -> float:
    """LEEP with the components of a Gaussian mixture in place of source classes; at most 0.

    The mixture has five components per class with full covariances, and is fitted to the principal components that
    hold 80 % of the variance; never more components than half the images. labels: [n]. The seed draws the
    mixture's start. Equal rows have one component. Raises BadInput where the covariances would take more than 2 GB.
    Source: Li et al. 2021.
    """
    from sklearn.decomposition import PCA
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    features, truth = feature_rows(rows), class_indices(labels)
    _same_length(features, truth)
    if (features - features.mean(axis=0)).var() <= _rounding(features):
        return leep(np.ones((len(truth), 1)), truth)
    reduced = PCA(ENERGY, svd_solver="full").fit_transform(features)
    reduced /= reduced.std()  # the mixture's floor under variances is absolute
    components = min(COMPONENTS * (int(truth.max()) + 1), max(1, len(truth) // 2), len(np.unique(reduced, axis=0)))
    if components * reduced.shape[1] ** 2 * 8 > MIXTURE_BYTES:
        size = f"{components} components in {reduced.shape[1]} dimensions"
        raise BadInput(f"N-LEEP's mixture of {size} takes more than 2 GB; leave nleep out of `estimators`")
    mixture = GaussianMixture(components, random_state=seed)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ConvergenceWarning)  # a mixture after 100 steps is a mixture
        return leep(mixture.fit(reduced).predict_proba(reduced), truth)


# --- Rows


def feature_rows(values: npt.ArrayLike) -> Array:
    """Float64 [n, width], at least two and all finite; raises BadInput for any other."""
    rows = np.asarray(values, dtype=np.float64)
    if rows.ndim != 2 or len(rows) < 2 or rows.shape[1] < 1:
        raise BadInput(f"rows: features [n, width] of two images or more expected, {rows.shape} found")
    if not np.isfinite(rows).all():
        raise BadInput("rows: finite features expected; the model's output overflows, take fp32")
    return rows


def _columns(labels: npt.ArrayLike) -> Array:
    """Zeros and ones [n, classes that occur], of class numbers [n] or of bool [n, classes]."""
    truth = np.asarray(labels)
    if truth.ndim == 2 and truth.dtype.kind == "b":
        occurring = truth.any(axis=0)
        if not occurring.any():
            raise BadInput("labels: no image has any class")
        return truth[:, occurring].astype(np.float64)
    indices = class_indices(truth)
    return np.eye(int(indices.max()) + 1)[indices]


def _singular_basis(rows: Array) -> tuple[Array, Array]:
    """Eigenvalues of rows rows^T that are not rounding [rank], and the left singular vectors [n, rank]."""
    n, width = rows.shape
    if n <= width:
        eigenvalues, left = np.linalg.eigh(rows @ rows.T)
        kept = _significant(eigenvalues, width)
        return eigenvalues[kept], left[:, kept]
    eigenvalues, right = np.linalg.eigh(rows.T @ rows)
    kept = _significant(eigenvalues, n)
    return eigenvalues[kept], rows @ (right[:, kept] / np.sqrt(eigenvalues[kept]))


def _significant(eigenvalues: Array, length: int) -> npt.NDArray[np.bool_]:
    return eigenvalues > max(float(eigenvalues.max()), 0.0) * length * np.finfo(np.float64).eps


def _rounding(rows: Array) -> float:
    """Variances up to this are rounding errors of the rows' means."""
    return float((np.finfo(np.float64).eps * 8 * abs(rows).max()) ** 2)


def _same_length(rows: Array, labels: npt.NDArray[Any]) -> None:
    if len(rows) != len(labels):
        raise BadInput(f"{len(rows)} rows and {len(labels)} labels found; expected as many of each")
