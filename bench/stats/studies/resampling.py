"""The bootstrap over models, over families of models, over test images, and over models and images together."""

import math
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput
from featune.engine.metrics import Array

from ...stats import Interval, draw_weights, log_odds, pair, tail_of

RESAMPLES = 2_000
OVER = ("models", "families", "examples", "both")


def bootstrap_correlation(
    x: npt.ArrayLike,
    y: npt.ArrayLike,
    *,
    families: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile interval of Pearson's r of x and y [m] over models drawn with replacement, or over whole families.

    families: one name per model; then families are drawn, each with all its models (a cluster bootstrap, Field and
    Welsh 2007). Resamples of fewer than three different models are left out and counted as undefined. It covers too
    seldom for few models (benchmarks/coverage.md), so the report shows Fisher's and the jackknife's.
    """
    x, y = pair(x, y)
    weights = _model_weights(len(x), families, resamples, np.random.default_rng(seed))
    drawn = weighted_pearson(np.broadcast_to(x, weights.shape), np.broadcast_to(y, weights.shape), weights)
    whole = weighted_pearson(x[None], y[None], np.ones((1, len(x))))
    return _interval(float(whole[0]), drawn, len(x), level)


def bootstrap_study(
    source: npt.ArrayLike,
    right: Sequence[npt.ArrayLike],
    *,
    over: str = "both",
    families: Sequence[str] | None = None,
    level: float = 0.95,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Interval:
    """Percentile interval of r of log odds of source accuracy with mean log odds over tasks.

    source: fractions [models]; right: of each task the correctness of the models on the same test images,
    [models, n], 0 or 1, or the share of several seeds. over: "models", "families", "examples" (the images of each
    task, the same ones for every model) or "both" (models, or families where given, and images).
    """
    if over not in OVER or (over == "families" and families is None):
        raise BadInput(f"over: one of {', '.join(OVER)} expected, {over!r} found; families need a name per model")
    x = log_odds(source)
    tables = [np.asarray(one, dtype=np.float64) for one in right]
    if not tables or any(one.ndim != 2 or len(one) != len(x) or not one.shape[1] for one in tables):
        raise BadInput(f"right: [models, n] of each task with {len(x)} models expected")
    if any(not ((one >= 0) & (one <= 1)).all() for one in tables):
        raise BadInput("right: numbers from 0 to 1 expected; leave out images that do not count")
    rng = np.random.default_rng(seed)
    whole = np.mean([log_odds(one.mean(axis=1), one.shape[1]) for one in tables], axis=0)
    if over in ("models", "families"):
        of = families if over == "families" else None
        return bootstrap_correlation(x, whole, families=of, level=level, resamples=resamples, seed=seed)
    y = np.mean([_redrawn(one, resamples, rng) for one in tables], axis=0)
    weights = np.ones((resamples, len(x)))
    if over == "both":
        weights = _model_weights(len(x), families, resamples, rng)
    drawn = weighted_pearson(np.broadcast_to(x, y.shape), y, weights)
    value = float(weighted_pearson(x[None], whole[None], np.ones((1, len(x))))[0])
    return _interval(value, drawn, len(x), level)


def weighted_pearson(x: Array, y: Array, weights: Array) -> Array:
    """r of each row of x and y [r, m] with these weights; NaN where fewer than three models have any."""
    total = weights.sum(axis=1, keepdims=True)
    x, y = (of - (weights * of).sum(axis=1, keepdims=True) / total for of in (x, y))
    across, up = (weights * x**2).sum(axis=1), (weights * y**2).sum(axis=1)
    enough = ((weights > 0).sum(axis=1) > 2) & (across > 1e-24) & (up > 1e-24)
    length = np.sqrt(np.where(enough, across * up, 1.0))
    return np.where(enough, np.clip((weights * x * y).sum(axis=1) / length, -1, 1), np.nan)


def _redrawn(right: Array, resamples: int, rng: np.random.Generator) -> Array:
    """Log odds [r, models] on test images drawn with replacement."""
    n = right.shape[1]
    share = (right @ draw_weights(n, resamples, rng)).T / n
    return log_odds(np.clip(share, 0, 1), n)


def _model_weights(models: int, families: Sequence[str] | None, resamples: int, rng: np.random.Generator) -> Array:
    """How often each model is drawn [r, models]."""
    if families is None:
        return rng.multinomial(models, np.full(models, 1 / models), size=resamples).astype(np.float64)
    if len(families) != models:
        raise BadInput(f"families: one per model expected ({models}), {len(families)} found")
    _, of = np.unique(np.asarray(families), return_inverse=True)
    count = int(of.max()) + 1
    return rng.multinomial(count, np.full(count, 1 / count), size=resamples).astype(np.float64)[:, of]


def _interval(value: float, drawn: Array, models: int, level: float) -> Interval:
    tail, defined = tail_of(level), drawn[~np.isnan(drawn)]
    low, high = np.quantile(defined, [tail, 1 - tail]) if len(defined) else (math.nan, math.nan)
    return Interval(value, float(low), float(high), models, level, "percentile", len(drawn), len(drawn) - len(defined))
