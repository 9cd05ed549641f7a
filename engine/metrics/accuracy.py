"""Metrics of one decision per image, the class with the highest score: right, nearly right, or how far off.

Of tied scores the lowest class wins.
"""

import numpy as np

from .definition import Array, Statistic, mean_over_defined, metric, ratio, sums_by, weighted_mean


def top1_correct(truth: Array, scores: Array) -> Array:
    """Float [n]: 1 where the highest score is the true class's. Of equal scores the lowest class is taken."""
    return (np.asarray(scores).argmax(axis=1) == np.asarray(truth)).astype(np.float64)


def top5_correct(truth: Array, scores: Array) -> Array:
    """Float [n]: 1 where fewer than five classes come before the true one; of equal scores, the lower do."""
    truth, scores = np.asarray(truth), np.asarray(scores)
    own = np.take_along_axis(scores, truth[:, None], axis=1)
    tied_before = (scores == own) & (np.arange(scores.shape[1]) < truth[:, None])
    return (((scores > own) | tied_before).sum(axis=1) < 5).astype(np.float64)


def real_correct(truth: Array, scores: Array) -> Array:
    """Float [n]: 1 where the highest score is one of the true classes bool [n, k], NaN where none is true."""
    truth = np.asarray(truth) > 0
    hit = np.take_along_axis(truth, np.asarray(scores).argmax(axis=1)[:, None], axis=1)[:, 0]
    return np.where(truth.any(axis=1), hit.astype(np.float64), np.nan)


@metric(single=True, multilabel=False, is_proportion=True, per_example=top1_correct)
def top1(truth: Array, scores: Array) -> Statistic:
    """Share of examples whose highest score is the true class's."""
    return weighted_mean(top1_correct(truth, scores))


@metric(single=True, multilabel=False, is_proportion=True, per_example=top5_correct)
def top5(truth: Array, scores: Array) -> Statistic:
    """Share of examples whose true class is among the five highest scores; 1 with five classes or fewer."""
    return weighted_mean(top5_correct(truth, scores))


@metric(
    single=False,
    multilabel=True,
    is_proportion=True,
    per_example=real_correct,
    undefined="no image has a label",
)
def real_accuracy(truth: Array, scores: Array) -> Statistic:
    """ReaL accuracy: the highest score is one of the image's labels (Beyer et al. 2020).

    Images with no label leave numerator and denominator.
    """
    return weighted_mean(real_correct(truth, scores))


@metric(single=True, multilabel=False, per_example=top1_correct)
def mean_per_class(truth: Array, scores: Array) -> Statistic:
    """Top-1 within each class, averaged over the classes that occur in truth.

    Balanced accuracy (scikit-learn's, not adjusted for chance) is the same number, and an alias in METRICS.
    """
    k, right = scores.shape[1], top1_correct(truth, scores) > 0
    of_class, right_of_class = sums_by(truth, k), sums_by(np.where(right, truth, -1), k)
    return lambda weights: mean_over_defined(ratio(right_of_class(weights), of_class(weights)))
