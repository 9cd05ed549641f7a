"""Intervals of one number: exact ones of counts, and the bootstrap of any statistic of example weights.

Whatever is drawn at random is drawn from `seed`. `featune.bench.stats.interval` picks the method for a metric.
"""

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from featune.engine.errors import BadInput
from featune.engine.metrics import Array, Statistic

RESAMPLES = 10_000  # Fang et al. 2023
CHUNK = 4_000_000  # numbers per working array: 32 MB
DRAWN = 1 << 19  # weights at once, 2 MB: of 10,000 examples 52 resamples, which cost least each
EXACT = 1 << 24  # whole numbers that float32 can tell apart
JACKKNIFE_GROUPS = 2_000


@dataclass(frozen=True)
class Interval:
    """A value and its interval; unpacks as `low, high = interval`.

    n: examples behind it. undefined: resamples in which the metric had no value; they are left out.
    """

    value: float
    low: float
    high: float
    n: int
    level: float
    method: str
    resamples: int = 0
    undefined: int = 0

    def __iter__(self) -> Iterator[float]:
        return iter((self.low, self.high))


def percentile_needs(percent: float, level: float = 0.95) -> int:
    """Values without which a percentile is not given: so many that it lies below the largest of them with
    probability (1 + level) / 2, which is where its distribution-free interval has an upper end.

    36 for p90, 72 for p95, 368 for p99. Source: order statistics, P(largest < quantile) = p ** n.
    """
    return math.ceil(math.log((1 - level) / 2) / math.log(percent / 100))


# --- Counts


def clopper_pearson(k: int, n: int, level: float = 0.95) -> Interval:
    """The exact binomial interval of k right out of n; it covers at least `level` of the time."""
    from scipy.stats import beta

    k, n, tail = _counts(k, n, level)
    low = float(beta.ppf(tail, k, n - k + 1)) if k > 0 else 0.0
    high = float(beta.ppf(1 - tail, k + 1, n - k)) if k < n else 1.0
    return Interval(k / n, low, high, n, level, "clopper_pearson")


def wilson(k: int, n: int, level: float = 0.95) -> Interval:
    """Wilson's score interval of k right out of n: shorter than Clopper-Pearson, right on average."""
    from scipy.stats import norm

    k, n, tail = _counts(k, n, level)
    z, share = float(norm.ppf(1 - tail)), k / n
    centre = (share + z**2 / (2 * n)) / (1 + z**2 / n)
    half = z / (1 + z**2 / n) * np.sqrt(share * (1 - share) / n + z**2 / (4 * n**2))
    low = 0.0 if k == 0 else float(centre - half)
    return Interval(share, low, 1.0 if k == n else float(centre + half), n, level, "wilson")


def _counts(k: int, n: int, level: float) -> tuple[int, int, float]:
    if int(k) != k or int(n) != n or not 0 <= k <= n or n < 1:
        raise BadInput(f"whole counts 0 <= k <= n with n at least 1 expected, k = {k} and n = {n} found")
    return int(k), int(n), tail_of(level)


def tail_of(level: float) -> float:
    if not 0 < level < 1:
        raise BadInput(f"level: between 0 and 1 expected, 0.95 for example; {level} found")
    return (1 - level) / 2


PROPORTION_METHODS = {"clopper_pearson": clopper_pearson, "wilson": wilson}
BOOTSTRAP_METHODS = ("percentile", "bca")


# --- The bootstrap


def bootstrap(
    statistic: Statistic,
    n: int,
    *,
    value: float | None = None,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    method: str = "percentile",
) -> Interval:
    """Bootstrap interval of a statistic of example weights, weights [n, r] -> values [r].

    Percentile or BCa (Efron 1987). Resamples without a value are left out and counted; with none left the
    interval is NaN. Where BCa's corrections are infinite or undefined (every resample on one side of the
    value, or all equal) the percentile interval is given.
    """
    tail = tail_of(level)
    if method not in BOOTSTRAP_METHODS:
        raise BadInput(f"no interval method {method!r}; one of {', '.join([*PROPORTION_METHODS, *BOOTSTRAP_METHODS])}")
    if value is None:
        value = float(statistic(np.ones((n, 1)))[0])
    drawn = resampled(statistic, n, resamples=resamples, seed=seed)
    defined = drawn[~np.isnan(drawn)]
    share = np.array([tail, 1 - tail])
    if method == "bca" and len(defined):
        share = _bca_shares(share, value, defined, statistic, n, seed)
    low, high = np.quantile(defined, share) if len(defined) else (np.nan, np.nan)
    return Interval(value, float(low), float(high), n, level, method, resamples, len(drawn) - len(defined))


def resampled(statistic: Statistic, n: int, *, resamples: int = RESAMPLES, seed: int = 0) -> Array:
    """The statistic in each of `resamples` draws of n out of n examples with replacement [resamples]."""
    rng = np.random.default_rng(seed)
    return np.concatenate([statistic(draw_weights(n, r, rng)) for r in chunks(resamples, n, DRAWN)])


def draw_weights(n: int, r: int, rng: np.random.Generator) -> Array:
    """How often each of n examples occurs in n draws with replacement, r times over: whole floats [n, r]."""
    drawn = rng.integers(0, n, size=(r, n), dtype=np.int32 if n * r < 2**31 else np.int64)
    drawn += (np.arange(r, dtype=drawn.dtype) * n)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * r).reshape(r, n)
    return np.ascontiguousarray(counts.T, dtype=np.float32 if n < EXACT else np.float64)


def chunks(resamples: int, width: int, room: int | None = None) -> Iterator[int]:
    """Sizes that add up to `resamples`, each small enough that [size, width] fits the room, CHUNK by default."""
    if resamples < 1:
        raise BadInput(f"resamples: 1 or more expected, {resamples} found")
    most = max(1, (room or CHUNK) // max(1, width))
    for start in range(0, resamples, most):
        yield min(most, resamples - start)


def _bca_shares(shares: Array, value: float, drawn: Array, statistic: Statistic, n: int, seed: int) -> Array:
    """The quantiles that BCa reads from the bootstrap distribution in place of `shares`."""
    from scipy.stats import norm

    bias = norm.ppf(((drawn < value).sum() + (drawn == value).sum() / 2) / len(drawn))
    left_out = value - _jackknife(statistic, n, seed)
    left_out = left_out[~np.isnan(left_out)] - left_out[~np.isnan(left_out)].mean() if len(left_out) else left_out
    spread = (left_out**2).sum()
    if not np.isfinite(bias) or spread == 0:
        return shares
    acceleration = (left_out**3).sum() / (6 * spread**1.5)
    z = bias + norm.ppf(shares)
    return np.asarray(norm.cdf(bias + z / (1 - acceleration * z)))


def _jackknife(statistic: Statistic, n: int, seed: int) -> Array:
    """The statistic without each example, or beyond JACKKNIFE_GROUPS without each of as many random groups.

    A sum over a group of d examples has 1/sqrt(d) of their skewness, and there are 1/d as many groups: the
    acceleration is the same in expectation.
    """
    groups = min(n, JACKKNIFE_GROUPS)
    group_of = np.random.default_rng(seed).permutation(n) % groups
    values, start = [], 0
    for size in chunks(groups, n):
        values.append(statistic((group_of[:, None] != np.arange(start, start + size)).astype(np.float64)))
        start += size
    return np.concatenate(values)
