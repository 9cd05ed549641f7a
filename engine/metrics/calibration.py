"""Scores as probabilities, and metrics of how good those are: log loss, Brier score, calibration error."""

import numpy as np
import numpy.typing as npt

from ..errors import BadInput
from .accuracy import top1_correct
from .definition import Array, Statistic, metric, ratio, weighted_mean

CALIBRATION_BINS = 15  # as in Guo et al. 2017
SUM_TOLERANCE = 1e-3  # probabilities in half precision sum to one within this


def softmax(scores: npt.ArrayLike) -> Array:
    """Probabilities float64 [n, k] of logits [n, k].

    Infinite logits are limits: those at +inf share the row, -inf has none of it, all at -inf are even.
    """
    logits = np.asarray(scores, dtype=np.float64)
    top = logits.max(axis=1, keepdims=True)
    with np.errstate(over="ignore", invalid="ignore"):
        below = np.where(logits == top, 0.0, logits - top)  # inf - inf is 0 here
    odds = np.exp(below)
    return odds / odds.sum(axis=1, keepdims=True)


def probabilities(scores: npt.ArrayLike, kind: str = "auto") -> Array:
    """Probabilities float64 [n, k] of scores that are "logits" or "probabilities".

    "auto": scores are probabilities when every row lies in [0, 1] and sums to 1, else logits, and then
    softmax is applied. Rows of probabilities are divided by their sum.
    """
    values = np.asarray(scores, dtype=np.float64)
    if kind not in ("auto", "logits", "probabilities"):
        raise BadInput(f"scores are auto, logits or probabilities; {kind!r} found")
    fits = bool(((values >= 0) & (values <= 1)).all()) and bool((abs(values.sum(axis=1) - 1) <= SUM_TOLERANCE).all())
    if kind == "probabilities" and not fits:
        raise BadInput("scores: rows in [0, 1] that sum to 1 expected of probabilities; pass them as logits")
    if kind == "logits" or not fits:
        return softmax(values)
    return values / values.sum(axis=1, keepdims=True)


@metric(single=True, multilabel=False, higher_is_better=False, highest=37.0)
def log_loss(truth: Array, scores: Array, kind: str = "auto") -> Statistic:
    """Mean of -log(probability of the true class), in nats; kind of scores as in `probabilities`.

    Probabilities below 2.2e-16 count as that, as in scikit-learn, so the loss is finite: at most 36.04.
    """
    own = np.take_along_axis(probabilities(scores, kind), truth[:, None], axis=1)[:, 0]
    return weighted_mean(-np.log(np.maximum(own, np.finfo(np.float64).eps)))


@metric(single=True, multilabel=False, higher_is_better=False, highest=2.0)
def brier(truth: Array, scores: Array, kind: str = "auto") -> Statistic:
    """Mean squared distance between the probabilities and the truth; kind of scores as in `probabilities`.

    Summed over classes, 0 to 2; with two classes half of it, (p1 - y)^2, 0 to 1. scikit-learn's convention.
    """
    apart = probabilities(scores, kind)
    np.put_along_axis(apart, truth[:, None], np.take_along_axis(apart, truth[:, None], axis=1) - 1, axis=1)
    return weighted_mean((apart**2).sum(axis=1) / (2 if scores.shape[1] == 2 else 1))


@metric(single=True, multilabel=False, higher_is_better=False)
def ece(truth: Array, scores: Array, kind: str = "auto", bins: int = CALIBRATION_BINS) -> Statistic:
    """Expected calibration error: |accuracy - confidence| over bins of equal width, weighted by their size.

    Confidence is the highest probability; bins are (a, b]; kind of scores as in `probabilities`. Resampled
    values lie higher than the value itself, since noise within a bin only adds.
    """
    confidence = probabilities(scores, kind).max(axis=1)
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = top1_correct(truth, scores) - confidence
    onto = np.where(bin_of == np.arange(bins)[:, None], gap, 0.0)  # [bins, n]
    return lambda weights: ratio(abs(onto @ weights).sum(axis=0), weights.sum(axis=0))
