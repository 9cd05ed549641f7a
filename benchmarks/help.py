"""How long `featune --help` takes, as a user feels it: a whole process, median of many.

    python benchmarks/help.py [--runs 15] [--against OTHER/bin/featune]

Beside it the time of an empty Python process and of one that imports typer alone, in the same run, and of the command
of another checkout's environment where one is named: the commands take turns, so a busy moment meets them all.
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
    parser.add_argument("--against", help="featune of another environment, to compare with")
    given = parser.parse_args()
    runs, commands = given.runs, dict(COMMANDS)
    if given.against:
        commands["other featune --help"] = [given.against, "--help"]
    for command in commands.values():
        seconds(command)
    samples = {name: [] for name in commands}  # type: dict[str, list[float]]
    for _ in range(runs):
        for name, command in commands.items():
            samples[name].append(seconds(command))
    for name, values in samples.items():
        print(f"{name:26} median {statistics.median(values):.3f} s, min {min(values):.3f} s, {runs} runs")
    if given.against:
        pairs = zip(samples["featune --help"], samples["other featune --help"], strict=True)
        print(f"ours / other, pair by pair: median {statistics.median(one / other for one, other in pairs):.2f}")


if __name__ == "__main__":
    main()
