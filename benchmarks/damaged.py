"""A thousand damaged files among ten thousand good ones: each is listed, none ends the process, no good row changes.

    python benchmarks/damaged.py [--good 10000] [--damaged 1000] [--model test_resnet.r160_in1k] [--seed 0]

The files are generated, small, of six formats and of the kinds of tests/cases/damaged_files.py. Every run is the
command, `featune extract`, in a process of its own: on the good ones alone, on all with --on-error skip, and on all
with --on-error stop. Files whose damage nobody can see are counted by themselves, by decoding alone. Exit code 0 where
all is as it should be.
"""

import argparse
import collections
import json
import os
import re
import subprocess
import sys
import tempfile
import warnings
from pathlib import Path

import numpy as np

from featune.engine.errors import BadImages
from featune.engine.images import read_image

sys.path.insert(0, str(Path(__file__).parents[1] / "tests" / "cases"))
from damaged_files import DAMAGED, FORMATS, SILENT, good

COMMAND = (sys.executable, "-c", "from featune.bench.cli.app import app; app()", "extract")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--good", type=int, default=10_000)
    parser.add_argument("--damaged", type=int, default=1000)
    parser.add_argument("--model", default="test_resnet.r160_in1k")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEATUNE_CACHE_DIR"] = f"{folder}/cache"
        images = Path(folder, "images")
        images.mkdir()
        rng = np.random.default_rng(given.seed)
        ranks = rng.permutation(given.good + given.damaged)
        for number, rank in enumerate(ranks[: given.good].tolist()):
            good(images / f"{rank:06}", np.random.default_rng([given.seed, rank]), FORMATS[number % len(FORMATS)])
        alone = extracted(given.model, images, Path(folder, "alone"))
        kinds = {}
        for number, rank in enumerate(ranks[given.good :].tolist()):
            kind = list(DAMAGED)[number % len(DAMAGED)]
            made = DAMAGED[kind](images / f"{rank:06}", np.random.default_rng([given.seed, rank]))
            kinds[made.name] = kind
        skipping = extracted(given.model, images, Path(folder, "skip"), "--on-error", "skip")
        stopping = run(given.model, images, Path(folder, "stop"), "--on-error", "stop")
        verdicts = judged(kinds, alone, skipping, stopping)
    table(kinds, skipping["skipped"])
    silent(given.seed)
    for what, right in verdicts.items():
        print(f"{'yes' if right else 'NO '}  {what}")
    return 0 if all(verdicts.values()) else 1


def run(model: str, images: Path, store: Path, *more: str) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, model, images, "--untrained", "-q", "--store", store, "--json", *more]
    return subprocess.run([str(word) for word in command], capture_output=True, text=True)


def extracted(model: str, images: Path, store: Path, *more: str) -> dict[str, object]:
    """The command's JSON, with the rows themselves."""
    found = run(model, images, store, *more)
    assert found.returncode == 0, found.stderr
    (record,) = json.loads(found.stdout)
    return record | {"rows": np.load(record["file"])}


def judged(
    kinds: dict[str, str], alone: dict, skipping: dict, stopping: subprocess.CompletedProcess[str]
) -> dict[str, bool]:
    count = len(alone["rows"])
    listed = {path: reason for _, path, reason in skipping["skipped"]}
    named = {Path(path).name for path in re.findall(r"^  (/.*?): ", stopping.stderr, re.MULTILINE)}
    all_listed = listed.keys() == kinds.keys() and all(listed.values())
    return {
        f"all {len(kinds)} damaged files are listed, each with a reason, and nothing else": all_listed,
        f"{count} rows with --on-error skip": len(skipping["rows"]) == count,
        "they are the rows of the good files alone, to the bit": np.array_equal(skipping["rows"], alone["rows"]),
        "--on-error stop: exit code 2, the same files named": stopping.returncode == 2 and named == kinds.keys(),
    }


def table(kinds: dict[str, str], skipped: list[tuple[int, str, str]]) -> None:
    """Per kind: how many, and the reason most often given."""
    reasons: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for _, path, reason in skipped:
        reasons[kinds.get(path, f"GOOD: {path}")]["".join("N" if c.isdigit() else c for c in reason)] += 1
    print("| kind | files | listed | reason given most often |\n|---|---:|---:|---|")
    for kind, count in collections.Counter(kinds.values()).items():
        print(f"| {kind} | {count} | {reasons[kind].total()} | {reasons[kind].most_common(1)[0][0]} |")


def silent(seed: int, count: int = 100) -> None:
    print("| damage that the format hardly shows | files | refused |\n|---|---:|---:|")
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for number, (kind, make) in enumerate(SILENT.items()):
            refused = 0
            for i in range(count):
                path = make(Path(folder, f"{number}-{i}"), np.random.default_rng([seed, number, i]))
                try:
                    read_image(path)
                except BadImages:
                    refused += 1
            print(f"| {kind} | {count} | {refused} |")


if __name__ == "__main__":
    sys.exit(main())
