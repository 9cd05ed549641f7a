"""Successive halving against the whole grid: its steps, and the points of val that it loses.

    python benchmarks/halving.py DATASETS WEIGHTS WORK --steps 240

DATASETS: a folder of data sets in folders, such as `finetune_recipes.py prepare` makes. WEIGHTS: a folder with
`mobilenetv1_025_128.pth` and `mobilenetv1_050_160.pth`. Every trial is a file; to resume is to run again.
"""

import argparse
import dataclasses
import time
from pathlib import Path

import numpy as np
import torch

from featune.bench.data import Source, prepare
from featune.bench.finetune.training import Candidate, Job
from featune.bench.regimes import Goodness
from featune.engine.finetune import Decoded, Recipe, TrainVal
from featune.engine.images import Augmentation
from featune.engine.models import ModelSpec, spec_from_entry
from featune.engine.search import grid, halving, search, total_steps

SIDE, BATCH = 32, 16
RATES = tuple(float(f"{rate:.3g}") for rate in np.logspace(-3.5, -0.5, 9))
RECIPE = Recipe(batch=BATCH, warmup=0.1, augmentation=Augmentation(scale=(0.35, 1.0)))


def models(weights: Path) -> dict[str, ModelSpec]:
    """Two pre-trained networks, and one from random weights."""
    view = {"side": SIDE, "mean": 0.5, "std": 0.5, "interpolation": "bilinear"}
    file = Path(__file__).resolve()
    found = {
        f"mobilenetv1 {width}": spec_from_entry({"factory": f"{file}:network", "kwargs": {"width": width}, **view}
                                                | {"checkpoint": str(weights / name)})
        for width, name in ((0.25, "mobilenetv1_025_128.pth"), (0.5, "mobilenetv1_050_160.pth"))
    }  # fmt: skip
    return {
        **found,
        "test_resnet, random": spec_from_entry({"architecture": "test_resnet", "pretrained": False, **view}),
    }


def network(width: float) -> torch.nn.Module:
    from timm.models.efficientnet import _gen_mobilenet_v1

    return _gen_mobilenet_v1("mobilenetv1_100", width, pretrained=False, pad_type="same")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folders", type=Path, nargs=3)
    parser.add_argument("--steps", type=int, default=240, help="of one training")
    parser.add_argument("--tasks", nargs="+", help="of DATASETS; all by default")
    given = parser.parse_args()
    (datasets, weights, work), steps = given.folders, given.steps
    torch.set_num_threads(1)
    recipes = [dataclasses.replace(RECIPE, steps=steps, learning_rates=(rate,)) for rate in RATES]
    plans = {"grid": grid(len(recipes), steps), "halving": halving(len(recipes), steps)}
    share = total_steps(plans["halving"]) / total_steps(plans["grid"])
    print(f"{len(recipes)} rates, {steps} steps of {BATCH} at {SIDE} px; halving: {plans['halving']}, {share:.1%}")
    print(
        "| task | model | grid: rate, val | halving: rate, its val in the grid | regret, points | CPU s |\n|---" * 1
        + "|---" * 5
        + "|"
    )
    for data in [datasets / name for name in given.tasks or sorted(each.name for each in datasets.iterdir())]:
        task = prepare(Source(data.name, folder=data), work / "tasks")
        train, val = task.load("train"), task.load("val")
        decoded = Decoded()
        for name, spec in models(weights).items():
            seconds, found = {}, {}
            for plan, rounds in plans.items():
                job = Job(
                    spec, TrainVal(train, val, len(task.classes)), Goodness("top1", val.truth(len(task.classes))), 0,
                    work / plan / data.name / name.replace(" ", "_"), save_seconds=1e9, decoded=decoded,
                )  # fmt: skip
                began = time.process_time()
                train_on = lambda recipe, until, job=job: Candidate(job, recipe).train(until)  # noqa: E731
                found[plan] = search(recipes, rounds, train_on, job.work / "trials")
                seconds[plan] = time.process_time() - began
            values = {recipes[trial.candidate]: trial.value for trial in found["grid"].trials}
            best, chosen = found["grid"].best, found["halving"].best
            assert best is not None
            assert chosen is not None
            regret = 100 * (values[best] - values[chosen])
            of_grid, of_halving = (f"{one.learning_rates[0]:g}, {values[one]:.4f}" for one in (best, chosen))
            spent = f"{seconds['grid']:.0f} and {seconds['halving']:.0f}"
            print(f"| {data.name} | {name} | {of_grid} | {of_halving} | {regret:.2f} | {spent} |", flush=True)


if __name__ == "__main__":
    main()
