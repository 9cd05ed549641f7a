"""Quadratic weighted kappa (QWK): agreement of ordered grades beyond chance."""

import numpy as np

from .accuracy import top1_correct
from .definition import Array, Statistic, metric, ratio


@metric(single=True, multilabel=False, per_example=top1_correct, ordinal=True, lowest=-1.0)
def quadratic_kappa(truth: Array, scores: Array) -> Statistic:
    """Cohen's kappa of truth and argmax, disagreement weighted by squared distance of the ordered classes.

    1 - mean((t - p)^2) / (the same if t and p were independent). Classes are the columns of scores, whether
    they occur or not. With a single class in truth it is 0 for any prediction, the right one included.
    """
    true, said = truth.astype(np.float64), scores.argmax(axis=1).astype(np.float64)
    moments = np.stack([np.ones_like(true), true, said, true**2, said**2, (true - said) ** 2])

    def kappa(weights: Array) -> Array:
        total, t, p, tt, pp, apart = moments @ weights
        # Multiplied through by total^2, so that whole weights stay exact and 0 means 0.
        return 1 - ratio(apart * total, (tt + pp) * total - 2 * t * p, otherwise=1.0)

    return kappa
