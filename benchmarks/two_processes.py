"""Two processes on one output, one cache and one feature key, every save slowed down: is a row lost?

python benchmarks/two_processes.py [--runs 20] [--most 0.3]

Each run starts two processes at the same study, of cells that extract the same features and of trainings with
checkpoints. Every move of a written file into its place waits for a random time of up to `--most` seconds. A run fails
where a cell has no value, where a value differs from that of a process alone, where the two measured more cells than
there are, or where a lock or temporary file is left.
"""

import argparse
import multiprocessing
import os
import random
import tempfile
import time
from pathlib import Path
from typing import Any


def write_images(folder: Path) -> None:
    import numpy as np
    from PIL import Image

    for number in range(30):
        shade = (60, 120, 200)[number % 3]
        file = folder / "images" / ("dark", "grey", "light")[number % 3] / f"{number}.png"
        file.parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).normal(shade, 30, (32, 32, 3)).clip(0, 255).astype(np.uint8)
        Image.fromarray(pixels).save(file)


def study_in(folder: Path) -> Any:
    from featune.bench.data import Source, prepare
    from featune.bench.regimes import ProbeSetting
    from featune.bench.study import Study
    from featune.engine.finetune import Recipe
    from featune.engine.models import spec_from_entry

    task = prepare(Source("shades", folder=folder / "images"), folder / "out" / "tasks")
    spec = spec_from_entry({"architecture": "test_resnet", "pretrained": False, "side": 32})
    recipe = Recipe(epochs=1, batch=8, learning_rates=(0.01, 0.02))
    regimes: dict[str, Any] = {"finetune": ("finetune", recipe), "scratch": ("scratch", recipe)}
    regimes |= {"probe": ("probe", ProbeSetting(penalties=(0.1, 1.0)))}
    return Study("two", (spec,), (task,), regimes, str(folder / "out"), str(folder / "cache"), (0, 1), threads=1)


def work(folder: Path, most: float, seed: int, told: "multiprocessing.Queue[Any]") -> None:
    """The study in this process, its saves slowed down."""
    os.environ["FEATUNE_CACHE_DIR"] = str(folder / "cache")
    from featune.bench.study import measuring
    from featune.bench.study.executors import in_process, limit_threads
    from featune.bench.study.running import run

    limit_threads(1)
    rng, replace, measured, count = random.Random(seed), os.replace, measuring.measured, []

    def late(*arguments: Any, **named: Any) -> None:
        time.sleep(rng.uniform(0, most))
        replace(*arguments, **named)

    def counted(*arguments: Any) -> Any:
        count.append(arguments)
        return measured(*arguments)

    study = study_in(folder)
    os.replace, measuring.measured = late, counted
    rows = run(study, in_process)
    told.put(({f"{row.cell.regime} {row.cell.seed}": (row.value, row.error) for row in rows}, len(count)))


def at_once(folder: Path, processes: int, most: float, seed: int) -> tuple[list[dict[str, Any]], int]:
    """(what each process found, how many cells they measured in all)."""
    write_images(folder)
    context = multiprocessing.get_context("spawn")
    told: Any = context.Queue()
    found = [context.Process(target=work, args=(folder, most, seed + number, told)) for number in range(processes)]
    for process in found:
        process.start()
    results = [told.get(timeout=600) for _ in found]
    for process in found:
        process.join()
    return [values for values, _ in results], sum(count for _, count in results)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=20)
    parser.add_argument("--most", type=float, default=0.3)
    given = parser.parse_args()
    wrong = 0
    with tempfile.TemporaryDirectory() as made:
        (alone,), cells = at_once(Path(made, "alone"), 1, 0.0, 0)
        for number in range(given.runs):
            folder = Path(made, str(number))
            found, count = at_once(folder, 2, given.most, 1000 * number)
            left = [path.name for path in folder.rglob("*") if path.suffix == ".lock" and "work" in path.parts]
            left += [path.name for path in folder.rglob(".*.tmp*")]
            if any(values != alone for values in found) or count != cells or left:
                wrong += 1
                print(f"run {number}: {found}, {count} cells measured, left {left}; alone {alone}", flush=True)
            print(f"{number + 1} of {given.runs} runs, {wrong} wrong", flush=True)
    print(f"{given.runs} runs of two processes, {cells} cells each: {wrong} wrong")
    raise SystemExit(bool(wrong))


if __name__ == "__main__":
    main()
