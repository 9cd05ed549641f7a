"""What a model predicts on each image, and the file that keeps it, so that two models can be compared in pairs."""

import csv
import dataclasses
import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput
from featune.engine.store import write_text

from ..datasets import rows_of

TOP = 5
CHUNK = 4_096  # rows that are looked at together: 16 MB of 1000 classes
COLUMNS = ("path", "label", "predicted", "top5", "right", "right5", "real")
Rows = NDArray[Any]


@dataclasses.dataclass(frozen=True)
class Predictions:
    """Of n images in order. labels: classes [n]. top: the likeliest classes [n, 5], the first of them the prediction.

    unmasked: the likeliest of all 1000 classes [n], where the others are of a mask. real: the ReaL labels of each
    image, or nothing where they are not known.
    """

    paths: tuple[str, ...]
    labels: NDArray[np.int64]
    top: NDArray[np.int64]
    unmasked: NDArray[np.int64]
    real: tuple[tuple[int, ...], ...] = ()

    @property
    def right(self) -> NDArray[np.bool_]:
        return self.top[:, 0] == self.labels

    @property
    def right5(self) -> NDArray[np.bool_]:
        return (self.top == self.labels[:, None]).any(axis=1)

    @property
    def real_right(self) -> NDArray[np.float64]:
        """1 where the prediction is one of the ReaL labels, NaN where an image has none (Beyer et al. 2020)."""
        first = self.top[:, 0].tolist()
        return np.array(
            [float(guess in some) if some else np.nan for guess, some in zip(first, self.real, strict=True)]
        )


def predictions_of(
    logits: Rows, paths: Sequence[str], labels: NDArray[np.int64], columns: NDArray[np.int64], mask: Sequence[int] = ()
) -> Predictions:
    """logits [n, outputs]; columns: the output of each of the 1000 classes, -1 where there is none.

    mask: the classes that can be said, all of them where it is empty. Of equal logits the lower class comes first.
    """
    classes = np.flatnonzero(columns >= 0)
    allowed = classes if not len(mask) else np.intersect1d(classes, mask)
    if len(allowed) < TOP:
        raise BadInput(f"{len(allowed)} classes can be said, {TOP} or more expected; choose other --masks")
    top, unmasked = [], []
    for start in range(0, len(logits), CHUNK):
        chunk = np.asarray(logits[start : start + CHUNK], dtype=np.float32)
        unmasked.append(classes[chunk[:, columns[classes]].argmax(axis=1)])
        top.append(allowed[_first(chunk[:, columns[allowed]])])
    return Predictions(tuple(paths), labels, np.concatenate(top), np.concatenate(unmasked))


def _first(scores: NDArray[np.float32]) -> NDArray[np.int64]:
    """The columns of the five highest scores of each row [n, 5], the highest first; of equal ones the lower column."""
    return np.argsort(-scores, axis=1, kind="stable")[:, :TOP]


def write_predictions(path: Path, found: Predictions) -> None:
    """One line an image: its label, the prediction, the five likeliest classes, and 1 or 0 for right and wrong.

    real is empty where ReaL labels are not known or the image has none.
    """
    text = io.StringIO()
    lines = csv.writer(text, lineterminator="\n")
    lines.writerow(COLUMNS)
    real = (
        ["" if np.isnan(one) else str(int(one)) for one in found.real_right] if found.real else [""] * len(found.paths)
    )
    for at, path_of_image in enumerate(found.paths):
        top = found.top[at].tolist()
        lines.writerow([
            path_of_image, int(found.labels[at]), top[0], " ".join(map(str, top)), int(found.right[at]),
            int(found.right5[at]), real[at],
        ])  # fmt: skip
    write_text(path, text.getvalue())


def read_right(path: Path) -> dict[str, bool]:
    """Whether each image was right, by its path, of a file that `write_predictions` wrote."""
    rows = rows_of(path, "path", "label", "right")
    wrong = [row["right"] for row in rows if row["right"] not in ("0", "1")]
    if wrong:
        raise BadInput(f"{path}: right is {wrong[0]!r:.40}, 0 or 1 expected; give a file of `featune imagenet --out`")
    return {row["path"]: row["right"] == "1" for row in rows}
