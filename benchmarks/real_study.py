"""Four small real tasks as files for `benchmarks/real_study.yaml`, made from two data sets and scikit-learn's digits.

    python benchmarks/real_study.py DATASETS WEIGHTS WORK
    featune study run WORK/real_study.yaml --out WORK/run --jobs 2

DATASETS: a folder with `clothing_small` and `grocery_store_coarse43`, each with train, val and test folders.
WEIGHTS: the folder of the six checkpoints and their factory.py. WORK gets the images (shorter side 80 px), the
weights and the study file. The grocery set is cut by class into produce and packages, which share no image.
"""

import argparse
import shutil
from pathlib import Path

import numpy as np

SHORTER = 80  # pixels of the files' shorter side; the models see 64 of the middle 73
PACKAGES = {
    "Juice", "Milk", "Oat-Milk", "Oatghurt", "Sour-Cream", "Sour-Milk", "Soy-Milk", "Soyghurt", "Yoghurt",
}  # fmt: skip
STUDY = Path(__file__).with_suffix(".yaml")


def place(name: str, label: str) -> str:
    """The task that a class of a data set belongs to."""
    if name != "grocery_store_coarse43":
        return "clothing"
    return "packages" if label in PACKAGES else "produce"


def photographs(source: Path, work: Path) -> None:
    from PIL import Image, ImageOps

    for name in ("clothing_small", "grocery_store_coarse43"):
        for file in sorted((source / name).rglob("*.*")):
            split, label = file.relative_to(source / name).parts[:2]
            made = work / "images" / place(name, label) / split / label / f"{file.stem}.jpg"
            if made.exists():
                continue
            made.parent.mkdir(parents=True, exist_ok=True)
            image = ImageOps.exif_transpose(Image.open(file)).convert("RGB")
            scale = SHORTER / min(image.size)
            image.resize([round(side * scale) for side in image.size], Image.Resampling.BICUBIC).save(made, quality=92)


def digits(work: Path) -> None:
    """Handwritten digits of 43 people, 8 x 8; cut 60 / 20 / 20 by class."""
    from PIL import Image
    from sklearn.datasets import load_digits
    from sklearn.model_selection import train_test_split

    found = load_digits()
    rest, test = train_test_split(range(len(found.target)), test_size=0.2, random_state=0, stratify=found.target)
    train, val = train_test_split(rest, test_size=0.25, random_state=0, stratify=found.target[rest])
    for split, part in (("train", train), ("val", val), ("test", test)):
        for at in part:
            made = work / "images" / "digits" / split / str(found.target[at]) / f"{at}.png"
            made.parent.mkdir(parents=True, exist_ok=True)
            grey = Image.fromarray((found.images[at] * 15.9375).astype(np.uint8)).convert("RGB")
            grey.resize((SHORTER, SHORTER), Image.Resampling.BICUBIC).save(made)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name in ("datasets", "weights", "work"):
        parser.add_argument(name, type=Path)
    asked = parser.parse_args()
    photographs(asked.datasets, asked.work)
    digits(asked.work)
    shutil.copytree(asked.weights, asked.work / "weights", dirs_exist_ok=True)
    shutil.copy(STUDY, asked.work / STUDY.name)


if __name__ == "__main__":
    main()
