"""Feature rows with their labels, paths and classes, as a notebook or a file has them."""

import dataclasses
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput
from featune.engine.features import Features, Verdict
from featune.engine.images import Labelled

from ..data import Data
from ..tasks import stratified_split


@dataclasses.dataclass(frozen=True)
class FeatureTable:
    """Rows float32 [n, width], one per image, in the data's order.

    label_sets: the class numbers of each image, none where it has no label. paths: of the images, as the data names
    them. classes: names by number. skipped: (path, reason) of images that could not be read, which have no row.
    verdict: what the pass over the images did and what limited its speed, where there was one.
    """

    rows: NDArray[np.float32]
    label_sets: tuple[tuple[int, ...], ...]
    paths: tuple[str, ...]
    classes: tuple[str, ...] = ()
    model: str = ""
    notes: tuple[str, ...] = ()
    skipped: tuple[tuple[str, str], ...] = ()
    verdict: Verdict | None = None

    def __len__(self) -> int:
        return len(self.rows)

    @property
    def is_labelled(self) -> bool:
        return any(self.label_sets)

    @property
    def is_multilabel(self) -> bool:
        return any(len(labels) != 1 for labels in self.label_sets)

    @property
    def labels(self) -> NDArray[Any]:
        """int64 [n], or bool [n, classes] where an image has several labels or none. Raises BadInput without any."""
        if not self.is_labelled:
            raise BadInput("no image has a label; extract from labelled data, such as a folder of class folders")
        return self.truth(self.class_count, self.is_multilabel)

    @property
    def class_count(self) -> int:
        highest = max((number for labels in self.label_sets for number in labels), default=-1)
        return max(len(self.classes), highest + 1)

    def truth(self, classes: int, multilabel: bool) -> NDArray[Any]:
        """int64 [n], or bool [n, classes]."""
        return Labelled("", self.paths, self.label_sets).truth(classes, multilabel)

    def take(self, indices: Sequence[int]) -> "FeatureTable":
        return dataclasses.replace(
            self,
            rows=self.rows[list(indices)],
            label_sets=tuple(self.label_sets[i] for i in indices),
            paths=tuple(self.paths[i] for i in indices),
        )

    def cut(self, shares: Mapping[str, float], seed: int) -> dict[str, "FeatureTable"]:
        """Parts by class and seed, as `stratified_split` cuts images."""
        place = {path: i for i, path in enumerate(self.paths)}
        cut = stratified_split(Labelled("", self.paths, self.label_sets), shares, seed)
        return {name: self.take([place[path] for path in items.paths]) for name, items in cut.items()}


def table_of(data: Data, features: Features, model: str) -> FeatureTable:
    """The rows of a pass over the data, in memory, with what the data says of their images."""
    kept = np.asarray(features.kept).tolist()
    return FeatureTable(
        np.array(features.rows, dtype=np.float32),
        tuple(data.items.labels[i] for i in kept),
        tuple(data.items.paths[i] for i in kept),
        data.classes,
        model,
        data.notes,
        tuple((path, reason) for _, path, reason in features.skipped),
        features.verdict,
    )


def read_table(path: Path) -> FeatureTable:
    """The labelled rows of an .npz file that `featune extract --out` wrote. Raises BadInput for any other file."""
    try:
        with np.load(path, allow_pickle=False) as held:
            rows, label, path_column = held["rows"], held["label"], held["path"]
            classes = tuple(map(str, held["classes"]))
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; write it with `featune extract --split {path.stem} --out`") from error
    except (KeyError, ValueError, OSError) as error:
        raise BadInput(f"{path}: {error}; expected what `featune extract --out` writes") from error
    labels = tuple(tuple(int(number) for number in str(text).split()) for text in label)
    if not any(labels):
        raise BadInput(f"{path}: no image has a label; extract from labelled data")
    bad = np.flatnonzero(~np.isfinite(rows).all(axis=1))
    if len(bad):
        others = f", and {len(bad) - 1} more" if len(bad) > 1 else ""
        raise BadInput(
            f"{path}: row {bad[0]} ({path_column[bad[0]]}) holds NaN or infinity{others}; finite numbers expected, "
            "extract the features again"
        )
    return FeatureTable(rows, labels, tuple(map(str, path_column)), classes)
