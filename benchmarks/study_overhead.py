"""What a study costs besides its measurements: 16 models x 12 tasks x 3 regimes x 3 seeds of cells that take no time.

    python benchmarks/study_overhead.py [--out DIR]

A cell's measurement is replaced by made-up scores of 200 test images; all else is what `featune study run` does: the
cell's lock, its row and scores written whole, progress. Then the finished study is asked for again, and its status
counted from the plan. Wall and processor time, per cell.
"""

import argparse
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from featune.bench.regimes import REGIMES
from featune.bench.results import Cell, Labels, Plan, Row, load_plan, save_plan
from featune.bench.study import Study, measured, seconds_left
from featune.bench.study import measuring as cells
from featune.bench.study.executors import in_process
from featune.bench.study.running import run
from featune.bench.tasks import Task
from featune.engine.models import ModelSpec, View

IMAGES, CLASSES = 200, 10
CHOSEN = ("probe", "finetune", "scratch")


def fake_study(out: Path, models: int = 16, tasks: int = 12, seeds: int = 3) -> Study:
    """Models and tasks that exist in name alone."""
    specs = [
        ModelSpec(
            f"model-{at:02}", "resnet18", View(224), (0.5,) * 3, (0.5,) * 3, f"random:{at}", source_top1=0.5 + at / 50
        )
        for at in range(models)
    ]
    classes = tuple(f"class-{at}" for at in range(CLASSES))
    counts = {"train": 400, "val": 100, "test": IMAGES}
    made = [
        Task(f"task-{at:02}", classes, "top1", counts, str(out), str(out), digest=f"{at:016x}") for at in range(tasks)
    ]
    regimes = {name: (name, REGIMES[name].default) for name in CHOSEN}
    return Study("fake", tuple(specs), tuple(made), regimes, str(out / "run"), str(out / "cache"), tuple(range(seeds)))


def made_up(study: Study, cell: Cell, regime: object = None) -> tuple[Row, Any]:
    """(row, scores [n, classes]) as `measured` gives them; the same for the same cell."""
    rng = np.random.default_rng(int(cell.inputs, 16) + cell.seed)
    scores = rng.normal(size=(IMAGES, CLASSES)).astype(np.float32)
    value = float((scores.argmax(axis=1) == 0).mean())
    spec = study.spec(cell.model)
    details = {"learning_rate": 0.01, "tried": {"0.01": value}, "rates": [0.01], "n_train": 400, "n_val": 100}
    return Row(cell, "top1", value, IMAGES, value, value, source_top1=spec.source_top1, details=details,
               environment=cells.environment(study)), scores  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path)
    asked = parser.parse_args()
    assert cells.measured is measured
    cells.measured = made_up
    with tempfile.TemporaryDirectory() as folder:
        out = asked.out or Path(folder)
        study = fake_study(out)
        count = len(study.cells())
        timed("measure every cell", count, lambda: run(study, in_process))
        timed("ask for the finished study", count, lambda: run(study, in_process))
        labels = {spec.name: Labels(spec.source_top1) for spec in study.models}
        save_plan(out / "plan.json", Plan(study.name, "0" * 64, tuple(study.cells()), labels))

        def status() -> None:
            plan = load_plan(out / "plan.json")
            assert plan
            rows = plan.rows(Path(study.out))
            assert len(rows) == count
            assert seconds_left(plan, rows) == (0.0, [])

        timed("count from the plan", count, status)


def timed(what: str, count: int, do: Any) -> None:
    wall, processor = time.perf_counter(), time.process_time()
    do()
    wall, processor = time.perf_counter() - wall, time.process_time() - processor
    print(f"{what}: {count} cells, {1e3 * wall / count:.2f} ms of wall time and {1e3 * processor / count:.2f} ms of "
          f"processor time a cell", flush=True)  # fmt: skip


if __name__ == "__main__":
    main()
