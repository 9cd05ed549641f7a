"""What `featune features separation`, `compare` and `distance` do: the geometry of stored features."""

import dataclasses
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput
from featune.engine.features import Stored

from ..estimators import class_separation, frechet_distance, linear_cka
from .origins import items_of_origin, origin_of
from .stored_files import full_key, opened


@dataclasses.dataclass(frozen=True)
class Geometry:
    """value: of one file of features or of two. n: rows of each. models: as `featune features list` has them."""

    measure: str
    value: float
    keys: tuple[str, ...]
    models: tuple[str, ...]
    n: tuple[int, ...]

    def line(self) -> str:
        rows = " and ".join(f"{n:,}" for n in dict.fromkeys(self.n))
        return f"{self.measure} {self.value:.4f}: {' and '.join(self.models)}, {rows} images"


def separation(root: Path, key: str, data: str | None = None) -> Geometry:
    """R^2 of the classes, by the labels of the data set that asked for the key last, or of `data`.

    Raises BadInput where an image has no label or several.
    """
    key = full_key(root, key)
    stored = opened(root, key)
    origin = origin_of(root, key, data)
    labels = [items_of_origin(root, origin)["labels"][at] for at in stored.kept.tolist()]
    wrong = [some for some in labels if len(some) != 1]
    if wrong:
        raise BadInput(
            f"{key}: an image of {origin.data} has {len(wrong[0])} labels, one of each expected; give --data"
        )
    value = class_separation(stored.rows, np.array([label for (label,) in labels]))
    return _geometry("class separation R2", value, [(key, stored, len(stored.rows))])


def similarity(root: Path, one: str, other: str, *, debiased: bool = True) -> Geometry:
    """Linear CKA of two files of features of the same images; those that one of them skipped are left out of both."""
    keys = [full_key(root, each) for each in (one, other)]
    stored = [opened(root, key) for key in keys]
    if len({each.record["key"]["images"] for each in stored}) > 1:
        raise BadInput(f"{keys[0]} and {keys[1]} are of other images; CKA is of the same images, extract them alike")
    kept = np.intersect1d(stored[0].kept, stored[1].kept)
    rows = [_rows_of(each, kept) for each in stored]
    name = "linear CKA, debiased" if debiased else "linear CKA, plain"
    value = linear_cka(*rows, debiased=debiased)
    return _geometry(name, value, [(key, each, len(kept)) for key, each in zip(keys, stored, strict=True)])


def distance(root: Path, one: str, other: str) -> Geometry:
    """Squared Frechet distance of one model's features of two sets of images."""
    keys = [full_key(root, each) for each in (one, other)]
    stored = [opened(root, key) for key in keys]
    if len({each.record["key"]["model"] for each in stored}) > 1:
        raise BadInput(f"{keys[0]} and {keys[1]} are of two models; the distance is of one model's features")
    value = frechet_distance(stored[0].rows, stored[1].rows)
    found = [(key, each, len(each.rows)) for key, each in zip(keys, stored, strict=True)]
    return _geometry("squared Frechet distance", value, found)


def _rows_of(stored: Stored, kept: NDArray[np.int64]) -> NDArray[np.float32]:
    return np.asarray(stored.rows)[np.searchsorted(stored.kept, kept)]


def _geometry(measure: str, value: float, of: list[tuple[str, Stored, int]]) -> Geometry:
    models = tuple(str(stored.record["label"] or stored.record["key"]["model"]) for _, stored, _ in of)
    return Geometry(measure, value, tuple(key for key, _, _ in of), models, tuple(n for _, _, n in of))
