"""What `featune choose` loses against an exhaustive run over the same candidates, and how well it keeps its time.

    python benchmarks/choose.py --weights WEIGHTS [--data FOLDER ...] [--minutes 5] [--out runs/choose-benchmark]

WEIGHTS: a folder with `factory.py` (`build(name)`, `SIDE`, `NORM`), whose networks are the candidates, or those of
`--names`. Data: the folders given, and three that are made from what scikit-learn brings (digits, tiles of two
photographs, drawn shapes). Of each: `featune choose --minutes M` in a process and a cache of its own, timed from its
start to its end; then every candidate, frozen and fine-tuned by the whole recipe `default`, by the functions that
choose itself uses, each scored on test. Regret: the best of those on test less choose's pick among those, and less what
choose delivered. A JSON line for each run in OUT/runs.jsonl; what has a line is not run again, so that a stopped one
goes on. `--part choose` and `--part exhaustive` run one half alone. Run choose on a quiet machine: it plans by seconds.
"""

import argparse
import dataclasses
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from scipy.stats import norm

from featune.bench.choose.command import _recipe
from featune.bench.choose.finishing import Winner, scored
from featune.bench.choose.probing import Splits
from featune.bench.choose.rules import FINETUNED, FROZEN
from featune.bench.choose.screening import Place
from featune.bench.data import Request, prepare
from featune.bench.finetune import Candidate, Job
from featune.bench.generated import TARGETS, write_images
from featune.bench.regimes import Goodness
from featune.bench.results import RunStore
from featune.bench.stats import holm, paired_wald
from featune.bench.study import source_of
from featune.bench.tasks import Task
from featune.engine.errors import FeatuneError
from featune.engine.finetune import TrainVal
from featune.export.commands import spec_of_model

FACTORY = """
import pathlib
import sys

sys.path.insert(0, {folder!r})
from factory import NORM, SIDE, build


def _net(name):
    model = build(name)
    mean, std = NORM[name]
    model.pretrained_cfg = dict(getattr(model, "pretrained_cfg", None) or {{}}) | {{
        "input_size": (3, {side} or SIDE[name], {side} or SIDE[name]), "mean": mean, "std": std, "crop_pct": 0.875,
        "interpolation": "bilinear",
    }}
    return model
"""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--weights", type=Path, required=True)
    parser.add_argument("--names", default="", help="of networks of the factory, by commas; all without")
    parser.add_argument("--side", type=int, default=0, help="pixels of every candidate's input; 0: as it was trained")
    parser.add_argument("--data", type=Path, nargs="*", default=[])
    parser.add_argument("--made", default="digits,photographs,shapes", help="of the made folders, by commas; none: -")
    parser.add_argument("--minutes", type=float, default=5.0)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--part", choices=("both", "choose", "exhaustive", "report"), default="both")
    parser.add_argument("--out", type=Path, default=Path("runs/choose-benchmark"))
    given = parser.parse_args()
    given.out.mkdir(parents=True, exist_ok=True)
    folders = [path.absolute() for path in given.data]
    for name in [each for each in given.made.split(",") if each in TARGETS]:
        drawn = TARGETS[name]
        folders.append(write_images(given.out.absolute() / "data" / name, [name, 0], lambda drawn=drawn: drawn(0)))
    models = candidates(given.weights, given.names, given.side, given.out.absolute())
    for folder in folders:
        if given.part in ("both", "choose"):
            once(given.out, ["choose", folder.name, given.minutes, given.seed, given.side],
                 lambda folder=folder: chosen(folder, models, given))  # fmt: skip
        if given.part in ("both", "exhaustive"):
            for model in models:
                for regime in (FROZEN, FINETUNED):
                    once(given.out, ["exhaustive", folder.name, model, regime, given.seed, given.side],
                         lambda *of: trained(*of, given), folder, model, regime)  # fmt: skip
    gains(given.out.absolute(), folders)
    report(given.out, [folder.name for folder in folders], given.minutes, [given.seed, given.side])


def candidates(weights: Path, names: str, side: int, out: Path) -> list[str]:
    """`file.py:function` of each network; the file is written."""
    sys.path.insert(0, str(weights.absolute()))
    from factory import SIDE  # type: ignore[import-not-found]

    wanted = [name.strip() for name in names.split(",") if name.strip()] or list(SIDE)
    text = FACTORY.format(folder=str(weights.absolute()), side=side)
    text += "".join(f"\n\ndef {name}():\n    return _net({name!r})\n" for name in wanted)
    (out / "nets.py").write_text(text)
    return [f"{out / 'nets.py'}:{name}" for name in wanted]


def lines(out: Path) -> Iterator[dict[str, Any]]:
    path = out / "runs.jsonl"
    for line in path.read_text().splitlines() if path.exists() else []:
        yield json.loads(line)


def once(out: Path, key: list[Any], run: Any, *arguments: Any) -> None:
    """Run, and append what it gives as one line; not again where the key has a line."""
    if any(line["key"] == key for line in lines(out)):
        return
    found = {"key": key, **run(*arguments)}
    with open(out / "runs.jsonl", "a", encoding="utf-8") as file:
        file.write(json.dumps(found) + "\n")
    print(json.dumps(found), flush=True)


def chosen(folder: Path, models: list[str], given: argparse.Namespace) -> dict[str, Any]:
    """What the command says and how long it took, in a cache of its own."""
    out = given.out.absolute() / f"choose-{folder.name}-{given.minutes:g}-{given.seed}"
    shutil.rmtree(out, ignore_errors=True)  # of a stopped run: the time is that of a whole one
    command = [sys.executable, "-m", "featune", "choose", str(folder), "--models", ",".join(models), "--minutes",
               f"{given.minutes:g}", "--seed", str(given.seed), "--out", str(out / "out"), "--json", "-q"]  # fmt: skip
    environment = os.environ | {"FEATUNE_CACHE_DIR": str(out / "cache")}
    began = time.perf_counter()
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=environment)
    wall = time.perf_counter() - began
    if not done.stdout.strip():
        raise SystemExit(done.stderr[-2000:])
    said = json.loads(done.stdout)
    shutil.rmtree(out / "cache", ignore_errors=True)
    return {
        "model": said["chosen"]["model"], "regime": said["chosen"]["regime"], "test": said["test"]["value"],
        "n": said["test"]["n"], "wall_seconds": wall, "counted_seconds": said["seconds"], "stages": said["stages"],
        "budget_seconds": 60 * given.minutes, "said": said["fine_tuning"], "short": said["short"],
        "not_better_by": said["not_better_by"],
    }  # fmt: skip


def trained(folder: Path, model: str, regime: str, given: argparse.Namespace) -> dict[str, Any]:
    """One candidate on test, done in full as choose does it for its winner."""
    began = time.perf_counter()
    cache = given.out.absolute() / "cache"
    task: Task = prepare(source_of(Request(str(folder)), "top1", 0, {}), cache / "tasks")
    spec = spec_of_model(model, say=lambda text: None)
    splits = Splits(task, task.load("train"), task.load("val"), given.seed)
    place = Place("torch", "cpu", cache)
    work = given.out.absolute() / "work" / folder.name / model.rpartition(":")[2]
    candidate = None
    try:
        if regime == FINETUNED:
            data = TrainVal(splits.train, splits.val, splits.classes, task.multilabel)
            goodness = Goodness(task.metric, splits.truth(splits.val))
            recipe = _recipe(splits)
            recipe = dataclasses.replace(recipe, steps=recipe.total_steps(len(splits.train)))
            candidate = Candidate(Job(spec, data, goodness, given.seed, work / "training"), recipe)
            candidate.train(recipe.steps or 0)
        row = scored(Winner(spec, regime, splits, candidate), task, place, work, given.seed)
    except FeatuneError as error:
        return {"model": spec.name, "regime": regime, "test": None, "error": str(error)}
    return {"model": spec.name, "regime": regime, "test": row.value, "n": row.n,
            "seconds": time.perf_counter() - began}  # fmt: skip


def report(out: Path, names: list[str], minutes: float, rest: list[int]) -> None:
    """Regret of the pick: the best in full less the same pick in full; and less what choose delivered.

    rest: seed and side.
    """
    known = list(lines(out))
    print(f"{'data':24} {'picked':36} {'test':>6} {'in full':>8} {'best in full':36} {'test':>6} {'regret':>7} "
          f"{'delivered less':>14} {'s over':>7} {'%':>6}")  # fmt: skip
    for name in names:
        picked = next((each for each in known if each["key"] == ["choose", name, minutes, *rest]), None)
        every = [each for each in known if each["key"][0] == "exhaustive" and each["key"][1] == name]
        every = [each for each in every if each["key"][-2:] == rest and each["test"] is not None]
        best = max(every, key=lambda each: each["test"], default=None)
        if not picked:
            continue
        same = next((each for each in every if short(each) == short(picked)), None)
        over = picked["wall_seconds"] - picked["budget_seconds"]
        share = 100 * over / picked["budget_seconds"]
        line = f"{name:24} {short(picked):36} {100 * picked['test']:6.1f} "
        line += f"{100 * same['test']:8.1f} " if same else f"{'not run':>8} "
        line += f"{short(best):36} {100 * best['test']:6.1f} " if best else f"{'not run':36} {'':6} "
        line += f"{100 * (best['test'] - same['test']):7.1f} " if best and same else f"{'':7} "
        line += f"{100 * (best['test'] - picked['test']):14.1f} " if best else f"{'':14} "
        print(f"{line}{over:7.0f} {share:6.1f}")


def gains(out: Path, folders: list[Path]) -> None:
    """Fine-tuned less frozen of every candidate in full, on the same test images, in points; what Holm's p settles."""
    found: list[tuple[str, str, float, float, float]] = []
    for data in folders:
        task = prepare(source_of(Request(str(data)), "top1", 0, {}), out / "cache" / "tasks")
        truth = task.load("test").truth(len(task.classes), False)
        for folder in sorted((out / "work" / data.name).glob("*/")):
            store = RunStore(folder / "runs")
            right = {row.cell.regime: store.scores(row).argmax(1) == truth for row in store.rows()}
            if {"finetune", "probe"} <= right.keys():
                middle, variance = paired_wald(right["finetune"], right["probe"])
                points = 100 * float(right["finetune"].mean() - right["probe"].mean())
                found.append((data.name, folder.name, points, 100 * middle, 100 * variance**0.5))
    settled = holm([2 * float(norm.sf(abs(middle) / error)) for *_, middle, error in found])
    for (name, model, points, middle, error), p in zip(found, settled, strict=True):
        low, high = (middle + z * error for z in (-1.96, 1.96))
        print(f"{name:24} {model:22} {points:+6.1f} ({low:+.1f} to {high:+.1f}) p {p:.2g}{' settled' * (p <= 0.05)}")


def short(of: dict[str, Any]) -> str:
    return f"{of['model'].rpartition(':')[2]}, {of['regime']}"


if __name__ == "__main__":
    main()
