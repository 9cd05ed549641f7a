"""What to measure (Cell), what was measured (Row, Speed, Estimate), and the folder that keeps the rows."""

import dataclasses
import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput
from featune.engine.store import digest, file_digest, write_json, written_whole


@dataclasses.dataclass(frozen=True)
class Cell:
    """One thing to measure. `inputs` is the digest of all else that the number depends on:
    the model's weights and view, the task's manifests, the regime's settings."""

    task: str
    model: str
    regime: str
    seed: int
    inputs: str

    @property
    def name(self) -> str:
        """The file that holds its row: `<task>/<model>.<regime>.<digest>.json`, safe for any file system."""
        return f"{_safe(self.task)}/{_safe(self.model)}.{_safe(self.regime)}.{digest(self)}.json"


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was measured, or the error that stood in its way.

    value, low, high: fractions (the metric and its 95 % interval), None where the cell failed.
    n: test images. source_top1: the model's accuracy on its source task, a fraction, and source_n the images that
    it was measured on, where known.
    seconds: wall time of the cell. details: what the regime chose and how well it converged.
    environment: versions, device and precision. scores_digest: SHA-256 of the file with the test scores.
    """

    cell: Cell
    metric: str
    value: float | None
    n: int
    low: float | None = None
    high: float | None = None
    source_top1: float | None = None
    source_n: int | None = None
    family: str = ""
    seconds: float = 0.0
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scores_digest: str | None = None
    source: str = "measured"
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast one model ran with one backend.

    scope: what the clock included: (a) kernel only, data resident; (b) with host-device copies; (c) from files.
    loaded: whether other work took the machine's time meanwhile, so that the rate is too low. others_busy: processors
    that other processes kept busy; None for speeds of before this was watched.
    """

    model: str
    backend: str
    precision: str
    device: str
    batch: int
    threads: int
    scope: str
    images_per_second: float
    median_ms: float
    p95_ms: float
    iterations: int
    loaded: bool = False
    others_busy: float | None = None


@dataclasses.dataclass(frozen=True)
class Estimate:
    """What an estimator says of a model on a task, from its train images alone; or why it says nothing.

    value: the higher the better, each estimator on a scale of its own; None where there is an error.
    seconds: of the estimator itself, its features or probabilities at hand. n: train images.
    inputs: the digest of all else that the value depends on.
    """

    task: str
    model: str
    name: str
    inputs: str
    value: float | None = None
    seconds: float = 0.0
    n: int = 0
    error: str | None = None

    @property
    def file(self) -> str:
        """Where it is kept, `<task>/<model>.<name>.<digest>.json`."""
        key = digest([self.task, self.model, self.name, self.inputs])
        return f"{_safe(self.task)}/{_safe(self.model)}.{_safe(self.name)}.{key}.json"


class RunStore:
    """A folder with one JSON file per finished cell; parallel writers need no lock, and jq works."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)

    def path(self, cell: Cell) -> Path:
        return self.root / cell.name

    def load(self, cell: Cell) -> Row | None:
        """The cell's row, or None if it was never finished."""
        path = self.path(cell)
        return row_from_json(path) if path.exists() else None

    def save(self, row: Row, scores: NDArray[np.float32] | None = None) -> Row:
        """Write the row, and beside it the test scores that its number was computed from.

        scores: [n, classes], kept so that paired tests and other metrics are possible later.
        """
        if scores is not None:
            path = self.path(row.cell).with_suffix(".npy")
            with written_whole(path) as temporary:
                np.save(temporary, scores, allow_pickle=False)
            row = dataclasses.replace(row, scores_digest=file_digest(path))
        write_json(self.path(row.cell), row)
        return row

    def scores(self, row: Row) -> NDArray[np.float32]:
        """The row's test scores [n, classes]; raises BadInput where the file is not the row's."""
        path = self.path(row.cell).with_suffix(".npy")
        if not path.exists() or file_digest(path) != row.scores_digest:
            raise BadInput(f"{path} is missing or is not what its row says; remove the row to measure again")
        return np.load(path, allow_pickle=False)

    def rows(self) -> Iterator[Row]:
        """Every row of the folder, in the order of the file names."""
        for path in sorted(self.root.glob("*/*.json")):
            yield row_from_json(path)


def row_from_json(path: Path) -> Row:
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return Row(**{**value, "cell": Cell(**value["cell"])})
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is not a row of this version ({error}); remove it to measure again") from error


def _safe(name: str) -> str:
    return "".join(letter if letter.isalnum() or letter in "-_." else "_" for letter in name).lstrip(".") or "_"
