"""From the command to the first rows: where the time goes, with an empty cache, with the graph in it, and with all.

    python benchmarks/startup.py [--data FOLDER] [--model mobilenetv3_small_050] [--rounds 5]

Each round is a process of its own that takes the steps of `featune extract MODEL DATA --untrained` up to its first
batch of eight, one after the other, and says how long each took; the median over the rounds. `featune`, the row below,
is the command itself from its start to its exit, where all rows are stored. Files of Python and of the data are in
the system's memory after the first round.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

BATCH = 8


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/datasets/clothing_small/test"))
    parser.add_argument("--model", default="mobilenetv3_small_050")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--one", type=float, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        print(json.dumps(steps(given, given.one)))
        return
    with tempfile.TemporaryDirectory() as folder:
        cache = Path(os.environ.setdefault("FEATUNE_CACHE_DIR", f"{folder}/cache"))
        subprocess.run(command(given), check=True, capture_output=True)  # also brings files into memory
        states = {"empty cache": cache, "graph there": cache / "fingerprints.sqlite", "graph and digests there": None}
        found = {name: rounds(given, remove) for name, remove in states.items()}
        whole = statistics.median(timed(command(given)) for _ in range(given.rounds))
    print(f"| step | {' | '.join(f'{name}, s' for name in found)} |\n|---|{'---:|' * len(found)}")
    for step in found["empty cache"]:
        print(f"| {step} | {' | '.join(f'{each[step]:.2f}' for each in found.values())} |")
    print(f"| to the first rows | {' | '.join(f'{sum(each.values()):.2f}' for each in found.values())} |")
    print(f"`featune extract`, all rows stored: {whole:.2f} s; {given.rounds} rounds")


def rounds(given: argparse.Namespace, remove: Path | None) -> dict[str, float]:
    """The median seconds of each step; what is to be removed goes before each round."""
    results = []
    for _ in range(given.rounds):
        if remove is not None and remove.is_dir():
            shutil.rmtree(remove)
        elif remove is not None:
            remove.unlink(missing_ok=True)
        one = [sys.executable, __file__, "--data", given.data, "--model", given.model, "--one", time.time()]
        done = subprocess.run([str(word) for word in one], check=True, stdout=subprocess.PIPE)
        results.append(json.loads(done.stdout.splitlines()[-1]))
    return {step: statistics.median(result[step] for result in results) for step in results[0]}


def command(given: argparse.Namespace) -> list[str]:
    code = "from featune.bench.cli.app import app; app()"
    return [sys.executable, "-c", code, "extract", given.model, str(given.data), "--untrained", "-q"]


def timed(words: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(words, check=True, capture_output=True)
    return time.perf_counter() - began


def steps(given: argparse.Namespace, began: float) -> dict[str, float]:
    times: dict[str, float] = {}

    def done(step: str) -> None:
        nonlocal began
        now = time.time()
        times[step], began = now - began, now

    done("the interpreter")

    done("import typer and the commands")
    import numpy  # noqa: F401
    import torch

    done("import numpy and torch")
    from featune.bench.data import Request, open_data
    from featune.engine.features.squares import Seconds, decoded_squares
    from featune.engine.store import cache_dir
    from featune.export.commands import RunSettings, request_of_spec, spec_of_model

    done("import the rest of featune")
    items = open_data(Request(str(given.data))).items
    done(f"list {len(items)} images")
    assert items.content_digest
    done("their digests")
    spec = spec_of_model(given.model, untrained=True)
    done("the model's spec")
    wanted = request_of_spec(spec, items, RunSettings(), cache_dir())
    done("the graph, its verdict checked")
    with wanted.open(1) as runner:
        done("import onnxruntime, open the session")
        squares = decoded_squares(items, "fast")
        images = [torch.from_numpy(squares(i, [spec.view], Seconds())[0]) for i in range(BATCH)]
        done(f"decode {BATCH} images")
        runner(torch.stack(images))
        done("their rows, for the first time")
    return times


if __name__ == "__main__":
    main()
