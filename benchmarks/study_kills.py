"""Kill -9 two processes at one study at 50 random moments; nothing may be lost or measured twice.

    python benchmarks/study_kills.py [--kills 50] [--seed 0] [--out runs/study-kills]

The cells are made up and take 1 to 20 ms each; locks, rows and scores are those of `featune study run`. Each round, two
processes are started on the study and both killed at a random moment. Every measurement leaves a line, so that a cell
whose row was there and that was measured again is seen. At the end an uninterrupted study is compared. Each round is
told as it goes; started again with the same --out it goes on. Exit code 0 where all holds.
"""

import argparse
import dataclasses
import json
import os
import random
import signal
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
from study_overhead import fake_study, made_up

from featune.bench.results import Cell, Row, RunStore
from featune.bench.study import Study
from featune.bench.study import measuring as cells
from featune.bench.study.executors import in_process
from featune.bench.study.running import run

LONGEST = 0.4  # seconds until a kill, from the first measurement of the round
EARLY = 0.2  # share of the rounds whose time counts from the start of the processes


def slow(log: Path) -> Any:
    """`measured` of made-up cells: notes that it has begun, and takes its time."""

    def measure(study: Study, cell: Cell, regime: object = None) -> tuple[Row, Any]:
        with open(log, "a", encoding="utf-8") as file:
            file.write(json.dumps([cell.name, study.runs.path(cell).exists()]) + "\n")
        row, scores = made_up(study, cell)
        time.sleep(0.001 + 0.019 * np.random.default_rng(int(cell.inputs, 16) + 7 * cell.seed).uniform())
        return row, scores

    return measure


def worked(study: Study) -> int:
    """A process that works at the study; its number."""
    pid = os.fork()
    if pid == 0:
        code = 1
        try:
            run(study, in_process)
            code = 0
        finally:
            os._exit(code)
    return pid


def contents(study: Study) -> dict[str, Any]:
    """Every row and the digest of its scores, but for the time that it took."""
    found = {}
    for row in RunStore(Path(study.out, "runs")).rows():
        study.runs.check_scores(row)
        found[row.cell.name] = dataclasses.replace(row, seconds=0.0)
    return found


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--out", type=Path, default=Path("runs/study-kills"))
    asked = parser.parse_args()
    asked.out.mkdir(parents=True, exist_ok=True)
    log, done = asked.out / "measured.jsonl", asked.out / "kills.jsonl"
    cells.measured = slow(log)
    killed, whole = (fake_study(asked.out / name, models=12, tasks=12) for name in ("killed", "whole"))
    whole = dataclasses.replace(whole, tasks=killed.tasks)
    before = len(done.read_text().splitlines()) if done.exists() else 0
    for kill in range(before, asked.kills):
        rng = random.Random(f"{asked.seed} {kill}")
        moment, early = rng.uniform(0.0, LONGEST), rng.random() < EARLY
        size = log.stat().st_size if log.exists() else 0
        pids = [worked(killed), worked(killed)]
        while not early and (not log.exists() or log.stat().st_size == size):
            time.sleep(0.002)
        time.sleep(moment)
        for pid in pids:
            os.kill(pid, signal.SIGKILL)
        ended = [os.waitpid(pid, 0)[1] for pid in pids]
        rows = sum(1 for _ in Path(killed.out, "runs").rglob("*.json"))
        with open(done, "a", encoding="utf-8") as file:
            file.write(json.dumps([kill, moment, rows]) + "\n")
        print(f"kill {kill + 1} after {moment:.2f} s: {rows} of {len(killed.cells())} cells", flush=True)
        assert all(os.WIFSIGNALED(code) for code in ended), "it was done before it was killed: give fewer kills"
    run(killed, in_process)
    lines = [json.loads(line) for line in log.read_text().splitlines()]
    again = [name for name, there in lines if there]
    cells.measured = made_up
    run(whole, in_process)
    same, names = contents(killed) == contents(whole), {cell.name for cell in killed.cells()}
    left = [path.name for path in Path(killed.out, "runs").rglob(".*") if path.is_file()]
    print(
        f"{asked.kills} rounds of two killed processes: {len(names)} cells, {len(contents(killed))} rows, "
        f"{'as' if same else 'NOT as'} in the uninterrupted study; {len(lines) - len(names)} measurements were cut off "
        f"and made again, {len(again)} made although the row was there; {len(left)} unfinished files left"
    )
    return 0 if same and not again and {*contents(killed)} == names else 1


if __name__ == "__main__":
    sys.exit(main())
