"""ONNX Runtime's session options on this CPU, each against the defaults, in turns within one run.

    python benchmarks/session.py [--rounds 9] [--batch 8] [--out benchmarks/session.md]

Three models with random weights, which cost what trained ones do, in fp32 and in int8 with every layer quantised.
The default here has one thread, as each worker of an extraction has. In each round every setting runs for about a fifth
of a second, one after the other; a setting's number is the median over rounds of its rate by the default's of the same
round, so what slows a round slows both.
"""

import argparse
import dataclasses
import datetime
import os
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
import torch

from featune.engine.models import spec_from_entry
from featune.engine.store import write_text
from featune.export.contract import parity
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec
from featune.export.precision.int8 import best_quantised

MODELS = ("mobilenetv3_small_100", "resnet18", "vit_tiny_patch16_224")
LEAST_SECONDS = 0.2  # of one turn
LEVELS = onnxruntime.GraphOptimizationLevel


@dataclasses.dataclass(frozen=True)
class Setting:
    """What differs from the defaults. attributes and entries: of SessionOptions. batch: fixed in the graph.

    sessions: that run at once, each in a thread of its own; threads: inside one operator of each.
    """

    threads: int = 1
    sessions: int = 1
    attributes: tuple[tuple[str, Any], ...] = ()
    entries: tuple[tuple[str, str], ...] = ()
    fixed_batch: bool = False


SETTINGS = {
    "the defaults, 1 thread": Setting(),
    "the defaults again": Setting(),
    "2 sessions of 1 thread": Setting(sessions=2),
    "2 threads": Setting(threads=2),
    "2 threads that do not spin": Setting(threads=2, entries=(("session.intra_op.allow_spinning", "0"),)),
    "2 threads, work in smaller blocks": Setting(threads=2, entries=(("session.dynamic_block_base", "4"),)),
    "optimisation: extended": Setting(attributes=(("graph_optimization_level", LEVELS.ORT_ENABLE_EXTENDED),)),
    "optimisation: basic": Setting(attributes=(("graph_optimization_level", LEVELS.ORT_ENABLE_BASIC),)),
    "optimisation: none": Setting(attributes=(("graph_optimization_level", LEVELS.ORT_DISABLE_ALL),)),
    "operators in parallel": Setting(
        attributes=(("execution_mode", onnxruntime.ExecutionMode.ORT_PARALLEL), ("inter_op_num_threads", 2))
    ),
    "no memory pattern": Setting(attributes=(("enable_mem_pattern", False),)),
    "no arena": Setting(attributes=(("enable_cpu_mem_arena", False), ("enable_mem_pattern", False))),
    "denormals are zero": Setting(entries=(("session.set_denormal_as_zero", "1"),)),
    "batch fixed in the graph": Setting(fixed_batch=True),
    "int8 sums without overflow (x64quantprecision)": Setting(entries=(("session.x64quantprecision", "1"),)),
    "leftover Q/DQ removed": Setting(entries=(("session.enable_quant_qdq_cleanup", "1"),)),
}


def main() -> None:
    arguments = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    arguments.add_argument("--rounds", type=int, default=9)
    arguments.add_argument("--batch", type=int, default=8)
    arguments.add_argument("--out", type=Path, default=Path("benchmarks/session.md"))
    given = arguments.parse_args()
    load = os.getloadavg()[0]
    columns, openings = {}, []
    with tempfile.TemporaryDirectory() as folder:
        for name in MODELS:
            for precision, graph in graphs(name, Path(folder)).items():
                images = own_sample(spec_from_entry({"architecture": name, "pretrained": False}).view, given.batch)
                columns[f"{name} {precision}"] = measured(graph, images.images.numpy(), given.rounds)
                openings.append((f"{name} {precision}", *opening(graph, Path(folder))))
                print(name, precision, flush=True)
                write_text(given.out, page(columns, openings, given, load))


def graphs(name: str, folder: Path) -> dict[str, Path]:
    spec = spec_from_entry({"architecture": name, "pretrained": False})
    fp32 = graph_from_spec(spec, folder / f"{name}.onnx")
    int8 = folder / f"{name}.int8.onnx"
    images = own_sample(spec.view, 16).images.numpy()
    best_quantised(fp32, int8, images, "cpu", lambda _: (0.0, True), calibrations=("minmax",))
    return {"fp32": fp32, "int8": int8}


def opened(graph: Path, setting: Setting, batch: int) -> Any:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.intra_op_num_threads = setting.threads
    for key, value in setting.attributes:
        setattr(options, key, value)
    for key, text in setting.entries:
        options.add_session_config_entry(key, text)
    if setting.fixed_batch:
        options.add_free_dimension_override_by_name("batch", batch)
    return onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])


def measured(graph: Path, images: np.ndarray, rounds: int) -> dict[str, tuple[float, float, float, float]]:
    """Of each setting: its rate by the default's (median, least, most over rounds), and how its rows differ."""
    turns, rows = {}, {}
    for name, setting in SETTINGS.items():
        turns[name], rows[name] = turn(graph, setting, images)
    rates: dict[str, list[float]] = {name: [] for name in SETTINGS}
    for _ in range(rounds):
        for name, run in turns.items():
            rates[name].append(run())
    first = next(iter(SETTINGS))
    found = {}
    for name, values in rates.items():
        ratios = [value / usual for value, usual in zip(values, rates[first], strict=True)]
        noise = 0.0 if np.array_equal(rows[first], rows[name]) else parity(rows[first], rows[name]).noise
        found[name] = (statistics.median(ratios), min(ratios), max(ratios), noise)
    return found


def turn(graph: Path, setting: Setting, images: np.ndarray) -> tuple[Callable[[], float], np.ndarray]:
    """Runs a setting for about LEAST_SECONDS and gives images per second; and the rows that it computes."""
    sessions = [opened(graph, setting, len(images)) for _ in range(setting.sessions)]
    pool = ThreadPoolExecutor(len(sessions))

    def run(session: Any, times: int) -> Any:
        for _ in range(times):
            found = session.run(["features"], {"images": images})[0]
        return found

    rows = run(sessions[0], 2)
    began = time.perf_counter()
    run(sessions[0], 1)
    times = max(1, round(LEAST_SECONDS / (time.perf_counter() - began)))

    def timed() -> float:
        began = time.perf_counter()
        list(pool.map(lambda session: run(session, times), sessions))
        return times * len(sessions) * len(images) / (time.perf_counter() - began)

    return timed, rows.astype(np.float64)


def opening(graph: Path, folder: Path) -> tuple[float, float]:
    """Seconds to open the graph, and to open it as ONNX Runtime optimised it and wrote it down; best of three."""
    kept = folder / "optimised.onnx"
    opened(graph, Setting(attributes=(("optimized_model_filepath", str(kept)),)), 1)
    plain = Setting(attributes=(("graph_optimization_level", LEVELS.ORT_DISABLE_ALL),))
    best = [float("inf"), float("inf")]
    for _ in range(3):
        for number, (path, setting) in enumerate(((graph, Setting()), (kept, plain))):
            began = time.perf_counter()
            opened(path, setting, 1)
            best[number] = min(best[number], time.perf_counter() - began)
    return best[0], best[1]


def page(columns: dict[str, Any], openings: list[tuple[str, float, float]], given: Any, load: float) -> str:
    lines = [
        "# ONNX Runtime's session options on a CPU",
        "",
        f"{datetime.date.today()}, onnxruntime {onnxruntime.__version__}, {os.cpu_count()} cores, load average "
        f"{load:.1f} when it began, batch {given.batch}, data resident.",
        f"`python benchmarks/session.py --rounds {given.rounds} --batch {given.batch}`",
        "",
        "Taken into `engine/runners`: threads do not spin. Nothing else was clearly faster with the same rows.",
        "",
        "Images per second by the default's, median of rounds (least to most). `~`: the rows differ, by this noise.",
        "",
        f"| setting | {' | '.join(columns)} |",
        "|---" * (len(columns) + 1) + "|",
    ]
    for name in SETTINGS:
        cells = []
        for found in columns.values():
            median, least, most, noise = found[name]
            cells.append(f"{median:.2f} ({least:.2f} to {most:.2f}){f' ~{noise:.0e}' if noise else ''}")
        lines.append(f"| {name} | {' | '.join(cells)} |")
    lines += ["", "| seconds to open | the graph | as optimised before |", "|---|---|---|"]
    lines += [f"| {name} | {graph:.3f} | {kept:.3f} |" for name, graph, kept in openings]
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    torch.set_num_threads(2)
    main()
