"""A study on a Ray cluster of this machine: the rows of a local run, whoever dies, and what Ray costs.

    python benchmarks/ray_study.py rows [--out runs/ray] [--kills 20] [--seed 0]
    python benchmarks/ray_study.py speed [--out runs/ray-speed]
    python benchmarks/ray_study.py whole [--out runs/ray-whole]

`rows`: 60 cells (a network of random weights, two tasks of drawn images, five regimes, six seeds) are measured by two
local processes, then by tasks on two raylets of one processor each: as they are; while `--kills` raylets are killed
with all their workers at random moments, each replaced by a new one; and with the driver killed twice and started
again. Cells are half a second longer in the last two, so that something is at work when a raylet dies. Exit code 0
where every row is that of the local run, and none is lost or there twice.

`speed`: what a task that does nothing costs, and tasks of half a second of processor time on two workers, by Ray and by
local processes in turn. Each cost is that of 300 (40) tasks more, so that no start counts: in processor seconds of all
processes, which other work on the machine hardly changes, and by the clock, which is worth reading on a quiet one.

`whole`: the 36 cells of slurm_array.py (a third of them fine-tunings) by Ray and by two local processes in turn, by the
clock from the call to the last row, so with the start of Ray and of the workers; features are there from a run before.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
os.environ["PYTHONPATH"] = f"{Path(__file__).parent}:{Path(__file__).parents[1]}:{os.environ.get('PYTHONPATH', '')}"

import slurm_array
from slurm_array import TIMED, write_images

from featune.bench.study import measuring  # the raylets inherit the path

REGIMES = (
    "{probe: {penalties: [1.0]}, strong: {kind: probe, penalties: [10.0]}, near: {kind: knn, counts: [1]}, "
    "nearer: {kind: knn, counts: [3]}, ridge: {kind: ridge}}"
)


def slowly(study: Any, cell: Any, wait: bool = True) -> Any:
    time.sleep(0.5)
    return measuring.measure(study, cell, wait)


def busy(item: int) -> int:
    """Half a second of processor time, whoever else is at work."""
    end = time.process_time() + 0.5
    while time.process_time() < end:
        pass
    return item


def nothing(item: int) -> int:
    return item


def pause(item: int) -> int:
    """Long enough for every worker to be started."""
    time.sleep(3)
    return item


def write_study(folder: Path) -> Path:
    write_images(folder)
    path = folder / "study.yaml"
    path.write_text(
        "name: study\nmodels: [{architecture: test_resnet, pretrained: false, side: 32, source_top1: 0.5}]\n"
        f"tasks: [{{folder: plain}}, {{folder: dark}}]\nseeds: [0, 1, 2, 3, 4, 5]\nregimes: {REGIMES}\n"
    )
    return path


def tree_seconds() -> float:
    """Processor seconds of this process and all below it, those that have ended and were waited for among them."""
    ticks, parents = {}, {}
    for place in Path("/proc").iterdir():
        if place.name.isdigit():
            try:
                words = (place / "stat").read_text().rpartition(")")[2].split()
            except OSError:
                continue
            parents[int(place.name)] = int(words[1])
            ticks[int(place.name)] = sum(map(int, words[11:15]))
    ours = {os.getpid()}
    while more := {pid for pid, parent in parents.items() if parent in ours} - ours:
        ours |= more
    return sum(ticks.get(pid, 0) for pid in ours) / os.sysconf("SC_CLK_TCK")


def rows_of(out: Path) -> dict[str, dict[str, object]]:
    """Each row's own fields by its file's name, what a clock measured left out."""
    found = {}
    for path in sorted((out / "runs").rglob("*.json")):
        row = json.loads(path.read_text())
        found[path.relative_to(out).as_posix()] = {key: row[key] for key in row if key not in TIMED}
    return found


def study_of(path: Path, out: Path) -> Any:
    import dataclasses

    from featune.bench.study import prepared, read_study

    study, sources = read_study(path, out)
    return prepared(dataclasses.replace(study, threads=1), sources)


def measured(path: Path, out: Path, address: str, slow: bool) -> int:
    """Measure the study's cells on the cluster, as `study run` does; how many rows there are."""
    from featune.bench.study import run, running
    from featune.bench.study.cluster import ray_tasks

    if slow:
        running.measure = slowly
    study = study_of(path, out)
    with ray_tasks(Path(study.out), address, tries=30) as execute:
        return len(run(study, execute))


class Raylets:
    """A cluster of this machine: a head that does no work, and two nodes of one processor, which may be killed."""

    def __init__(self) -> None:
        from ray.cluster_utils import Cluster

        self.cluster = Cluster(initialize_head=True, head_node_args=self._size(0))
        self.nodes = [self._added(), self._added()]
        self.killed = 0

    @staticmethod
    def _size(processors: int) -> dict[str, Any]:
        return {"num_cpus": processors, "object_store_memory": 80_000_000, "include_dashboard": False}

    def _added(self) -> Any:
        return self.cluster.add_node(**{k: v for k, v in self._size(1).items() if k != "include_dashboard"})

    def kill_one(self, rng: random.Random) -> None:
        node = self.nodes.pop(rng.randrange(len(self.nodes)))
        self.cluster.remove_node(node, allow_graceful=False)
        self.killed += 1
        self.nodes.append(self._added())


def compare(name: str, out: Path, expected: dict[str, Any]) -> bool:
    found = rows_of(out)
    left = [path.name for path in out.rglob(".*.tmp*")]
    same = found == expected
    print(f"{name}: {len(found)} rows, {'identical to' if same else 'DIFFERENT from'} the local run's; "
          f"{len(left)} unfinished files left", flush=True)  # fmt: skip
    return same


def rows(options: argparse.Namespace) -> int:
    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    out, rng = options.out.absolute(), random.Random(options.seed)
    os.environ["FEATUNE_CACHE_DIR"] = str(out / "cache")
    path = write_study(out)
    from featune.bench.study import processes, run

    began = time.monotonic()
    run(study_of(path, out / "local"), processes(2))
    expected = rows_of(out / "local")
    print(f"local, 2 processes: {len(expected)} rows, {time.monotonic() - began:.0f} s", flush=True)
    raylets = Raylets()
    address = raylets.cluster.address
    fine = []

    def driver(folder: Path, slow: str) -> subprocess.Popen[bytes]:
        return subprocess.Popen([sys.executable, __file__, "measure", str(path), str(folder), address, slow])

    began = time.monotonic()
    code = driver(out / "ray", "quick").wait()
    print(f"two raylets: exit {code}, {time.monotonic() - began:.0f} s", flush=True)
    fine.append(code == 0 and compare("two raylets", out / "ray", expected))

    process, began = driver(out / "killed", "slow"), time.monotonic()
    while process.poll() is None and raylets.killed < options.kills:
        time.sleep(rng.uniform(2.0, 8.0))
        if process.poll() is None:
            raylets.kill_one(rng)
    code = process.wait()
    print(f"{raylets.killed} raylets killed: exit {code}, {time.monotonic() - began:.0f} s", flush=True)
    again = 0
    while raylets.killed < options.kills:  # the cells were done before; the rest of the kills on new ones
        again += 1
        process = driver(out / f"killed{again}", "slow")
        while process.poll() is None and raylets.killed < options.kills:
            time.sleep(rng.uniform(2.0, 8.0))
            if process.poll() is None:
                raylets.kill_one(rng)
        process.wait()
        fine.append(compare(f"killed{again}, {raylets.killed} raylets killed so far", out / f"killed{again}", expected))
    fine.append(code == 0 and compare("raylets killed", out / "killed", expected))

    for number in (1, 2):
        process = driver(out / "driver", "slow")
        until = len(rows_of(out / "driver")) + 15
        while process.poll() is None and len(rows_of(out / "driver")) < until:
            time.sleep(0.2)
        process.send_signal(signal.SIGKILL)
        process.wait()
        print(f"driver killed for the {number}. time at {len(rows_of(out / 'driver'))} rows", flush=True)
    code = driver(out / "driver", "slow").wait()
    fine.append(code == 0 and compare("driver killed twice", out / "driver", expected))
    raylets.cluster.shutdown()
    return 0 if all(fine) else 1


def speed(options: argparse.Namespace) -> int:
    from featune.bench.study import executors
    from featune.bench.study.cluster import ray_tasks

    options.out.mkdir(parents=True, exist_ok=True)
    executors._start_worker = _light  # type: ignore[assignment]

    def cost(execute: Any, work: Any, count: int) -> tuple[float, float]:
        """Processor seconds of all processes, and wall seconds."""
        used, began = tree_seconds(), time.perf_counter()
        list(execute(work, range(count)))
        wall = time.perf_counter() - began
        return tree_seconds() - used, wall

    with ray_tasks(options.out, jobs=2) as execute:
        cost(execute, pause, 4)
        print(f"idle: {idle(5.0):.3f} processor seconds a second, of all of Ray's processes", flush=True)
        for name, execute_ in (("ray", execute), ("local", executors.processes(2))):
            few, many = cost(execute_, nothing, 20), cost(execute_, nothing, 320)
            used, wall = ((many[i] - few[i]) / 300 * 1e3 for i in (0, 1))
            print(f"{name}: a task that does nothing costs {used:.1f} ms of processor time, {wall:.1f} ms by the clock",
                  flush=True)  # fmt: skip
        for _ in range(options.rounds):
            found = {}
            for name, execute_ in (("ray", execute), ("local", executors.processes(2))):
                few, many = cost(execute_, busy, 4), cost(execute_, busy, 44)
                found[name] = [(many[i] - few[i]) / 40 for i in (0, 1)]
            ratios = [found["local"][i] / found["ray"][i] for i in (0, 1)]
            (on_ray, ray_wall), (here, here_wall) = found["ray"], found["local"]
            print(f"0.5 s of processor time: ray {on_ray:.3f} s, local {here:.3f} s of all processes: {ratios[0]:.1%}; "
                  f"by the clock {ray_wall:.3f} s, {here_wall:.3f} s: {ratios[1]:.1%}", flush=True)  # fmt: skip
    return 0


def whole(options: argparse.Namespace) -> int:
    from featune.bench.study import processes, run
    from featune.bench.study.cluster import ray_tasks

    shutil.rmtree(options.out, ignore_errors=True)
    options.out.mkdir(parents=True)
    out = options.out.absolute()
    os.environ["FEATUNE_CACHE_DIR"] = str(out / "cache")
    path = slurm_array.write_study(out)

    def timed(name: str) -> float:
        study, began = study_of(path, out / name), time.perf_counter()
        if name.startswith("ray"):
            with ray_tasks(out / name, jobs=2) as execute:
                rows = run(study, execute)
        else:
            rows = run(study, processes(2))
        assert len(rows) == 36
        return time.perf_counter() - began

    print(f"first run, with features to extract: {timed('warm'):.1f} s", flush=True)
    for number in range(options.rounds):
        here, on_ray = timed(f"local{number}"), timed(f"ray{number}")
        print(f"36 cells: ray {on_ray:.1f} s, local {here:.1f} s: {here / on_ray:.1%}", flush=True)
        compare("ray", out / f"ray{number}", rows_of(out / f"local{number}"))
    return 0


def idle(seconds: float) -> float:
    used = tree_seconds()
    time.sleep(seconds)
    return (tree_seconds() - used) / seconds


def _light(threads: int, parent: int) -> None:
    """A local worker's start without torch."""
    threading.Thread(target=lambda: None, daemon=True).start()


def main() -> int:
    if sys.argv[1:2] == ["measure"]:
        _, _, path, out, address, slow = sys.argv
        return 0 if measured(Path(path), Path(out), address, slow == "slow") == 60 else 1
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["rows", "speed", "whole"])
    parser.add_argument("--out", type=Path, default=Path("runs/ray"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--rounds", type=int, default=2)
    options = parser.parse_args()
    return {"rows": rows, "speed": speed, "whole": whole}[options.what](options)


if __name__ == "__main__":
    sys.exit(main())
