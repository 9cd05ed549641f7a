"""How long a manifest of ImageNet's size takes to load and to split, and the memory: python benchmarks/manifests.py

Each step runs in a process of its own, whose peak memory is the step's (`ru_maxrss`). No image is opened: paths are
made up, of the length that ImageNet's have.
"""

import argparse
import json
import platform
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

LINES, CLASSES = 1_281_167, 1000


def write(folder: Path) -> None:
    """train.csv as a prepared task has it, and table.csv as a user's."""
    names = [f"n{i:08}" for i in range(CLASSES)]
    lines = [(f"train/{names[i % CLASSES]}/{names[i % CLASSES]}_{i}.JPEG", i % CLASSES) for i in range(LINES)]
    with open(folder / "train.csv", "w") as file:
        file.write("path,label\n")
        file.writelines(f"{path},{label}\n" for path, label in lines)
    with open(folder / "table.csv", "w") as file:
        file.write("path,label,group\n")
        file.writelines(f"{path},{names[label]},g{i // 20}\n" for i, (path, label) in enumerate(lines))
    classes = json.dumps(names)
    task = f'{{"name": "t", "classes": {classes}, "metric": "top1", "counts": {{"train": {LINES}}}, '
    (folder / "task.json").write_text(task + f'"folder": "", "root": "{folder}"}}')


def step(name: str, folder: Path) -> dict[str, float]:
    """Seconds of the step without imports and what it prepares, and the peak memory with them, in MB.

    cpu_seconds: what it would take on a machine with nothing else to do.
    """
    from featune.bench.tasks import items_of_table, load_task, read_table, stratified_split
    from featune.bench.tasks.splits import WHOLE

    imports = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    if name == "split by class":
        items = load_task(folder).load("train")
    began, used = time.perf_counter(), time.process_time()
    if name == "load a prepared split":
        found = len(load_task(folder).load("train"))
    elif name == "split by class":
        found = sum(map(len, stratified_split(items, WHOLE, 0).values()))
    else:
        table, _, _ = items_of_table(folder / "table.csv", read_table(folder / "table.csv"))
        found = len(table)
    seconds, cpu = time.perf_counter() - began, time.process_time() - used
    assert found == LINES
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return {"seconds": seconds, "cpu_seconds": cpu, "peak_mb": peak, "imports_mb": imports}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__)
    arguments.add_argument("--step", nargs=2, metavar=("NAME", "FOLDER"), help="one step, in this process")
    given = arguments.parse_args()
    if given.step:
        print(json.dumps(step(given.step[0], Path(given.step[1]))))
        return
    print(f"{LINES:,} lines, {CLASSES} classes; Python {platform.python_version()}, {platform.machine()}")
    with tempfile.TemporaryDirectory() as folder:
        write(Path(folder))
        for name in ("load a prepared split", "read a user's table with groups", "split by class"):
            command = [sys.executable, __file__, "--step", name, folder]
            values = json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout)
            print(f"{name}: {values['cpu_seconds']:.1f} s of one CPU ({values['seconds']:.1f} s by the clock), "
                  f"peak {values['peak_mb']:.0f} MB "
                  f"(imports alone {values['imports_mb']:.0f} MB)")  # fmt: skip


if __name__ == "__main__":
    main()
