"""Is one model no worse than another by more than a margin, on the same test images?"""

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput

from ...stats import both_right

MARGIN = 0.005  # half a point of accuracy


@dataclass(frozen=True)
class Equivalence:
    """Accuracy of a less that of b, and p-values: that a is no worse by more than the margin, and that they are equal
    within it on both sides. A small p settles the claim; a large one settles nothing."""

    difference: float
    margin: float
    p_no_worse: float
    p_equivalent: float
    n: int
    a_only: int
    b_only: int


def no_worse(right_a: npt.ArrayLike, right_b: npt.ArrayLike, *, margin: float = MARGIN) -> Equivalence:
    """Two one-sided tests of the difference of two accuracies against -margin and +margin.

    right_a, right_b: correctness on the same images [n], 0 or 1, NaN in both for images that do not count. margin: a
    fraction, 0.005 for half a point. By Tango's score test for paired proportions, which holds where the models
    hardly differ, or never. Sources: Schuirmann 1987 (two one-sided tests); Tango 1998.
    """
    if not 0 < margin < 1:
        raise BadInput(f"margin: a fraction between 0 and 1 expected, {margin} found; half a point is 0.005")
    a, b = both_right(right_a, right_b)
    a_only, b_only, n = int((a > b).sum()), int((b > a).sum()), len(a)
    worse = tango_p(a_only, b_only, n, margin)
    better = tango_p(b_only, a_only, n, margin)
    difference = float(np.mean(a) - np.mean(b))
    return Equivalence(difference, margin, worse, max(worse, better), n, a_only, b_only)


def tango_p(a_only: int, b_only: int, n: int, margin: float) -> float:
    """One-sided p of the hypothesis that a's accuracy is at most b's less the margin."""
    from scipy.stats import norm

    shift = -margin  # of a's accuracy less b's, at the edge of the hypothesis
    share = least_likely_share(a_only, b_only, n, shift)
    variance = n * (2 * share + shift * (1 - shift))
    above = a_only - b_only - n * shift
    if variance <= 0:
        return 0.0 if above > 0 else 1.0
    return float(norm.sf(above / math.sqrt(variance)))


def least_likely_share(a_only: int, b_only: int, n: int, shift: float) -> float:
    """Share of images that b alone gets right, most likely where a's accuracy is b's plus `shift` (Tango 1998)."""
    linear = -a_only - b_only + (2 * n - a_only + b_only) * shift
    constant = -b_only * shift * (1 - shift)
    return (math.sqrt(max(0.0, linear**2 - 8 * n * constant)) - linear) / (4 * n)
