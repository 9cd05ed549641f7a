"""Images decoded per second by threads of one process and by processes over shared memory, and the memory of both.

    python benchmarks/decoding.py [--data FOLDER] [--workers 1,2] [--rounds 3]

JPEG files to squares of 224 pixels for a runner that does nothing, in turns; the start of the processes (about two
seconds each) is not counted, the copy from shared memory is. Rows are compared to the bit.
"""

import argparse
import os
import statistics
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from torch import Tensor

from featune.engine.features.decoder_processes import decoding
from featune.engine.features.passes import Setting, Stream, chunks
from featune.engine.images import folder_items
from featune.engine.machine import processors
from featune.engine.models import View


def sums(images: Tensor, /) -> Tensor:
    return images.flatten(1)[:, ::997].float()


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/datasets/clothing_small"))
    parser.add_argument("--images", type=int, default=1000)
    parser.add_argument("--workers", default="1,2")
    parser.add_argument("--rounds", type=int, default=3)
    given = parser.parse_args()
    items = folder_items(given.data)
    items = items.take([index % len(items) for index in range(given.images)])
    print(f"{len(items)} files, {processors()} processors")
    print("| workers | threads, images/s | processes, images/s | ratio | resident memory of a process, MB |")
    print("|---|---|---|---|---|")
    for workers in map(int, given.workers.split(",")):
        rates: dict[str, list[float]] = {"threads": [], "processes": []}
        rows: dict[str, np.ndarray] = {}
        with (
            decoding(items, "fast", "threads", workers) as here,
            decoding(items, "fast", "processes", workers) as there,
        ):
            list(chunks(items.take(range(32 * workers)), [Stream(View(224), sums)], Setting(8, workers), there))
            for _ in range(given.rounds):
                for name, squares in (("threads", here), ("processes", there)):
                    began = time.perf_counter()
                    found = list(chunks(items, [Stream(View(224), sums)], Setting(8, workers), squares))
                    rates[name].append(len(items) / (time.perf_counter() - began))
                    rows[name] = np.concatenate([each.rows[0] for each in found])
            memory = max(resident(pid) for pid in children())
        assert np.array_equal(rows["threads"], rows["processes"])
        ratio = statistics.median(b / a for a, b in zip(rates["threads"], rates["processes"], strict=True))
        threads, processes = (statistics.median(rates[name]) for name in ("threads", "processes"))
        print(f"| {workers} | {threads:.0f} | {processes:.0f} | {ratio:.2f} | {memory / 1e6:.0f} |", flush=True)


def children() -> Iterator[int]:
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if int((folder / "stat").read_text().rpartition(")")[2].split()[1]) == os.getpid():
                yield int(folder.name)
        except OSError:
            continue


def resident(pid: int) -> int:
    """Bytes."""
    pages = int(Path(f"/proc/{pid}/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE")


if __name__ == "__main__":
    main()
