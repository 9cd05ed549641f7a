"""Labels of train and val as one bool matrix each."""

import numpy as np
from numpy.typing import ArrayLike, NDArray

from ..errors import BadInput
from ..logistic_regression import checked_labels, checked_truth


def truth_matrices(
    train_truth: ArrayLike, train_rows: int, val_truth: ArrayLike, val_rows: int, classes: int | None
) -> tuple[NDArray, NDArray, bool]:
    """Truth of train and val as bool [n, k], and whether it came with several labels per row."""
    if np.ndim(train_truth) == 2:
        train, val = checked_truth(train_truth, train_rows), checked_truth(val_truth, val_rows)
        if train.shape[1] != val.shape[1]:
            raise BadInput(f"{train.shape[1]} classes in train and {val.shape[1]} in val found; expected the same")
        return train, val, True
    labels = checked_labels(train_truth, train_rows, classes)
    others = checked_labels(val_truth, val_rows, classes)
    count = classes if classes is not None else int(max(labels.max(), others.max())) + 1
    return labels[:, None] == np.arange(count), others[:, None] == np.arange(count), False
