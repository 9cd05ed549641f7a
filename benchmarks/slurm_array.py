"""A Slurm array on this machine, with random kills and time limits, against a plain run: the rows must be the same.

    python benchmarks/slurm_array.py [--shards 6] [--at-once 2] [--kills 10] [--stops 10] [--seed 0] [--out runs/array]

A study of test networks with random weights on drawn images is run once by `featune study run`, and once by the
script of `featune study slurm`, which this program submits as Slurm would: one bash process a task with its variables,
the range that `featune study missing` prints again and again until none is missing. Tasks are harmed at first:

- killed: SIGKILL of the whole process group, as a node that is lost,
- stopped: SIGUSR1 (as `--signal=B:USR1` sends it) or SIGTERM (as `scancel` and a preemption do) to the shell's process,
  and SIGKILL of the group after a grace of 0.3, 2 or 20 s: the first cuts the saving short,

each at a random moment: a third of them in the first `--longest` seconds, which may be before any row, the others up
to `--beyond` seconds after one of the rows that come next, so between rows and amid a cell. Each run has a cache of its
own unless `--shared-cache`. No row file may be written a second time. Exit code 0 where every row is the plain run's
and none is lost, doubled or measured twice.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from PIL import Image

FEATUNE = [sys.executable, "-m", "featune"]
MODEL = "{{architecture: test_{0}, pretrained: false, side: 32, name: {0}{1}, source_top1: 0.{1}}}"
COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 70), "red": (210, 60, 50)}
GRACES = (0.3, 2.0, 20.0)  # seconds from a signal to SIGKILL
TIMED = {"seconds", "environment", "details"}  # details hold the seconds of their stages


def write_images(folder: Path) -> None:
    """Two tasks of three classes: 24 noisy images of one colour to train on, 12 of val, 18 of test."""
    rng = random.Random(0)
    for task in ("plain", "dark"):
        for split, count in {"train": 8, "val": 4, "test": 6}.items():
            for name, colour in COLOURS.items():
                for i in range(count):
                    path = folder / task / split / name / f"{i}.png"
                    path.parent.mkdir(parents=True, exist_ok=True)
                    noisy = [max(0, min(255, int(c / (1 + (task == "dark")) + rng.gauss(0, 60)))) for c in colour]
                    Image.new("RGB", (40, 36), tuple(noisy)).save(path)


def write_study(folder: Path) -> Path:
    """Two tasks, three models, three regimes and two seeds: 36 cells."""
    write_images(folder)
    models = ", ".join(MODEL.format(kind, number) for kind, number in (("resnet", 3), ("resnet", 5), ("vit", 4)))
    regimes = "{probe: {penalties: [0.1, 1.0]}, knn: {kind: knn, counts: [1, 3]}, "
    regimes += "finetune: {epochs: 2, batch: 8, learning_rates: [0.01]}}"
    path = folder / "study.yaml"
    text = f"name: study\nmodels: [{models}]\ntasks: [{{folder: plain}}, {{folder: dark}}]\nseeds: [0, 1]\n"
    path.write_text(f"{text}regimes: {regimes}\n".replace("test_vit, ", "test_vit, kwargs: {img_size: 32}, "))
    return path


def rows_of(out: Path) -> dict[str, dict[str, object]]:
    """Each row's own fields by its file's name, what a clock measured left out."""
    found = {}
    for path in sorted((out / "runs").rglob("*.json")):
        row = json.loads(path.read_text())
        found[path.relative_to(out).as_posix()] = {key: row[key] for key in row if key not in TIMED}
    return found


@dataclass
class Task:
    """One task of the array at work. after: rows of the whole study after which it is harmed, or None for a time."""

    number: int
    process: "subprocess.Popen[bytes]"
    harm: str
    after: int | None
    moment: float
    was_at: int = 0

    def due(self, rows: int, beyond: float, rng: random.Random) -> bool:
        if self.after is not None and rows >= self.after:  # from now on a time
            self.after, self.moment, self.was_at = None, time.monotonic() + rng.uniform(0, beyond), rows
        return self.after is None and time.monotonic() >= self.moment


@dataclass
class Watch:
    """Each row file when it was first seen; a second version of it is a cell that was measured twice."""

    out: Path
    seen: dict[str, tuple[int, int]] = field(default_factory=dict)
    twice: set[str] = field(default_factory=set)

    def rows(self) -> int:
        for path in (self.out / "runs").rglob("[!.]*.json"):  # hidden ones are in the making
            state = path.stat()
            name, now = path.relative_to(self.out).as_posix(), (state.st_ino, state.st_mtime_ns)
            if self.seen.setdefault(name, now) != now:
                self.twice.add(name)
        return len(self.seen)


def submit(script: Path, task: int, logs: Path) -> "subprocess.Popen[bytes]":
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "1"}
    logs.mkdir(exist_ok=True)
    with open(logs / f"{task}-{time.monotonic():.0f}.log", "wb") as log:
        return subprocess.Popen(["bash", str(script)], env=environment, start_new_session=True, stdout=log, stderr=log)


def numbers_of(array: str) -> list[int]:
    """1, 4, 5, 6 of `1,4-6`, as sbatch reads `--array`."""
    ends = [part.split("-") for part in array.split(",") if part]
    return [number for each in ends for number in range(int(each[0]), int(each[-1]) + 1)]


def harmed(task: Task, rng: random.Random) -> str:
    """Kill or stop the task; what became of it."""
    ended = ""
    if task.harm != "KILL":
        os.kill(task.process.pid, getattr(signal, f"SIG{task.harm}"))
        grace = rng.choice(GRACES)
        try:
            task.process.wait(grace)
        except subprocess.TimeoutExpired:
            ended = f", killed {grace} s later"
    if task.process.poll() is None:
        os.killpg(task.process.pid, signal.SIGKILL)
        task.process.wait()
    moment = f"at row {task.was_at}" if task.was_at else "by the clock"
    return f"{task.harm} {moment}{ended}: exit {task.process.returncode}"


def array_to_its_end(script: Path, missing: list[str], watch: Watch, options: argparse.Namespace) -> Counter[str]:
    """Submit what is missing until nothing is; how tasks ended."""
    rng = random.Random(options.seed)
    harm = ["KILL"] * options.kills + ["USR1", "TERM"] * ((options.stops + 1) // 2)
    rng.shuffle(harm)
    ends: Counter[str] = Counter()
    for round_ in range(1, 31):
        waiting = numbers_of(subprocess.check_output(missing, text=True).strip())
        if not waiting:
            break
        began, running, told = watch.rows(), list[Task](), list(waiting)
        while waiting or running:
            while waiting and len(running) < options.at_once:
                what = harm.pop() if harm else ""
                by_clock = rng.random() < 0.3
                after = None if by_clock or not what else watch.rows() + rng.randint(1, 3)
                moment = time.monotonic() + (rng.uniform(2.0, options.longest) if what else 1e9)
                number = waiting.pop(0)
                running.append(Task(number, submit(script, number, options.out / "logs"), what, after, moment))
            time.sleep(0.05)
            rows = watch.rows()
            for task in list(running):
                if task.process.poll() is not None:
                    how = f"done before its {task.harm}" if task.harm else "left alone"
                    ends[f"{how}: exit {task.process.returncode}"] += 1
                    running.remove(task)
                elif task.harm and task.due(rows, options.beyond, rng):
                    ended = harmed(task, rng)
                    print(f"  {ended}", flush=True)
                    ends[ended.split()[0] + (" between rows" if task.was_at else " by the clock")] += 1
                    running.remove(task)
        print(f"round {round_}: tasks {told}, {began} to {watch.rows()} rows", flush=True)
    return ends


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--stops", type=int, default=10)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=40.0, help="seconds until a harm by the clock, at most")
    parser.add_argument("--beyond", type=float, default=1.5, help="seconds from a row to a harm, at most")
    parser.add_argument("--shared-cache", action="store_true", help="the plain run's, so that tasks come to rows soon")
    parser.add_argument("--out", type=Path, default=Path("runs/array"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    study = write_study(options.out).absolute()

    plain, array = options.out.absolute() / "plain", options.out.absolute() / "array"
    os.environ["FEATUNE_CACHE_DIR"] = str(options.out.absolute() / "cache-plain")
    began = time.monotonic()
    subprocess.run([*FEATUNE, "study", "run", study, "--out", plain, "-q", "-j", str(options.at_once)],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    expected = rows_of(plain)
    print(f"plain run: {len(expected)} rows, {time.monotonic() - began:.0f} s", flush=True)

    if not options.shared_cache:
        os.environ["FEATUNE_CACHE_DIR"] = str(options.out.absolute() / "cache-array")
    common = [str(study), "--out", str(array), "--shards", str(options.shards)]
    script = Path(subprocess.check_output([*FEATUNE, "study", "slurm", *common], text=True).strip())
    watch, began = Watch(array), time.monotonic()
    ends = array_to_its_end(script, [*FEATUNE, "study", "missing", *common], watch, options)
    found = rows_of(array)
    cells = Counter(json.dumps(row["cell"], sort_keys=True) for row in found.values())
    print(f"array: {time.monotonic() - began:.0f} s")
    print("; ".join(f"{many} {how}" for how, many in sorted(ends.items())))
    print(f"{len(found)} rows of {len(cells)} cells, {len(watch.twice)} written twice; "
          f"{'identical to' if found == expected else 'DIFFERENT from'} the plain run's")  # fmt: skip
    return 0 if found == expected and len(cells) == len(found) and not watch.twice else 1


if __name__ == "__main__":
    sys.exit(main())
