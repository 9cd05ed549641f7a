"""Write the tables of `bench/published/` from the long CSV files that were copied out of the papers' repositories.

    python benchmarks/published_tables.py DIR

DIR holds the copies (other_SFDA2022_finetune_supervised.csv and so on). Each table says where its numbers come from.
Percent become fractions by moving the point, so that every printed digit stays as it was.
"""

import csv
import sys
from collections.abc import Mapping, Sequence
from decimal import Decimal
from pathlib import Path

OUT = Path(__file__).parent.parent / "bench" / "published"
MEASURES = {"top-1": "top1", "mean per-class": "mean_per_class", "11-point mAP": "map_11point"}
TMLR = {"flowers102": "flowers", "oxfordpets": "pets", "stanfordcars": "cars", "brain_tumor_kaggle": "brain_tumor",
        "skin_splits": "isic2019"}  # fmt: skip
# Default weights of timm 0.6.12 (tag v0.6.12, results/results-imagenet.csv, Apache-2.0), in percent.
TIMM_0_6_12 = {
    "densenet121": "75.580", "densenet161": "77.354", "densenet169": "75.904", "efficientnet_b0": "77.700",
    "mobilenetv2_050": "65.944", "mobilenetv2_100": "72.956", "resnet18": "69.748", "resnet34": "75.112",
    "resnet50": "80.374", "vit_small_patch16_224": "81.396",
}  # fmt: skip
# Top-1 of the standard (epsilon 0) source models, README of microsoft/robust-models-transfer, in percent.
SALMAN = {"resnet18": "69.79", "resnet50": "75.80", "wide_resnet50_2": "76.97", "wide_resnet50_4": "77.91"}
SALMAN_TASKS = {"SUN397": "sun397", "stanford_cars": "cars"}
SIMCLR_REGIMES = {"linear evaluation": "probe", "fine-tuned": "finetune", "random init": "scratch"}
SIMCLR_TASKS = {"Caltech-101": "caltech101"}

HEADS = {
    "sfda2022": """\
title: 11 torchvision models fine-tuned on 11 data sets, ground truth of SFDA
paper: Shao et al. 2022, Not All Models Are Equal: Predicting Model Transferability in a Self-challenging Fisher Space
source: github.com/TencentARC/SFDA, tw_group1.py at 3b7edf76bd682acb1eba4f4c5eb7ea7f3f7f6c59 (no licence file)
date: 2022
note: the ImageNet column is torchvision's published acc@1 of the IMAGENET1K_V1 weights; the source gives none
note: metrics are those that ssl-transfer, whose recipe the repository follows, uses for each data set""",
    "tmlr2024": """\
title: 10 timm models on 11 data sets, fine-tuned and frozen
paper: Chaves et al. 2024, Back to the Basics on Predicting Transfer Performance, arXiv 2405.20420
source: github.com/VirtualSpaceman/tmlr-transferability-benchmark, inputs/transf_scores.csv and \
transf_scores_frozen.csv at a78087003652a9b13b7f689f08fb6ef751ee82fd (no licence file)
date: 2024
note: the ImageNet column of the source does not fit the weights of four models (densenet121, resnet34, resnet50, \
vit_small_patch16_224) if they are timm 0.6.12's defaults; imagenet_top1_timm0.6.12 has timm's own values
note: that "frozen" means a head on frozen features is inferred from the numbers (109 of 110 are lower), not stated
note: accuracy is balanced (mean per-class); verified for seven of the data sets, likely for caltech101, flowers, cars \
and voc2007""",
    "salman2020": """\
title: 4 ResNets on 12 data sets, fixed features and full network
paper: Salman et al. 2020, Do Adversarially Robust ImageNet Models Transfer Better?, arXiv 2007.08489
source: github.com/microsoft/robust-models-transfer, best_params_per_dataset_per_arch.md at \
cea2c37f09ae24485b7e593a470aa350c3fb32ee (MIT); ImageNet: its README, read in a copy (RjDuan/AdvDrop at 250e828)
date: 2020
note: each number is the best of ten source models of one architecture, trained with L2 robustness of epsilon 0 to 5; \
the ImageNet column is that of the standard one (epsilon 0)
note: accuracy is what the source calls nat_prec1: plain top-1 in all data sets""",
    "simclr2020": """\
title: ResNet-50, supervised and SimCLR, on the 12 data sets of Kornblith et al. 2019, three regimes
paper: Chen et al. 2020, A Simple Framework for Contrastive Learning of Visual Representations, arXiv 2002.05709
source: Table B.5
date: 2020
note: one supervised model, so there is no correlation; its ImageNet top-1, 76.3, is from the same text
note: simclr_resnet50 has no ImageNet accuracy here: its source task has no labels
note: resnet50_random is trained from scratch on each data set""",
}  # fmt: skip


def read(path: Path) -> list[dict[str, str]]:
    with path.open(newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def fraction(percent: str) -> str:
    return format(Decimal(percent).scaleb(-2), "f") if percent else ""


def write(name: str, metrics: Mapping[str, str], sources: Sequence[str],
          cells: Mapping[tuple[str, str], Mapping[str, str]], tops: Mapping[str, Sequence[str]]) -> None:  # fmt: skip
    """cells: (regime, model) -> task -> fraction. tops: model -> its ImageNet columns."""
    tasks = sorted(metrics)
    usual = max(sorted(set(metrics.values())), key=list(metrics.values()).count)
    head = [f"# {line}" for line in HEADS[name].splitlines()] + [f"# metric: {usual}"]
    head += [f"# metric of {task}: {metrics[task]}" for task in tasks if metrics[task] != usual]
    with (OUT / f"{name}.csv").open("w", newline="", encoding="utf-8") as file:
        file.write("\n".join(head) + "\n")
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["regime", "model", *sources, *tasks])
        for (regime, model), of in cells.items():
            lines.writerow(
                [regime, model, *tops.get(model, [""] * len(sources)), *(of.get(task, "") for task in tasks)]
            )


def main(folder: Path) -> None:
    cells: dict[tuple[str, str], dict[str, str]] = {}
    rows = read(folder / "other_SFDA2022_finetune_supervised.csv")
    for row in rows:
        cells.setdefault(("finetune", row["model"]), {})[row["dataset"]] = fraction(row["finetune_acc"])
    write("sfda2022", {row["dataset"]: MEASURES[row["metric"]] for row in rows}, ["imagenet_top1"], cells,
          {row["model"]: [fraction(row["imagenet_top1"])] for row in rows})  # fmt: skip

    cells, tops = {}, {}
    for regime, file in (("finetune", "finetuned"), ("probe", "frozen")):
        for row in read(folder / f"other_TMLR2024_{file}.csv"):
            task = TMLR.get(row["dataset"], row["dataset"])
            cells.setdefault((regime, row["model"]), {})[task] = row["test_accuracy"]
            tops[row["model"]] = [fraction(row["imagenet_top1"]), fraction(TIMM_0_6_12[row["model"]])]
    tasks = next(iter(cells.values()))
    write(
        "tmlr2024", dict.fromkeys(tasks, "mean_per_class"), ["imagenet_top1", "imagenet_top1_timm0.6.12"], cells, tops
    )

    cells = {}
    for row in read(folder / "other_Salman2020_transfer.csv"):
        regime = {"-1": "finetune", "4": "probe"}[row["freeze_level"]]
        task = SALMAN_TASKS.get(row["dataset"], row["dataset"])
        cells.setdefault((regime, row["arch"]), {})[task] = fraction(row["nat_prec1"])
    write("salman2020", dict.fromkeys(next(iter(cells.values())), "top1"), ["imagenet_top1"],
          dict(sorted(cells.items())), {model: [fraction(top)] for model, top in SALMAN.items()})  # fmt: skip

    cells = {}
    for row in read(folder / "other_SimCLR2020_resnet50_12datasets.csv"):
        regime, kind = SIMCLR_REGIMES[row["setting"]], row["model"].partition(" ")[0]
        model = {"SimCLR": "simclr_resnet50", "Supervised": "resnet50", "ResNet-50": "resnet50_random"}[kind]
        task = SIMCLR_TASKS.get(row["dataset"], row["dataset"].lower())
        cells.setdefault((regime, model), {})[task] = fraction(row["value_pct"])
    mean = {"aircraft", "caltech101", "flowers", "pets"}
    metrics = {task: "mean_per_class" if task in mean else "map_11point" if task == "voc2007" else "top1"
               for task in next(iter(cells.values()))}  # fmt: skip
    write("simclr2020", metrics, ["imagenet_top1"], cells, {"resnet50": ["0.763"]})

    write_estimators(folder)


def write_estimators(folder: Path) -> None:
    """The five estimators' scores of the TMLR table, in the names of `featune.bench.estimators` where it has them."""
    rows = read(folder / "other_TMLR2024_estimators.csv")
    names = {"logme_score": "logme", "leep_score": "leep", "nce_score": "nce", "nleep_score": "nleep",
             "reg_hscore_score": "h_score"}  # fmt: skip
    with (OUT / "tmlr2024_estimators.csv").open("w", newline="", encoding="utf-8") as file:
        file.write("# Scores of five estimators, of the same source as tmlr2024.csv (inputs/transf_scores.csv).\n")
        lines = csv.writer(file, lineterminator="\n")
        lines.writerow(["task", "model", *names.values()])
        found: dict[tuple[str, str], dict[str, str]] = {}
        for row in rows:
            key = TMLR.get(row["dataset"], row["dataset"]), row["model"]
            found.setdefault(key, {})[names[row["estimator"]]] = row["value"]
        lines.writerows([*key, *(of[name] for name in names.values())] for key, of in found.items())


if __name__ == "__main__":
    main(Path(sys.argv[1]))
