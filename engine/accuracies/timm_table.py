"""timm's published results: ImageNet and its variants, for each set of weights at each image size."""

import csv
import functools
from collections.abc import Mapping
from pathlib import Path

FILE = Path(__file__).with_name("timm_results.csv")  # written by benchmarks/timm_results.py
MEASURES = ("top1", "real", "v2", "a", "r", "sketch")
# Images that each was measured on. ReaL: those with a label (Beyer et al. 2020); V2: matched frequency.
IMAGENET_IMAGES = {"top1": 50_000, "real": 46_837, "v2": 10_000, "a": 7_500, "r": 30_000, "sketch": 50_889}


@functools.cache
def timm_accuracies() -> Mapping[tuple[str, int], Mapping[str, float | None]]:
    """By (model with its tag, side): `MEASURES` as fractions, and `million_parameters`; None where not published.

    Joined on both, as the same weights differ by size. Source: the head of the file.
    """
    with open(FILE, newline="", encoding="utf-8") as file:
        lines = [line for line in file if not line.startswith("#")]
    found = {}
    for row in csv.DictReader(lines):
        key = row.pop("model"), int(row.pop("side"))
        found[key] = {name: float(value) if value else None for name, value in row.items()}
    return found


def near_sides(model: str) -> list[int]:
    """The sides at which timm publishes results of these weights; none for weights that it does not list."""
    return sorted(side for name, side in timm_accuracies() if name == model)
