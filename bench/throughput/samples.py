"""Blocks of raw samples to a number: median and interval, percentiles where there are enough, what to doubt."""

import math
from collections import Counter
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..stats import percentile_needs
from .rows import Block

LEVEL = 0.95
RESAMPLES = 4000
PERCENTILES = (90, 95, 99)
DRIFT = 0.05  # between the medians of the two halves of the blocks
THROTTLED = 0.9  # of the clock of the fastest tenth of the blocks, in the slowest tenth
SHARE = 0.1  # of the blocks: what other work does in fewer does not reach the median
Array = NDArray[np.float64]


def bootstrap_interval(
    values: Sequence[float], statistic: Callable[..., Any], level: float = LEVEL, seed: int = 0
) -> tuple[float, float]:
    """Interval of a statistic of independent values: the percentile bootstrap, expanded for few values.

    Resampling n values draws a spread that is sqrt((n - 1) / n) of the true one and has the tails of a normal
    distribution instead of Student's; the level is raised so that both are made up for. Of fewer than two values the
    interval is endless. Source: Hesterberg 2015, What Teachers Should Know About the Bootstrap, section 5 (expanded
    percentile interval).
    """
    from scipy.stats import norm, t

    n = len(values)
    if n < 2:
        return -math.inf, math.inf
    tail = float(norm.cdf(math.sqrt(n / (n - 1)) * t.ppf((1 - level) / 2, n - 1)))
    drawn = np.random.default_rng(seed).integers(n, size=(RESAMPLES, n))
    found = statistic(np.asarray(values)[drawn], axis=1)
    low, high = np.quantile(found, [tail, 1 - tail])
    return float(low), float(high)


def outliers(samples: Sequence[float]) -> dict[str, int]:
    """How many samples lie beyond Tukey's fences: mild beyond 1.5, severe beyond 3 quartile ranges. None is dropped.

    Source: criterion.rs, Analysis, outlier classification.
    """
    first, third = np.percentile(samples, [25, 75])
    spread = third - first
    values = np.asarray(samples)
    low_severe, low = int((values < first - 3 * spread).sum()), int((values < first - 1.5 * spread).sum())
    high_severe, high = int((values > third + 3 * spread).sum()), int((values > third + 1.5 * spread).sum())
    return {"low_severe": low_severe, "low_mild": low - low_severe, "high_mild": high - high_severe,
            "high_severe": high_severe}  # fmt: skip


def block_medians(blocks: Sequence[Block]) -> list[float]:
    """Seconds of one image, of each block."""
    return [float(np.median(block.samples)) / block.images for block in blocks]


def summarise(blocks: Sequence[Block], batch: int, seed: int = 0) -> dict[str, Any]:
    """The row's numbers. The median is that of the blocks' medians; a block is what the interval draws.

    Seconds of a call are those of `batch` images; percentiles are of all samples, None where they are too few.
    """
    medians = block_medians(blocks)
    low, high = bootstrap_interval(medians, np.median, seed=seed)
    middle = float(np.median(medians))
    samples = [sample * batch / block.images for block in blocks for sample in block.samples]
    energies = [block for block in blocks if block.joules is not None]
    free = [block.free for block in blocks if block.free]
    clocks = [block.megahertz for block in blocks if block.megahertz]
    found: dict[str, Any] = {
        "images_per_second": 1 / middle,
        "images_per_second_low": 1 / high,
        "images_per_second_high": 1 / low if low > 0 else math.inf,
        "median_ms": 1000 * batch * middle,
        "median_ms_low": 1000 * batch * low,
        "median_ms_high": 1000 * batch * high,
        "samples": len(samples),
        "blocks": len(blocks),
        "outliers": outliers(samples),
        "others_busy": round(float(np.mean([block.others for block in blocks])), 3),
        "megahertz": float(np.median(clocks)) if clocks else None,
        "joules_per_image": (
            sum(block.joules or 0.0 for block in energies)
            / sum(block.images * len(block.samples) for block in energies)
            if energies
            else None
        ),
        "headspace": middle / float(np.median(free)) if free else None,
    }
    for percent in PERCENTILES:
        enough = len(samples) >= percentile_needs(percent)
        found[f"p{percent}_ms"] = 1000 * float(np.percentile(samples, percent)) if enough else None
    return found


def doubts(blocks: Sequence[Block]) -> list[str]:
    """Why the blocks' number is to be doubted, in words; empty where nothing was seen."""
    found = []
    medians = block_medians(blocks)
    busy = [block for block in blocks if block.loaded]
    if len(busy) >= SHARE * len(blocks) and busy:
        mean = float(np.mean([block.others for block in busy]))
        found.append(f"other work in {len(busy)} of {len(blocks)} blocks (on {mean:.1f} processors)")
    for session, count in sorted(Counter(block.session for block in blocks).items()):
        here = [median for block, median in zip(blocks, medians, strict=True) if block.session == session]
        if count >= 4:
            first, second = float(np.median(here[: count // 2])), float(np.median(here[count // 2 :]))
            if abs(second - first) > DRIFT * first:
                found.append(f"drift: the second half took {second / first:.2f} times the first half's time")
    clocks = [block.megahertz for block in blocks if block.megahertz]
    slow, fast = np.percentile(clocks, [10, 90]) if clocks else (0.0, 0.0)
    if slow < THROTTLED * fast:
        found.append(f"throttling: the processor's clock fell from {fast:.0f} to {slow:.0f} MHz")
    return found
