"""One share of a study: its models' graphs, then its cells. What the whole study needs besides, `study run` does."""

import dataclasses
from pathlib import Path

from featune.engine.models import ModelSpec
from featune.engine.store import check_writable, locked

from ...progress import Progress
from ...results import Cell, Row
from ...tasks import Task
from .. import (
    Executor,
    Outlook,
    Study,
    brief,
    check_place,
    export_graphs,
    jobs_of,
    prepared,
    read_study,
    run,
    save_plan_of,
    with_pretrained,
)
from .shares import Shard, share


@dataclasses.dataclass(frozen=True)
class ShareCounts:
    """Cells of the share, those that have a value, and those that failed.

    unmade: why models of the study could not be pre-trained; they have no cells.
    """

    cells: int
    done: int
    failed: int
    unmade: tuple[str, ...] = ()


@dataclasses.dataclass(frozen=True)
class _Share(Study):
    """A study of some of the cells. chosen: those; of a study that has all of them."""

    chosen: tuple[Cell, ...] = ()

    def cells(self) -> list[Cell]:
        return list(self.chosen)

    def graphs(self) -> list[tuple[ModelSpec, Task]]:
        named = {cell.model for cell in self.chosen}
        return [(spec, task) for spec, task in super().graphs() if spec.name in named]


def work_on_share(
    path: Path,
    shard: Shard,
    execute: Executor,
    progress: Progress,
    *,
    out: Path | None = None,
    device: str | None = None,
    trusted: bool = False,
) -> tuple[list[Row], ShareCounts]:
    """Measure the cells of a share that have no row yet: (their rows, counts).

    Nothing is told to other shares, which may run at the same time and elsewhere: rows lie in the output folder, one
    file each. Tasks are prepared and models pre-trained by whoever comes first, others wait. Throughput, estimates and
    the report are left to `featune study run`.
    """
    study, sources = read_study(path, out, device=device, progress=progress, trusted=trusted)
    check_writable(Path(study.out, "runs", "row.json"))
    check_place(study.backend, study.device)
    with locked(Path(study.out, "tasks", "prepare"), lambda: progress.say("waiting: another share prepares the study")):
        study = prepared(dataclasses.replace(study, threads=1), sources, progress)
        study, unmade = with_pretrained(study, execute, progress)
        save_plan_of(study, path)
    part = part_of(study, share(study.cells(), shard))
    progress.say(f"share {shard.index} of {shard.count}: {len(part.chosen)} of {len(study.cells())} cells")
    rows, counts = _measured(part, execute, progress)
    return rows, dataclasses.replace(counts, unmade=tuple(unmade.values()))


def part_of(study: Study, cells: list[Cell]) -> _Share:
    """The study with these cells alone."""
    fields = {field.name: getattr(study, field.name) for field in dataclasses.fields(study)}
    return _Share(**fields, chosen=tuple(cells))


def _measured(part: _Share, execute: Executor, progress: Progress) -> tuple[list[Row], ShareCounts]:
    outlook = Outlook(part, jobs_of(execute))
    export_graphs(part, dataclasses.replace(part, chosen=tuple(outlook.waiting)).graphs(), execute, progress)
    with progress.stage("cells") as advance:

        def told(row: Row, done: int, total: int) -> None:
            if row.error:
                progress.say(f"failed: {row.cell.task} {row.cell.model} {row.cell.regime}: {brief(row.error)}")
            outlook.add(row)
            advance(done, total, outlook.about())

        rows = run(part, execute, on_row=told)
    failed = sum(row.error is not None for row in rows)
    return rows, ShareCounts(len(rows), len(rows) - failed, failed)
