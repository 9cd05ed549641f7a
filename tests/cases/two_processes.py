"""What each of two processes does in test_processes.py: trainings by both, and scores of all images by both."""

import dataclasses
import sys
from pathlib import Path

import torch

from featune.engine.finetune import Recipe, joined, predict, train
from featune.engine.images import Augmentation, folder_items
from featune.engine.models import fresh_classifier, spec_from_entry

VIT = {"architecture": "test_vit", "pretrained": False, "side": 32, "kwargs": {"img_size": 32}}
RECIPE = Recipe(
    steps=20, batch=8, learning_rates=(0.05,), augmentation=Augmentation(scale=(0.6, 1.0)), class_weights="balanced",
    accumulation=2, clip_norm=1.0, ema=0.9,
)  # fmt: skip


# The head on rows of all below it, then the last block on rows of the others; eleven images, an odd number of rows.
ON_ROWS = dataclasses.replace(
    RECIPE, augmentation=Augmentation(crop="eval", hflip=0.0), trained=1, head_first=0.4, accumulation=1,
)  # fmt: skip


def main(folder: Path, out: Path) -> None:
    torch.set_num_threads(1)
    items = folder_items(folder)
    items = dataclasses.replace(items, labels=tuple((i % 3,) for i in range(len(items))))
    spec = spec_from_entry(VIT)
    with joined("cpu") as device:
        trained = train(fresh_classifier(spec, 3, 0), items, torch.from_numpy(items.truth(3)), spec.view, RECIPE, 0)
        scores = predict(trained.model, items, spec.view, device, batch=4)
        on_rows = train(fresh_classifier(spec, 3, 0), items, torch.from_numpy(items.truth(3)), spec.view, ON_ROWS, 0)
        torch.save(
            {
                "weights": trained.model.state_dict(), "scores": torch.from_numpy(scores),
                "on_rows": on_rows.model.state_dict(),
                "frozen": {name: on_rows.details[name] for name in ("frozen", "frozen_head_first")},
            },
            out,
        )  # fmt: skip


if __name__ == "__main__":
    import os

    main(Path(sys.argv[1]), Path(sys.argv[2] + os.environ.get("RANK", "")))
