"""Cut images into splits by a seed: by class, by several labels, by group, into folds; and find what they share."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput
from featune.engine.images import Labelled

Array = NDArray[Any]

# How images without splits are cut.
WHOLE = {"train": 0.6, "val": 0.2, "test": 0.2}  # of one folder that has no splits
VAL_OF_TRAIN = {"train": 0.8, "val": 0.2}  # Kornblith's re-implementations hold out 20 %


def stratified_split(items: Labelled, fractions: Mapping[str, float], seed: int) -> dict[str, Labelled]:
    """Cut the items by class and seed, each class within one image of its share; order is kept inside a split.

    Every image lands in exactly one split. The result depends on the paths and the seed, not on their order
    in the file system. Images of one group stay together where the items have groups, as do lines of one file, and
    images with several labels are dealt out rarest label first; shares are then as near as those rules allow.
    Raises BadInput where there are fewer groups than splits.
    """
    chosen = _cut(items, np.array(list(fractions.values())), seed)
    return {name: items.take(indices) for name, indices in zip(fractions, chosen, strict=True)}


def k_folds(items: Labelled, k: int, seed: int) -> list[tuple[Labelled, Labelled]]:
    """k pairs (train, held out); every image is held out once, stratified and grouped as in `stratified_split`."""
    if k < 2:
        raise BadInput(f"{k} folds asked for; expected at least 2")
    folds = _cut(items, np.ones(k), seed)
    order = _by_path(items)
    pairs = []
    for fold in folds:
        held = set(fold)
        pairs.append((items.take([i for i in order if i not in held]), items.take(fold)))
    return pairs


def shared_images(splits: Mapping[str, Labelled]) -> list[tuple[str, str]]:
    """Pairs of files in different splits with the same bytes, as ("train/a.png", "test/b.png").

    An image of one split is paired with the first of its bytes in an earlier split, so that the number of pairs
    is the number of images that another split has too. Unreadable files are left to the reader of the images.
    """
    first: dict[str, tuple[str, str]] = {}
    pairs = []
    for split, items in splits.items():
        for path, digest in zip(items.paths, items.file_digests(), strict=True):
            earlier, name = first.setdefault(digest, (split, path))
            if earlier != split and digest != "unreadable":
                pairs.append((f"{earlier}/{name}", f"{split}/{path}"))
    return pairs


def straddling_groups(splits: Mapping[str, Labelled]) -> list[str]:
    """The groups that have images in more than one split, in order of name; images without a group have none."""
    home: dict[str, str] = {}
    straddling = set()
    for split, items in splits.items():
        for group in filter(None, items.groups):
            if home.setdefault(group, split) != split:
                straddling.add(group)
    return sorted(straddling)


def _cut(items: Labelled, fractions: Array, seed: int) -> list[list[int]]:
    """The indices of each split, in order of path."""
    shares = fractions / fractions.sum()
    if any(items.groups) or len(set(items.paths)) < len(items):
        chosen = _by_group(items, shares, seed)
    elif any(len(labels) != 1 for labels in items.labels):
        chosen = _by_labels(items, shares, seed)
    else:
        chosen = _by_class(items, shares, seed)
    place = {index: number for number, index in enumerate(_by_path(items))}
    return [sorted(part, key=place.__getitem__) for part in chosen]


def _by_path(items: Labelled) -> list[int]:
    return sorted(range(len(items)), key=lambda i: (items.paths[i], items.labels[i]))


def _by_class(items: Labelled, shares: Array, seed: int) -> list[list[int]]:
    members: dict[int, list[int]] = {}
    for index in _by_path(items):
        members.setdefault(items.labels[index][0], []).append(index)
    chosen: list[list[int]] = [[] for _ in shares]
    for number in sorted(members):
        of_class = np.array(members[number])
        dealt = of_class[np.random.default_rng((seed, number)).permutation(len(of_class))]
        cuts = np.round(np.cumsum(shares) * len(dealt)).astype(int)[:-1]
        for part, dealt_to_it in zip(chosen, np.split(dealt, cuts), strict=True):
            part.extend(dealt_to_it.tolist())
    return chosen


def _by_labels(items: Labelled, shares: Array, seed: int) -> list[list[int]]:
    """Iterative stratification (Sechidis et al. 2011): the label with fewest images left is dealt out first,
    each image to the split that lacks most of it, then of all images, then by the shuffled order.
    """
    order = _shuffled(items, seed)
    has = _indicators([items.labels[i] for i in order])
    lacking = shares[:, None] * has.sum(axis=0)
    room = shares * len(order)
    waiting = np.ones(len(order), dtype=bool)
    chosen: list[list[int]] = [[] for _ in shares]
    while waiting.any():
        left = has[waiting].sum(axis=0)
        labelled = np.flatnonzero(left)
        # Images without any label come last and go where there is room.
        label = labelled[left[labelled].argmin()] if len(labelled) else None
        for row in np.flatnonzero(waiting & (has[:, label] > 0 if label is not None else True)):
            need = lacking[:, label] if label is not None else room
            split = int(np.lexsort((-room, -need))[0])
            chosen[split].append(order[row])
            lacking[split] -= has[row]
            room[split] -= 1
            waiting[row] = False
    return chosen


def _by_group(items: Labelled, shares: Array, seed: int) -> list[list[int]]:
    """Largest groups first, each to the split whose class counts it brings nearest to their targets.

    The distance is the sum over classes of squared gaps, each as a share of the class, so that a rare class
    weighs as much as a common one. An image without a group is one of its own.
    """
    groups: dict[tuple[str, str], list[int]] = {}
    for index in _shuffled(items, seed):
        group = items.groups[index] if items.groups else ""
        groups.setdefault((group, "" if group else items.paths[index]), []).append(index)
    if len(groups) < len(shares):
        raise BadInput(f"{len(groups)} groups found, at least {len(shares)} expected, one per split; give the splits")
    units = sorted(groups.values(), key=len, reverse=True)
    has = _indicators(items.labels)
    has = np.hstack([has, np.ones((len(items), 1))])  # the number of images counts as one more class
    total = np.maximum(has.sum(axis=0), 1)
    gap = np.outer(shares, np.ones(has.shape[1]))  # shares of each class that the splits still lack
    chosen: list[list[int]] = [[] for _ in shares]
    for number, unit in enumerate(units):
        brings = has[unit].sum(axis=0) / total
        gained = ((gap - brings) ** 2 - gap**2).sum(axis=1)
        empty = np.array([not part for part in chosen])
        if empty.sum() == len(units) - number:  # every split gets a group
            gained[~empty] = np.inf
        split = int(gained.argmin())
        gap[split] -= brings
        chosen[split].extend(unit)
    return chosen


def _shuffled(items: Labelled, seed: int) -> list[int]:
    """The indices in an order that depends on the paths and the seed alone."""
    by_path = _by_path(items)
    return [by_path[i] for i in np.random.default_rng(seed).permutation(len(by_path))]


def _indicators(labels: Sequence[tuple[int, ...]]) -> Array:
    """float [n, classes]: 1 where the image has the label."""
    has = np.zeros((len(labels), 1 + max((label for some in labels for label in some), default=0)))
    for row, some in zip(has, labels, strict=True):
        row[list(some)] = 1
    return has
