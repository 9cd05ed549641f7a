"""How far the verdicts of `featune throughput` are to be believed; throughput.md has what came of it.

    python benchmarks/throughput.py planted OUT.jsonl [--loaded] [--trials 20] [--stop-after 225]

One trial measures six workers in turns, of one graph: three times the same (A/A), 3 % and 10 % slower by waiting after
each call, and the twin that every group has. It gives three verdicts on equal ones, three on 3 %, three on 10 %, which
share workers. Killed or stopped, it goes on with the trials that are missing.
"""

import argparse
import collections
import dataclasses
import functools
import json
import multiprocessing
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featune.bench.throughput import Configuration, Effort, Setup, measured_in_turns
from featune.bench.throughput.session import ProcessWorker, Source
from featune.bench.throughput.session.serving import Bench

MODEL = "test_resnet"
PLANTED = {"first": 1.0, "second": 1.0, "third": 1.0, "3 % slower": 1.03, "10 % slower": 1.1}
TRUTHS = {1.0: "equal ones", 1.03: "3 % slower", 1.1: "10 % slower"}


def slowed(runner: Callable[[Any], Any], factor: float) -> Callable[[Any], Any]:
    def run(images: Any) -> Any:
        began = time.perf_counter()
        rows = runner(images)
        until = began + factor * (time.perf_counter() - began)
        while time.perf_counter() < until:
            pass
        return rows

    return run


class Planted(Bench):
    """A worker whose model's name says by what it is slowed: `name|factor`."""

    def __init__(self, source: Source, configuration: Configuration, cache: Path):
        name, _, factor = configuration.setup.model.partition("|")
        self.factor = float(factor)
        setup = dataclasses.replace(configuration.setup, model=name)
        super().__init__(source, dataclasses.replace(configuration, setup=setup), cache)

    def batch(self, batch: int, most: float) -> dict[str, Any]:
        assert self.found is not None
        if self.factor != 1:
            self.found = dataclasses.replace(self.found, runner=slowed(self.found.runner, self.factor))
        return super().batch(batch, most)


def planted(out: Path, trials: int, stop_after: float, loaded: bool) -> None:
    began = time.monotonic()
    known = len(out.read_text().splitlines()) if out.exists() else 0
    for number in range(known, trials):
        one = time.monotonic()
        with tempfile.TemporaryDirectory() as logs:
            found = trial(number, Path(logs))
        with open(out, "a") as file:
            file.write(json.dumps(found | {"loaded": loaded, "seconds": time.monotonic() - one}) + "\n")
        print(number, found, f"{time.monotonic() - one:.0f} s", flush=True)
        if time.monotonic() - began + time.monotonic() - one > stop_after:
            break
    summary(out)


def trial(number: int, logs: Path) -> dict[str, Any]:
    make = functools.partial(Planted, Source(untrained=True))
    cache = Path(tempfile.gettempdir(), "featune-planted")

    def of(factor: float, name: str) -> Configuration:
        return Configuration(Setup(f"{MODEL}|{factor}", "onnxruntime"), 4, mode=name)

    group = [of(factor, name) for name, factor in PLANTED.items()]
    group.append(dataclasses.replace(group[0], twin=True))
    rows, spread, verdicts = measured_in_turns(
        group,
        lambda one: ProcessWorker(one, make, cache, logs / f"{one.mode}{one.twin}.txt"),
        Effort(),
        seed=number,
    )
    assert all(row.error is None for row in rows), [row.error for row in rows]
    return {
        "spread": round(spread, 4),
        "marked": sum(any("other work" in mark for mark in row.marks) for row in rows),
        "verdicts": [
            (PLANTED[other.mode] / PLANTED[one.mode], verdict.word,
             *(round(number, 4) for number in (verdict.ratio, verdict.low, verdict.high)), verdict.looks)
            for one, other, verdict in verdicts
        ],
    }  # fmt: skip


def summary(out: Path) -> None:
    lines = [json.loads(line) for line in out.read_text().splitlines()]
    spreads = sorted(line["spread"] for line in lines)
    print(f"{len(lines)} trials; spread of twins: median {spreads[len(lines) // 2]:.2%}, largest {spreads[-1]:.2%}")
    for truth, name in TRUTHS.items():
        found = [each for line in lines for each in line["verdicts"] if each[0] == truth]
        print(name, len(found), dict(collections.Counter(each[1] for each in found)))
    every = [each for line in lines for each in line["verdicts"]]
    wrong = [each for each in every if each[1] == "equal" and not (each[3] > 1 / 1.03 and each[4] < 1.03)]
    covered = sum(low <= truth <= high for truth, _, _, low, high, _ in every)
    print(
        f"equal where the interval exceeds the margin: {len(wrong)}; intervals with the truth: {covered}/{len(every)}"
    )
    print(
        f"measured twice: {sum(each[5] == 2 for each in every)}; rows marked: {sum(line['marked'] for line in lines)}"
    )


def spin() -> None:
    while True:
        pass


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("what", choices=["planted"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--stop-after", type=float, default=225)
    parser.add_argument("--loaded", action="store_true", help="another process keeps one core busy")
    asked = parser.parse_args()
    other = multiprocessing.get_context("spawn").Process(target=spin, daemon=True) if asked.loaded else None
    if other:
        other.start()
    try:
        planted(asked.out, asked.trials, asked.stop_after, asked.loaded)
    finally:
        if other:
            other.kill()


if __name__ == "__main__":
    main()
