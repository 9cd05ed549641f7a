"""A Slurm array on this machine, with random kills and time limits, against a plain run: the rows must be the same.

    python benchmarks/slurm_array.py [--shards 6] [--at-once 2] [--kills 6] [--stops 6] [--seed 0] [--out runs/array]

A study of test networks with random weights on drawn images is run once by `featune study run`, and once by the
script of `featune study slurm`, which this program submits as Slurm would: one bash process a task with its variables,
the tasks of `featune study missing` again and again until none is missing. At first tasks are killed at random moments
(SIGKILL of the whole process group, as a node that is lost) or reach their limit (SIGUSR1 to the shell's process,
SIGKILL of the group 20 s later). Each run has a cache of its own. Exit code 0 where every row is the same.
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
from pathlib import Path

from PIL import Image

FEATUNE = [sys.executable, "-m", "featune"]
MODEL = "{{architecture: test_{0}, pretrained: false, side: 32, name: {0}{1}, source_top1: 0.{1}}}"
COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 70), "red": (210, 60, 50)}
GRACE = 20.0
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


def submit(script: Path, task: int, logs: Path) -> subprocess.Popen[bytes]:
    environment = os.environ | {"SLURM_ARRAY_TASK_ID": str(task), "SLURM_CPUS_PER_TASK": "1"}
    logs.mkdir(exist_ok=True)
    log = open(logs / f"{task}-{time.monotonic():.0f}.log", "wb")  # noqa: SIM115, it lives as long as the task
    return subprocess.Popen(["bash", str(script)], env=environment, start_new_session=True, stdout=log, stderr=log)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shards", type=int, default=6)
    parser.add_argument("--at-once", type=int, default=2)
    parser.add_argument("--kills", type=int, default=6)
    parser.add_argument("--stops", type=int, default=6)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=40.0, help="seconds until a kill or a limit, at most")
    parser.add_argument("--shared-cache", action="store_true", help="the plain run's, so that tasks come to rows soon")
    parser.add_argument("--out", type=Path, default=Path("runs/array"))
    options = parser.parse_args()
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    study, rng = write_study(options.out).absolute(), random.Random(options.seed)

    plain, array = options.out.absolute() / "plain", options.out.absolute() / "array"
    os.environ["FEATUNE_CACHE_DIR"] = str(options.out.absolute() / "cache-plain")
    began = time.monotonic()
    subprocess.run([*FEATUNE, "study", "run", study, "--out", plain, "-q", "-j", str(options.at_once)],
                   check=True, stdout=subprocess.DEVNULL)  # fmt: skip
    print(f"plain run: {len(rows_of(plain))} rows, {time.monotonic() - began:.0f} s", flush=True)

    if not options.shared_cache:
        os.environ["FEATUNE_CACHE_DIR"] = str(options.out.absolute() / "cache-array")
    common = [study, "--out", array, "--shards", str(options.shards)]
    script = Path(subprocess.check_output([*FEATUNE, "study", "slurm", *map(str, common)], text=True).strip())
    harm = ["kill"] * options.kills + ["stop"] * options.stops
    rng.shuffle(harm)
    codes: dict[str, list[int]] = {"kill": [], "stop": [], "left alone": []}
    round_, began = 0, time.monotonic()
    while tasks := json.loads(subprocess.check_output([*FEATUNE, "study", "missing", *map(str, common), "--json"]))[
        "shards"
    ]:
        round_ += 1
        waiting = list(tasks)
        running: dict[int, tuple[subprocess.Popen[bytes], str, float]] = {}
        while waiting or running:
            while waiting and len(running) < options.at_once:
                what = harm.pop() if harm else "left alone"
                moment = time.monotonic() + (rng.uniform(4.0, options.longest) if what != "left alone" else 1e9)
                task = waiting.pop(0)
                running[task] = (submit(script, task, options.out / "logs"), what, moment)
            time.sleep(0.2)
            for task, (process, what, moment) in list(running.items()):
                if process.poll() is not None:
                    codes[what].append(process.returncode)
                    del running[task]
                elif time.monotonic() >= moment:
                    if what == "stop":
                        os.kill(process.pid, signal.SIGUSR1)
                        try:
                            process.wait(GRACE)
                        except subprocess.TimeoutExpired:
                            print(f"task {task} was still there {GRACE:.0f} s after the signal")
                    if process.poll() is None:
                        os.killpg(process.pid, signal.SIGKILL)
                        process.wait()
        print(f"round {round_}: tasks {tasks}, {len(rows_of(array))} rows, exit codes so far {codes}", flush=True)
        if round_ > 20:
            break
    same = rows_of(array) == rows_of(plain)
    took = time.monotonic() - began
    harmed = len(codes["kill"]) + len(codes["stop"])
    print(f"array: {round_} rounds, {took:.0f} s, {harmed} tasks killed or stopped or done before that")
    print(f"{len(rows_of(array))} rows, {'identical to' if same else 'DIFFERENT from'} the plain run's")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
