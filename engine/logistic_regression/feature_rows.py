"""Feature rows as they come: arrays, memmaps, tensors, several end to end; their labels; what is refused of either."""

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ..errors import BadInput

Rows = NDArray | Tensor | tuple[NDArray | Tensor, ...]


class Stacked:
    """Arrays laid end to end, read by slice as tensors."""

    def __init__(self, parts: Sequence[NDArray | Tensor]):
        self.parts = parts
        self.ends = np.cumsum([len(part) for part in parts])
        self.width = int(parts[0].shape[1])

    def __len__(self) -> int:
        return int(self.ends[-1])

    def read(self, where: slice, device: str | torch.device, dtype: torch.dtype) -> Tensor:
        pieces = []
        for part, end in zip(self.parts, self.ends, strict=True):
            begin = int(end) - len(part)
            low, high = max(where.start - begin, 0), min(where.stop - begin, len(part))
            if low < high:
                piece = part[low:high]
                # A copy, because torch warns about memory that it could not write to.
                tensor = piece if isinstance(piece, Tensor) else torch.from_numpy(np.array(piece))
                pieces.append(tensor.to(device, dtype))
        return pieces[0] if len(pieces) == 1 else torch.cat(pieces)


def stacked_rows(rows: Rows) -> Stacked:
    parts = rows if isinstance(rows, tuple) else (rows,)
    parts = tuple(part if isinstance(part, Tensor) else np.asanyarray(part) for part in parts)
    shapes = [tuple(part.shape) for part in parts]
    if not parts or any(len(shape) != 2 for shape in shapes) or len({shape[1:] for shape in shapes}) > 1:
        raise BadInput(f"rows of shape {shapes} found; expected [n, d]; stack the features into a matrix")
    if sum(shape[0] for shape in shapes) == 0 or shapes[0][1] == 0:
        raise BadInput(f"rows of shape {shapes} found; expected at least one row and one column")
    return Stacked([part for part in parts if len(part)])


def checked_labels(labels: ArrayLike, rows: int, classes: int | None) -> NDArray:
    found = np.asarray(labels)
    if found.ndim != 1 or len(found) != rows:
        raise BadInput(f"labels of shape {found.shape} found; expected [{rows}], one per row; check the split")
    if found.dtype.kind not in "iu":
        raise BadInput(f"labels of type {found.dtype} found; expected whole numbers; number the classes from 0")
    wrong = np.flatnonzero((found < 0) | (found >= (classes if classes is not None else np.inf)))
    if len(wrong):
        raise BadInput(
            f"label {found[wrong[0]]} found at row {wrong[0]} ({len(wrong)} such rows); "
            f"expected 0 to {'any' if classes is None else classes - 1}; check the class list"
        )
    return found.astype(np.int64)


def checked_truth(truth: ArrayLike, rows: int) -> NDArray:
    """Truth, bool [n, k]."""
    return judged_truth(truth, rows, (0, 1)).astype(bool)


def judged_truth(truth: ArrayLike, rows: int, values: tuple[int, ...] = (-1, 0, 1)) -> NDArray:
    """Truth [n, k] of 0 and 1, and of -1 for unknown."""
    found = np.asarray(truth)
    if found.ndim != 2 or len(found) != rows:
        raise BadInput(f"truth of shape {found.shape} found; expected [{rows}, k], one row each; check the split")
    if found.dtype != bool and not np.isin(found, values).all():
        raise BadInput(f"truth with values other than {values} found; expected bool [n, k]; binarise it")
    return found


def refuse_unfinite(bad: list[int], count: int) -> None:
    """Raises BadInput if any of `count` rows are bad, naming the first."""
    if bad:
        listed = ", ".join(map(str, bad[:5])) + (", ..." if len(bad) > 5 else "")
        raise BadInput(
            f"{len(bad)} of {count} rows hold NaN or infinity (rows {listed}); expected finite "
            "features; extract these again, in float32 if they overflowed in float16"
        )
