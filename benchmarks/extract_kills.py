"""Kill an extraction with SIGKILL at random moments and compare its file with an uninterrupted run's.

    python benchmarks/extract_kills.py [--kills 50] [--images 19000] [--longest 8] [--seed 0]

Both runs are `featune extract mobilenetv3_small_050 FOLDER --untrained` with a cache of their own, which holds the
exported graph from the start. A kill falls at a moment drawn evenly from 0 to --longest seconds of the process's
life (0: to the whole life of the uninterrupted run); an extraction that comes to its end before all kills are done is
compared, removed and begun again. Then two processes ask for the same file at the same time. Exit code 0 where
every file is the same to the byte.
"""

import argparse
import collections
import dataclasses
import json
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
from PIL import Image

from featune.engine.images import folder_items
from featune.engine.store import file_digest

MODEL = "mobilenetv3_small_050"
DISTINCT = 300  # generated images, where there is no folder of real ones
PHASES = ("start: imports, digests, session", "rows, none of them safe", "rows, some of them safe", "file there")


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/datasets"))
    parser.add_argument("--images", type=int, default=19_000)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--longest", type=float, default=8.0, help="seconds until a kill, at most")
    parser.add_argument("--seed", type=int, default=0)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        images = images_in(root / "images", given.data, given.images)
        whole = Run(images, root / "whole")
        whole.finish()
        shutil.rmtree(whole.features)
        began = time.monotonic()
        expected = whole.finish()
        life = time.monotonic() - began
        print(f"{given.images} images, uninterrupted: {life:.1f} s, sha256 {expected[:16]}", flush=True)
        killed = Run(images, root / "killed", graphs=whole.cache / "graphs")
        right = series(killed, given, given.longest or life, expected)
        return 0 if right and together(Run(images, root / "two", graphs=whole.cache / "graphs"), expected) else 1


@dataclasses.dataclass
class Run:
    """The command on a folder of images, with a cache of its own."""

    images: Path
    cache: Path
    graphs: Path | None = None

    def __post_init__(self) -> None:
        self.cache.mkdir(parents=True)
        if self.graphs:
            shutil.copytree(self.graphs, self.cache / "graphs")

    @property
    def features(self) -> Path:
        return self.cache / "features"

    def start(self) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-c", "from featune.bench.cli.app import app; app()", "extract", MODEL, self.images]
        return subprocess.Popen(
            [*map(str, command), "--untrained", "-q"],
            env=os.environ | {"FEATUNE_CACHE_DIR": str(self.cache)}, stdout=subprocess.DEVNULL,
        )  # fmt: skip

    def finish(self) -> str:
        """Run to the end; the digest of the file."""
        code = self.start().wait()
        assert code == 0, f"exit code {code}"
        return self.digest()

    def digest(self) -> str:
        (file,) = self.features.glob("*.npy")
        assert not list(self.features.glob("*.part")), "something unfinished was left"
        return file_digest(file)

    def safe(self) -> int:
        """Images that are safely on the disk."""
        records = list(self.features.glob("*.part.json"))
        return int(json.loads(records[0].read_text())["done"]) if records else 0

    def phase(self, safe: int, began: float) -> str:
        """Where a run was that began with so many safe images and is dead now."""
        if list(self.features.glob("*.npy")) or any(self.features.glob("[0-9a-f]" * 16 + ".json")):
            return PHASES[3]
        if self.safe() > safe:
            return PHASES[2]
        parts = list(self.features.glob("*.part"))
        return PHASES[1] if parts and parts[0].stat().st_mtime > began else PHASES[0]


def series(run: Run, given: argparse.Namespace, longest: float, expected: str) -> bool:
    """Kills, and every extraction that ended between them or after the last compared with the expected digest."""
    rng = random.Random(given.seed)
    phases: collections.Counter[str] = collections.Counter()
    same: list[bool] = []
    while phases.total() < given.kills:
        safe, began = run.safe(), time.time()
        process = run.start()
        try:
            assert process.wait(timeout=rng.uniform(0, longest)) == 0
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGKILL)
            process.wait()
            phases[run.phase(safe, began)] += 1
            continue
        same.append(run.digest() == expected)
        print(f"an extraction ended after {phases.total()} kills", flush=True)
        shutil.rmtree(run.features)
    print(f"the last kill left {run.safe()} images safe")
    same.append(run.finish() == expected)
    for phase in PHASES:
        print(f"| {phase} | {phases[phase]} |")
    print(f"{phases.total()} kills from 0 to {longest:.1f} s, {len(same)} extractions, {sum(same)} of them identical")
    return all(same)


def together(run: Run, expected: str) -> bool:
    """Two processes on one key at once."""
    began = time.monotonic()
    codes = [process.wait() for process in [run.start(), run.start()]]
    same = run.digest() == expected
    print(f"two at once: exit codes {codes}, {time.monotonic() - began:.1f} s, {'identical' if same else 'DIFFERENT'}")
    return same and codes == [0, 0]


def images_in(folder: Path, data: Path, count: int) -> Path:
    """A folder of links to real images, repeated where there are fewer, or to generated ones."""
    folder.mkdir()
    if data.is_dir():
        items = folder_items(data)
        files = [items.file(i).absolute() for i in range(len(items))]
    else:
        files = [generated(folder.parent / f"{i}.jpg", i) for i in range(DISTINCT)]
    for i in range(count):
        (folder / f"{i:06}{files[i % len(files)].suffix}").symlink_to(files[i % len(files)])
    return folder


def generated(path: Path, seed: int) -> Path:
    rng = np.random.default_rng(seed)
    small = Image.fromarray(rng.integers(0, 256, (12, 16, 3), dtype=np.uint8))
    small.resize((500, 375), Image.Resampling.BICUBIC).save(path, quality=90)
    return path


if __name__ == "__main__":
    sys.exit(main())
