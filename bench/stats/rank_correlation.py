"""Rank correlations of two columns in which each entry may count any number of times, as resampling makes it.

counts: float [m, r], how often each of m entries occurs in each of r resamples. One product of matrices then
serves all resamples, where drawn columns would each have to be ranked. NaN where fewer than three different
entries occur or a column is constant: such a correlation says nothing.
"""

import numpy as np
from numpy.typing import NDArray

from featune.engine.metrics import Array

from .intervals import chunks

FEWEST_RANKED = 3


def weighted_tau(x: Array, y: Array, counts: Array) -> Array:
    """Kendall's tau with pairs weighted by 1 / (rank of one) + 1 / (rank of the other), 1 the largest: [r].

    The mean of ranking by x, ties by y, and the other way round, as scipy.stats.weightedtau has it by default:
    an exchange at the top counts more than one at the bottom. x, y: [m]. Source: Vigna 2015.
    """
    return (_tau_ranked_by(x, y, counts) + _tau_ranked_by(y, x, counts)) / 2


def _tau_ranked_by(x: Array, y: Array, counts: Array) -> Array:
    """Ties in x are ranked by y; of equal pairs it does not matter, as all their differences agree."""
    order = np.lexsort((-y, -x))
    x, y, counts = x[order], y[order], counts[order]
    harmonic = np.concatenate([[0.0], np.cumsum(1 / np.arange(1, counts.sum(axis=0).max(initial=0) + 1))])
    last = np.cumsum(counts, axis=0).astype(np.int64)
    weights = harmonic[last] - harmonic[last - counts.astype(np.int64)]  # 1 / rank, summed over an entry's copies
    up, across = np.sign(x[:, None] - x), np.sign(y[:, None] - y)

    def product(signs: Array) -> Array:
        """Sum over pairs of both entries' weights times the pair's sign."""
        return (weights * (signs @ counts)).sum(axis=0)

    return _quotient(product(up * across), product(up**2), product(across**2), counts)


def shuffled_tau(x: Array, y: Array, rows: NDArray[np.int64]) -> Array:
    """The weighted tau of x [m] with y [m] in each of many orders of the models, rows [r, m]: [r].

    To compare the orders with one another: ties weigh as their mean rank and are not corrected for, so that all that
    changes is a product of matrices. Without ties it is `weighted_tau`.
    """
    from scipy.stats import rankdata

    m = len(x)
    if m < FEWEST_RANKED:
        return np.full(len(rows), np.nan)
    up, across = np.sign(x[:, None] - x), np.sign(y[:, None] - y)
    by_x, by_y = (1.0 / rankdata(-column) for column in (x, y))
    weighted_up, weighted_across = (by_x[:, None] * up).ravel(), (by_y[:, None] * across).ravel()
    most, found, start = (m - 1) * (by_x.sum() + by_y.sum()), [], 0
    for size in chunks(len(rows), m * m, 1 << 19):
        chunk = rows[start : start + size]
        pairs = (chunk[:, :, None] * m + chunk[:, None]).reshape(size, m * m)
        found.append(across.ravel()[pairs] @ weighted_up + weighted_across[pairs] @ up.ravel())
        start += size
    return np.concatenate(found) / most


def weighted_spearman(x: Array, y: Array, counts: Array) -> Array:
    """Spearman's rho [r], ties sharing their mean rank. x, y: [m]."""
    total = counts.sum(axis=0)
    # An entry's mean rank is half of how many lie below it less how many lie above, up to a constant: centred.
    one, other = (np.sign(column[:, None] - column) @ counts for column in (x, y))
    middle = [(counts * ranks).sum(axis=0) / total for ranks in (one, other)]
    one, other = one - middle[0], other - middle[1]
    shared = (counts * one * other).sum(axis=0)
    return _quotient(shared, (counts * one**2).sum(axis=0), (counts * other**2).sum(axis=0), counts)


def _quotient(shared: Array, one: Array, other: Array, counts: Array) -> Array:
    defined = (one > 0) & (other > 0) & ((counts > 0).sum(axis=0) >= FEWEST_RANKED)
    size = np.sqrt(np.where(defined, one * other, 1.0))
    return np.where(defined, np.clip(shared / size, -1, 1), np.nan)
