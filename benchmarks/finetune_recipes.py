"""Featune's default recipe against fastai's `fine_tune`, timm's `train.py` and lightly-train, at equal CPU seconds.

    python benchmarks/finetune_recipes.py prepare DATASETS WORK         # smaller files and digits: the same for all
    RIVALS_PYTHON benchmarks/finetune_rivals.py METHOD WORK WEIGHTS --budget 30 --train-py train.py
    python benchmarks/finetune_recipes.py ours WORK WEIGHTS             # the default, and the probe
    python benchmarks/finetune_recipes.py table WORK

DATASETS: a folder with `clothing_small` and `grocery_store_coarse43`. WEIGHTS: `mobilenetv1_025_128.pth`. One thread;
each run is one JSON file; to resume is to run again.
"""

import argparse
import dataclasses
import json
import shutil
import time
from pathlib import Path
from typing import Any

import numpy as np

BUDGET = 30.0  # CPU seconds of one training, decoding and validation included
SHORTER = 112  # pixels of the files' shorter side
DATASETS = ("clothing_small", "grocery_store_coarse43", "digits")
SEEDS = (0, 1, 2)
RIVALS = ("fastai", "timm", "lightly-train")


def prepare(source: Path, work: Path) -> None:
    """The data sets with smaller files, and scikit-learn's digits as files; cut 60 / 20 / 20 by class."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    for name in DATASETS[:2]:
        for file in sorted((source / name).rglob("*.*")):
            image = Image.open(file).convert("RGB")
            scale = SHORTER / min(image.size)
            made = work / "data" / name / file.relative_to(source / name)
            made.parent.mkdir(parents=True, exist_ok=True)
            if not made.exists():
                image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC).save(
                    made.with_suffix(".jpg"), quality=92
                )
    digits = load_digits()
    rest, test = train_test_split(range(len(digits.target)), test_size=0.2, random_state=0, stratify=digits.target)
    train, val = train_test_split(rest, test_size=0.25, random_state=0, stratify=digits.target[rest])
    for split, part in (("train", train), ("val", val), ("test", test)):
        for at in part:
            made = work / "data" / "digits" / split / str(digits.target[at]) / f"{at}.png"
            made.parent.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray((digits.images[at] * 15.9375).astype(np.uint8)).convert("RGB")
            grey.resize((64, 64), Image.Resampling.BICUBIC).save(made)


def ours(work: Path, weights: Path, names: list[str], seeds: list[int]) -> None:
    """The default recipe within the budget, and the frozen probe, on each data set with each seed."""
    import torch

    torch.set_num_threads(1)
    for seed in seeds:
        for data in sorted((work / "data").iterdir()):
            for name in names:
                file = work / "runs" / f"{name}-{data.name}-{seed}.json"
                if not file.exists() and not (name == "probe" and seed):  # the probe draws nothing
                    file.parent.mkdir(parents=True, exist_ok=True)
                    file.write_text(json.dumps(measured(name, data, weights, seed, work / "out" / file.stem)))
                if file.exists():
                    said(file)


def measured(name: str, data: Path, weights: Path, seed: int, out: Path) -> dict[str, Any]:
    """CPU seconds, steps, the value on val, and which test images are right, in the order of their files."""
    from featune.bench.data import Source, prepare
    from featune.bench.finetune.budget import within_minutes
    from featune.bench.finetune.training import Job, trained
    from featune.bench.regimes import Goodness
    from featune.engine.finetune import TrainVal, predict
    from featune.engine.models import spec_from_entry
    from featune.engine.search import Facts, recipe_named

    shutil.rmtree(out, ignore_errors=True)
    task = prepare(Source(data.name, folder=data), out / "task")
    train, val, test = (task.load(split) for split in ("train", "val", "test"))
    file = Path(__file__).with_name("finetune_rivals.py").resolve()
    spec = spec_from_entry({"factory": f"{file}:network", "kwargs": {"weights": str(weights), "classes": 10}})
    began = time.process_time()
    if name == "probe":
        return probed(spec, task, train, val, test, began)
    job = Job(
        spec, TrainVal(train, val, len(task.classes)), Goodness("top1", val.truth(len(task.classes))), seed,
        out / "work", save_seconds=1e9,
    )  # fmt: skip
    (recipe,) = variant(name, recipe_named("default").candidates(Facts(len(train))))
    steps = within_minutes(job, [recipe], "halving", False, BUDGET / 60, time.process_time)
    outcome = trained(job, [dataclasses.replace(recipe, steps=steps)], "halving", False, print)
    spent = time.process_time() - began
    right = predict(outcome.model, test, spec.view).argmax(axis=1) == test.truth(len(task.classes))
    shutil.rmtree(out)
    return {"cpu_seconds": spent, "length": steps, "val": outcome.val, "right": right.astype(int).tolist()}


def probed(spec: Any, task: Any, train: Any, val: Any, test: Any, began: float) -> dict[str, Any]:
    """Logistic regression on the frozen features, chosen on val and fitted again on train + val."""
    from featune.engine.finetune import predict
    from featune.engine.metrics import METRICS
    from featune.engine.models import feature_model
    from featune.engine.probe import probe

    body, classes = feature_model(spec), len(task.classes)
    rows = [predict(body, items, spec.view) for items in (train, val)]
    fitted = probe(rows[0], train.truth(classes), rows[1], val.truth(classes), METRICS["top1"], classes=classes)
    spent = time.process_time() - began
    right = fitted(predict(body, test, spec.view)).argmax(axis=1) == test.truth(classes)
    return {"cpu_seconds": spent, "length": 0, "right": right.astype(int).tolist()}


def variant(name: str, recipes: Any) -> Any:
    """`default`, or it with other fields for a look: `default:learning_rates=[3e-3],ema=0.99`."""
    from featune.bench.finetune.recipes import with_fields
    from featune.bench.study.schema import values_of

    _, _, text = name.partition(":")
    changes = {key: values_of(value)[0] for key, _, value in (each.partition("=") for each in text.split(";") if each)}
    return [with_fields(recipe, changes) for recipe in recipes] if changes else recipes


def said(file: Path) -> None:
    found = json.loads(file.read_text())
    val = f", val {found['val']:.4f}" if "val" in found else ""
    print(
        f"{file.stem}: length {found['length']}, {found['cpu_seconds']:.1f} CPU s{val}, "
        f"top1 {np.mean(found['right']):.4f}", flush=True,
    )  # fmt: skip


def table(work: Path) -> None:
    """Top-1 of each method on each data set, a mean over seeds, and the default's lead over each.

    The interval is a bootstrap over test images, those of the two methods drawn apart; it has no part of the seeds.
    """
    runs = {file.stem: json.loads(file.read_text()) for file in sorted((work / "runs").glob("*.json"))}

    def rights(method: str, data: str) -> Any:
        """[seeds, images] as fractions; the probe has one."""
        found = [runs[key]["right"] for seed in SEEDS if (key := f"{method}-{data}-{seed}") in runs]
        return np.array(found, dtype=float)

    methods = ["probe", "default", *RIVALS]
    print("| data set | " + " | ".join(methods) + " |\n|---" * 1 + "|---" * len(methods) + "|")
    for data in DATASETS:
        cells = []
        for method in methods:
            found = rights(method, data)
            each = " ".join(f"{100 * sum(one) / len(one):.1f}" for one in found)
            cells.append(f"{100 * found.mean():.1f} ({each})" if len(found) else "-")
        print(f"| {data} | " + " | ".join(cells) + " |")
    print()
    rng = np.random.default_rng(0)
    print("| default less | " + " | ".join(DATASETS) + " |\n|---" + "|---" * len(DATASETS) + "|")
    for method in [name for name in methods if name != "default"]:
        cells = []
        for data in DATASETS:
            mine, other = rights("default", data), rights(method, data)
            if not len(other) or not len(mine):
                cells.append("-")
                continue
            one, two = mine.mean(axis=0), other.mean(axis=0)
            drawn = rng.integers(0, len(one), (2, 10_000, len(one)))  # apart: the libraries order files in other ways
            gaps = one[drawn[0]].mean(axis=1) - two[drawn[1]].mean(axis=1)
            low, high = np.percentile(gaps, [2.5, 97.5])
            cells.append(f"{100 * (one.mean() - two.mean()):+.1f} ({100 * low:+.1f} to {100 * high:+.1f})")
        print(f"| {method} | " + " | ".join(cells) + " |")
    print()
    for method in methods:
        found = [run for key, run in runs.items() if key.rpartition("-")[0].rpartition("-")[0] == method]
        if found:
            spent, lengths = ([run[name] for run in found] for name in ("cpu_seconds", "length"))
            print(f"{method}: {min(spent):.0f} to {max(spent):.0f} CPU s, length {min(lengths)} to {max(lengths)}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("stage", choices=("prepare", "ours", "table"))
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("--names", nargs="+", default=["probe", "default"])
    parser.add_argument("--seeds", type=int, nargs="+", default=list(SEEDS))
    given = parser.parse_args()
    if given.stage == "prepare":
        prepare(*given.folders)
    elif given.stage == "ours":
        ours(*given.folders, given.names, given.seeds)
    else:
        table(*given.folders)


if __name__ == "__main__":
    main()
