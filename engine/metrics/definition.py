"""What a metric is: truth and scores, checked, to a statistic of example weights, and the pieces of such statistics.

Every metric is written once, as a statistic of example weights: it prepares what does not depend on the
weights (an order, a table) and returns a function from weights [n, r] to r values. A weight of 1 for all is
the metric itself; columns that count how often each example was drawn are bootstrap resamples, 10,000 of
which then cost seconds (`featune.bench.stats.interval`). scikit-learn has most of the metrics too, at one weighting
per call; the tests hold every metric to it.

truth is int [n], the class of each example, or, for tasks with several labels per image, bool [n, k].
scores are float [n, k], logits or probabilities; the higher, the more likely.
"""

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from ..errors import BadInput

Array = npt.NDArray[Any]
Statistic = Callable[[Array], Array]  # weights [n, r] -> values [r], NaN where the metric is undefined


@dataclass(frozen=True)
class Metric:
    """A metric that is called as `metric(truth, scores)` and gives one float.

    single, multilabel: which truths it takes, int [n] or bool [n, k].
    is_proportion: it is the mean of `per_example`, so a binomial interval applies.
    per_example: (truth, scores) -> [n], 1.0 for right, 0.0 for wrong, NaN for an example that does not count.
    ordinal: it takes the classes' order for the order of grades, so it has no meaning where that is another.
    undefined: when it has no value, in words. lowest, highest: the ends of its range.
    """

    name: str
    prepare: Callable[..., Statistic]
    single: bool
    multilabel: bool
    is_proportion: bool = False
    higher_is_better: bool = True
    per_example: Callable[[Array, Array], Array] | None = None
    ordinal: bool = False
    undefined: str = ""
    lowest: float = 0.0
    highest: float = 1.0

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


def metric(**facts: Any) -> Callable[[Callable[..., Statistic]], Metric]:
    """Turn a statistic into a Metric under its own name; `featune.engine.metrics.METRICS` lists them."""

    def made(prepare: Callable[..., Statistic]) -> Metric:
        one = Metric(prepare=prepare, **({"name": prepare.__name__} | facts))
        object.__setattr__(one, "__doc__", prepare.__doc__)  # so that help(top1) explains top1
        return one

    return made


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


def known_labels(truth: Array) -> Array:
    if (truth < 0).any():
        raise BadInput("truth: labels -1 (ignored) are for average precision only; 0 or 1 expected")
    return truth > 0


def _listed(rows: Array, most: int = 5) -> str:
    return ", ".join(str(row) for row in rows[:most]) + (", ..." if len(rows) > most else "")


# --- Pieces of statistics


def weighted_mean(values: Array) -> Statistic:
    """Weighted mean over the examples whose value is not NaN."""
    counts = ~np.isnan(values)
    values = np.where(counts, values, 0.0)
    return lambda weights: ratio(values @ weights, counts.astype(np.float64) @ weights)


def ratio(top: Array, bottom: Array, otherwise: float = np.nan) -> Array:
    return np.divide(top, bottom, out=np.full(np.broadcast(top, bottom).shape, otherwise), where=bottom != 0)


def mean_over_defined(values: Array) -> Array:
    """Mean over the rows [k, r] that are not NaN; NaN where all are."""
    defined = ~np.isnan(values)
    return ratio(np.where(defined, values, 0.0).sum(axis=0), defined.sum(axis=0).astype(np.float64))


def sums_by(codes: Array, size: int) -> Statistic:
    """Sums of weights per code: weights [n, r] -> float64 [size, r]. Examples with code -1 are left out.

    float32 weights are summed in float32, at half the traffic: they are to be counts, of fewer than 2**24 in all,
    which it holds exactly.
    """
    from scipy.sparse import csr_array

    kept = np.flatnonzero(codes >= 0)
    order = kept[np.argsort(codes[kept], kind="stable")]
    ends = np.concatenate([[0], np.cumsum(np.bincount(codes[kept], minlength=size))])

    @functools.cache
    def table(dtype: npt.DTypeLike) -> Any:
        return csr_array((np.ones(len(order), dtype), order, ends), shape=(size, len(codes)))

    return lambda weights: (table(weights.dtype) @ weights).astype(np.float64, copy=False)
