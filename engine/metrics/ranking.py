"""Metrics of the order in which a class's scores put the images: average precisions and the area under ROC.

Tied images are one group, so that nothing depends on the order of the files.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from ..errors import BadInput
from .calibration import probabilities
from .definition import Array, Statistic, known_labels, mean_over_defined, metric, ratio, sums_by


@dataclass(frozen=True)
class Ranking:
    """Images of one class in order of score, cut after every score that a positive image has.

    Called with weights [n, r] it gives, per cut and then for the rest, three sums [cuts + 1, r]: of the
    positives, of negatives with the same score, and of negatives between this score and the cut before.
    Between cuts a precision-recall curve only falls, so nothing is lost and rare classes become cheap.
    """

    sums: Statistic
    cuts: int

    def __call__(self, weights: Array) -> tuple[Array, Array, Array]:
        table = self.sums(weights).reshape(self.cuts + 1, 3, -1)
        return table[:, 0], table[:, 1], table[:, 2]

    def curve(self, weights: Array) -> tuple[Array, Array]:
        """True positives and precision [cuts, r] at each cut; a precision of nothing at all is 0."""
        positive, tied, between = (part[:-1] for part in self(weights))
        hits = positive.cumsum(axis=0)
        return hits, ratio(hits, hits + (tied + between).cumsum(axis=0), otherwise=0.0)


def _ranking(label: Array, score: Array) -> Ranking:
    """label: 1 positive, 0 negative, -1 ignored [n]."""
    levels = np.unique(score[label == 1])[::-1]
    at = len(levels) - np.searchsorted(levels[::-1], score, side="right")  # levels strictly above the score
    tied = (at < len(levels)) & (np.append(levels, 0)[at] == score)
    kind = np.where(label == 1, 0, np.where(tied, 1, 2))
    return Ranking(sums_by(np.where(label < 0, -1, 3 * at + kind), 3 * (len(levels) + 1)), len(levels))


def _rankings(truth: Array, scores: Array, ignore: npt.ArrayLike | None) -> list[Ranking]:
    if ignore is not None:
        if np.shape(ignore) != truth.shape:
            raise BadInput(f"ignore: shape {list(truth.shape)} expected, {list(np.shape(ignore))} found")
        truth = np.where(np.asarray(ignore, dtype=bool), -1, truth)
    return [_ranking(truth[:, c], scores[:, c]) for c in range(scores.shape[1])]


def _class_mean(areas: list[Statistic]) -> Statistic:
    return lambda weights: mean_over_defined(np.stack([area(weights) for area in areas]))


def _area_below(area: Callable[[Array, Array], Array], ranking: Ranking) -> Statistic:
    """A class's area [r] from its true positives and precision [cuts, r]; NaN where it has no positive."""
    if not ranking.cuts:
        return lambda weights: np.full(weights.shape[1], np.nan)
    return lambda weights: area(*ranking.curve(weights))


def _envelope(precision: Array) -> Array:
    """The best precision at each cut or a later one [cuts, r]."""
    return np.maximum.accumulate(precision[::-1], axis=0)[::-1]


NO_POSITIVE = "no class has a positive example"


@metric(single=False, multilabel=True, undefined=NO_POSITIVE)
def map_11point(truth: Array, scores: Array, ignore: npt.ArrayLike | None = None) -> Statistic:
    """VOC 2007's mean average precision: the best precision at recall t or more, over t = 0, 0.1, ..., 1.

    Images that are "difficult" for a class, -1 in truth or True in `ignore` [n, k], are neither hits nor
    misses (VOCevalcls.m). Recall is compared in whole counts: in the devkit's floats 3 of 10 falls short of
    3 * 0.1. The devkit ranks tied images in file order; here tied misses come first, the lowest of the values
    that it could give. Classes without a positive are left out.
    """

    def area(hits: Array, precision: Array) -> Array:
        best = np.append(_envelope(precision), np.zeros((1, hits.shape[1])), axis=0)
        levels = np.arange(11)[:, None, None]
        first = (10 * hits < levels * hits[-1]).sum(axis=1)  # cuts of lower recall [11, r]
        return np.where(hits[-1] > 0, np.take_along_axis(best, first, axis=0).mean(axis=0), np.nan)

    return _class_mean([_area_below(area, ranking) for ranking in _rankings(truth, scores, ignore)])


@metric(single=False, multilabel=True, undefined=NO_POSITIVE)
def map_voc2010(truth: Array, scores: Array, ignore: npt.ArrayLike | None = None) -> Statistic:
    """VOC's mean average precision from 2010 on: the area below the best precision at each recall or more.

    Ignored labels, ties and classes without a positive as in `map_11point`.
    """

    def area(hits: Array, precision: Array) -> Array:
        return ratio((np.diff(hits, axis=0, prepend=0) * _envelope(precision)).sum(axis=0), hits[-1])

    return _class_mean([_area_below(area, ranking) for ranking in _rankings(truth, scores, ignore)])


@metric(name="map", single=False, multilabel=True, undefined=NO_POSITIVE)
def mean_average_precision(truth: Array, scores: Array, ignore: npt.ArrayLike | None = None) -> Statistic:
    """Mean average precision over all points: precision times gain in recall, not interpolated.

    scikit-learn's average_precision_score. Ignored labels, ties and classes without a positive as in
    `map_11point`.
    """

    def area(hits: Array, precision: Array) -> Array:
        return ratio((np.diff(hits, axis=0, prepend=0) * precision).sum(axis=0), hits[-1])

    return _class_mean([_area_below(area, ranking) for ranking in _rankings(truth, scores, ignore)])


@metric(single=True, multilabel=True, undefined="no class has both positive and negative examples")
def roc_auc(truth: Array, scores: Array) -> Statistic:
    """Chance that a positive image scores above a negative one, ties counting half; mean over classes.

    Two classes: by their score difference. More: each against the rest, by probability (`probabilities`).
    Several labels: by column. Classes that lack positives or negatives are left out.
    """
    if truth.ndim == 2:
        labels, by = known_labels(truth), scores
    elif scores.shape[1] == 2:
        with np.errstate(invalid="ignore", over="ignore"):
            apart = np.subtract(scores[:, 1], scores[:, 0], dtype=np.float64)
        labels, by = truth[:, None] == 1, np.where(np.isnan(apart), 0.0, apart)[:, None]  # inf - inf: even
    else:
        labels, by = truth[:, None] == np.arange(scores.shape[1]), probabilities(scores)
    return _class_mean([_roc_area(labels[:, c], by[:, c]) for c in range(by.shape[1])])


def _roc_area(label: Array, score: Array) -> Statistic:
    if 2 * label.sum() > len(label):
        # The area is the same with labels and scores reversed, and the work follows the number of positives.
        label, score = ~label, -score
    ranking = _ranking(label.astype(np.int8), score)

    def area(weights: Array) -> Array:
        positive, tied, between = ranking(weights)
        above = np.cumsum(tied + between, axis=0)  # negatives down to each cut, those tied with it included
        pairs = positive.sum(axis=0) * above[-1]
        losses = np.einsum("cr,cr->r", positive, above) - np.einsum("cr,cr->r", positive, tied) / 2
        return ratio(pairs - losses, pairs)

    return area
