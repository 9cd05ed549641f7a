"""How far the verdicts of `featune throughput` are to be believed; throughput.md has what came of it.

    python benchmarks/throughput.py planted OUT.jsonl [--trials 20] [--cases "same;3%"] [--stop-after 1800]

One trial is what the command does with two backends, at its usual effort: three fresh processes of one ONNX Runtime
graph take turns, the one, the other and the twin of the one, and what is undecided is measured once more. The other is
the same, or 3 % or 10 % slower by waiting after each call; in some cases a process keeps one core busy meanwhile. Each
trial is a line of OUT.jsonl with its raw block medians; killed or stopped, the command goes on with those that are
missing. The exit code is 1 where a claim does not hold.
"""

import argparse
import contextlib
import dataclasses
import functools
import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from featune.bench.throughput import Configuration, Effort, Setup, block_medians, measured_in_turns
from featune.bench.throughput.session import ProcessWorker, Source
from featune.bench.throughput.session.opening import Opened
from featune.bench.throughput.session.serving import Bench

MODEL, BATCH = "test_resnet", 1


@dataclasses.dataclass(frozen=True)
class Case:
    """factor: of the other one's time. loaded: a process keeps a core busy. word: what the verdict on the first must
    be, and least how often of 20, or never `faster` nor `slower` more often than 20 - least.
    """

    factor: float
    loaded: bool
    least: int

    def holds(self, word: str) -> bool:
        return word == "faster" if self.factor > 1 else word in ("equal", "undecided")


CASES = {
    "same": Case(1.0, False, 19),
    "10%": Case(1.1, False, 18),
    "3%": Case(1.03, False, 15),
    "same, loaded": Case(1.0, True, 19),
    "10%, loaded": Case(1.1, True, 18),
}
USUAL = "same;10%;3%;same, loaded"


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
    """A worker of the command over a graph that lies there, so that a process starts in 2 s; slowed by a factor."""

    def __init__(self, graph: Path, side: int, factor: float, configuration: Configuration, cache: Path):
        super().__init__(Source(), configuration, cache)
        self.graph, self.side, self.factor = graph, side, factor if configuration.mode == "other" else 1.0

    def open(self, most: float) -> dict[str, Any]:
        from featune.engine.runners import onnxruntime_runner

        torch.set_num_threads(1)
        runner: Any = self.stack.enter_context(onnxruntime_runner(self.graph, threads=1))
        if self.factor != 1:
            runner = slowed(runner, self.factor)
        shape = 8, 3, self.side, self.side
        images = torch.randint(256, shape, dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
        self.found = Opened(runner, None, images, {}, None, None)  # type: ignore[arg-type]
        return {"gate": {"passed": True}, "warm": self.batch(self.configuration.batch, most)}


def planted(out: Path, cases: list[str], trials: int, stop_after: float, effort: Effort) -> bool:
    """Trials of all cases in turns, until each has so many; whether all claims hold so far."""
    began, longest = time.monotonic(), 0.0
    graph, side = the_graph()
    for number in range(trials):
        for name in cases:
            if (name, number) in {(line["case"], line["trial"]) for line in lines_of(out)}:
                continue
            if time.monotonic() - began + longest > stop_after:
                return summary(out)
            one = time.monotonic()
            found = {"case": name, "trial": number} | trial(CASES[name], number, graph, side, effort)
            longest = max(longest, time.monotonic() - one)
            with open(out, "a") as file:
                file.write(json.dumps(found | {"seconds": round(time.monotonic() - one, 1)}) + "\n")
            print(
                f"{number:2d} {name}: {found['word']}, ratio {found['ratio']:.4f} ({found['low']:.4f} to "
                f"{found['high']:.4f}), spread {found['spread']:.2%}, {found['looks']} looks, "
                f"{time.monotonic() - one:.0f} s",
                flush=True,
            )
    return summary(out)


def the_graph() -> tuple[Path, int]:
    """The file, exported where it is absent, and its side. In a process of its own memory would be as a worker's."""
    from featune.export.commands import spec_of_model
    from featune.export.graph import graph_from_spec

    spec = spec_of_model(MODEL, untrained=True)
    path = Path(tempfile.gettempdir(), "featune-planted", f"{spec.digest}.onnx")
    if not path.exists():
        path.parent.mkdir(exist_ok=True)
        graph_from_spec(spec, path)
    return path, spec.view.side


def trial(case: Case, number: int, graph: Path, side: int, effort: Effort) -> dict[str, Any]:
    make = functools.partial(Planted, graph, side, case.factor)
    setup = Setup(MODEL, "onnxruntime")
    one, other = (Configuration(setup, BATCH, mode=mode) for mode in ("one", "other"))
    with tempfile.TemporaryDirectory() as logs, busy(case.loaded):
        rows, spread, [(_, _, verdict)] = measured_in_turns(
            [one, other, dataclasses.replace(one, twin=True)],
            lambda each: ProcessWorker(each, make, graph.parent, Path(logs, f"{each.mode}{each.twin}.txt")),
            effort,
            seed=number,
        )
    assert all(row.error is None for row in rows), [row.error for row in rows]
    return {
        "word": verdict.word, "ratio": verdict.ratio, "low": verdict.low, "high": verdict.high,
        "looks": verdict.looks, "noise": verdict.noise, "spread": spread,
        "marked": sum(any("other work" in mark for mark in row.marks) for row in rows),
        "others": [row.summary["others_busy"] for row in rows],
        "medians": [[round(1000 * median, 5) for median in block_medians(row.blocks)] for row in rows],
        "load": os.getloadavg()[0],
    }  # fmt: skip


@contextlib.contextmanager
def busy(wanted: bool) -> Iterator[None]:
    """A process that computes as long as the block runs."""
    if not wanted:
        yield
        return
    with subprocess.Popen([sys.executable, "-c", "while True: pass"]) as other:
        try:
            yield
        finally:
            other.kill()


def lines_of(out: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in out.read_text().splitlines()] if out.exists() else []


def summary(out: Path) -> bool:
    """Prints what came of each case as rows of a page's table; whether every claim holds so far."""
    lines, good = lines_of(out), True
    print(
        "| the other is | trials | as it should be | wanted | faster / slower / equal / undecided | "
        "intervals that hold the truth | spread of twins, median and largest | measured twice | seconds |"
    )
    print("|" + "---|" * 9)
    for name, case in CASES.items():
        found = [line for line in lines if line["case"] == name]
        if not found:
            continue
        held = sum(case.holds(line["word"]) for line in found)
        good &= len(found) - held <= (20 - case.least) * max(1.0, len(found) / 20)
        words = [sum(line["word"] == word for line in found) for word in ("faster", "slower", "equal", "undecided")]
        covered = sum(line["low"] <= case.factor <= line["high"] for line in found)
        spreads, seconds = (sorted(line[key] for line in found) for key in ("spread", "seconds"))
        middle = len(found) // 2
        print(
            f"| {name} | {len(found)} | {held} | {case.least} of 20 | {' / '.join(map(str, words))} | {covered} | "
            f"{spreads[middle]:.2%}, {spreads[-1]:.2%} | {sum(line['looks'] == 2 for line in found)} | "
            f"{seconds[middle]:.0f} |"
        )
    wrong = [line for line in lines if line["word"] == "equal" and not (line["low"] > 1 / 1.03 and line["high"] < 1.03)]
    marked = sum(line["marked"] > 0 for line in lines)
    print(f"{len(lines)} trials; called equal where the interval exceeds the margin: {len(wrong)}; trials with a row "
          f"that was marked as beside other work: {marked}; all claims hold: {good and not wrong}")  # fmt: skip
    return good and not wrong


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["planted", "summary"])
    parser.add_argument("out", type=Path)
    parser.add_argument("--trials", type=int, default=20)
    parser.add_argument("--cases", default=USUAL, help=f"of {'; '.join(CASES)}, by semicolons".replace("%", "%%"))
    parser.add_argument("--rounds", type=int, default=Effort.rounds)
    parser.add_argument("--seconds", type=float, default=Effort.seconds)
    parser.add_argument(
        "--stop-after", type=float, default=3600, help="seconds; no trial is begun that may last longer"
    )
    asked = parser.parse_args()
    effort = Effort(asked.rounds, asked.seconds)
    if asked.what == "summary":
        good = summary(asked.out)
    else:
        good = planted(asked.out, asked.cases.split(";"), asked.trials, asked.stop_after, effort)
    sys.exit(0 if good else 1)


if __name__ == "__main__":
    main()
