"""Where a classifier is wrong: its confusion matrix, and its most confident mistakes by file name."""

import csv
import dataclasses
import io
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from featune.engine.images import Labelled


@dataclasses.dataclass(frozen=True)
class Mistake:
    """One image that was told wrong. confidence: the softmax of its scores at the class told, a fraction."""

    path: str
    truth: str
    told: str
    confidence: float


@dataclasses.dataclass(frozen=True)
class Judged:
    """confusion: images [classes, classes], rows are the truth. mistakes: the most confident first, all of them."""

    classes: tuple[str, ...]
    confusion: NDArray[np.int64]
    mistakes: tuple[Mistake, ...]

    def confused(self, shown: int = 10) -> list[tuple[str, str, int]]:
        """(truth, told, images) of the pairs that are confused most."""
        off = self.confusion * (1 - np.eye(len(self.classes), dtype=np.int64))
        order = np.argsort(-off, axis=None, kind="stable")[:shown]
        pairs = [np.unravel_index(at, off.shape) for at in order]
        return [
            (self.classes[row], self.classes[column], int(off[row, column]))
            for row, column in pairs
            if off[row, column]
        ]

    def confusion_csv(self) -> str:
        return _csv(
            [
                ["truth \\ told", *self.classes],
                *([name, *row] for name, row in zip(self.classes, self.confusion.tolist(), strict=True)),
            ]
        )

    def mistakes_csv(self) -> str:
        rows = [[each.path, each.truth, each.told, f"{each.confidence:.4f}"] for each in self.mistakes]
        return _csv([["path", "truth", "told", "confidence"], *rows])


def judge(items: Labelled, scores: NDArray[np.float32], classes: Sequence[str]) -> Judged:
    """items: one label each. scores: [n, classes], logits."""
    truth, told = items.truth(len(classes)), scores.argmax(axis=1)
    confusion = np.zeros((len(classes), len(classes)), dtype=np.int64)
    np.add.at(confusion, (truth, told), 1)
    odds = np.exp(scores.astype(np.float64) - scores.max(axis=1, keepdims=True))
    sure = (odds / odds.sum(axis=1, keepdims=True)).max(axis=1)
    wrong = np.flatnonzero(truth != told)
    order = wrong[np.argsort(-sure[wrong], kind="stable")]
    mistakes = tuple(
        Mistake(items.paths[at], classes[truth[at]], classes[told[at]], float(sure[at])) for at in order.tolist()
    )
    return Judged(tuple(classes), confusion, mistakes)


def _csv(rows: Sequence[Sequence[object]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()
