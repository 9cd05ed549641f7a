"""What a regime is: what is done with a model on a task, given train and val and never test.

A regime is called as `regime(spec, task, train, val, seed)` and returns a Scorer. It receives no way to the
test split, so selecting on test cannot be written by accident.
"""

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from featune.engine.images import Labelled
from featune.engine.models import ModelSpec

from ..tasks import Task

Scores = NDArray[np.float32]


class Scorer(Protocol):
    """Items to class scores [n, classes]. details: what was chosen, and how well it converged."""

    @property
    def details(self) -> Mapping[str, Any]: ...

    def __call__(self, items: Labelled, /) -> Scores: ...


class Regime(Protocol):
    def __call__(self, spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer: ...


@dataclasses.dataclass(frozen=True)
class Bench:
    """Where regimes run and keep their files. work: a folder for one cell's unfinished training.

    artefact: a file of `featune export` whose features are taken in place of the spec's own.
    """

    cache: Path
    backend: str = "onnxruntime"
    device: str = "cpu"
    threads: int | None = None
    work: Path | None = None
    artefact: Path | None = None
