"""Kill the demo with SIGKILL at random moments, finish it, and compare its table with an uninterrupted run's.

    python benchmarks/kills.py --whole runs/demo [--kills 20] [--seed 0] [--out runs/killed]

`--whole` is the folder of an uninterrupted run of the same seed; it is made where absent. Only the command itself is
killed, so that its workers meet what they would meet in life. Exit code 0 where every number is the same.
"""

import argparse
import csv
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

FEATUNE = str(Path(sys.executable).with_name("featune"))
TIMED = {"seconds"}  # the one column that may differ


def table(folder: Path) -> list[dict[str, str]]:
    with open(folder / "results.csv", newline="", encoding="utf-8") as file:
        return [{key: value for key, value in row.items() if key not in TIMED} for row in csv.DictReader(file)]


def run(out: Path, kill_after: float | None = None) -> int | None:
    """The exit code, or None where the command was killed after so many seconds."""
    process = subprocess.Popen([FEATUNE, "demo", "-q", "--out", str(out)], stdout=subprocess.DEVNULL)
    try:
        return process.wait(timeout=kill_after)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        process.wait()
        return None


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--whole", type=Path, required=True)
    parser.add_argument("--out", type=Path, default=Path("runs/killed"))
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=30.0, help="seconds until a kill, at most")
    parser.add_argument("--keep", action="store_true", help="go on in a folder that is there, to kill later stages")
    options = parser.parse_args()
    if not (options.whole / "results.csv").exists():
        began = time.monotonic()
        assert run(options.whole) == 0
        print(f"uninterrupted: {time.monotonic() - began:.0f} s")
    if not options.keep:
        shutil.rmtree(options.out, ignore_errors=True)
    rng = random.Random(options.seed)
    kills = 0
    while kills < options.kills:
        moment = rng.uniform(1.0, options.longest)
        if run(options.out, moment) is not None:
            print(f"it finished before kill {kills + 1}; give a smaller --longest")
            break
        kills += 1
        made = sum(1 for _ in (options.out / "runs").rglob("*.json"))
        print(f"kill {kills} after {moment:.1f} s: {made} cells done", flush=True)
    began = time.monotonic()
    code = run(options.out)
    print(f"last run: exit {code}, {time.monotonic() - began:.0f} s")
    began = time.monotonic()
    code_again = run(options.out)
    print(f"run again when done: exit {code_again}, {time.monotonic() - began:.1f} s")
    rows = table(options.out)
    same = rows == table(options.whole)
    print(f"{kills} kills, {len(rows)} rows, {'identical to' if same else 'DIFFERENT from'} the uninterrupted run's")
    return 0 if same and code == code_again == 0 and kills == options.kills else 1


if __name__ == "__main__":
    sys.exit(main())
