"""Kill a fine-tuning with SIGKILL at random steps, resume it, and compare its weights with an uninterrupted one's.

    python benchmarks/finetune_kills.py [--kills 20] [--steps 120] [--seed 0] [--model vit | resnet]

A vision transformer with stochastic depth and a residual network with batch norm, both of timm's test models, at 32
pixels, on 97 generated images; with mixup, cutmix, accumulation, an average of the weights, clipping, RandAugment and
AdamW. A checkpoint is written after every step. A kill falls at a random moment within the step that follows a random
one; every fourth kill falls as soon as the half-written file of a checkpoint is seen. How many left such a file is
printed. Nothing of a killed process but its files is left: each is forked from one that has trained nothing. Exit
code 0 where all weights are the same bits.
"""

import argparse
import os
import random
import signal
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from PIL import Image

from featune.engine.finetune import Recipe, Run, train
from featune.engine.images import Augmentation, Labelled
from featune.engine.models import ModelSpec, fresh_classifier, spec_from_entry, state_digest

VIT = {"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": {"img_size": 32, "drop_path_rate": 0.2}}
RESNET = {"architecture": "test_resnet", "pretrained": False, "side": 32}


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=20)
    parser.add_argument("--steps", type=int, default=120)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--model", choices=("vit", "resnet"), help="one of the two (default: both)")
    given = parser.parse_args()
    torch.set_num_threads(1)
    draws, same = random.Random(given.seed), True
    with tempfile.TemporaryDirectory() as folder:
        items = images(Path(folder, "images"))
        for entry in {"vit": (VIT,), "resnet": (RESNET,)}.get(given.model, (VIT, RESNET)):
            spec = spec_from_entry(entry)
            began = time.monotonic()
            expected = in_a_child(spec, items, given.steps, None, None)
            step_seconds = (time.monotonic() - began) / given.steps
            work = Path(folder, spec.name)
            killed, seen, half_written = [], set[str](), 0
            for number, at in enumerate(sorted(draws.sample(range(1, given.steps), given.kills))):
                delay = None if number % 4 == 3 else draws.uniform(0, 2 * step_seconds)
                in_a_child(spec, items, given.steps, work, (at, delay))
                held = torch.load(work / "model.pt", weights_only=True)["step"] if (work / "model.pt").exists() else 0
                killed.append((at, held))
                half_written += bool(half(work) - seen)
                seen |= half(work)
            found = in_a_child(spec, items, given.steps, work, None)
            same &= found == expected
            print(f"{spec.name}: uninterrupted {expected[:16]}, killed {len(killed)} times {found[:16]}")
            print(f"  {half_written} kills left a half-written checkpoint")
            print("  after the report of step: " + ", ".join(f"{at} (checkpoint {held})" for at, held in killed))
    print("the same bits" if same else "DIFFERENT")
    return 0 if same else 1


def images(folder: Path) -> Labelled:
    folder.mkdir()
    for i in range(97):
        noise = np.random.default_rng(i).normal(0, 40, (40 + i % 7, 48, 3))
        colour = np.array([(200, 60, 50), (50, 190, 70), (40, 60, 200)][i % 3])
        Image.fromarray((noise + colour).clip(0, 255).astype(np.uint8)).save(folder / f"{i:02}.png")
    return Labelled(str(folder), tuple(f"{i:02}.png" for i in range(97)), tuple((i % 3,) for i in range(97)))


def half(work: Path) -> set[str]:
    """Names of files that are not yet whole, or never were."""
    return {path.name for path in work.iterdir() if path.name.startswith(".")} if work.exists() else set()


def in_a_child(
    spec: ModelSpec, items: Labelled, steps: int, work: Path | None, kill: tuple[int, float | None] | None
) -> str:
    """The digest of the weights that a forked process trains; empty where it is killed so many seconds after that step.

    None for seconds: as soon as a half-written file is there.
    """
    reading, writing = os.pipe()
    child = os.fork()
    if child == 0:
        os.close(reading)
        with os.fdopen(writing, "w", buffering=1) as told:
            told.write(f"weights {trained(spec, items, steps, work, lambda step, _: print(step, file=told))}\n")
        os._exit(0)
    os.close(writing)
    with os.fdopen(reading) as told:
        for line in told:
            if line.startswith("weights"):
                os.waitpid(child, 0)
                return line.split()[1]
            if kill and work and int(line) >= kill[0]:
                if kill[1] is None:
                    before, until = half(work), time.monotonic() + 30
                    while not half(work) - before and time.monotonic() < until:
                        time.sleep(0.0002)
                else:
                    time.sleep(kill[1])
                os.kill(child, signal.SIGKILL)
                os.waitpid(child, 0)
                return ""
    os.waitpid(child, 0)
    raise RuntimeError("the training ended without weights")


def trained(spec: ModelSpec, items: Labelled, steps: int, work: Path | None, progress) -> str:  # type: ignore[no-untyped-def]
    recipe = Recipe(
        steps=steps, batch=8, learning_rates=(2e-3,), optimizer="adamw", ema=0.95, mixup=0.3, cutmix=1.0,
        accumulation=2, clip_norm=1.0, layer_decay=0.8, augmentation=Augmentation(auto_augment="randaugment"),
    )  # fmt: skip
    truth = torch.from_numpy(items.truth(3))
    run = Run(work=work, save_seconds=0.0, progress=progress)
    return state_digest(train(fresh_classifier(spec, 3, 0), items, truth, spec.view, recipe, 0, run).model)


if __name__ == "__main__":
    sys.exit(main())
