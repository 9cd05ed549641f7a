"""Write `engine/accuracies/timm_results.csv` from timm's result files, in our own compact form.

    python benchmarks/timm_results.py DIR [--commit HASH] > engine/accuracies/timm_results.csv

DIR holds results-imagenet.csv and its sisters of ReaL, V2, A, R and Sketch, from `results/` of
github.com/huggingface/pytorch-image-models. They are joined on model and image size: 290 models stand there at
more than one size. Percent become fractions by moving the point.
"""

import argparse
import csv
import sys
from decimal import Decimal
from pathlib import Path

COMMIT = "aa4b5850c1543fa488abf260f18390eda46cf85d"
FILES = {
    "top1": "results-imagenet.csv", "real": "results-imagenet-real.csv",
    "v2": "results-imagenetv2-matched-frequency.csv", "a": "results-imagenet-a.csv", "r": "results-imagenet-r.csv",
    "sketch": "results-sketch.csv",
}  # fmt: skip
HEAD = """\
# Published accuracies of timm's models, as fractions, one row per model and image size.
# Source: github.com/huggingface/pytorch-image-models, results/ at {commit}
# (last changed 2025-10-30), Apache-2.0, Ross Wightman. Columns chosen, percent made fractions
# by benchmarks/timm_results.py.
# top1, real, v2 (matched frequency), a, r, sketch: ImageNet's validation set with its own and with ReaL labels, and the
# variants V2, A, R and Sketch. million_parameters: with the classifier.
"""


def read(path: Path) -> dict[tuple[str, str], dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    found = {(row["model"], row["img_size"]): row for row in rows}
    assert len(found) == len(rows), f"{path}: a model stands there twice at one size"
    return found


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--commit", default=COMMIT)
    given = parser.parse_args()
    tables = {name: read(given.folder / file) for name, file in FILES.items()}
    sys.stdout.write(HEAD.format(commit=given.commit))
    lines = csv.writer(sys.stdout, lineterminator="\n")
    lines.writerow(["model", "side", *FILES, "million_parameters"])
    for model, side in sorted(tables["top1"], key=lambda key: (key[0], int(key[1]))):
        shares = [of[model, side]["top1"] if (model, side) in of else "" for of in tables.values()]
        size = tables["top1"][model, side]["param_count"].replace(",", "")
        lines.writerow([model, side, *(format(Decimal(one).scaleb(-2), "f") if one else "" for one in shares), size])


if __name__ == "__main__":
    main()
