"""What to measure (Cell), what was measured (Row, Speed, Estimate), and the folder that keeps the rows."""

import contextlib
import dataclasses
import functools
import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput, nearest
from featune.engine.metrics import METRICS
from featune.engine.paths import as_name
from featune.engine.store import digest, file_digest, write_json, written_whole

from .checks import checked, details_fault, json_object

ROUNDING = 1e-9  # of a mean that may be just beyond a metric's ends
SHA256 = re.compile(r"[0-9a-f]{64}")


@dataclasses.dataclass(frozen=True)
class Cell:
    """One thing to measure. `inputs` is the digest of all else that the number depends on:
    the model's weights and view, the task's manifests, the regime's settings."""

    task: str
    model: str
    regime: str
    seed: int
    inputs: str

    @functools.cached_property
    def name(self) -> str:
        """The file that holds its row: `<task>/<model>.<regime>.<digest>.json`, safe for any file system."""
        return f"{as_name(self.task)}/{as_name(self.model)}.{as_name(self.regime)}.{digest(self)}.json"


@dataclasses.dataclass(frozen=True)
class Row:
    """One thing that was measured, or the error that stood in its way.

    value, low, high: fractions (the metric and its 95 % interval), None where the cell failed.
    n: test images. source_top1: the model's accuracy on its source task, a fraction, and source_n the images that
    it was measured on, where known.
    facts: other numbers of the model that transfer may follow: parameters (1e6), macs (1e9), real, v2 and so on.
    seconds: wall time of the cell. kwh: its energy, None where that is not known; kwh_said: whose energy it is, or why
    it is not known, empty for rows of before that was asked. details: what the regime chose and how well it converged.
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
    facts: Mapping[str, float] = dataclasses.field(default_factory=dict)
    seconds: float = 0.0
    kwh: float | None = None
    kwh_said: str = ""
    details: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    environment: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    scores_digest: str | None = None
    source: str = "measured"
    error: str | None = None


@dataclasses.dataclass(frozen=True)
class Speed:
    """How fast one model ran with one backend.

    scope: what the clock included: (a) kernel only, data resident; (b) with host-device copies; (c) from files.
    images_per_second: with its 95 % interval, None for speeds of before that was measured. p95_ms: None of fewer calls
    than it needs (`percentile_needs`). iterations: calls.
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
    p95_ms: float | None
    iterations: int
    loaded: bool = False
    others_busy: float | None = None
    images_per_second_low: float | None = None
    images_per_second_high: float | None = None


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
        return f"{as_name(self.task)}/{as_name(self.model)}.{as_name(self.name)}.{key}.json"


class RunStore:
    """A folder with one JSON file per finished cell; jq works. Whoever writes a cell's row holds the cell's lock."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)

    def path(self, cell: Cell) -> Path:
        return self.root / cell.name

    def load(self, cell: Cell) -> Row | None:
        """The cell's row, or None if it was never finished. Raises BadInput for a file that is not the cell's row."""
        path = self.path(cell)
        if not path.exists():
            return None
        row = row_from_json(path)
        if row.cell != cell:
            raise BadInput(f"{path} holds the row of another cell ({row.cell.name}); remove it to measure again")
        return row

    def save(self, row: Row, scores: NDArray[np.float32] | None = None) -> Row:
        """Write the row, and beside it the test scores that its number was computed from; gives the row that stands.

        scores: [n, classes], kept so that paired tests and other metrics are possible later. A row with an error
        never takes the place of one with a value.
        """
        if row.error is not None:
            with contextlib.suppress(BadInput):  # what cannot be read may be replaced
                known = self.load(row.cell)
                if known and known.error is None:
                    return known
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
        if row.scores_digest is None or not path.exists():
            raise _not_its_scores(path)
        self.check_scores(row)
        return np.load(path, allow_pickle=False)

    def check_scores(self, row: Row) -> None:
        """Raises BadInput where scores lie beside the row that are not those its number was computed from."""
        path = self.path(row.cell).with_suffix(".npy")
        with contextlib.suppress(FileNotFoundError):
            if row.scores_digest is not None and file_digest(path) != row.scores_digest:
                raise _not_its_scores(path)

    def rows(self) -> Iterator[Row]:
        """Every row of the folder, in the order of the file names."""
        for path in sorted(self.root.glob("*/*.json")):
            if path.name.startswith("."):  # being written, or left by a process that was killed as it wrote
                continue
            row = row_from_json(path)
            if self.path(row.cell) != path:
                raise BadInput(f"{path} holds the row of another cell ({row.cell.name}); remove it to measure again")
            yield row


def _not_its_scores(path: Path) -> BadInput:
    return BadInput(f"{path} is missing or is not what its row says; remove the row to measure again")


def row_from_json(path: Path) -> Row:
    """The row that a file holds. Raises BadInput that names the file where its types or numbers cannot be a row's."""
    try:
        value = json_object(path)
        row = checked(Row(**{**value, "cell": Cell(**value["cell"])}))
        fault = _fault(row)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is not a row of this version ({error}); remove it to measure again") from error
    if fault:
        raise BadInput(f"{path} is not a row of this version ({fault}); remove it to measure again")
    return row


def _fault(row: Row) -> str:
    """What cannot be true of a measured row, or nothing."""
    if row.metric not in METRICS:
        return f"metric: {row.metric!r:.60} found{nearest(row.metric, METRICS)}, one that Featune has expected"
    lowest, highest = METRICS[row.metric].lowest, METRICS[row.metric].highest
    for name in ("value", "low", "high"):
        number = getattr(row, name)
        if number is not None and not lowest - ROUNDING <= number <= highest + ROUNDING:
            return f"{name}: {number} found, a {row.metric} from {lowest:g} to {highest:g} expected"
    if row.low is not None and row.high is not None and row.low > row.high:
        return f"low {row.low} is above high {row.high}"
    if row.value is None and row.error is None:
        return "neither a value nor an error"
    if fault := details_fault(row.details):
        return f"details: {fault}"
    if row.scores_digest is not None and not SHA256.fullmatch(row.scores_digest):
        return f"scores_digest: {row.scores_digest!r:.80} found, 64 hexadecimal digits expected"
    return ""
