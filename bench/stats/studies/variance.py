"""Where the results of a study vary: shares of model, task, regime and seed, and the noise floor of its seeds."""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from featune.engine.errors import BadInput

from ...stats import ERROR

POWER = 0.8


@dataclass(frozen=True)
class Component:
    """A source of variance: its factors (none for the replicates), component, share, degrees of freedom, mean square.

    component: at least 0; one whose estimate was negative is 0, as the data show none.
    """

    factors: tuple[str, ...]
    component: float
    share: float
    free: int
    mean_square: float


def variance_shares(values: npt.ArrayLike, names: Sequence[str]) -> list[Component]:
    """Variance components of a balanced crossed design with replicates, largest first.

    values: [levels of the first factor, of the second, ..., replicates], log odds as a rule; names: of the factors,
    as ("model", "task", "regime"); replicates are the seeds. With one replicate the interaction of all factors is
    what is left and takes their place. All factors count as random; components come from the mean squares by the
    expectations of the balanced design, in closed form. Source: Searle, Casella and McCulloch 1992, chapter 4.
    """
    values = np.asarray(values, dtype=np.float64)
    if values.ndim != len(names) + 1 or not values.size or not np.isfinite(values).all():
        raise BadInput(f"values: finite, [{', '.join(names)}, seeds] expected, {values.shape} found")
    if min(values.shape[:-1]) < 2:
        raise BadInput(f"values: two levels or more of each of {', '.join(names)} expected, {values.shape} found")
    levels, repeats = values.shape[:-1], values.shape[-1]
    axes = range(len(names))
    subsets = [of for size in range(1, len(names) + 1) for of in itertools.combinations(axes, size)]
    squares = {of: _effect_squares(values, of) for of in subsets}
    free = {of: math.prod(levels[at] - 1 for at in of) for of in subsets}
    mean_square = {of: squares[of] / free[of] for of in subsets}
    found: dict[tuple[int, ...], float] = {}
    if repeats > 1:
        within = ((values - values.mean(axis=-1, keepdims=True)) ** 2).sum()
        free_within = math.prod(levels) * (repeats - 1)
        noise, mean_within = within / free_within, within / free_within
    else:  # the interaction of all factors is the noise
        noise, free_within = mean_square[subsets[-1]], free[subsets[-1]]
        mean_within, subsets = noise, subsets[:-1]
    for of in sorted(subsets, key=len, reverse=True):
        above = sum(found[more] * _behind(levels, repeats, more) for more in found if set(of) < set(more))
        found[of] = (mean_square[of] - noise - above) / _behind(levels, repeats, of)
    whole = sum(max(0.0, one) for one in found.values()) + noise
    components = [
        Component(tuple(names[at] for at in of), max(0.0, one), _share(one, whole), free[of], mean_square[of])
        for of, one in found.items()
    ]
    components.append(Component((), noise, _share(noise, whole), free_within, mean_within))
    return sorted(components, key=lambda one: -one.component)


def noise_floor(cells: Sequence[npt.ArrayLike]) -> tuple[float, int]:
    """Standard deviation of a cell over its seeds, pooled over cells, and its degrees of freedom.

    cells: the results of each cell's seeds; cells with one seed say nothing. NaN and 0 where none has two.
    """
    squares, free = 0.0, 0
    for cell in cells:
        one = np.asarray(cell, dtype=np.float64)
        if one.size > 1:
            squares += float(((one - one.mean()) ** 2).sum())
            free += one.size - 1
    return (math.sqrt(squares / free), free) if free else (math.nan, 0)


def detectable_difference(spread: float, free: int, seeds: tuple[int, int], *, power: float = POWER) -> float:
    """The true difference of two means that Student's t finds at 0.05, in its direction, in a share `power` of studies.

    spread: standard deviation over seeds, pooled over cells with `free` degrees of freedom, as `noise_floor` gives it;
    seeds: of each of the two. Exact for normal values, by the noncentral t. Source: Cohen 1988, chapter 2.
    """
    from scipy.optimize import brentq
    from scipy.stats import nct, t

    if not spread >= 0 or free < 1 or min(seeds) < 1:
        raise BadInput(f"spread, free and seeds: 0 or more, 1 or more each expected; {spread}, {free}, {seeds} found")
    quantile = float(t.ppf(1 - ERROR / 2, free))
    shift = float(brentq(lambda at: float(nct.sf(quantile, free, at)) - power, 0.0, 10 * quantile))
    return shift * spread * math.sqrt(1 / seeds[0] + 1 / seeds[1])


def _effect_squares(values: npt.NDArray[np.float64], of: tuple[int, ...]) -> float:
    """Sum of squares of the effect of these factors, by inclusion and exclusion of their means."""
    effect = np.zeros(())
    for size in range(len(of) + 1):
        for kept in itertools.combinations(of, size):
            others = tuple(axis for axis in range(values.ndim) if axis not in kept)
            effect = effect + (-1) ** (len(of) - size) * values.mean(axis=others, keepdims=True)
    return float((np.broadcast_to(effect, values.shape) ** 2).sum())


def _behind(levels: Sequence[int], repeats: int, of: tuple[int, ...]) -> int:
    """How many results lie behind each mean of these factors."""
    return math.prod(levels[at] for at in range(len(levels)) if at not in of) * repeats


def _share(component: float, whole: float) -> float:
    return max(0.0, component) / whole if whole > 0 else math.nan
