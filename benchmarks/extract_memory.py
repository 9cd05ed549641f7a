"""Peak memory and the store's costs at ten thousand and at a hundred thousand images.

    python benchmarks/extract_memory.py [--counts 10000,100000] [--model mobilenetv3_small_050] [--distinct 500]

Generated JPEG files of 64 x 48 pixels, hard links of some hundred distinct ones under different names, and an untrained
model. Each measurement is a process of its own that does what the command does, from listing the folder to the
verified file, and then asks once more (`again`); its peak is VmHWM. The second table is without images: rows of 1024
numbers appended, made safe and finished.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

COUNTS = "10000,100000"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--counts", default=COUNTS)
    parser.add_argument("--model", default="mobilenetv3_small_050")
    parser.add_argument("--distinct", type=int, default=500)
    parser.add_argument("--one", nargs=3, metavar=("STEP", "FOLDER", "COUNT"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        step, folder, count = given.one
        print(json.dumps(STEPS[step](given, Path(folder), int(count)) | {"peak_mb": peak()}))
        return
    counts = [int(count) for count in given.counts.split(",")]
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEATUNE_CACHE_DIR"] = f"{folder}/cache"
        distinct(Path(folder, "distinct"), given.distinct)
        measured(given, "extract", Path(folder), 100)  # exports the graph
        print("| images | list, s | digests, s | pass, s | images/s | write, s | peak, MB | again, s | its peak, MB |")
        print("|---:|---:|---:|---:|---:|---:|---:|---:|---:|")
        for count in counts:
            first, again = (measured(given, "extract", Path(folder), count) for _ in range(2))
            print(
                f"| {count} | {first['list']:.2f} | {first['digest']:.2f} | {first['wall']:.1f} | "
                f"{count / first['wall']:.0f} | {first['write']:.2f} | {first['peak_mb']:.0f} | "
                f"{again['total']:.2f} | {again['peak_mb']:.0f} |", flush=True,
            )  # fmt: skip
        print("| rows of 1024 | append, ms per 1000 | finish, ms per 1000 | open and verify, ms per 1000 | peak, MB |")
        print("|---:|---:|---:|---:|---:|")
        for count in counts:
            found = measured(given, "store", Path(folder), count)
            each = [1e6 * found[name] / count for name in ("append", "finish", "open")]
            print(f"| {count} | {each[0]:.2f} | {each[1]:.2f} | {each[2]:.2f} | {found['peak_mb']:.0f} |", flush=True)


def measured(given: argparse.Namespace, step: str, folder: Path, count: int) -> dict[str, float]:
    command = [sys.executable, __file__, "--model", given.model, "--one", step, str(folder), str(count)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def extract(given: argparse.Namespace, folder: Path, count: int) -> dict[str, float]:
    from featune.bench.data import Request, open_data
    from featune.bench.features import Models, extract_models
    from featune.bench.progress import Silent
    from featune.engine.features import Options
    from featune.export.commands import RunSettings

    images = linked(folder, count)
    began = time.perf_counter()
    items = open_data(Request(str(images))).items
    listed = time.perf_counter()
    assert len(items) == count
    items.file_digests()
    digested = time.perf_counter()
    del items
    models = Models([given.model], untrained=True)
    _, (made,) = extract_models(models, Request(str(images)), RunSettings(), Options(), progress=Silent())
    verdict = made.features.verdict
    assert len(made.features.rows) == count
    return {
        "list": listed - began, "digest": digested - listed, "wall": verdict.wall, "write": verdict.seconds.write,
        "total": time.perf_counter() - digested,
    }  # fmt: skip


def store(given: argparse.Namespace, folder: Path, count: int) -> dict[str, float]:
    from featune.engine.features import open_stored
    from featune.engine.features.files import Part

    rows = np.random.default_rng(0).standard_normal((8, 1024), dtype=np.float32)
    times = [time.perf_counter()]
    part = Part(folder / f"store-{count}", 5.0)
    for stop in range(8, count + 1, 8):
        part.append(stop, rows, [])
    part.save()
    times.append(time.perf_counter())
    part.finish({"skipped": []})
    times.append(time.perf_counter())
    assert open_stored(folder / f"store-{count}") is not None
    times.append(time.perf_counter())
    return dict(zip(("append", "finish", "open"), np.diff(times).tolist(), strict=True))


def peak() -> float:
    """VmHWM of this process, in MB."""
    status = Path("/proc/self/status").read_text()
    return int(status.split("VmHWM:")[1].split()[0]) / 1024


def distinct(folder: Path, count: int) -> None:
    from PIL import Image

    folder.mkdir()
    rng = np.random.default_rng(0)
    for i in range(count):
        blotches = Image.fromarray(rng.integers(0, 256, (6, 8, 3), dtype=np.uint8))
        blotches.resize((64, 48), Image.Resampling.BICUBIC).save(folder / f"{i}.jpg", quality=90)


def linked(folder: Path, count: int) -> Path:
    """A folder of so many links to the distinct files, made where absent."""
    images = folder / f"images-{count}"
    if not images.exists():
        images.mkdir()
        files = sorted((folder / "distinct").iterdir())
        for i in range(count):
            os.link(files[i % len(files)], images / f"{i:07}.jpg")
    return images


STEPS: dict[str, Any] = {"extract": extract, "store": store}

if __name__ == "__main__":
    main()
