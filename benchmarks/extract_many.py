"""Several models in one pass against as many passes, one after the other.

    python benchmarks/extract_many.py [--data FOLDER] [--rounds 3]

Three cases: large photographs, where decoding dominates; the data's own images; and two models so large that they
dominate. Each measurement is a process of its own that opens the models and extracts into a fresh store, ONNX
Runtime and defaults, with the graphs exported and the files digested before the clock starts. The two ways take turns;
the ratio is the median over the rounds of one pass's time over that of the separate passes, by the clock and in CPU
time, which other work on the machine touches less.
"""

import argparse
import dataclasses
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from PIL import Image

from featune.engine.images import Labelled, folder_items

SMALL = (
    "mobilenetv3_small_050", "lcnet_050", "tinynet_e", "mobilenetv2_035", "efficientvit_m0", "mobilenetv3_small_075",
)  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Case:
    """images: how many. pixels: their long side, as they are where it is 0."""

    models: tuple[str, ...]
    images: int
    pixels: int = 0


CASES = {
    "large photographs": Case(SMALL, 300, 2000),
    "images as they are": Case(SMALL, 1500),
    "models dominate": Case(("resnet18", "resnet26"), 250),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, default=Path("../shared/data/datasets/clothing_small"))
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--cases", default=",".join(CASES))
    parser.add_argument("--one", nargs=3, metavar=("WAY", "CASE", "FOLDER"), help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.one:
        way, case, folder = given.one
        print(json.dumps(WAYS[way](CASES[case], Path(folder))))
        return
    with tempfile.TemporaryDirectory() as folder:
        os.environ["FEATUNE_CACHE_DIR"] = f"{folder}/cache"
        print("| case | models | images | apart, s | together, s | ratio, each round | in CPU time | decoding, apart |")
        print("|---|---:|---:|---:|---:|---:|---:|---:|")
        for name in given.cases.split(","):
            case = CASES[name]
            images = pictures(Path(folder, name), given.data, case)
            measured("together", name, images)  # exports the graphs
            rounds = [
                (measured("apart", name, images), measured("together", name, images)) for _ in range(given.rounds)
            ]
            apart, together = (statistics.median(each[way]["seconds"] for each in rounds) for way in (0, 1))
            ratios = [one["seconds"] / many["seconds"] for many, one in rounds]
            used = [one["cpu"] / many["cpu"] for many, one in rounds]
            share = statistics.median(many["images"] for many, _ in rounds)
            print(
                f"| {name} | {len(case.models)} | {case.images} | {apart:.1f} | {together:.1f} | "
                f"{statistics.median(ratios):.0%} ({', '.join(f'{each:.0%}' for each in ratios)}) | "
                f"{statistics.median(used):.0%} ({', '.join(f'{each:.0%}' for each in used)}) | {share:.0%} |",
                flush=True,
            )


def measured(way: str, case: str, folder: Path) -> dict[str, float]:
    command = [sys.executable, __file__, "--one", way, case, str(folder)]
    return json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout.splitlines()[-1])


def apart(case: Case, folder: Path) -> dict[str, float]:
    return passes(folder, [(name,) for name in case.models])


def together(case: Case, folder: Path) -> dict[str, float]:
    return passes(folder, [case.models])


def passes(folder: Path, groups: list[tuple[str, ...]]) -> dict[str, float]:
    """Seconds of one pass for each group of models, and the share of the workers' time before the models' part."""
    from featune.engine.features import FeatureStore
    from featune.engine.store import cache_dir
    from featune.export.commands import RunSettings, request_of_spec, spec_of_model

    items = folder_items(folder)
    wanted = [
        [request_of_spec(spec_of_model(name, untrained=True), items, RunSettings(), cache_dir()) for name in names]
        for names in groups
    ]
    with tempfile.TemporaryDirectory() as store:
        began, used = time.perf_counter(), time.process_time()
        found = [FeatureStore(store).extract(items, group)[0].verdict.seconds for group in wanted]
        seconds, cpu = time.perf_counter() - began, time.process_time() - used
    before = sum(each.read + each.decode + each.resize for each in found)
    return {"seconds": seconds, "cpu": cpu, "images": before / (before + sum(each.compute for each in found))}


def pictures(folder: Path, data: Path, case: Case) -> Path:
    """The first JPEG files of the data, enlarged where the case says so."""
    folder.mkdir()
    for number, file in enumerate(jpegs(folder_items(data))[: case.images]):
        if not case.pixels:
            (folder / f"{number:05}.jpg").symlink_to(file)
            continue
        with Image.open(file) as image:
            scale = case.pixels / max(image.size)
            size = round(image.width * scale), round(image.height * scale)
            image.convert("RGB").resize(size, Image.Resampling.BICUBIC).save(folder / f"{number:05}.jpg", quality=90)
    return folder


def jpegs(items: Labelled) -> list[Path]:
    return [items.file(i).absolute() for i in range(len(items)) if items.paths[i].endswith(".jpg")]


WAYS = {"apart": apart, "together": together}

if __name__ == "__main__":
    main()
