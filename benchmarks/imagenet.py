"""Whether `featune imagenet` gives the top-1 of timm, image by image: real weights, real images, timm's own loader.

    python benchmarks/imagenet.py --weights DIR --images FOLDER [--count 1000] [--validate timm/validate.py]

DIR holds `factory.py` with `build(name)`, `SIDE` and `NORM`, and the checkpoints. The images have no ImageNet labels: a
tree in ImageNet's layout is made of them, every second one under the class that the first model predicts for it by
timm, the others under classes by number, so that there is something to be right and wrong about. timm's side is what
its validate.py does: create_dataset, create_loader, the model in inference mode. `--validate` runs that script itself
on the models that timm has by name, and compares its top-1 too.
"""

import argparse
import csv
import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import torch

from featune.bench.datasets import known_wnids
from featune.bench.features import Models
from featune.bench.imagenet import Measured, Request, measure_imagenet
from featune.bench.progress import Silent
from featune.engine.features import Options
from featune.engine.images import folder_items
from featune.export.commands import RunSettings

RUNS = (("torch", "exact"), ("onnxruntime", "exact"), ("torch", "fast"), ("onnxruntime", "fast"))
BATCH = 32
NAMES = {"mobilenetv1_100_224": "mobilenetv1_100", "mobilenetv2_100_qat_224": "mobilenetv2_100"}


def module_of(file: Path) -> Any:
    spec = importlib.util.spec_from_file_location("weights_factory", file)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def by_timm(model: torch.nn.Module, folder: Path, side: int, norm: tuple[Any, Any]) -> dict[str, tuple[int, int]]:
    """(label, prediction) of each image, by its name, as timm's validate.py makes them."""
    from timm.data import create_dataset, create_loader

    dataset = create_dataset("", root=str(folder))
    loader = create_loader(
        dataset, input_size=(3, side, side), batch_size=BATCH, use_prefetcher=False, interpolation="bicubic",
        mean=norm[0], std=norm[1], num_workers=0, crop_pct=0.875, crop_mode="center", device=torch.device("cpu"),
    )  # fmt: skip
    said, labels = [], []
    with torch.inference_mode():
        for images, target in loader:
            said.append(model(images).argmax(1))
            labels.append(target)
    of_folder = {place: name for name, place in dataset.reader.class_to_idx.items()}
    place = {wnid: at for at, wnid in enumerate(known_wnids())}
    return {
        name: (place[of_folder[int(label)]], int(one))
        for name, label, one in zip(dataset.filenames(basename=True), torch.cat(labels), torch.cat(said), strict=True)
    }


def tree(images: Path, count: int, classes: list[int], folder: Path) -> None:
    """Links to `count` images spread over a folder, number i under the class of number i."""
    items = folder_items(images)
    for number, at in enumerate(np.linspace(0, len(items) - 1, count).round().astype(int).tolist()):
        suffix = Path(items.paths[at]).suffix
        link = folder / known_wnids()[classes[number]] / f"ILSVRC2012_val_{number + 1:08d}{suffix}"
        link.parent.mkdir(parents=True, exist_ok=True)
        link.symlink_to(items.file(at).resolve())


def by_featune(name: str, view: dict[str, Any], folder: Path, run: tuple[str, str], out: Path) -> Measured:
    backend, decoder = run
    models = Models([name], backend=backend, view=view)
    how = RunSettings(backend, decoder=decoder)  # type: ignore[arg-type]
    (found,) = measure_imagenet(models, Request([str(folder)], out=out), how, Options(), progress=Silent())
    return found


def validated(script: Path, name: str, checkpoint: Path, folder: Path, side: int, norm: tuple[Any, Any]) -> float:
    """top-1 in percent, by timm's own script; the class map numbers the folders that are there as the 1000 are."""
    wnids = folder.parent / "wnids.txt"
    wnids.write_text("\n".join(known_wnids()))
    command = [
        sys.executable, str(script), "--data-dir", str(folder), "--model", name, "--checkpoint", str(checkpoint),
        "--class-map", str(wnids), "--img-size", str(side), "--crop-pct", "0.875", "--interpolation", "bicubic",
        "--mean", *map(str, norm[0]), "--std", *map(str, norm[1]), "-b", str(BATCH), "--no-prefetcher", "-j", "0",
        "--device", "cpu", "--model-kwargs", "pad_type=same",
    ]  # fmt: skip
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found = re.search(r"Acc@1 ([\d.]+) \(", done.stderr[done.stderr.rfind("* Acc@1") :] or done.stdout)
    assert found is not None, done.stderr[-2000:]
    return float(found[1])


def main() -> None:
    asked = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    asked.add_argument("--weights", type=Path, required=True)
    asked.add_argument("--images", type=Path, required=True)
    asked.add_argument("--count", type=int, default=1000)
    asked.add_argument("--validate", type=Path)
    given = asked.parse_args()
    factory = module_of(given.weights / "factory.py")
    with tempfile.TemporaryDirectory() as made:
        os.environ["FEATUNE_CACHE_DIR"] = f"{made}/cache"
        names = list(factory.SIDE)
        nets = Path(made, "nets.py")
        lines = [f"import sys\nsys.path.insert(0, {str(given.weights)!r})\nfrom factory import build"]
        nets.write_text("\n".join(lines + [f"def {name}(): return build({name!r})" for name in names]))
        anyhow = [(7 * number) % 1000 for number in range(given.count)]
        tree(given.images, given.count, anyhow, Path(made, "first"))
        first = by_timm(factory.build(names[0]), Path(made, "first"), factory.SIDE[names[0]], factory.NORM[names[0]])
        said = [prediction for _, (_, prediction) in sorted(first.items())]
        folder = Path(made, "val")
        tree(given.images, given.count, [one if at % 2 else anyhow[at] for at, one in enumerate(said)], folder)
        print("| model | backend | decoder | top-1 right, timm | top-1 right, featune | other prediction, images of "
              f"{given.count} |\n|---|---|---|---|---|---|")  # fmt: skip
        for name in names:
            side, norm = factory.SIDE[name], factory.NORM[name]
            timms = by_timm(factory.build(name), folder, side, norm)
            right = sum(label == prediction for label, prediction in timms.values())
            view = {"side": side, "mean": list(norm[0]), "std": list(norm[1]), "crop_pct": 0.875,
                    "interpolation": "bicubic"}  # fmt: skip
            for run in RUNS:
                found = by_featune(f"{nets}:{name}", view, folder, run, Path(made, "out"))
                with open(found.rows, newline="") as file:
                    ours = {Path(row["path"]).name: row for row in csv.DictReader(file)}
                assert {key: int(row["label"]) for key, row in ours.items()} == {k: v[0] for k, v in timms.items()}
                other = sum(int(ours[key]["predicted"]) != one[1] for key, one in timms.items())
                own = round(found.shares["top1"].value * found.shares["top1"].n)
                print(f"| {name} | {run[0]} | {run[1]} | {right} | {own} | {other} |", flush=True)
            if given.validate and name in NAMES:
                top1 = validated(given.validate, NAMES[name], given.weights / f"{name}.pth", folder, side, norm)
                print(f"| {name} | timm's validate.py | | {top1 * given.count / 100:g} | | |", flush=True)


if __name__ == "__main__":
    main()
