"""F1, where an image has one class or several; labels above a threshold, and the threshold's choice."""

import numpy as np
import numpy.typing as npt

from ..errors import BadInput
from .accuracy import top1_correct
from .definition import (
    Array,
    Metric,
    Statistic,
    checked,
    known_labels,
    mean_over_defined,
    metric,
    ratio,
    sums_by,
    weighted_mean,
)


def predicted(scores: Array, threshold: npt.ArrayLike | None = None) -> Array:
    """Labels bool [n, k] of scores: those at or above the threshold, one number or one per class.

    Without a threshold: 0.5 when all scores lie in [0, 1], else 0, which is a probability of 0.5 of logits. Studies
    and `featune probe` never leave it out: theirs is `choose_threshold`'s on val.
    """
    scores = np.asarray(scores)
    if threshold is None:
        threshold = 0.5 if scores.min() >= 0 and scores.max() <= 1 else 0.0
    threshold = np.asarray(threshold, dtype=np.float64)
    if threshold.shape not in ((), (scores.shape[1],)) or np.isnan(threshold).any():
        raise BadInput(f"threshold: a number, or one for each of {scores.shape[1]} classes; {threshold} found")
    return scores >= threshold


def _no_threshold(threshold: npt.ArrayLike | None) -> None:
    if threshold is not None:
        raise BadInput("threshold: truth has one class per image, where the highest score decides; drop it")


def _image_counts(truth: Array, scores: Array, threshold: npt.ArrayLike | None) -> tuple[Array, Array]:
    """2 TP and 2 TP + FP + FN of every image, each float [n]."""
    true, said = known_labels(truth), predicted(scores, threshold)
    return 2.0 * (true & said).sum(axis=1), (true.sum(axis=1) + said.sum(axis=1)).astype(np.float64)


NOTHING_TO_FIND = "no class occurs or is predicted"


@metric(single=True, multilabel=True, undefined=NOTHING_TO_FIND)
def f1_macro(truth: Array, scores: Array, threshold: npt.ArrayLike | None = None) -> Statistic:
    """Mean over classes of 2 TP / (2 TP + FP + FN). One class per image: by argmax; several: above a threshold, which
    studies choose on val, one for all classes.

    A class that neither occurs nor is predicted is left out of the mean: scikit-learn's default where an
    image has one class, its `zero_division=nan` where it has several.
    """
    if truth.ndim == 1:
        _no_threshold(threshold)
        k, said = scores.shape[1], scores.argmax(axis=1)
        occurs, predicts = sums_by(truth, k), sums_by(said, k)
        agrees = sums_by(np.where(said == truth, truth, -1), k)
        return lambda weights: mean_over_defined(ratio(2 * agrees(weights), occurs(weights) + predicts(weights)))
    true, found = known_labels(truth), predicted(scores, threshold)
    both, either = 2.0 * (true & found).T, true.T.astype(np.float64) + found.T
    return lambda weights: mean_over_defined(ratio(both @ weights, either @ weights))


@metric(single=True, multilabel=True, undefined=NOTHING_TO_FIND)
def f1_micro(truth: Array, scores: Array, threshold: npt.ArrayLike | None = None) -> Statistic:
    """2 TP / (2 TP + FP + FN) over all classes together; top-1 where an image has one class."""
    if truth.ndim == 1:
        _no_threshold(threshold)
        return weighted_mean(top1_correct(truth, scores))
    both, either = _image_counts(truth, scores, threshold)
    return lambda weights: ratio(both @ weights, either @ weights)


@metric(single=False, multilabel=True)
def f1_samples(truth: Array, scores: Array, threshold: npt.ArrayLike | None = None) -> Statistic:
    """Mean over images of 2 TP / (2 TP + FP + FN); 1 where an image has no label and none is predicted."""
    both, either = _image_counts(truth, scores, threshold)
    return weighted_mean(ratio(both, either, otherwise=1.0))


# --- The threshold


OF_LABELS = {one.name: one for one in (f1_macro, f1_micro, f1_samples)}


def choose_threshold(
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    metric: str = "f1_macro",
    *,
    per_class: bool = False,
    candidates: int = 200,
) -> float | Array:
    """The threshold with the best F1 on validation data, for use on test: a float, or [k] with per_class.

    Candidates lie halfway between neighbouring scores (at most `candidates` of them, evenly spaced in rank).
    Of equally good ones the middle one is taken. A class with no positive example keeps the common threshold.
    """
    truth, scores = checked(truth, scores)
    known = ("f1_macro",) if per_class else tuple(OF_LABELS)
    if truth.ndim == 1 or metric not in known:
        each = "a threshold per class" if per_class else "a threshold"
        raise BadInput(f"{each} is for {', '.join(known)} of truth bool [n, k]; {metric} of {truth.ndim}-d truth")
    common = _best_cut(truth, scores, OF_LABELS[metric], candidates)
    if not per_class:
        return common
    chosen = np.full(scores.shape[1], common)
    for c in np.flatnonzero((truth > 0).any(axis=0)):
        chosen[c] = _best_cut(truth[:, [c]], scores[:, [c]], OF_LABELS[metric], candidates)
    return chosen


def _best_cut(truth: Array, scores: Array, metric: Metric, candidates: int) -> float:
    levels = np.unique(scores[np.isfinite(scores)].astype(np.float64))
    cuts = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2]) if len(levels) else np.zeros(1)
    cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, min(candidates, len(cuts))).round().astype(int))]
    one = np.ones((len(truth), 1))
    values = np.array([metric.statistic(truth, scores, threshold=cut)[0](one)[0] for cut in cuts])
    best = np.flatnonzero(values == np.nanmax(values)) if not np.isnan(values).all() else np.arange(len(cuts))
    return float(cuts[best[(len(best) - 1) // 2]])
