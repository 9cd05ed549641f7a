"""Intervals, log odds, correlations, lines and paired tests, as pure functions of arrays.

Values are fractions; a table of results is [models, tasks]. Whatever is drawn at random is drawn from `seed`.
What has no value (a correlation of two models, or of constant numbers) is NaN, never a warning; what makes no
sense (a percentage, a NaN from a failed cell) is BadInput.
"""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from engine.errors import BadInput, nearest
from engine.metrics import METRICS, Metric, Statistic

Array = npt.NDArray[Any]

RESAMPLES = 10_000  # Fang et al. 2023
PERMUTATIONS = 100_000  # Chen et al. 2020 (SimCLR)
CHUNK = 4_000_000  # numbers per working array: 32 MB
FEWEST = 3  # points with which a correlation or a slope means something


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


@dataclass(frozen=True)
class Correlation:
    """A correlation over models, with a bootstrap interval and the slope of the least-squares line.

    tasks: how many were averaged, 0 for a plain pair of columns. undefined: resamples left out for having
    fewer than three different models or constant numbers. low and high are NaN for fewer than four models.
    """

    r: float
    low: float
    high: float
    models: int
    tasks: int
    kind: str
    level: float
    slope: float
    intercept: float
    resamples: int
    undefined: int


@dataclass(frozen=True)
class Line:
    """A least-squares line with a bootstrap band: line, low, high at `at`; n points."""

    at: Array
    line: Array
    low: Array
    high: Array
    slope: float
    slope_low: float
    slope_high: float
    intercept: float
    n: int
    level: float
    resamples: int
    undefined: int


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


@dataclass(frozen=True)
class ErrorBars:
    """Means over tasks [models] and their within-task standard errors [models]."""

    mean: Array
    error: Array
    models: int
    tasks: int


# --- Intervals of one value


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
    return int(k), int(n), _tail(level)


def _tail(level: float) -> float:
    if not 0 < level < 1:
        raise BadInput(f"level: between 0 and 1 expected, 0.95 for example; {level} found")
    return (1 - level) / 2


PROPORTION_METHODS = {"clopper_pearson": clopper_pearson, "wilson": wilson}
BOOTSTRAP_METHODS = ("percentile", "bca")


def interval(
    metric: str | Metric,
    truth: npt.ArrayLike,
    scores: npt.ArrayLike,
    *,
    level: float = 0.95,
    seed: int = 0,
    resamples: int = RESAMPLES,
    method: str | None = None,
    **options: Any,
) -> Interval:
    """A metric's value and interval over test examples like these.

    method: clopper_pearson or wilson (proportions only), percentile or bca (bootstrap over examples); unless
    given, clopper_pearson for a proportion and percentile for the rest. n counts the examples that count.
    options go to the metric.
    """
    if isinstance(metric, str):
        if metric not in METRICS:
            raise BadInput(f"no metric named {metric!r}{nearest(metric, METRICS)}")
        metric = METRICS[metric]
    method = method or ("clopper_pearson" if metric.is_proportion else "percentile")
    value = metric(truth, scores, **options)
    if method in PROPORTION_METHODS:
        if not metric.is_proportion or metric.per_example is None:
            raise BadInput(f"{metric.name} is not a proportion; use {' or '.join(BOOTSTRAP_METHODS)}")
        right = metric.per_example(np.asarray(truth), np.asarray(scores))
        right = right[~np.isnan(right)]
        return PROPORTION_METHODS[method](int(right.sum()), len(right), level)
    statistic, n = metric.statistic(truth, scores, **options)
    return bootstrap(statistic, n, value=value, level=level, seed=seed, resamples=resamples, method=method)


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
    tail = _tail(level)
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
    return np.concatenate([statistic(draw_weights(n, r, rng)) for r in _chunks(resamples, n)])


def draw_weights(n: int, r: int, rng: np.random.Generator) -> Array:
    """How often each of n examples occurs in n draws with replacement, r times over: float [n, r]."""
    drawn = rng.integers(0, n, size=(r, n), dtype=np.int32 if n * r < 2**31 else np.int64)
    drawn += (np.arange(r, dtype=drawn.dtype) * n)[:, None]
    counts = np.bincount(drawn.ravel(), minlength=n * r).reshape(r, n)
    return np.ascontiguousarray(counts.T, dtype=np.float64)


def _chunks(resamples: int, width: int) -> Iterator[int]:
    """Sizes that add up to `resamples`, each small enough that [size, width] fits CHUNK."""
    if resamples < 1:
        raise BadInput(f"resamples: 1 or more expected, {resamples} found")
    most = max(1, CHUNK // max(1, width))
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


JACKKNIFE_GROUPS = 2_000


def _jackknife(statistic: Statistic, n: int, seed: int) -> Array:
    """The statistic without each example, or beyond JACKKNIFE_GROUPS without each of as many random groups.

    A sum over a group of d examples has 1/sqrt(d) of their skewness, and there are 1/d as many groups: the
    acceleration is the same in expectation.
    """
    groups = min(n, JACKKNIFE_GROUPS)
    group_of = np.random.default_rng(seed).permutation(n) % groups
    values, start = [], 0
    for size in _chunks(groups, n):
        values.append(statistic((group_of[:, None] != np.arange(start, start + size)).astype(np.float64)))
        start += size
    return np.concatenate(values)


# --- Log odds


def log_odds(values: npt.ArrayLike, n: npt.ArrayLike | None = None) -> Array:
    """logit of (k + 1/2) / (n + 1) for fractions k / n, so that 0 and 1 stay finite.

    n: test images, broadcast against values. Without n, for published numbers that lack it, the plain logit;
    then 0 and 1 raise BadInput.
    """
    values = _fractions(values)
    if n is None:
        if ((values == 0) | (values == 1)).any():
            raise BadInput("a value of exactly 0 or 1 has infinite log odds; give n, the number of test images")
        return np.log(values) - np.log1p(-values)
    n = np.asarray(n, dtype=np.float64)
    if not (n >= 1).all():
        raise BadInput(f"n: test images, 1 or more expected; {n.min()} found")
    return np.log(values * n + 0.5) - np.log((1 - values) * n + 0.5)


def _fractions(values: npt.ArrayLike) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if np.isnan(values).any():
        where = [tuple(map(int, at)) for at in np.argwhere(np.isnan(values))[:5]]
        raise BadInput(f"values: NaN at {where}; leave out models or tasks with failed cells")
    if ((values < 0) | (values > 1)).any():
        worst = values[(values < 0) | (values > 1)][0]
        raise BadInput(f"values: fractions from 0 to 1 expected, {worst} found; divide percentages by 100")
    return values


def relative_logit(values: npt.ArrayLike, n: npt.ArrayLike | None = None) -> Array:
    """Log odds less their mean over models, per task.

    values: fractions [models, tasks]; n: test images [tasks]. Half a count is added on each side, so 0 and 1
    stay finite. Raises BadInput if a task has fewer than two models. After Kornblith et al. 2019.
    """
    odds = log_odds(_table(values, fewest_models=2), n)
    return odds - odds.mean(axis=0)


def mean_log_odds(values: npt.ArrayLike, n: npt.ArrayLike | None = None) -> Array:
    """Log odds averaged over tasks [models]; values: fractions [models, tasks], n: test images [tasks]."""
    return log_odds(_table(values), n).mean(axis=1)


def _table(values: npt.ArrayLike, fewest_models: int = 1) -> Array:
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != 2 or values.shape[0] < fewest_models or values.shape[1] < 1:
        raise BadInput(f"values: [models, tasks] with {fewest_models} models or more expected, {values.shape} found")
    return values


def within_task_errors(values: npt.ArrayLike) -> ErrorBars:
    """Each model's mean over tasks, with an error that leaves out how hard the tasks are.

    values: [models, tasks], log odds as a rule. Each task's mean over models is taken away, which shrinks the
    variance by (M - 1) / M; Morey's (2008) factor sqrt(M / (M - 1)) restores it. Errors are standard errors
    of the mean over tasks; NaN with one task. Kornblith et al. 2019, Figure 1.
    """
    values = _table(values, fewest_models=2)
    models, tasks = values.shape
    relative = values - values.mean(axis=0)
    error = np.full(models, np.nan)
    if tasks > 1:
        error = relative.std(axis=1, ddof=1) * np.sqrt(models / (models - 1)) / np.sqrt(tasks)
    return ErrorBars(values.mean(axis=1), error, models, tasks)


# --- Correlations over models


def pearson(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Pearson's r; NaN with fewer than three points or where x or y is constant, when it says nothing."""
    return _correlate("pearson", x, y)


def spearman(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Spearman's rho, ties sharing their mean rank; NaN as in `pearson`."""
    return _correlate("spearman", x, y)


def kendall(x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    """Kendall's tau-b; NaN as in `pearson`."""
    return _correlate("kendall", x, y)


def _correlate(kind: str, x: npt.ArrayLike, y: npt.ArrayLike) -> float:
    x, y = _pair(x, y)
    return float(_rowwise(kind)(x[None], y[None])[0]) if len(x) >= FEWEST else np.nan


def _pair(x: npt.ArrayLike, y: npt.ArrayLike) -> tuple[Array, Array]:
    x, y = np.asarray(x, dtype=np.float64), np.asarray(y, dtype=np.float64)
    if x.ndim != 1 or x.shape != y.shape:
        raise BadInput(f"x and y: one number each per model expected, {x.shape} and {y.shape} found")
    if not (np.isfinite(x) & np.isfinite(y)).all():
        raise BadInput(f"x and y: finite numbers expected; not so at {np.flatnonzero(~np.isfinite(x + y)).tolist()}")
    return x, y


def _rowwise(kind: str) -> Callable[[Array, Array], Array]:
    known = {"pearson": _pearson_rows, "spearman": _spearman_rows, "kendall": _kendall_rows}
    if kind not in known:
        raise BadInput(f"no correlation named {kind!r}; one of {', '.join(known)}")
    return known[kind]


def _pearson_rows(x: Array, y: Array) -> Array:
    """r of each row of x [r, m] with the same row of y; NaN where either is constant."""
    moving = (np.ptp(x, axis=1) > 0) & (np.ptp(y, axis=1) > 0)
    x, y = x - x.mean(axis=1, keepdims=True), y - y.mean(axis=1, keepdims=True)
    length = np.sqrt((x**2).sum(axis=1) * (y**2).sum(axis=1))
    r = np.divide((x * y).sum(axis=1), length, out=np.full(len(x), np.nan), where=moving & (length > 0))
    return np.clip(r, -1, 1)


def _spearman_rows(x: Array, y: Array) -> Array:
    from scipy.stats import rankdata

    return _pearson_rows(rankdata(x, axis=1), rankdata(y, axis=1))


def _kendall_rows(x: Array, y: Array) -> Array:
    x, y = np.sign(x[:, :, None] - x[:, None]), np.sign(y[:, :, None] - y[:, None])
    untied = np.sqrt((x**2).sum(axis=(1, 2)) * (y**2).sum(axis=(1, 2)))
    return np.divide((x * y).sum(axis=(1, 2)), untied, out=np.full(len(x), np.nan), where=untied > 0)


def correlation_interval(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    kind: str = "pearson",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Correlation:
    """Correlation of x [m] and y [m] with a percentile bootstrap interval over the m models.

    A resample with fewer than three different models, or with constant numbers, has no correlation and is
    left out; `undefined` counts them. With fewer than four models there is no interval: low and high are NaN.
    """
    x, y = _pair(x, y)

    def models_only(rows: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        return x[rows], y[rows]

    return _correlation(x, y, models_only, 0, kind=kind, level=level, resamples=resamples, seed=seed)


def transfer_correlation(
    source: npt.ArrayLike,
    values: npt.ArrayLike,
    n: npt.ArrayLike | None = None,
    *,
    source_n: int | None = None,
    kind: str = "pearson",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
    resample_examples: bool = True,
) -> Correlation:
    """Correlation of logit(source accuracy) with the mean over tasks of the log odds of transfer accuracy.

    source: fractions [models]; values: fractions [models, tasks]; n: test images [tasks] or [models, tasks],
    source_n: those of the source. Without n the plain logit is taken. After Kornblith et al. 2019.

    The interval is a percentile bootstrap over models. Where n (or source_n) is given and resample_examples
    holds, each resample also draws its accuracies anew as binomial counts of n: the noise of finite test sets
    comes on top of what the measured numbers hold of it already, so with small test sets the interval leans
    towards 0. Draws are independent between models although they share test images, which errs on the wide
    side; and binomial also for metrics that are no proportions, which is an approximation.
    """
    source, values = _fractions(source), _table(_fractions(values))
    if source.shape != values.shape[:1]:
        raise BadInput(f"source: one value per model expected ({len(values)}), {source.shape} found")
    x, y = log_odds(source, source_n), mean_log_odds(values, n)
    sizes = None if n is None else np.broadcast_to(np.asarray(n), values.shape)

    def draw(rows: Array, rng: np.random.Generator) -> tuple[Array, Array]:
        noisy_source, noisy = source[rows], values[rows]
        if source_n is not None and resample_examples:
            noisy_source = rng.binomial(source_n, noisy_source) / source_n
        if sizes is not None and resample_examples:
            noisy = rng.binomial(sizes[rows], noisy) / sizes[rows]
        drawn_n = None if sizes is None else sizes[rows]
        return log_odds(noisy_source, source_n), log_odds(noisy, drawn_n).mean(axis=2)

    return _correlation(x, y, draw, values.shape[1], kind=kind, level=level, resamples=resamples, seed=seed)


def _correlation(
    x: Array,
    y: Array,
    draw: Callable[[Array, np.random.Generator], tuple[Array, Array]],
    tasks: int,
    *,
    kind: str,
    level: float,
    resamples: int,
    seed: int,
) -> Correlation:
    """draw: rows of models [r, m] -> x and y [r, m] of a resample."""
    rowwise, rng, tail = _rowwise(kind), np.random.default_rng(seed), _tail(level)
    models, low, high, undefined = len(x), np.nan, np.nan, 0
    slope, intercept = _least_squares(x[None], y[None])
    if models > FEWEST:
        # Kendall's pairs of models and the tasks are what a chunk has to hold.
        drawn = [
            np.where(_distinct(rows) >= FEWEST, rowwise(*draw(rows, rng)), np.nan)
            for rows in _model_draws(models, resamples, models * max(models, tasks), rng)
        ]
        r = np.concatenate(drawn)
        undefined = int(np.isnan(r).sum())
        if undefined < resamples:
            low, high = np.quantile(r[~np.isnan(r)], [tail, 1 - tail])
    return Correlation(
        r=_correlate(kind, x, y),
        low=float(low),
        high=float(high),
        models=models,
        tasks=tasks,
        kind=kind,
        level=level,
        slope=float(slope[0]),
        intercept=float(intercept[0]),
        resamples=resamples if models > FEWEST else 0,
        undefined=undefined,
    )


def _model_draws(models: int, resamples: int, width: int, rng: np.random.Generator) -> Iterator[Array]:
    for size in _chunks(resamples, width):
        yield rng.integers(0, models, size=(size, models))


def _distinct(rows: Array) -> Array:
    """How many different numbers each row of [r, m] holds."""
    return 1 + (np.diff(np.sort(rows, axis=1), axis=1) > 0).sum(axis=1)


def leave_one_family_out(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    families: Sequence[str],
    *,
    kind: str = "pearson",
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> dict[str, Correlation]:
    """The correlation without each family of models in turn: does one of them carry it?

    x, y: [models], log odds as a rule; families: one name per model.
    """
    x, y = _pair(x, y)
    if len(families) != len(x):
        raise BadInput(f"families: one per model expected ({len(x)}), {len(families)} found")
    names = np.asarray(families)
    return {
        str(left): correlation_interval(
            x[names != left], y[names != left], kind=kind, level=level, resamples=resamples, seed=seed
        )
        for left in dict.fromkeys(families)
    }


# --- Lines


def _least_squares(x: Array, y: Array) -> tuple[Array, Array]:
    """Slope and intercept of each row of x, y [r, m]; NaN where x is constant, or m is below three."""
    if x.shape[1] < FEWEST:
        return np.full(len(x), np.nan), np.full(len(x), np.nan)
    about, mean = x.mean(axis=1), y.mean(axis=1)
    apart = x - about[:, None]
    spread = np.where(np.ptp(x, axis=1) > 0, (apart**2).sum(axis=1), 0.0)
    shared = (apart * (y - mean[:, None])).sum(axis=1)
    slope = np.divide(shared, spread, out=np.full(len(x), np.nan), where=spread > 0)
    return slope, mean - slope * about


def fit_line(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    at: npt.ArrayLike,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Line:
    """The least-squares line of y [m] on x [m], with a percentile bootstrap band at the points `at`.

    Points (models) are resampled; resamples with fewer than three different points or a constant x are left
    out. Fewer than three points, or a constant x, give NaN throughout; three points give a line but no band.
    """
    x, y = _pair(x, y)
    at, tail = np.asarray(at, dtype=np.float64), _tail(level)
    slope, intercept = (float(part[0]) for part in _least_squares(x[None], y[None]))
    slopes, intercepts = np.empty(0), np.empty(0)
    if len(x) > FEWEST:
        rng = np.random.default_rng(seed)
        fits = [
            np.where(_distinct(rows) >= FEWEST, np.stack(_least_squares(x[rows], y[rows])), np.nan)
            for rows in _model_draws(len(x), resamples, len(x), rng)
        ]
        slopes, intercepts = np.concatenate(fits, axis=1)
    fitted = ~np.isnan(slopes)
    shares, none = [tail, 1 - tail], np.full(at.shape, np.nan)
    band, slope_range = (none, none), (np.nan, np.nan)
    if fitted.any():
        band = tuple(np.quantile(intercepts[fitted] + np.multiply.outer(at, slopes[fitted]), shares, axis=-1))
        slope_range = tuple(np.quantile(slopes[fitted], shares))
    return Line(
        at=at,
        line=intercept + slope * at,
        low=band[0],
        high=band[1],
        slope=slope,
        slope_low=float(slope_range[0]),
        slope_high=float(slope_range[1]),
        intercept=intercept,
        n=len(x),
        level=level,
        resamples=len(slopes),
        undefined=int((~fitted).sum()),
    )


def slope_above(
    source: npt.ArrayLike,
    values: npt.ArrayLike,
    threshold: float,
    *,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Line:
    """The line of a task's metric on source accuracy over the models above a threshold of it; all fractions.

    Fang et al. 2023, Figure 1: points gained on the task per point of ImageNet accuracy, above 70 %. The line
    runs from the lowest to the highest of these models; NaN with fewer than three. `n` counts them.
    """
    source, values = _pair(_fractions(source), values)
    above = source > threshold
    x = source[above]
    ends = np.array([x.min(), x.max()]) if len(x) else np.full(2, np.nan)
    return fit_line(x, values[above], ends, level=level, resamples=resamples, seed=seed)


# --- Two models on the same test examples


def mcnemar(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> PairedTest:
    """Exact McNemar test: of the examples that only one model gets right, is half a's?

    right_a, right_b: correctness [n], bool or 0 and 1; NaN, in both, for examples that do not count. p is 1
    where the models never differ.
    """
    from scipy.stats import binom

    a, b = _both_right(right_a, right_b)
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

    right_a, right_b: as in `mcnemar`. classes: labels [n], for the difference of mean per-class accuracy
    instead of accuracy. p is (1 + as extreme) / (1 + samples), two-sided, so never 0. The recipe of Chen et
    al. 2020 (SimCLR, appendix on transfer learning), after Kornblith et al. 2019.

    An exchange flips the sign of an image's difference, and images whose differences have the same size flip
    as one binomial count: the sum is drawn exactly without drawing an image.
    """
    a, b = _both_right(right_a, right_b)
    share = np.full(len(a), 1 / len(a)) if classes is None else _class_shares(classes, right_a, right_b)
    differences = (a - b) * share
    sizes, flips = np.unique(abs(differences[differences != 0]), return_counts=True)
    rng = np.random.default_rng(seed)
    observed, extreme = abs(differences.sum()), 0
    for size in _chunks(samples, max(1, len(sizes))):
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
    a, b = _both_right(right_a, right_b)
    differences, counts = np.unique(a - b, return_counts=True)
    drawn = np.random.default_rng(seed).multinomial(len(a), counts / len(a), size=resamples)
    tail = _tail(level)
    low, high = np.quantile(drawn @ differences / len(a), [tail, 1 - tail])
    return Interval(float((a - b).mean()), float(low), float(high), len(a), level, "percentile", resamples)


def _both_right(right_a: npt.ArrayLike, right_b: npt.ArrayLike) -> tuple[Array, Array]:
    a, b = np.asarray(right_a, dtype=np.float64), np.asarray(right_b, dtype=np.float64)
    if a.ndim != 1 or a.shape != b.shape:
        raise BadInput(f"correctness: the same examples expected of both models, {a.shape} and {b.shape} found")
    if (np.isnan(a) != np.isnan(b)).any():
        raise BadInput("correctness: the same examples have to count for both models; NaN differs")
    a, b = a[~np.isnan(a)], b[~np.isnan(b)]
    if not len(a) or not np.isin(a, (0, 1)).all() or not np.isin(b, (0, 1)).all():
        raise BadInput("correctness: 0 or 1 for at least one example expected")
    return a, b


def across_tasks(a: npt.ArrayLike, b: npt.ArrayLike, *, level: float = 0.95) -> TasksTest:
    """Paired t-test over tasks of two models' results [tasks], log odds as a rule (Kornblith et al. 2019).

    Equal differences everywhere have no spread to compare with: p is NaN, or 1 if they are all 0.
    """
    from scipy.stats import t as student

    a, b = _pair(a, b)
    apart, tasks, tail = a - b, len(a), _tail(level)
    if tasks < 1:
        raise BadInput("a and b: at least one task expected")
    mean = float(apart.mean())
    if tasks < 2 or np.ptp(apart) == 0:
        p = 1.0 if tasks > 1 and mean == 0 else np.nan
        return TasksTest(p, mean, np.nan, np.nan, np.nan, tasks, level)
    error = float(apart.std(ddof=1) / np.sqrt(tasks))
    half = float(student.ppf(1 - tail, tasks - 1)) * error
    p = float(2 * student.sf(abs(mean / error), tasks - 1))
    return TasksTest(p, mean, mean - half, mean + half, mean / error, tasks, level)
