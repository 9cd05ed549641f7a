"""Fine-tunings by another library's defaults, in CPU seconds: what `finetune_recipes.py` compares Featune with.

Run with the Python of an environment that has the library. Each run is a JSON file: CPU seconds, the length of the
training in the library's own unit, and which test images were right; to resume is to run again. Nothing but the length
is tuned: it is what fits into the budget. One thread, and data loading in the process, so that its CPU seconds are all.

    python benchmarks/finetune_rivals.py fastai WORK mobilenetv1_025_128.pth --budget 30
"""

import argparse
import json
import os
import runpy
import shutil
import sys
import time
from pathlib import Path
from typing import Any

import torch

SIDE = 96
SHORTER = 112  # pixels of the files' shorter side, see finetune_recipes.py
METHODS = ("fastai", "timm", "lightly-train")


def network(weights: Path, classes: int) -> torch.nn.Module:
    """MobileNetV1 0.25 with ImageNet's weights and a new head, in timm's form."""
    from timm.models.efficientnet import _gen_mobilenet_v1

    model = _gen_mobilenet_v1("mobilenetv1_100", 0.25, pretrained=False, pad_type="same")
    model.load_state_dict(torch.load(weights, weights_only=True))
    if classes:
        model.reset_classifier(classes)
    else:
        model.reset_classifier(0)
    statistics = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "interpolation": "bilinear", "crop_pct": 0.875}
    model.pretrained_cfg = {**model.pretrained_cfg, **statistics, "input_size": (3, SIDE, SIDE)}
    return model


def register(weights: Path) -> str:
    """The network under a name of timm's table, so that scripts and libraries which take names find it."""
    from timm.models import register_model

    def mobilenetv1_quarter(pretrained=False, num_classes=1000, **_):
        return network(weights, num_classes)

    mobilenetv1_quarter.__module__ = "timm.models.efficientnet"
    register_model(mobilenetv1_quarter)
    return "mobilenetv1_quarter"


def in_process_loaders() -> None:
    """timm asks for persistent workers even where there are none."""
    original = torch.utils.data.DataLoader.__init__

    def init(self, *arguments, **options):
        if not options.get("num_workers"):
            options["num_workers"] = 0
            options.pop("persistent_workers", None)
            options.pop("prefetch_factor", None)
        original(self, *arguments, **options)

    torch.utils.data.DataLoader.__init__ = init


def scored(model: torch.nn.Module, data: Path) -> list[int]:
    """Which test images the network gets right, by timm's eval view, in the order of the files."""
    from timm.data import ImageDataset, create_transform

    view = create_transform(
        (3, SIDE, SIDE), is_training=False, mean=(0.5,) * 3, std=(0.5,) * 3, interpolation="bilinear", crop_pct=0.875
    )
    items = ImageDataset(str(data / "test"), transform=view)
    right = []
    with torch.inference_mode():
        for batch in torch.utils.data.DataLoader(items, batch_size=64):
            right += (model.eval()(batch[0]).argmax(1) == batch[1]).int().tolist()
    return right


def run_timm(data: Path, weights: Path, epochs: int, seed: int, out: Path, script: Path) -> list[int]:
    """timm's `train.py` with its defaults; the checkpoint that it calls the best on val."""
    in_process_loaders()
    name = register(weights)
    sys.argv = [
        str(script), "--data-dir", str(data), "--train-split", "train", "--val-split", "val", "--model", name,
        "--num-classes", str(len(list((data / "train").iterdir()))), "--epochs", str(epochs), "--seed", str(seed),
        "-j", "0", "--output", str(out), "--experiment", "run", "--device", "cpu",
    ]  # fmt: skip
    runpy.run_path(str(script), run_name="__main__")
    spent()
    model = network(weights, int(sys.argv[sys.argv.index("--num-classes") + 1]))
    found = torch.load(out / "run" / "model_best.pth.tar", weights_only=False)
    model.load_state_dict(found["state_dict"])
    return scored(model, data)


def run_fastai(data: Path, weights: Path, epochs: int, seed: int, out: Path, script: Path) -> list[int]:
    """fastai's `vision_learner(...).fine_tune(epochs)` with presizing, as its documentation does it."""
    from fastai.vision.all import (
        ImageDataLoaders,
        Normalize,
        Resize,
        accuracy,
        aug_transforms,
        get_image_files,
        set_seed,
        vision_learner,
    )  # fmt: skip

    set_seed(seed)
    loaders = ImageDataLoaders.from_folder(
        data, train="train", valid="val", seed=seed, num_workers=0, device=torch.device("cpu"),
        item_tfms=Resize(SHORTER),
        batch_tfms=[*aug_transforms(size=SIDE, min_scale=0.75), Normalize.from_stats((0.5,) * 3, (0.5,) * 3)],
    )  # fmt: skip
    learner = vision_learner(
        loaders, lambda *_, **__: network(weights, 1000), metrics=accuracy, normalize=False, path=out
    )
    with learner.no_bar(), learner.no_logging():
        learner.fine_tune(epochs)
    spent()
    files = sorted(get_image_files(data / "test"))
    scores, _ = learner.get_preds(dl=loaders.test_dl(files))
    names = list(loaders.vocab)
    return [int(names[at] == file.parent.name) for at, file in zip(scores.argmax(1).tolist(), files, strict=True)]


def run_lightly(data: Path, weights: Path, steps: int, seed: int, out: Path, script: Path) -> list[int]:
    """lightly-train's `train_image_classification` with its defaults; the checkpoint that it calls the best."""
    import lightly_train

    name = register(weights)
    classes = dict(enumerate(sorted(each.name for each in (data / "train").iterdir())))
    side = {"image_size": (SIDE, SIDE), "normalize": {"mean": (0.5,) * 3, "std": (0.5,) * 3}}
    lightly_train.train_image_classification(
        out=out / "lightly", model=f"timm/{name}", steps=steps, seed=seed, num_workers=0, accelerator="cpu", devices=1,
        precision="32-true", overwrite=True, transform_args=side,
        data={"train": str(data / "train"), "val": str(data / "val"), "classes": classes},
    )  # fmt: skip
    spent()
    exported = out / "lightly" / "exported_models"
    best = exported / "exported_best.pt"
    model = lightly_train.load_model(best if best.exists() else exported / "exported_last.pt")
    files = sorted((data / "test").rglob("*.*"))
    right = []
    for file in files:
        found = model.predict(str(file), topk=1)
        right.append(int(classes[int(found["labels"].flatten()[0])] == file.parent.name))
    return right


began = 0.0
SPENT: list[float] = []


def spent() -> None:
    SPENT.append(time.process_time() - began)


RUNS = {"fastai": run_fastai, "timm": run_timm, "lightly-train": run_lightly}
STEP_OF_EPOCH = {"fastai": 1, "timm": 1, "lightly-train": 75}  # lengths are in epochs, or in steps of 16 images


def measured(method: str, data: Path, weights: Path, length: int, seed: int, out: Path, script: Path) -> dict[str, Any]:
    """CPU seconds of one training and which test images it gets right; what the library prints goes nowhere."""
    global began
    out.mkdir(parents=True, exist_ok=True)
    sys.stdout.flush()
    line, quiet = os.dup(1), os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    began = time.process_time()
    try:
        right = RUNS[method](data, weights, length, seed, out, script)
    finally:
        sys.stdout.flush()
        os.dup2(line, 1)
        shutil.rmtree(out, ignore_errors=True)
    return {"cpu_seconds": SPENT[-1], "length": length, "right": right}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("method", choices=METHODS)
    parser.add_argument("work", type=Path, help="the folder that `finetune_recipes.py prepare` filled")
    parser.add_argument("weights", type=Path, help="mobilenetv1_025_128.pth")
    parser.add_argument("--budget", type=float, required=True, help="CPU seconds of a training")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--train-py", type=Path, help="timm's train.py")
    given = parser.parse_args()
    torch.set_num_threads(1)
    if given.method == "fastai":
        import fastai.vision.all  # noqa: F401
    if given.method == "lightly-train":
        import lightly_train  # noqa: F401
    import timm  # noqa: F401

    def run(data: Path, length: int, seed: int, file: Path) -> dict[str, Any]:
        if not file.exists():
            found = measured(given.method, data, given.weights, length, seed, given.work / file.stem, given.train_py)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(json.dumps(found))
        found = json.loads(file.read_text())
        share = sum(found["right"]) / len(found["right"])
        print(f"{file.stem}: length {found['length']}, {found['cpu_seconds']:.1f} CPU s, top1 {share:.4f}", flush=True)
        return found

    folders = sorted((given.work / "data").iterdir())
    first, unit = folders[0], STEP_OF_EPOCH[given.method]
    pilots = [run(first, unit * n, 0, given.work / "pilots" / f"{given.method}-{n}.json") for n in (1, 3)]
    each = (pilots[1]["cpu_seconds"] - pilots[0]["cpu_seconds"]) / 2  # an epoch of the first data set
    fixed = pilots[0]["cpu_seconds"] - each
    for seed in given.seeds:
        for data in folders:
            epochs = (given.budget - fixed) / each
            if given.method == "lightly-train":  # its length is in steps
                length = max(1, round(epochs * unit))
            else:
                length = max(1, round(epochs * images(first) / images(data)))
            run(data, length, seed, given.work / "runs" / f"{given.method}-{data.name}-{seed}.json")


def images(data: Path) -> int:
    """Of an epoch: those of train, and of val, which is looked at after it."""
    return sum(1 for split in ("train", "val") for _ in (data / split).rglob("*.*"))


if __name__ == "__main__":
    main()
