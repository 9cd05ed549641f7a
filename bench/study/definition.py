"""What a study measures: models x tasks x regimes x seeds, as cells."""

import dataclasses
from collections.abc import Mapping
from pathlib import Path

from featune.engine.models import ModelSpec, with_channels
from featune.engine.store import digest, plain

from ..pretrain import Asked
from ..regimes import REGIMES, Setting
from ..results import Cell, Only, RunStore
from ..tasks import Task

# Of measuring a cell, raised when it changes, so that rows of before are measured again.
# 2: refits of probes start from zero; the threshold of an F1 of several labels is chosen on val.
RULES = 2


@dataclasses.dataclass(frozen=True)
class Study:
    """What to measure. regimes: name -> (kind, setting). out: where rows and reports go. cache: features, graphs.

    estimators: names from `featune.bench.estimators.ESTIMATORS`, whose values are kept beside the rows; source_images:
    a data string of images of the source task, for the one that measures how far a task lies from them. artefact: a
    file of `featune export` whose features stand for the one model's. facts: by model, other numbers that transfer may
    follow (`featune.bench.study.axes`). published: tables that the report shows beside the study. pretraining: models
    that are made before the cells (`with_pretrained`) and come after the others.
    """

    name: str
    models: tuple[ModelSpec, ...]
    tasks: tuple[Task, ...]
    regimes: Mapping[str, tuple[str, Setting]]
    out: str
    cache: str
    seeds: tuple[int, ...] = (0,)
    backend: str = "onnxruntime"
    device: str = "cpu"
    threads: int | None = None
    source_name: str = "ImageNet"
    notes: tuple[str, ...] = ()
    estimators: tuple[str, ...] = ()
    artefact: str = ""
    source_images: str = ""
    facts: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    published: tuple[str, ...] = ()
    pretraining: tuple[Asked, ...] = ()

    @property
    def runs(self) -> RunStore:
        return RunStore(Path(self.out, "runs"))

    def cells(self) -> list[Cell]:
        """Every cell, the models outermost, so that one model's features and graph are made together."""
        return [
            Cell(task.name, spec.name, regime, seed, self._inputs(spec, task, regime))
            for spec in self.models
            for regime in self.regimes
            for task in self.tasks
            for seed in self.seeds
        ]

    def _inputs(self, spec: ModelSpec, task: Task, regime: str) -> str:
        kind, setting = self.regimes[regime]
        backend = self.backend if REGIMES[kind].frozen else "torch"
        spec = with_channels(spec, task.channels)
        return digest([spec.digest, task.digest, kind, plain(setting), backend, self.device, RULES])

    def axes(self) -> dict[str, list[object]]:
        """Every name by axis, as `featune.bench.results.only` takes them."""
        models = [*(spec.name for spec in self.models), *(asked.name for asked in self.pretraining)]
        tasks = [task.name for task in self.tasks]
        return {"model": list(models), "task": list(tasks), "regime": list(self.regimes), "seed": list(self.seeds)}

    def narrowed(self, only: Only) -> "Study":
        """The same study with those of its models, tasks, regimes and seeds that are meant."""
        names = only.names
        return dataclasses.replace(
            self,
            models=tuple(spec for spec in self.models if spec.name in names["model"]),
            tasks=tuple(task for task in self.tasks if task.name in names["task"]),
            regimes={name: of for name, of in self.regimes.items() if name in names["regime"]},
            seeds=tuple(seed for seed in self.seeds if str(seed) in names["seed"]),
        )

    def graphs(self) -> list[tuple[ModelSpec, Task]]:
        """Each model with the channels of the tasks, once for each number of them, and a task that has them."""
        tasks = {task.channels: task for task in reversed(self.tasks)}
        return [(with_channels(spec, task.channels), task) for spec in self.models for task in tasks.values()]

    def spec(self, name: str) -> ModelSpec:
        return next(spec for spec in self.models if spec.name == name)

    def task(self, name: str) -> Task:
        return next(task for task in self.tasks if task.name == name)
