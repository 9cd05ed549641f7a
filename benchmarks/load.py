"""How `featune study status` and `featune study report` bear large studies: seconds and peak memory.

python benchmarks/load.py [--models 300] [--tasks 18] [--regimes 3] [--seeds 1] [--out DIR]

Rows and scores of 200 test images are made up, one file of each per cell, with a plan as `featune study run` leaves it,
test labels and a throughput for each model; nothing is measured. Each command runs in a process of its own and is timed
from its start to its end.
"""

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np

from featune.bench.results import Cell, Labels, Plan, Row, RunStore, Speed, plan_path, save_plan, speed_path
from featune.bench.tasks import Task
from featune.engine.store import file_digest, write_json, write_text

REGIMES = ("probe", "finetune", "scratch", "knn")
IMAGES, CLASSES = 200, 10  # of each test split
VERSIONS = {"featune": "0.1.0", "torch": "2.11", "timm": "1.0.31", "numpy": "2.4.6", "python": "3.11.7"}
ENVIRONMENT = {"versions": VERSIONS, "device": "cpu", "backend": "onnxruntime", "precision": "fp32", "threads": 1}


def make(out: Path, models: int, tasks: int, regimes: int, seeds: int) -> Path:
    """The study file beside `out`, with a row and its test scores for each of its cells; gives the file."""
    path = out.parent / "study.yaml"
    names = [f"model_{number:03}.tiny_in1k" for number in range(models)]
    path.write_text(
        "name: load\nmodels:\n"
        + "".join(f"  - {{architecture: resnet18, name: {name}}}\n" for name in names)
        + "tasks:\n"
        + "".join(f"  - {{folder: data, name: task-{number}}}\n" for number in range(tasks))
        + f"regimes: [{', '.join(REGIMES[:regimes])}]\nseeds: {list(range(seeds))}\n"
    )
    rng, store = np.random.default_rng(0), RunStore(out / "runs")
    truths = {f"task-{number}": rng.integers(0, CLASSES, IMAGES) for number in range(tasks)}
    folders = tuple((name, str(write_task(out, name, truth)), "0" * 16) for name, truth in truths.items())
    cells = []
    for number, name in enumerate(names):
        for regime in REGIMES[:regimes]:
            for task, truth in truths.items():
                for seed in range(seeds):
                    cell = Cell(task, name, regime, seed, "0" * 16)
                    cells.append(cell)
                    right = int(IMAGES * (60 + 30 * number / models + rng.integers(0, 10)) / 100)
                    scores = scores_of(truth, right, rng)
                    value = right / IMAGES
                    row = Row(cell, "top1", value, IMAGES, value - 0.02, min(1.0, value + 0.02), seconds=1.5,
                              details=details_of(regime, rng), environment=ENVIRONMENT)  # fmt: skip
                    store.save(row, scores)
    speeds = tuple((name, f"{number:016x}") for number, name in enumerate(names))
    for number, (name, key) in enumerate(speeds):
        rate = 1000.0 / (1 + number)
        write_json(speed_path(out, key), Speed(name, "onnxruntime", "fp32", "cpu", 32, 2, "a", rate, 32e3 / rate,
                                               40e3 / rate, 20))  # fmt: skip
    labels = {name: Labels(0.5 + 0.4 * at / models, 50_000, f"family {at % 9}") for at, name in enumerate(names)}
    plan = Plan("load", file_digest(path), tuple(cells), labels, speeds, folders=folders)
    save_plan(plan_path(out, path, "cpu"), plan)
    return path


def write_task(out: Path, name: str, truth: "np.ndarray") -> Path:
    """A prepared task's folder, as far as a report reads it: its facts and the test labels."""
    folder = out / "tasks" / name
    lines = "".join(f"{number}.png,{label}\n" for number, label in enumerate(truth))
    write_text(folder / "test.csv", f"path,label\n{lines}")
    counts = {"train": 1000, "val": 200, "test": len(truth)}
    classes = tuple(f"class {number}" for number in range(CLASSES))
    write_json(folder / "task.json", Task(name, classes, "top1", counts, str(folder), ".", digest="0" * 16))
    return folder


def scores_of(truth: "np.ndarray", right: int, rng: np.random.Generator) -> "np.ndarray":
    """Scores [n, classes] of which so many are right."""
    shift = np.ones(len(truth), dtype=int)
    shift[rng.permutation(len(truth))[:right]] = 0
    scores = np.zeros((len(truth), CLASSES), np.float32)
    scores[np.arange(len(truth)), (truth + shift) % CLASSES] = 1
    return scores


def details_of(regime: str, rng: np.random.Generator) -> dict[str, object]:
    """What a row of today's Featune tells; one training in ten ended short."""
    facts = {"n_train": 1000, "n_val": 200, "majority_train": 0.12, "majority_test": 0.13, "test_classes": CLASSES,
             "predicted_classes": CLASSES, "predicted_most": 0.14}  # fmt: skip
    if regime in ("probe", "knn"):
        return facts | {"penalty": 0.1, "converged": True, "unconverged_penalties": 0, "probe_seconds": 1.0}
    recipe = {"epochs": 20, "batch": 64, "learning_rates": [0.1, 0.03, 0.01], "weight_decay": 1e-4, "optimizer": "sgd"}
    return facts | {"learning_rate": 0.03, "rates": [0.1, 0.03, 0.01], "tried": {"0.1": 0.5, "0.03": 0.6, "0.01": 0.4},
                    "train_top1": float(rng.choice([0.8] + [0.99] * 9)), "train_images": 1000,
                    "recipe": recipe}  # fmt: skip


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
    os.fsync = lambda _: None  # of thousands of files that nobody will miss
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
            print(f"{command}: {seconds:.1f} s ({worked:.1f} s of processor time), {peak:.0f} MB", flush=True)
        print(f"report.html: {(out / 'report.html').stat().st_size / 1e6:.1f} MB")


if __name__ == "__main__":
    main()
