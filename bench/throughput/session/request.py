"""What `featune throughput` is asked for, and the setups, modes and groups that follow from it."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.machine import processors
from featune.engine.runners import device_kind, require_device
from featune.export.backends import backend_named, check_backend

from .. import Configuration, Effort, Setup
from .opening import Source

FILE_BATCH = 8  # of scope (c) on a CPU, as `featune extract` takes it; 128 on a GPU


@dataclasses.dataclass(frozen=True)
class Asked:
    """batches: numbers, or none for a latency mode (1) and a throughput mode (searched). threads: None for all.

    data: a folder of images, which scope (c) reads and whose images the other scopes show; without it they are the
    project's own and there is no scope (c). price_per_hour: of the machine, in any currency. out: the folder of the
    report. models, backends, precisions: every model on every backend in every precision that the backend runs.
    """

    models: Sequence[str]
    backends: Sequence[str] = ("torch", "onnxruntime")
    precisions: Sequence[str] = ("fp32",)
    batches: Sequence[int] = ()
    device: str = "cpu"
    threads: int | None = None
    source: Source = dataclasses.field(default_factory=Source)
    latency_limit_ms: float | None = None
    price_per_hour: float | None = None
    effort: Effort = dataclasses.field(default_factory=Effort)
    seed: int = 0
    out: Path = Path("throughput")

    def __post_init__(self) -> None:
        require_device(self.device)
        for name in self.backends:
            check_backend(name)
        if not self.models:
            raise BadInput("no model found; give one or more timm names")
        if self.latency_limit_ms is not None and self.batches:
            raise BadInput("--latency-limit-ms is of the search for a batch; use --batch auto with it")
        if self.effort.rounds < 2 or self.effort.rounds % 2:
            raise BadInput(f"--rounds {self.effort.rounds} found; an even number, 2 or more, expected")
        if self.source.checkpoint is not None and len(self.models) > 1:
            raise BadInput(f"--checkpoint is of one model, {len(self.models)} given; measure them one by one")

    def setups(self, model: str) -> list[Setup]:
        """Each backend in those of the precisions that it computes on the device."""
        threads = self.threads or processors()
        found = [
            Setup(model, backend, precision, self.device, threads)
            for backend in self.backends
            for precision in self.precisions
            if backend_named(backend).computes(self.device, precision)
        ]
        if not found:
            raise BadInput(
                f"{', '.join(self.backends)} on {self.device} compute none of {', '.join(self.precisions)}; give "
                "another --precision or --backend"
            )
        return found

    def scopes(self) -> list[str]:
        """On a CPU (b) is (a): there is nothing to copy. (c) needs files."""
        return ["a", *(["b"] if device_kind(self.device) == "cuda" else []), *(["c"] if self.source.data else [])]

    def groups(self, model: str, best: dict[Setup, int | None], usable: Sequence[Setup]) -> list[list[Configuration]]:
        """Configurations that are measured in turns because they are compared: of one model, scope and mode.

        best: the batch of the throughput mode. usable: the setups that could be opened. The first of each group has a
        twin, whose difference from it is the spread of this machine.
        """
        found = []
        for scope in self.scopes():
            if scope == "c":
                size = FILE_BATCH if device_kind(self.device) == "cpu" else 16 * FILE_BATCH
                found.append([Configuration(setup, size, "c", "files") for setup in usable])
                continue
            if self.batches:
                for batch in self.batches:
                    found.append([Configuration(setup, batch, scope, f"batch {batch}") for setup in usable])
                continue
            found.append([Configuration(setup, 1, scope, "latency") for setup in usable])
            chosen = [(setup, best.get(setup)) for setup in usable]
            fast = [Configuration(setup, size, scope, "throughput") for setup, size in chosen if size]
            if any(each.batch > 1 for each in fast):
                found.append(fast)
        return [[*group, dataclasses.replace(group[0], twin=True)] for group in found if group]


def artefact_folder(out: Path, key: str) -> Path:
    """Of the run's own and of one build, so that what making the artefact took is measured; kept with that."""
    return out / "artefacts" / key
