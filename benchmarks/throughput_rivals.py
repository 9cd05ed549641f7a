"""Our medians beside those of torch.utils.benchmark and MLPerf's LoadGen, and ONNX Runtime beside OpenVINO.

    python benchmarks/throughput_rivals.py OUT.jsonl [--models resnet18,...] [--rounds 40] [--seconds 0.1]
    python benchmarks/throughput_rivals.py OUT.jsonl --summary

Needs mlcommons-loadgen and openvino, which are no dependencies of Featune. One thread each, batch 1, the graphs that
`featune export` makes of random weights, fp32, all in one process. In each round every way has a turn, in random orders
each followed by its mirror image, and ratios are taken within rounds. Of the first three the same ONNX Runtime session
runs. LoadGen also times a call that does nothing, which is its own dispatch, and our clock times the calls that LoadGen
makes: what is left of a difference there is of the clocks, the rest is of what LoadGen does beside. A model is a line
of OUT.jsonl; stopped, the command goes on with those that are missing. throughput_rivals.md has what came of it.
"""

import argparse
import itertools
import json
import re
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featune.bench.throughput import Block, Rotation, balanced_order, timed_block, verdict_of, warm_up
from featune.engine.runners import onnxruntime_runner
from featune.export.commands import spec_of_model
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec

MODELS = "test_resnet,test_vit,test_convnext,test_efficientnet,mobilenetv3_small_050,resnet18"
CORES = {"INFERENCE_NUM_THREADS": 1, "NUM_STREAMS": 1, "INFERENCE_PRECISION_HINT": "f32"}
MEDIAN = re.compile(r"50\.00 percentile latency \(ns\)\s*:\s*(\d+)")
LEAST, NOTHING = 5, 5  # calls of a turn; runs of LoadGen with nothing to do
COLUMNS = ("torch.utils.benchmark", "loadgen", "openvino")


def by_ours(call: Callable[[Any], Any], inputs: Rotation, seconds: float) -> float:
    return statistics.median(timed_block(call, inputs, seconds=seconds, least=LEAST).samples)


def by_torch(call: Callable[[Any], Any], inputs: Rotation, seconds: float) -> float:
    from torch.utils.benchmark import Timer

    turns = itertools.cycle(inputs.batches)
    timer = Timer("call(next(turns))", globals={"call": call, "turns": turns}, num_threads=1)
    return float(timer.blocked_autorange(min_run_time=seconds).median)


def by_loadgen(
    call: Callable[[Any], Any], inputs: Rotation, seconds: float, inside: list[float] | None = None
) -> float:
    """The median latency of a single stream, as LoadGen's own summary has it. inside: takes our clock's median of the
    same calls."""
    import mlperf_loadgen as loadgen

    samples_inside: list[float] = []

    def issue(queries: Any) -> None:
        for query in queries:
            began = time.perf_counter()
            call(inputs.batches[query.index])
            samples_inside.append(time.perf_counter() - began)
            loadgen.QuerySamplesComplete([loadgen.QuerySampleResponse(query.id, 0, 0)])

    settings = loadgen.TestSettings()
    settings.scenario, settings.mode = loadgen.TestScenario.SingleStream, loadgen.TestMode.PerformanceOnly
    settings.min_duration_ms, settings.min_query_count = int(1000 * seconds), LEAST
    system = loadgen.ConstructSUT(issue, lambda: None)
    count = len(inputs.batches)
    samples = loadgen.ConstructQSL(count, count, lambda found: None, lambda found: None)
    with tempfile.TemporaryDirectory() as folder:
        logs = loadgen.LogSettings()
        logs.enable_trace = False
        output = loadgen.LogOutputSettings()
        output.outdir, output.copy_summary_to_stdout = folder, False
        logs.log_output = output
        loadgen.StartTestWithLogSettings(system, samples, settings, logs)
        found = MEDIAN.search(Path(folder, "mlperf_log_summary.txt").read_text())
    loadgen.DestroyQSL(samples)
    loadgen.DestroySUT(system)
    assert found, "LoadGen's summary has no median"
    if inside is not None:
        inside.append(statistics.median(samples_inside))
    return int(found[1]) / 1e9


def measured(model: str, rounds: int, seconds: float, seed: int = 0) -> dict[str, Any]:
    import openvino

    spec = spec_of_model(model, untrained=True)
    inputs = Rotation(own_sample(spec.view).images, 1)
    began = time.monotonic()
    with tempfile.TemporaryDirectory() as folder:
        path = graph_from_spec(spec, Path(folder, "model.onnx"))
        compiled = openvino.Core().compile_model(path, "CPU", CORES)
        ask = compiled.create_infer_request()

        def vino(images: torch.Tensor) -> torch.Tensor:
            return torch.from_numpy(ask.infer([images.numpy()])[compiled.output(0)].copy())

        with onnxruntime_runner(path, threads=1) as runner:
            worst = max(float((vino(each) - runner(each)).abs().max()) for each in inputs.batches)
            ways: dict[str, Callable[[], float]] = {
                "ours": lambda: by_ours(runner, inputs, seconds),
                "torch.utils.benchmark": lambda: by_torch(runner, inputs, seconds),
                "loadgen": lambda: by_loadgen(runner, inputs, seconds, inside),
                "openvino": lambda: by_ours(vino, inputs, seconds),
            }
            for call in (runner, vino):
                warm_up(call, inputs)
            nothing = statistics.median(by_loadgen(lambda images: None, inputs, seconds) for _ in range(NOTHING))
            found: dict[str, list[float]] = {name: [] for name in ways}
            inside: list[float] = []
            for order in balanced_order(list(ways), rounds, np.random.default_rng(seed)):
                for name in order:
                    found[name].append(ways[name]())
    return {
        "model": model,
        "milliseconds": {name: 1000 * statistics.median(each) for name, each in found.items()},
        "dispatch_ms": 1000 * nothing,
        "by_ours": {name: compared(found["ours"], found[name]) for name in COLUMNS},
        "loadgen_by_inside": compared(inside, found["loadgen"]),
        "rounds": found,
        "largest difference of rows": worst,
        "seconds": time.monotonic() - began,
    }


def compared(ours: list[float], theirs: list[float]) -> dict[str, Any]:
    """How many times as long theirs took, of pairs within rounds."""
    one, other = (
        [Block(0, turn, (value,), 1, value) for turn, value in enumerate(values)] for values in (ours, theirs)
    )
    verdict = verdict_of(one, other)
    return {"ratio": verdict.ratio, "low": verdict.low, "high": verdict.high, "word": verdict.word}


def summary(out: Path) -> None:
    """The lines as the rows of a page's table."""
    for line in map(json.loads, out.read_text().splitlines()):
        shown = [line["by_ours"][name] for name in COLUMNS]
        shown.insert(2, line["loadgen_by_inside"])
        cells = [f"{found['ratio']:.3f} ({found['low']:.3f} to {found['high']:.3f})" for found in shown]
        times = f"{line['milliseconds']['ours']:.3f} | {line['dispatch_ms']:.4f}"
        print(f"| `{line['model']}` | {times} | {' | '.join(cells)} |")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("out", type=Path)
    parser.add_argument("--models", default=MODELS)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument("--seconds", type=float, default=0.1)
    parser.add_argument("--summary", action="store_true", help="only print what OUT has")
    asked = parser.parse_args()
    torch.set_num_threads(1)
    known = [json.loads(line)["model"] for line in asked.out.read_text().splitlines()] if asked.out.exists() else []
    for model in [] if asked.summary else asked.models.split(","):
        if model in known:
            continue
        found = measured(model, asked.rounds, asked.seconds)
        with open(asked.out, "a") as file:
            file.write(json.dumps(found) + "\n")
        print(f"{model}: {found['seconds']:.0f} s", flush=True)
    summary(asked.out)


if __name__ == "__main__":
    main()
