"""Few-shot draws: k rows of each class, by a seed."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput


def few_shot(labels: ArrayLike, k: int, draws: int, seed: int, names: Sequence[str] = ()) -> list[NDArray]:
    """Row numbers of `draws` samples with k rows of each class in labels [n], sorted, without replacement.

    names: of the classes by number, for the error (BadInput) of a class that has fewer rows.
    Draw number i is the same whatever the number of draws.
    """
    truth = np.asarray(labels)
    if truth.ndim != 1:
        raise BadInput(f"labels {list(truth.shape)} found; expected one label each, leave the shots out")
    classes, sizes = np.unique(truth, return_counts=True)
    if k < 1 or draws < 1 or len(truth) == 0:
        raise BadInput(f"k = {k}, draws = {draws}, {len(truth)} labels found; expected at least one of each")
    if sizes.min() < k:
        rare = classes[sizes.argmin()]
        name = names[rare] if rare < len(names) else rare
        raise BadInput(f"class {name} has {sizes.min()} rows; expected {k} or more; lower the shots or add rows")
    members = [np.flatnonzero(truth == label) for label in classes]
    samples = []
    for draw in range(draws):
        rng = np.random.default_rng([seed, draw])
        samples.append(np.sort(np.concatenate([rng.choice(rows, k, replace=False) for rows in members])))
    return samples
