"""Two models compared: on the same test examples, by exact and permutation tests, and over the same tasks.

Whatever is drawn at random is drawn from `seed`.
"""

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from .intervals import RESAMPLES, Interval, chunks, tail_of
from .study_values import ROUNDING, pair, tied

PERMUTATIONS = 100_000  # Chen et al. 2020 (SimCLR)


@dataclass(frozen=True)
class PairedTest:
    """Two models on the same n examples (or tasks): p-value, two-sided, and the mean of a - b.

    a_only, b_only: examples that only one of them gets right; the others do not decide.
    """

    p: float
    difference: float
    n: int
    a_only: int
    b_only: int
    kind: str
    samples: int = 0


# --- On the same examples


def mcnemar(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> PairedTest:
    """Exact McNemar test: of the examples that only one model gets right, is half a's?

    right_a, right_b: correctness [n], bool or 0 and 1; NaN, in both, for examples that do not count. p is 1
    where the models never differ.
    """
    from scipy.stats import binom

    a, b = both_right(right_a, right_b)
    a_only, b_only = int((a > b).sum()), int((b > a).sum())
    p = min(1.0, 2 * float(binom.cdf(min(a_only, b_only), a_only + b_only, 0.5)))
    return PairedTest(p, float((a - b).mean()), len(a), a_only, b_only, "mcnemar")


def permutation_test(
    right_a: npt.ArrayLike,
    right_b: npt.ArrayLike,
    *,
    classes: npt.ArrayLike | None = None,
    samples: int = PERMUTATIONS,
    seed: int = 0,
) -> PairedTest:
    """How often does exchanging the two models' predictions at random, image by image, part them as far?

    right_a, right_b: as in `mcnemar`, or shares of several seeds, from 0 to 1. classes: labels [n], for the
    difference of mean per-class accuracy
    instead of accuracy. p is (1 + as extreme) / (1 + samples), two-sided, so never 0. The recipe of Chen et
    al. 2020 (SimCLR, appendix on transfer learning), after Kornblith et al. 2019.

    An exchange flips the sign of an image's difference, and images whose differences have the same size flip
    as one binomial count: the sum is drawn exactly without drawing an image.
    """
    a, b = both_right(right_a, right_b, shares=True)
    share = np.full(len(a), 1 / len(a)) if classes is None else _class_shares(classes, right_a, right_b)
    differences = (a - b) * share
    sizes, flips = np.unique(tied(abs(differences[differences != 0])), return_counts=True)
    rng = np.random.default_rng(seed)
    observed, extreme = abs(differences.sum()), 0
    for size in chunks(samples, max(1, len(sizes))):
        sums = (2 * rng.binomial(flips, 0.5, size=(size, len(sizes))) - flips) @ sizes
        extreme += int((abs(sums) >= observed - 1e-12).sum())
    return PairedTest(
        p=(1 + extreme) / (1 + samples),
        difference=float(differences.sum()),
        n=len(a),
        a_only=int((a > b).sum()),
        b_only=int((b > a).sum()),
        kind="permutation",
        samples=samples,
    )


def _class_shares(classes: npt.ArrayLike, right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> Array:
    """What each counted example weighs in the mean over classes of accuracy within the class."""
    counted = ~np.isnan(np.asarray(right_a, dtype=np.float64))
    classes = np.asarray(classes)
    if classes.shape != counted.shape:
        raise BadInput(f"classes: one label per example expected ({len(counted)}), {classes.shape} found")
    _, of_class, sizes = np.unique(classes[counted], return_inverse=True, return_counts=True)
    return 1 / (len(sizes) * sizes[of_class])


def paired_difference(
    right_a: npt.ArrayLike,
    right_b: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Accuracy of a less that of b, with a percentile bootstrap interval over the shared test examples.

    right_a, right_b: as in `mcnemar`. Examples with equal differences are drawn as one multinomial count.
    """
    a, b = both_right(right_a, right_b)
    differences, counts = np.unique(a - b, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(a), counts / len(a), size=resamples)
    tail = tail_of(level)
    low, high = np.quantile(drawn @ differences / len(a), [tail, 1 - tail])
    return Interval(float((a - b).mean()), float(low), float(high), len(a), level, "percentile", resamples)


def paired_wald(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> tuple[float, float]:
    """(mean of a - b, variance of that mean) over the same examples, with one example added to each side.

    right_a, right_b: as in `mcnemar`, or shares of several seeds, from 0 to 1. mean + z sqrt(variance) is the adjusted
    Wald interval for a difference of paired proportions of Bonett and Price 2012; of any size at once.
    """
    a, b = both_right(right_a, right_b, shares=True)
    apart = a - b
    n = len(apart) + 2
    middle = float(apart.sum()) / n
    return middle, (float(apart @ apart + 2) / n - middle**2) / n


def both_right(right_a: npt.ArrayLike, right_b: npt.ArrayLike, shares: bool = False) -> tuple[Array, Array]:
    a, b = np.asarray(right_a, dtype=np.float64), np.asarray(right_b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise BadInput(f"correctness: the same examples expected of both models, {a.shape} and {b.shape} found")
    if (np.isnan(a) != np.isnan(b)).any():
        raise BadInput("correctness: the same examples have to count for both models; NaN differs")
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    whole = shares or (np.isin(a, (0, 1)).all() and np.isin(b, (0, 1)).all())
    if not len(a) or not whole or min(a.min(), b.min()) < 0 or max(a.max(), b.max()) > 1:
        raise BadInput("correctness: 0 or 1 for at least one example expected")
    return a, b


# --- Over the same tasks


@dataclass(frozen=True)
class TasksTest:
    """Paired t-test of a - b over tasks: the mean difference with its interval, NaN below two tasks."""

    p: float
    difference: float
    low: float
    high: float
    t: float
    tasks: int
    level: float


def across_tasks(a: npt.ArrayLike, b: npt.ArrayLike, *, level: float = 0.95) -> TasksTest:
    """Paired t-test over tasks of two models' results [tasks], log odds as a rule (Kornblith et al. 2019).

    Equal differences everywhere have no spread to compare with: p is NaN, or 1 if they are all 0.
    """
    from scipy.stats import t as student

    a, b = pair(a, b)
    apart, tasks, tail = a - b, len(a), tail_of(level)
    if tasks < 1:
        raise BadInput("a and b: at least one task expected")
    if np.ptp(apart) <= ROUNDING * max(abs(a).max(), abs(b).max()):
        apart = np.full(tasks, apart[0])
    mean = float(apart[0] if np.ptp(apart) == 0 else apart.mean())
    if tasks < 2 or np.ptp(apart) == 0:
        p = 1.0 if tasks > 1 and mean == 0 else np.nan
        return TasksTest(p, mean, np.nan, np.nan, np.nan, tasks, level)
    error = float(apart.std(ddof=1) / np.sqrt(tasks))
    half = float(student.ppf(1 - tail, tasks - 1)) * error
    p = float(2 * student.sf(abs(mean / error), tasks - 1))
    return TasksTest(p, mean, mean - half, mean + half, mean / error, tasks, level)
