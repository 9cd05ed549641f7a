"""Successive halving against the whole grid of Kornblith et al. 2019: its steps, and the points of val that it loses.

    python benchmarks/halving.py IMAGES WEIGHTS WORK [--steps 240] [--tasks clothing digits] [--models ...] [--table]

IMAGES: a folder of data sets in folders, such as `real_study.py` makes (`WORK/images`). WEIGHTS: a folder with
`mobilenetv1_025_128.pth` and `mobilenetv1_050_160.pth`. Each cell is a model on a task: the 56 trainings of the grid (7
rates x 8 weight decays, those of the source for pre-trained or for random weights), each stopped where a round of
halving ends and taken on. Then the search is made twice, as a grid and by halving, from the trials that lie there:
a training that goes on is the same to the bit as one that was not stopped, so halving would have found these very
numbers. Nothing is tested, so val and test of a task are val here, which halves the noise of a value. Every trial is a
file; to resume is to run again, and several processes may have a cell each. Decays apart: the standard deviation in
points of the eight weight decays at the grid's best rate, most of which change next to nothing, so that it is noise.
"""

import argparse
import dataclasses
import json
import statistics
from pathlib import Path
from typing import Any

import torch

from featune.bench.data import Source, prepare
from featune.bench.finetune import Candidate, Job
from featune.bench.regimes import Goodness
from featune.engine.finetune import Decoded, Recipe, TrainVal
from featune.engine.images import Augmentation
from featune.engine.models import ModelSpec, spec_from_entry
from featune.engine.search import Facts, Round, grid, halving, recipe_named, search, total_steps

SIDE, BATCH = 32, 16
TASKS = ("clothing", "produce", "digits")
FILES = {"mobilenetv1-0.25": (0.25, "mobilenetv1_025_128.pth"), "mobilenetv1-0.5": (0.5, "mobilenetv1_050_160.pth")}
RANDOM = "test_resnet, random"


def spec_of(name: str, weights: Path) -> ModelSpec:
    """Two pre-trained networks, and one from random weights."""
    view = {"side": SIDE, "mean": 0.5, "std": 0.5, "interpolation": "bilinear"}
    if name == RANDOM:
        return spec_from_entry({"architecture": "test_resnet", "pretrained": False, **view})
    width, file = FILES[name]
    factory = f"{Path(__file__).resolve()}:network"
    return spec_from_entry(
        {"factory": factory, "kwargs": {"width": width}, "checkpoint": str(weights / file), **view}
    )  # fmt: skip


def network(width: float) -> torch.nn.Module:
    from timm.models.efficientnet import _gen_mobilenet_v1

    return _gen_mobilenet_v1("mobilenetv1_100", width, pretrained=False, pad_type="same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=3)
    parser.add_argument("--steps", type=int, default=240, help="of one training")
    parser.add_argument("--tasks", nargs="+", default=TASKS)
    parser.add_argument("--models", nargs="+", default=[*FILES, RANDOM])
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--table", action="store_true", help="print what is there, train nothing")
    given = parser.parse_args()
    torch.set_num_threads(1)
    images, weights, work = given.folders
    if not given.table:
        for name in given.models:
            for task in given.tasks:
                measure(images / task, spec_of(name, weights), name, given.steps, given.seed, work)
    table(work, given.steps)


def measure(images: Path, spec: ModelSpec, name: str, steps: int, seed: int, work: Path) -> None:
    """Train the whole grid of a cell, round by round, and write what both searches find into a file of WORK."""
    task = prepare(Source(images.name, folder=images), work / "tasks")
    train, val, classes = task.load("train"), task.load("val") + task.load("test"), len(task.classes)
    grids = recipe_named("kornblith2019").candidates(Facts(len(train), scratch=name == RANDOM))
    augmentation = Augmentation(scale=(0.35, 1.0))
    recipes = [dataclasses.replace(each, steps=steps, batch=BATCH, augmentation=augmentation) for each in grids]
    folder = work / f"{images.name} {name} {steps} {seed}".replace(" ", "_").replace(",", "")
    job = Job(
        spec, TrainVal(train, val, classes), Goodness("top1", val.truth(classes)), seed, folder / "work",
        save_seconds=1e9, decoded=Decoded(),
    )  # fmt: skip

    def train_on(recipe: Recipe, until: int) -> float:
        return Candidate(job, recipe).train(until)

    def unasked(recipe: Recipe, until: int) -> float:
        raise AssertionError("a trial that halving wants is missing")

    rounds = halving(len(recipes), steps)
    every = [Round(len(recipes), each.steps) for each in rounds]
    whole = search(
        recipes, every, train_on, folder / "trials", told=lambda trial: print(folder.name, trial, flush=True)
    )
    for recipe in recipes:
        Candidate(job, recipe).forget()
    halved = search(recipes, rounds, unasked, folder / "trials")
    assert whole.best is not None
    assert halved.best is not None
    values = {recipes[one.candidate]: one.value for one in whole.trials if one.steps == steps and one.value is not None}
    alike = [value for one, value in values.items() if one.learning_rates == whole.best.learning_rates]
    found = {
        "task": images.name, "model": name, "steps": steps, "seed": seed, "val": len(val), "rounds": rounds,
        "share": total_steps(rounds) / total_steps(grid(len(recipes), steps)), "diverged": len(recipes) - len(values),
        "best": [whole.best.learning_rates[0], whole.best.weight_decay, values[whole.best]],
        "halving": [halved.best.learning_rates[0], halved.best.weight_decay, values[halved.best]],
        "spread": statistics.stdev(alike),
        "cpu_seconds": sum(one.seconds for one in whole.trials),
    }  # fmt: skip
    (work / f"{folder.name}.json").write_text(json.dumps(found, default=dataclasses.asdict))


def table(work: Path, steps: int) -> None:
    cells: list[dict[str, Any]] = [json.loads(file.read_text()) for file in sorted(work.glob(f"*_{steps}_*.json"))]
    print(
        "| task, images of val | model | seed | grid: rate, decay, val | halving: rate, decay, val | steps | regret |"
    )
    print("|---|---|---|---|---|---|---|")
    for one in cells:
        best, chosen = (f"{rate:.3g}, {decay:.3g}, {100 * value:.2f}" for rate, decay, value in
                        (one["best"], one["halving"]))  # fmt: skip
        regret = 100 * (one["best"][2] - one["halving"][2])
        shown = (
            f"| {one['task']}, {one['val']} | {one['model']} | {best} | {chosen} | {one['share']:.1%} | {regret:.2f} |"
        )
        print(f"{shown} {100 * one['spread']:.1f} |")


if __name__ == "__main__":
    main()
