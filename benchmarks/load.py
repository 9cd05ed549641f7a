"""How `featune study status` and `featune study report` bear large studies: seconds and peak memory.

python benchmarks/load.py [--models 300] [--tasks 18] [--regimes 3] [--seeds 1] [--out DIR]

Rows are made up, one file per cell, with a plan as `featune study run` leaves it; nothing is measured. Each command
runs in a process of its own and is timed from its start to its end.
"""

import argparse
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from featune.bench.results import Cell, Labels, Plan, Row, RunStore, plan_path, save_plan
from featune.engine.store import file_digest

REGIMES = ("probe", "knn", "finetune", "scratch")


def make(out: Path, models: int, tasks: int, regimes: int, seeds: int) -> Path:
    """The study file beside `out`, with a row for each of its cells; gives the file."""
    path = out.parent / "study.yaml"
    names = [f"model_{number:03}.tiny_in1k" for number in range(models)]
    path.write_text(
        "name: load\nmodels:\n"
        + "".join(f"  - {{architecture: resnet18, name: {name}}}\n" for name in names)
        + "tasks:\n"
        + "".join(f"  - {{folder: data, name: task-{number}}}\n" for number in range(tasks))
        + f"regimes: [{', '.join(REGIMES[:regimes])}]\nseeds: {list(range(seeds))}\n"
    )
    rng, store, cells = np.random.default_rng(0), RunStore(out / "runs"), []
    for number, name in enumerate(names):
        for regime in REGIMES[:regimes]:
            for task in range(tasks):
                for seed in range(seeds):
                    cell = Cell(f"task-{task}", name, regime, seed, "0" * 16)
                    cells.append(cell)
                    value = (60 + 30 * number / models + rng.integers(0, 10)) / 100
                    facts = {"n_train": 1000, "n_val": 200, "penalty": 0.1}
                    environment = {"versions": {"torch": "2.11", "featune": "0"}, "device": "cpu", "threads": 1}
                    row = Row(cell, "top1", value, 1000, value - 0.02, min(1.0, value + 0.02), seconds=1.5,
                              details=facts, environment=environment)  # fmt: skip
                    store.save(row, np.zeros((20, 10), np.float32))
    labels = {name: Labels(0.5 + 0.4 * at / models, 50_000, f"family {at % 9}") for at, name in enumerate(names)}
    save_plan(plan_path(out, path, "cpu"), Plan("load", file_digest(path), tuple(cells), labels))
    return path


def timed(*arguments: str) -> tuple[float, float]:
    """(seconds, peak MB) of the command."""
    code = (
        "import resource, sys\nfrom featune.bench.cli.app import app\n"
        "try:\n    app()\nfinally:\n"
        "    print('peak', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss, file=sys.stderr)"
    )
    began = time.perf_counter()
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, check=False)
    seconds = time.perf_counter() - began
    if done.returncode:
        raise SystemExit(done.stderr[-2000:])
    return seconds, int(done.stderr.rpartition("peak ")[2]) / 1024


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("models", 300), ("tasks", 18), ("regimes", 3), ("seeds", 1)):
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--out", type=Path, default=None, help="kept where given")
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as made:
        out = (given.out or Path(made)) / "out"
        out.mkdir(parents=True, exist_ok=True)
        path = make(out, given.models, given.tasks, given.regimes, given.seeds)
        count = given.models * given.tasks * given.regimes * given.seeds
        print(f"{count} cells: {given.models} models x {given.tasks} tasks x {given.regimes} regimes x {given.seeds}")
        for command in ("status", "report"):
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            seconds, peak = timed("study", command, str(path), "--out", str(out))
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            worked = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
            print(f"{command}: {seconds:.1f} s ({worked:.1f} s of processor time), {peak:.0f} MB")


if __name__ == "__main__":
    main()
