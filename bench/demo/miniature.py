"""The papers in miniature, offline: a ladder of small models pre-trained on generated fractals, three targets,
frozen features, full fine-tuning and training from scratch, and how transfer follows source accuracy.
"""

import dataclasses
import functools
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import CellFailed
from featune.engine.finetune import Recipe
from featune.engine.images import Augmentation
from featune.engine.models import spec_from_entry

from ..data import Source, prepare
from ..estimators import USUAL
from ..generated import SIDE, SOURCE_CLASSES, TARGETS, fractals, write_images
from ..pretrain import Pretrained, pretrain
from ..progress import Progress
from ..regimes import ProbeSetting, Setting
from ..results import Row, Speed
from ..study import Executor, Killed, Study, run_estimates, run_whole
from ..tasks import read_folder_split

CROPS = Augmentation(scale=(0.6, 1.0))
UPRIGHT = Augmentation(scale=(0.6, 1.0), hflip=0.0)  # a mirrored digit is another sign
PRETRAINING = Recipe(
    epochs=5, batch=48, learning_rates=(4e-3,), optimizer="adamw", weight_decay=0.05, augmentation=CROPS
)
FINETUNING = Recipe(
    epochs=8, batch=32, learning_rates=(1.5e-3,), optimizer="adamw", weight_decay=0.05, augmentation=UPRIGHT
)
REGIMES: dict[str, tuple[str, Setting]] = {
    "probe": ("probe", ProbeSetting()),
    "finetune": ("finetune", FINETUNING),
    "scratch": ("scratch", dataclasses.replace(FINETUNING, epochs=12, learning_rates=(3e-3,))),
}
# Small enough that all of them train on two cores within a minute; seven families.
LADDER: tuple[Mapping[str, Any], ...] = (
    {"name": "resnet", "architecture": "test_resnet"},
    {"name": "byobnet", "architecture": "test_byobnet"},
    {"name": "efficientnet", "architecture": "test_efficientnet"},
    {"name": "nfnet", "architecture": "test_nfnet"},
    {"name": "mambaout", "architecture": "test_mambaout"},
    {"name": "convnext", "architecture": "test_convnext"},
    {"name": "vit", "architecture": "test_vit", "kwargs": {"img_size": SIDE, "patch_size": 8}},
)
NOTES = (
    "This is an offline miniature, made to show the whole chain in minutes. Its source task is "
    f"{SOURCE_CLASSES} classes of generated fractals (the idea of Kataoka et al. 2020), not ImageNet; its models "
    "have a tenth of a million to half a million weights and see 32 x 32 pixels. "
    "Its numbers say nothing of ImageNet models.",
    "Digits are scikit-learn's scans of handwriting; photographs are tiles of scikit-learn's two sample photographs, "
    "cut from disjoint strips for train, val and test; shapes are drawn by a program.",
)


def demo(out: Path, seed: int, execute: Executor, progress: Progress) -> tuple[Study, list[Row], list[Speed]]:
    """Everything up to the report: data, pre-training, checked exports, throughput, cells. Resumes where killed."""
    with progress.stage("images") as advance:
        source, targets = _data(out, seed, advance)
    with progress.stage("pre-training") as advance:
        found = _ladder(source, out / "models", seed, execute, advance)
    models = tuple(
        spec_from_entry(_entry(entry) | {"checkpoint": found[entry["name"]].checkpoint,
                                         "source_top1": found[entry["name"]].source_top1,
                                         "source_n": found[entry["name"]].n})
        for entry in LADDER
    )  # fmt: skip
    study = Study(
        name="demo",
        models=models,
        tasks=tuple(prepare(Source(path.name, folder=path), out / "tasks") for path in targets),
        regimes=REGIMES,
        out=str(out),
        cache=str(out / "cache"),
        seeds=(seed,),
        threads=1,
        source_name="source task (fractals)",
        notes=NOTES,
        estimators=USUAL,
    )
    rows, fast = run_whole(study, execute, progress)
    run_estimates(study, execute, progress)
    return study, rows, fast


def _data(out: Path, seed: int, advance: Any) -> tuple[Path, list[Path]]:
    data = out / "data"
    source = write_images(data / "fractals", {"made": "fractals 1", "seed": seed}, lambda: fractals(seed))
    targets = []
    for number, (name, draw) in enumerate(TARGETS.items(), 1):
        advance(number, len(TARGETS) + 1)
        targets.append(write_images(data / name, {"made": f"{name} 1", "seed": seed}, functools.partial(draw, seed)))
    return source, targets


def _ladder(source: Path, folder: Path, seed: int, execute: Executor, advance: Any) -> dict[str, Pretrained]:
    found = {}
    for entry, result in execute(functools.partial(_pretrained, source, folder, seed), LADDER):
        if isinstance(result, Killed):
            raise CellFailed(f"pre-training of {entry['name']} was {result.reason}")
        found[entry["name"]] = result
        advance(len(found), len(LADDER))
    return found


def _pretrained(source: Path, folder: Path, seed: int, entry: Mapping[str, Any]) -> Pretrained:
    train, val = (read_folder_split(source, split) for split in ("train", "val"))
    return pretrain(spec_from_entry(_entry(entry)), train, val, PRETRAINING, seed, folder)


def _entry(entry: Mapping[str, Any]) -> dict[str, Any]:
    kwargs = {"num_classes": SOURCE_CLASSES, **entry.get("kwargs", {})}
    shared = {"pretrained": False, "side": SIDE, "mean": (0.5,) * 3, "std": (0.25,) * 3, "crop_pct": 1.0}
    return {**shared, **entry, "kwargs": kwargs}
