"""Is the backend that `featune throughput` recommends the fastest? An exhaustive check; throughput.md has the results.

    python benchmarks/throughput_backends.py OUT [--models resnet18,...] [--batch 8] [--stop-after 220]

For each model the command's own run on torch, torch-compile and onnxruntime, one thread, in OUT/MODEL; then all three
once more without its workers: opened side by side in one process and timed by torch.utils.benchmark, in rounds of
random order each followed by its mirror image. A model is a line of OUT/backends.jsonl; stopped, the command goes on
with what is missing.
"""

import argparse
import contextlib
import itertools
import json
import statistics
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch.utils.benchmark import Timer

from featune.bench.progress import Silent
from featune.bench.throughput import Effort, Rotation, Setup, balanced_order
from featune.bench.throughput.report import recommendations, write_report
from featune.bench.throughput.session import Asked, Source, opened, run

MODELS = "test_resnet,test_vit,test_convnext,test_efficientnet,mobilenetv3_small_050,resnet18"
BACKENDS = ("torch", "torch-compile", "onnxruntime")
SOURCE = Source(untrained=True)


def checked(model: str, out: Path, batch: int, effort: Effort, rounds: int) -> dict[str, Any]:
    began = time.monotonic()
    asked = Asked([model], BACKENDS, batches=(batch,), threads=1, source=SOURCE, effort=effort, out=out / model)
    found = run(asked, Silent())
    write_report(asked.out, found.rows, found.document)
    [recommended] = recommendations(found.rows, found.document)
    rows = [row for row in found.rows if not row.configuration.twin]
    passed = {row.configuration.setup.backend for row in rows if row.passed}
    again = alone(model, batch, rounds, out / model / "alone")
    fastest = min((name for name in again if name in passed), key=lambda name: statistics.median(again[name]))
    ratios = [mine / best for mine, best in zip(again[str(recommended.setup)], again[fastest], strict=True)]
    return {
        "model": model,
        "recommended": recommended.setup,
        "sentence": recommended.sentence,
        "command": {row.configuration.setup.backend: row.rate for row in rows},
        "errors": {row.configuration.setup.backend: row.error for row in rows if row.error},
        "passed": sorted(passed),
        "alone": {name: batch / statistics.median(times) for name, times in again.items()},
        "fastest": fastest,
        "slower_than_fastest_by": statistics.median(ratios) - 1,
        "spread": found.document["spread"],
        "seconds": time.monotonic() - began,
    }


def alone(model: str, batch: int, rounds: int, cache: Path) -> dict[str, list[float]]:
    """Seconds of a call on each backend, of each round."""
    torch.set_num_threads(1)
    with contextlib.ExitStack() as stack:
        timers = {}
        for name in BACKENDS:
            one = stack.enter_context(opened(Setup(model, name), SOURCE, cache))
            turns = itertools.cycle(Rotation(one.images, batch).batches)
            timers[name] = Timer("call(next(turns))", globals={"call": one.runner, "turns": turns}, num_threads=1)
            timers[name].blocked_autorange(min_run_time=0.3)
        found: dict[str, list[float]] = {name: [] for name in timers}
        for order in balanced_order(list(timers), rounds, np.random.default_rng(0)):
            for name in order:
                found[name].append(float(timers[name].blocked_autorange(min_run_time=0.1).median))
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--rounds", type=int, default=20, help="of the command, and of the check")
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--stop-after", type=float, default=220, help="seconds; no model is begun later")
    asked = parser.parse_args()
    lines = asked.out / "backends.jsonl"
    known = [json.loads(line)["model"] for line in lines.read_text().splitlines()] if lines.exists() else []
    began = time.monotonic()
    for model in asked.models.split(","):
        if model in known or time.monotonic() - began > asked.stop_after:
            continue
        found = checked(model, asked.out, asked.batch, Effort(asked.rounds, asked.seconds), asked.rounds)
        with open(lines, "a") as file:
            file.write(json.dumps(found) + "\n")
        print(found, flush=True)
    for one in map(json.loads, lines.read_text().splitlines()):
        rates = " | ".join(f"{one['command'].get(name, 0):.1f} / {one['alone'][name]:.1f}" for name in BACKENDS)
        print(f"| `{one['model']}` | {rates} | {one['recommended']} | {one['fastest']} | {one['spread']:.1%} |")


if __name__ == "__main__":
    main()
