"""What grows with a study or a data set, at two sizes ten apart: processor seconds and peak memory of each step.

    python benchmarks/scale.py [--lines 100000 1000000] [--rows 10000 100000 1000000]

Each step is a process of its own. Images are never opened: paths, labels, rows and features are made up. Steps on
manifest lines and cells take `--lines`, steps on the files of rows `--rows`.
"""

import argparse
import dataclasses
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

WIDTH = 96  # of made-up features


def cells_of(count: int) -> list[Any]:
    """Of 300 models, 3 regimes and so many tasks as it takes."""
    from featune.bench.results import Cell

    tasks = -(-count // 900)
    regimes = ("probe", "finetune", "scratch")
    found = (
        Cell(f"task{t}", f"model_{m:03}.tag_in1k", regimes[r], 0, f"{t * 900 + m * 3 + r:016x}")
        for t in range(tasks) for m in range(300) for r in range(3)
    )  # fmt: skip
    return [cell for cell, _ in zip(found, range(count), strict=False)]


def write_manifest(folder: Path, count: int) -> None:
    with open(folder / "train.csv", "w") as file:
        file.write("path,label\n")
        file.writelines(f"train/n{i % 1000:08}/n{i % 1000:08}_{i}.JPEG,{i % 1000}\n" for i in range(count))
    task = {"name": "t", "classes": [f"n{i:08}" for i in range(1000)], "metric": "top1", "counts": {"train": count}}
    (folder / "task.json").write_text(json.dumps(task | {"folder": "", "root": str(folder)}))


def write_rows(folder: Path, count: int) -> None:
    """A plan and a row for each cell, without the scores."""
    from featune.bench.results import Plan, Row, plan_path, save_plan
    from featune.engine.store import file_digest, plain

    (folder / "s.yaml").write_text("name: s\nmodels: [resnet18]\ntasks: [{folder: x}]\nregimes: [probe]\n")
    cells = cells_of(count)
    for cell in cells:
        path = folder / "out" / "runs" / cell.name
        path.parent.mkdir(parents=True, exist_ok=True)
        row = Row(cell, "top1", 0.5, 200, 0.43, 0.57, seconds=1.5, details={"C": 1.0, "n_train": 1000, "n_val": 200})
        path.write_text(json.dumps(plain(row), indent=1))
    plan = Plan("s", file_digest(folder / "s.yaml"), tuple(cells), {})
    save_plan(plan_path(folder / "out", folder / "s.yaml", "cpu"), plan)


def load_manifest(folder: Path, count: int) -> None:
    from featune.bench.tasks import load_task

    assert len(load_task(folder).load("train")) == count


def take_a_share(folder: Path, count: int) -> None:
    from featune.bench.tasks import load_task
    from featune.engine.features import index_range

    items = load_task(folder).load("train")
    assert len(items.take(index_range(count, 2, 4, 128))) <= count // 4 + 128


def divide_cells(folder: Path, count: int) -> None:
    from featune.bench.study.cluster import Shard, share

    assert len(share(cells_of(count), Shard(3, 100))) == count // 100


def write_plan(folder: Path, count: int) -> None:
    from featune.bench.results import Plan, load_plan, save_plan

    save_plan(folder / "plan.json", Plan("s", "0" * 64, tuple(cells_of(count)), {}))
    found = load_plan(folder / "plan.json")
    assert found is not None
    assert len(found.cells) == count


def missing(folder: Path, count: int) -> None:
    from featune.bench.study import known_plan
    from featune.bench.study.cluster import missing_shards

    plan, out, _ = known_plan(folder / "s.yaml", folder / "out")
    assert missing_shards(plan.cells, [row.cell for row in plan.each_row(out)], 100) == []


def status(folder: Path, count: int) -> None:
    from featune.bench.study import known_plan, seconds_left

    plan, out, _ = known_plan(folder / "s.yaml", folder / "out")
    assert seconds_left(plan, plan.each_row(out)) == (0.0, [])


def merge_features(folder: Path, count: int) -> None:
    from featune.engine.features import FeatureKey, index_range, merge
    from featune.engine.features.files import Part
    from featune.engine.images import Labelled
    from featune.engine.models import View

    items = Labelled("/", tuple(map(str, range(count))), ((),) * count)
    whole = FeatureKey("model", View(224), "whole", "torch:cpu")
    parts = []
    for number in range(1, 5):
        indices = index_range(count, number, 4, 128)
        key = dataclasses.replace(whole, images=f"part{number}")
        part = Part(folder / key.name, 60.0)
        part.append(len(indices), np.zeros((len(indices), WIDTH), np.float32), [])
        part.save()
        part.finish({"key": {}, "label": "", "skipped": [], "pass": {"setting": {"batch": 128}}, "versions": {}})
        parts.append((key, indices))
    began = time.process_time()
    merge(folder, whole, items, parts)
    print(json.dumps({"cpu_seconds": time.process_time() - began}))


def record_of_items(folder: Path, count: int) -> None:
    from featune.bench.data import Data
    from featune.bench.features import note_origin
    from featune.bench.tasks import load_task
    from featune.engine.features import FeatureKey
    from featune.engine.models import View

    items = load_task(folder).load("train")
    data = Data("made-up", items, tuple(f"n{i:08}" for i in range(1000)))
    note_origin(folder / "features", [FeatureKey("model", View(224), "images", "torch:cpu")], data)
    (record,) = (folder / "features").glob("*.items.json")
    assert record.stat().st_size > 20 * count


STEPS: dict[str, tuple[str, Callable[[Path, int], None] | None, Callable[[Path, int], None]]] = {
    "load a prepared split": ("lines", write_manifest, load_manifest),
    "load it, and take a quarter": ("lines", write_manifest, take_a_share),
    "one of 100 shares of the cells": ("lines", None, divide_cells),
    "write and read a plan": ("lines", None, write_plan),
    f"merge features of width {WIDTH} from 4 shares": ("lines", None, merge_features),
    "load it, and write paths and labels beside features": ("lines", write_manifest, record_of_items),
    "study missing, from a plan and a file for each row": ("rows", write_rows, missing),
    "study status, from the same": ("rows", write_rows, status),
}


def one(name: str, count: int) -> dict[str, float]:
    """Run by a process of its own; made-up input is not in the seconds, imports are not either."""
    import featune.bench.study.cluster
    import featune.engine.features  # noqa: F401

    _, write, step = STEPS[name]
    with tempfile.TemporaryDirectory() as folder:
        if write:
            command = [sys.executable, __file__, "write", name, str(count), folder]
            subprocess.run(command, check=True)  # apart, so that its memory does not count
        began, wall = time.process_time(), time.perf_counter()
        step(Path(folder), count)
        used, wall = time.process_time() - began, time.perf_counter() - wall
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"cpu_seconds": used, "seconds": wall, "peak_mb": peak}


def main() -> None:
    if sys.argv[1:2] == ["one"]:
        print(json.dumps(one(sys.argv[2], int(sys.argv[3]))))
        return
    if sys.argv[1:2] == ["write"]:
        write = STEPS[sys.argv[2]][1]
        assert write is not None
        write(Path(sys.argv[4]), int(sys.argv[3]))
        return
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--lines", type=int, nargs="*", default=[100_000, 1_000_000])
    parser.add_argument("--rows", type=int, nargs="*", default=[10_000, 100_000])
    options = parser.parse_args()
    for name, (kind, _, _) in STEPS.items():
        for count in getattr(options, kind):
            said = subprocess.run([sys.executable, __file__, "one", name, str(count)], capture_output=True, text=True)
            if said.returncode:
                print(said.stderr)
                raise SystemExit(1)
            lines = [json.loads(line) for line in said.stdout.splitlines()]
            found = lines[-1] | lines[0]  # a step that says its own seconds has made its input in the same process
            print(
                f"{name}, {count:,}: {found['cpu_seconds']:.2f} s of processor time, peak {found['peak_mb']:.0f} MB",
                flush=True,
            )


if __name__ == "__main__":
    main()
