"""How long `featune --help` takes, as a user feels it: a whole process, median of many.

    python benchmarks/help.py [--runs 15]

Beside it the time of an empty Python process and of one that imports typer alone, in the same run.
"""

import argparse
import statistics
import subprocess
import sys
import time
from pathlib import Path

FEATUNE = str(Path(sys.executable).with_name("featune"))
COMMANDS = {
    "python -c pass": [sys.executable, "-c", "pass"],
    "import typer": [sys.executable, "-c", "import typer"],
    "featune --help": [FEATUNE, "--help"],
    "featune study run --help": [FEATUNE, "study", "run", "--help"],
    "featune --version": [FEATUNE, "--version"],
}


def seconds(command: list[str]) -> float:
    began = time.perf_counter()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True)
    return time.perf_counter() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=15)
    runs = parser.parse_args().runs
    for command in COMMANDS.values():
        seconds(command)
    samples = {name: [] for name in COMMANDS}  # type: dict[str, list[float]]
    for _ in range(runs):
        for name, command in COMMANDS.items():
            samples[name].append(seconds(command))
    for name, values in samples.items():
        print(f"{name:26} median {statistics.median(values):.3f} s, min {min(values):.3f} s, {runs} runs")


if __name__ == "__main__":
    main()
