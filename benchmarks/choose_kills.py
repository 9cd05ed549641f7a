"""Kill `featune choose` with SIGKILL at random moments, let it finish, and compare its pick with an undisturbed run's.

    python benchmarks/choose_kills.py [--kills 20] [--minutes 30] [--seed 0] [--longest 12] [--out runs/choose-killed]

Two of timm's test networks without pre-training, on 216 digits of scikit-learn: what is tried is whether a run goes
on, not whether its choice is good. The minutes are more than there is work for, as what two runs have time for differs
by their timings. Each run has a cache of its own. Exit code 0 where model, regime and test value are the same.
"""

import argparse
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

from featune.bench.generated import TARGETS, write_images

SIZES = {"train": 96, "val": 60, "test": 60}

MODELS = "test_resnet.r160_in1k,test_vit.r160_in1k"


def few():  # type: ignore[no-untyped-def]
    """The first images of each split."""
    seen = dict.fromkeys(SIZES, 0)
    for split, name, pixels in TARGETS["digits"](0):
        seen[split] += 1
        if seen[split] <= SIZES[split]:
            yield split, name, pixels


def run(data: Path, out: Path, minutes: float, kill_after: float | None = None) -> int | None:
    """The exit code, or None where the command was killed after so many seconds."""
    command = [sys.executable, "-m", "featune", "choose", str(data), "--models", MODELS, "--untrained", "--minutes",
               f"{minutes:g}", "--backend", "torch", "--out", str(out / "out"), "-q"]  # fmt: skip
    environment = os.environ | {"FEATUNE_CACHE_DIR": str(out / "cache")}
    with open(out / "said.txt", "w") as said:
        process = subprocess.Popen(command, stdout=said, stderr=said, env=environment)
        try:
            return process.wait(timeout=kill_after)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            return None


def pick(out: Path) -> tuple[object, ...]:
    said = json.loads((out / "out" / "choose.json").read_text())
    print(f"{out.name}: {said['sentences'][1]} ({said['seconds']:.0f} of {said['budget_seconds']:.0f} s counted)")
    return said["chosen"]["model"], said["chosen"]["regime"], said["test"]["value"]


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--minutes", type=float, default=30.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--longest", type=float, default=12.0, help="seconds until a kill, at most")
    parser.add_argument("--out", type=Path, default=Path("runs/choose-killed"))
    given = parser.parse_args()
    shutil.rmtree(given.out, ignore_errors=True)
    data = write_images(given.out / "data" / "digits", ["digits", SIZES], few)
    for name in ("whole", "killed"):
        (given.out / name).mkdir(parents=True)
    began = time.monotonic()
    assert run(data, given.out / "whole", given.minutes) == 0, (given.out / "whole" / "said.txt").read_text()
    print(f"undisturbed: {time.monotonic() - began:.0f} s", flush=True)
    rng, kills = random.Random(given.seed), 0
    while kills < given.kills:
        moment = rng.uniform(3.0, given.longest)
        if run(data, given.out / "killed", given.minutes, moment) is not None:
            print(f"it finished before kill {kills + 1}; give a smaller --longest")
            break
        kills += 1
        pieces = len(list((given.out / "killed" / "out").rglob("journal/*.json")))
        print(f"kill {kills} after {moment:.1f} s: {pieces} pieces done", flush=True)
    assert run(data, given.out / "killed", given.minutes) == 0, (given.out / "killed" / "said.txt").read_text()
    same = pick(given.out / "whole") == pick(given.out / "killed")
    print(f"{kills} kills: {'the same pick' if same else 'ANOTHER PICK'}")
    return 0 if same else 1


if __name__ == "__main__":
    sys.exit(main())
