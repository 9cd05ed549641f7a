"""What became of a training, in words: collapsed, short of its own images, a rate at the edge of those tried."""

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .rows import Row

FITTED = 0.9  # of its own training images a training to the end gets right, as a rule
NEAR_MAJORITY = 0.01  # above the majority class's share, within which nothing was learned to speak of


def class_facts(train: NDArray[Any], test: NDArray[Any], scores: NDArray[Any]) -> dict[str, Any]:
    """Details of a row that an accuracy is to be seen beside; none where an image may have several classes.

    train, test: int [n], the classes of the images; scores: [n_test, classes]. majority_*: the share of the
    most frequent class of the split: what predicting one class for all images reaches at most.
    predicted_classes: how many classes are predicted at all on test; predicted_most: the share of the most predicted.
    """
    if train.ndim != 1 or test.ndim != 1 or not len(train) or not len(test):
        return {}
    (_, of_train), (_, of_test) = np.unique(train, return_counts=True), np.unique(test, return_counts=True)
    _, predicted = np.unique(scores.argmax(axis=1), return_counts=True)
    return {
        "majority_train": float(of_train.max() / len(train)),
        "majority_test": float(of_test.max() / len(test)),
        "test_classes": len(of_test),
        "predicted_classes": len(predicted),
        "predicted_most": float(predicted.max() / len(test)),
    }


def collapsed(row: Row) -> bool:
    """Whether it predicts one class for all test images, which have several."""
    return row.details.get("predicted_classes") == 1 and row.details.get("test_classes", 0) > 1


@dataclasses.dataclass(frozen=True)
class Outcome:
    """What is to be said of one cell. faults: in words; the first is the worst."""

    row: Row
    faults: tuple[str, ...]


def outcomes(rows: Sequence[Row]) -> list[Outcome]:
    """Of every finished cell of which a row tells more than its number, or that has a fault."""
    done = [row for row in rows if row.error is None and row.source == "measured"]
    return [Outcome(row, tuple(faults(row))) for row in done if is_training(row) or faults(row)]


def is_training(row: Row) -> bool:
    return "learning_rate" in row.details


def faults(row: Row) -> list[str]:
    """What a reader must know before believing the number; old rows tell nothing."""
    details, found = row.details, []
    majority, train = details.get("majority_test"), details.get("train_top1")
    if collapsed(row):
        found.append("collapsed: predicts one class")
    elif row.metric == "top1" and majority is not None and (row.value or 0.0) <= majority + NEAR_MAJORITY:
        found.append("no better than the most frequent class")
    if details.get("converged") is False:
        found.append("did not converge: the score may change with more work")
    if train is not None and train < FITTED and is_training(row):
        found.append(f"may not have converged: {100 * train:.1f}\u00a0% of its own training images right")
    if edge := rate_edge(details):
        found.append(f"the best rate lies at the {edge} edge of those tried")
    return found


def rate_edge(details: Mapping[str, Any]) -> str:
    """Whether the chosen learning rate is the highest or the lowest of several; empty where it is neither."""
    rates = details.get("rates") or [float(rate) for rate in details.get("tried") or {}]
    chosen = details.get("learning_rate")
    if chosen is None or len(rates) < 2:
        return ""
    # Rates that diverged count: one that lies above them would diverge too.
    return "upper" if chosen >= max(rates) else "lower" if chosen <= min(rates) else ""
