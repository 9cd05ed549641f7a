"""Truth and scores in, one number out; METRICS is the table of them all.

truth is int [n], the class of each example, or, for tasks with several labels per image, bool [n, k].
scores are float [n, k], logits or probabilities; the higher, the more likely.

Every metric is written once, as a statistic of example weights: it prepares what does not depend on the
weights (an order, a table) and returns a function from weights [n, r] to r values. A weight of 1 for all is
the metric itself; columns that count how often each example was drawn are bootstrap resamples, 10,000 of
which then cost seconds (`bench.stats.interval`). scikit-learn has most of these too, at one weighting per
call; the tests hold every metric to it.

What is the same for all:
- NaN scores, labels outside [0, k), empty input and wrong shapes raise BadInput. Infinite scores are fine.
- Of tied scores the lowest class wins an argmax; a metric over rankings treats tied examples as one group, so
  that no metric depends on the order of the files.
- What is undefined (a class without examples, say) is left out of a mean over classes; where nothing is left,
  the metric raises BadInput.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import BadInput

Array = npt.NDArray[Any]
Statistic = Callable[[Array], Array]  # weights [n, r] -> values [r], NaN where the metric is undefined

CALIBRATION_BINS = 15  # as in Guo et al. 2017
SUM_TOLERANCE = 1e-3  # probabilities in half precision sum to one within this


@dataclass(frozen=True)
class Metric:
    """A metric that is called as `metric(truth, scores)` and gives one float.

    single, multilabel: which truths it takes, int [n] or bool [n, k].
    is_proportion: it is the mean of `per_example`, so a binomial interval applies.
    per_example: (truth, scores) -> [n], 1.0 for right, 0.0 for wrong, NaN for an example that does not count.
    undefined: when it has no value, in words.
    """

    name: str
    prepare: Callable[..., Statistic]
    single: bool
    multilabel: bool
    is_proportion: bool = False
    higher_is_better: bool = True
    per_example: Callable[[Array, Array], Array] | None = None
    undefined: str = ""

    def __call__(self, truth: npt.ArrayLike, scores: npt.ArrayLike, **options: Any) -> float:
        """The metric's value; options are the metric's own, `threshold` of the F1s for example."""
        statistic, n = self.statistic(truth, scores, **options)
        value = float(statistic(np.ones((n, 1)))[0])
        if np.isnan(value):
            raise BadInput(f"{self.name} of {n} examples is undefined: {self.undefined}")
        return value

    def statistic(self, truth: npt.ArrayLike, scores: npt.ArrayLike, **options: Any) -> tuple[Statistic, int]:
        """The metric as a function of example weights [n, r], and n."""
        truth, scores = checked(truth, scores)
        if truth.ndim == 1 and not self.single:
            raise BadInput(f"{self.name} takes truth bool [n, k]; int [{len(truth)}] found")
        if truth.ndim == 2 and not self.multilabel:
            raise BadInput(f"{self.name} takes truth int [n]; [{truth.shape[0]}, {truth.shape[1]}] found")
        return self.prepare(truth, scores, **options), len(truth)


METRICS: dict[str, Metric] = {}


def metric(**facts: Any) -> Callable[[Callable[..., Statistic]], Metric]:
    """Turn a statistic into a Metric under its own name, and list it in METRICS."""

    def register(prepare: Callable[..., Statistic]) -> Metric:
        made = Metric(prepare=prepare, **({"name": prepare.__name__} | facts))
        object.__setattr__(made, "__doc__", prepare.__doc__)  # so that help(top1) explains top1
        METRICS[made.name] = made
        return made

    return register


# --- What comes in


def checked(truth: npt.ArrayLike, scores: npt.ArrayLike) -> tuple[Array, Array]:
    """truth and scores as arrays that fit each other, or BadInput."""
    truth, scores = np.asarray(truth), np.asarray(scores)
    if scores.ndim != 2 or 0 in scores.shape:
        raise BadInput(f"scores: shape [n, classes] expected, {list(scores.shape)} found")
    if scores.dtype.kind != "f":
        scores = scores.astype(np.float64)
    bad = np.flatnonzero(np.isnan(scores).any(axis=1))
    if len(bad):
        raise BadInput(f"scores: NaN in {len(bad)} of {len(scores)} rows: {_listed(bad)}; did training diverge?")
    n, k = scores.shape
    if truth.shape == (n,) and truth.dtype.kind in "iu":
        bad = np.flatnonzero((truth < 0) | (truth >= k))
        if len(bad):
            raise BadInput(f"truth: labels 0 to {k - 1} expected; {truth[bad[0]]} in rows {_listed(bad)}")
        return truth.astype(np.int64), scores
    if truth.shape == (n, k) and truth.dtype.kind in "biu":
        if truth.min() < -1 or truth.max() > 1:
            raise BadInput(f"truth [n, k]: 0, 1, -1 (ignored) expected; {truth.min()} to {truth.max()} found")
        return truth.astype(np.int8), scores
    raise BadInput(
        f"truth: int [{n}] or bool [{n}, {k}] expected for scores [{n}, {k}], {truth.dtype} {list(truth.shape)} found"
    )


def _listed(rows: Array, most: int = 5) -> str:
    return ", ".join(str(row) for row in rows[:most]) + (", ..." if len(rows) > most else "")


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


# --- Pieces of statistics


def _mean(values: Array) -> Statistic:
    """Weighted mean over the examples whose value is not NaN."""
    counts = ~np.isnan(values)
    values = np.where(counts, values, 0.0)
    return lambda weights: _ratio(values @ weights, counts.astype(np.float64) @ weights)


def _ratio(top: Array, bottom: Array, otherwise: float = np.nan) -> Array:
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, otherwise), where=bottom != 0)


def _mean_over_defined(values: Array) -> Array:
    """Mean over the rows [k, r] that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return _ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


def _sums_by(codes: Array, size: int) -> Statistic:
    """Sums of weights per code: weights [n, r] -> [size, r]. Examples with code -1 are left out."""
    order = np.argsort(codes, kind="stable")
    order = order[codes[order] >= 0]
    present, starts = np.unique(codes[order], return_index=True)

    def sums(weights: Array) -> Array:
        out = np.zeros((size, weights.shape[1]))
        if len(order):
            out[present] = np.add.reduceat(weights[order], starts, axis=0)
        return out

    return sums


# --- Decisions: one class per image


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
    return _mean(top1_correct(truth, scores))


@metric(single=True, multilabel=False, is_proportion=True, per_example=top5_correct)
def top5(truth: Array, scores: Array) -> Statistic:
    """Share of examples whose true class is among the five highest scores; 1 with five classes or fewer."""
    return _mean(top5_correct(truth, scores))


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
    return _mean(real_correct(truth, scores))


@metric(single=True, multilabel=False, per_example=top1_correct)
def mean_per_class(truth: Array, scores: Array) -> Statistic:
    """Top-1 within each class, averaged over the classes that occur in truth.

    Balanced accuracy (scikit-learn's, not adjusted for chance) is the same number, and an alias in METRICS.
    """
    k, right = scores.shape[1], top1_correct(truth, scores) > 0
    of_class, right_of_class = _sums_by(truth, k), _sums_by(np.where(right, truth, -1), k)
    return lambda weights: _mean_over_defined(_ratio(right_of_class(weights), of_class(weights)))


balanced_accuracy = mean_per_class
METRICS["balanced_accuracy"] = mean_per_class


@metric(single=True, multilabel=False, per_example=top1_correct)
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
        return 1 - _ratio(apart * total, (tt + pp) * total - 2 * t * p, otherwise=1.0)

    return kappa


# --- F1: decisions by threshold where an image has several labels


def predicted(scores: Array, threshold: npt.ArrayLike | None = None) -> Array:
    """Labels bool [n, k] of scores: those at or above the threshold, one number or one per class.

    Without a threshold: 0.5 when all scores lie in [0, 1], else 0, which is a probability of 0.5 of logits.
    """
    scores = np.asarray(scores)
    if threshold is None:
        threshold = 0.5 if scores.min() >= 0 and scores.max() <= 1 else 0.0
    threshold = np.asarray(threshold, dtype=np.float64)
    if threshold.shape not in ((), (scores.shape[1],)) or np.isnan(threshold).any():
        raise BadInput(f"threshold: a number, or one for each of {scores.shape[1]} classes; {threshold} found")
    return scores >= threshold


def _known(truth: Array) -> Array:
    if (truth < 0).any():
        raise BadInput("truth: labels -1 (ignored) are for average precision only; 0 or 1 expected")
    return truth > 0


def _no_threshold(threshold: npt.ArrayLike | None) -> None:
    if threshold is not None:
        raise BadInput("threshold: truth has one class per image, where the highest score decides; drop it")


def _image_counts(truth: Array, scores: Array, threshold: npt.ArrayLike | None) -> tuple[Array, Array]:
    """2 TP and 2 TP + FP + FN of every image, each float [n]."""
    true, said = _known(truth), predicted(scores, threshold)
    return 2.0 * (true & said).sum(axis=1), (true.sum(axis=1) + said.sum(axis=1)).astype(np.float64)


NOTHING_TO_FIND = "no class occurs or is predicted"


@metric(single=True, multilabel=True, undefined=NOTHING_TO_FIND)
def f1_macro(truth: Array, scores: Array, threshold: npt.ArrayLike | None = None) -> Statistic:
    """Mean over classes of 2 TP / (2 TP + FP + FN). One class per image: by argmax; several: by `predicted`.

    A class that neither occurs nor is predicted is left out of the mean: scikit-learn's default where an
    image has one class, its `zero_division=nan` where it has several.
    """
    if truth.ndim == 1:
        _no_threshold(threshold)
        k, said = scores.shape[1], scores.argmax(axis=1)
        occurs, predicts = _sums_by(truth, k), _sums_by(said, k)
        agrees = _sums_by(np.where(said == truth, truth, -1), k)
        return lambda weights: _mean_over_defined(_ratio(2 * agrees(weights), occurs(weights) + predicts(weights)))
    true, found = _known(truth), predicted(scores, threshold)
    both, either = 2.0 * (true & found).T, true.T.astype(np.float64) + found.T
    return lambda weights: _mean_over_defined(_ratio(both @ weights, either @ weights))


@metric(single=True, multilabel=True, undefined=NOTHING_TO_FIND)
def f1_micro(truth: Array, scores: Array, threshold: npt.ArrayLike | None = None) -> Statistic:
    """2 TP / (2 TP + FP + FN) over all classes together; top-1 where an image has one class."""
    if truth.ndim == 1:
        _no_threshold(threshold)
        return _mean(top1_correct(truth, scores))
    both, either = _image_counts(truth, scores, threshold)
    return lambda weights: _ratio(both @ weights, either @ weights)


@metric(single=False, multilabel=True)
def f1_samples(truth: Array, scores: Array, threshold: npt.ArrayLike | None = None) -> Statistic:
    """Mean over images of 2 TP / (2 TP + FP + FN); 1 where an image has no label and none is predicted."""
    both, either = _image_counts(truth, scores, threshold)
    return _mean(_ratio(both, either, otherwise=1.0))


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
    known = ("f1_macro",) if per_class else ("f1_macro", "f1_micro", "f1_samples")
    if truth.ndim == 1 or metric not in known:
        each = "a threshold per class" if per_class else "a threshold"
        raise BadInput(f"{each} is for {', '.join(known)} of truth bool [n, k]; {metric} of {truth.ndim}-d truth")
    common = _best_cut(truth, scores, METRICS[metric], candidates)
    if not per_class:
        return common
    chosen = np.full(scores.shape[1], common)
    for c in np.flatnonzero((truth > 0).any(axis=0)):
        chosen[c] = _best_cut(truth[:, [c]], scores[:, [c]], METRICS[metric], candidates)
    return chosen


def _best_cut(truth: Array, scores: Array, metric: Metric, candidates: int) -> float:
    levels = np.unique(scores[np.isfinite(scores)].astype(np.float64))
    cuts = np.concatenate([levels[:1], (levels[1:] + levels[:-1]) / 2]) if len(levels) else np.zeros(1)
    cuts = cuts[np.unique(np.linspace(0, len(cuts) - 1, min(candidates, len(cuts))).round().astype(int))]
    one = np.ones((len(truth), 1))
    values = np.array([metric.statistic(truth, scores, threshold=cut)[0](one)[0] for cut in cuts])
    best = np.flatnonzero(values == np.nanmax(values)) if not np.isnan(values).all() else np.arange(len(cuts))
    return float(cuts[best[(len(best) - 1) // 2]])


# --- Rankings of the images by one class's score


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
        return hits, _ratio(hits, hits + (tied + between).cumsum(axis=0), otherwise=0.0)


def _ranking(label: Array, score: Array) -> Ranking:
    """label: 1 positive, 0 negative, -1 ignored [n]."""
    levels = np.unique(score[label == 1])[::-1]
    at = len(levels) - np.searchsorted(levels[::-1], score, side="right")  # levels strictly above the score
    tied = (at < len(levels)) & (np.append(levels, 0)[at] == score)
    kind = np.where(label == 1, 0, np.where(tied, 1, 2))
    return Ranking(_sums_by(np.where(label < 0, -1, 3 * at + kind), 3 * (len(levels) + 1)), len(levels))


def _rankings(truth: Array, scores: Array, ignore: npt.ArrayLike | None) -> list[Ranking]:
    if ignore is not None:
        if np.shape(ignore) != truth.shape:
            raise BadInput(f"ignore: shape {list(truth.shape)} expected, {list(np.shape(ignore))} found")
        truth = np.where(np.asarray(ignore, dtype=bool), -1, truth)
    return [_ranking(truth[:, c], scores[:, c]) for c in range(scores.shape[1])]


def _class_mean(areas: list[Statistic]) -> Statistic:
    return lambda weights: _mean_over_defined(np.stack([area(weights) for area in areas]))


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
        return _ratio((np.diff(hits, axis=0, prepend=0) * _envelope(precision)).sum(axis=0), hits[-1])

    return _class_mean([_area_below(area, ranking) for ranking in _rankings(truth, scores, ignore)])


@metric(name="map", single=False, multilabel=True, undefined=NO_POSITIVE)
def mean_average_precision(truth: Array, scores: Array, ignore: npt.ArrayLike | None = None) -> Statistic:
    """Mean average precision over all points: precision times gain in recall, not interpolated.

    scikit-learn's average_precision_score. Ignored labels, ties and classes without a positive as in
    `map_11point`.
    """

    def area(hits: Array, precision: Array) -> Array:
        return _ratio((np.diff(hits, axis=0, prepend=0) * precision).sum(axis=0), hits[-1])

    return _class_mean([_area_below(area, ranking) for ranking in _rankings(truth, scores, ignore)])


@metric(single=True, multilabel=True, undefined="no class has both positive and negative examples")
def roc_auc(truth: Array, scores: Array) -> Statistic:
    """Chance that a positive image scores above a negative one, ties counting half; mean over classes.

    Two classes: by their score difference. More: each against the rest, by probability (`probabilities`).
    Several labels: by column. Classes that lack positives or negatives are left out.
    """
    if truth.ndim == 2:
        labels, by = _known(truth), scores
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
        negative = tied + between
        below = negative.sum(axis=0) - negative.cumsum(axis=0)
        wins = (positive * (below + tied / 2)).sum(axis=0)
        return _ratio(wins, positive.sum(axis=0) * negative.sum(axis=0))

    return area


# --- Probabilities: one class per image


@metric(single=True, multilabel=False, higher_is_better=False)
def log_loss(truth: Array, scores: Array, kind: str = "auto") -> Statistic:
    """Mean of -log(probability of the true class), in nats; kind of scores as in `probabilities`.

    Probabilities below 2.2e-16 count as that, as in scikit-learn, so the loss is finite: at most 36.04.
    """
    own = np.take_along_axis(probabilities(scores, kind), truth[:, None], axis=1)[:, 0]
    return _mean(-np.log(np.maximum(own, np.finfo(np.float64).eps)))


@metric(single=True, multilabel=False, higher_is_better=False)
def brier(truth: Array, scores: Array, kind: str = "auto") -> Statistic:
    """Mean squared distance between the probabilities and the truth; kind of scores as in `probabilities`.

    Summed over classes, 0 to 2; with two classes half of it, (p1 - y)^2, 0 to 1. scikit-learn's convention.
    """
    apart = probabilities(scores, kind)
    np.put_along_axis(apart, truth[:, None], np.take_along_axis(apart, truth[:, None], axis=1) - 1, axis=1)
    return _mean((apart**2).sum(axis=1) / (2 if scores.shape[1] == 2 else 1))


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
    return lambda weights: _ratio(abs(onto @ weights).sum(axis=0), weights.sum(axis=0))
