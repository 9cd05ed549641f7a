"""One pre-training: a subset of a source task, an architecture from random weights, and the folder that it leaves."""

import dataclasses
import functools
import shutil
import time
from collections.abc import Mapping, Sequence
from importlib.metadata import version
from pathlib import Path
from typing import Any

import torch

from featune.engine.errors import BadInput
from featune.engine.finetune import Decoded, Progress, Recipe, Run, predict, train
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, feature_model, feature_width, with_channels
from featune.engine.paths import as_name
from featune.engine.store import added, cache_dir, check_writable, digest, locked, plain, read_json, write_json

from ..data import Request, Source, check_images
from ..estimators import class_separation
from ..progress import Silent
from ..stats import interval
from ..tasks import Layout
from ..training_log import LogFile
from .choices import Choices, chosen_recipe, trained_network, training_model
from .hierarchy import read_hierarchy
from .near_duplicates import HASHES, USUAL, near_images
from .source import opened_source, target_images
from .subsets import Rule, Subset, counts_of, subset_of, write_subset
from .timm_folder import write_network

FROM_SCRATCH = Recipe(batch=64, learning_rates=(0.025,), weight_decay=1e-4, optimizer="sgd")  # 0.1 for 256 images
RULES = 1  # of making a model, raised when it changes, so that what was made before is made again
RESULT, SUBSET, LOG, WORK = "result.json", "subset.csv", "log.jsonl", "work"


@dataclasses.dataclass(frozen=True)
class Asked:
    """What is to be pre-trained. spec: of a timm architecture, with its view; its weights and classes do not matter.

    hierarchy: a file of child and parent. away_from: data strings of targets whose images the source must not have.
    seed: of the first weights, the order of the images and the crops; the subset has its own, in its rule.
    """

    name: str
    spec: ModelSpec
    source: Source
    recipe: Recipe
    rule: Rule = dataclasses.field(default_factory=Rule)
    choices: Choices = dataclasses.field(default_factory=Choices)
    hierarchy: Path | None = None
    away_from: tuple[Request, ...] = added(())
    seed: int = 0
    device: str = "cpu"


@dataclasses.dataclass(frozen=True)
class Made:
    """The folder, and what result.json says of it: names, accuracies on the source's splits, provenance."""

    folder: Path
    result: Mapping[str, Any]

    @property
    def facts(self) -> dict[str, float]:
        """Numbers of the model that its transfer may follow."""
        value = self.result.get("class_separation")
        return {"class_separation": value} if isinstance(value, float) and 0 < value < 1 else {}

    @property
    def entry(self) -> dict[str, Any]:
        """The model as an entry of a study file."""
        found = {"name": self.result["name"], "architecture": f"local-dir:{self.folder.absolute()}"}
        said = self.result.get("val") or self.result["test"]
        if 0 < said["top1"] < 1:
            found |= {"source_top1": said["top1"], "source_n": said["n"]}
        return found


@dataclasses.dataclass(frozen=True)
class Opened:
    """A pre-training whose images are listed."""

    asked: Asked
    subset: Subset
    spec: ModelSpec
    recipe: Recipe

    @functools.cached_property
    def key(self) -> str:
        """Names all that its result depends on; a length in passes and the same one in steps are one."""
        return self._named(self.subset.digest)

    @functools.cached_property
    def training(self) -> str:
        """Names all that its weights depend on: no image of val and test, in which nothing is chosen."""
        train = self.subset.splits["train"]
        return self._named(digest([train.content_digest, train.labels]))

    def _named(self, images: str) -> str:
        of = self.asked
        steps = self.recipe.total_steps(len(self.subset.splits["train"]))
        recipe = dataclasses.replace(self.recipe, steps=steps, epochs=1)
        return digest([RULES, self.spec.digest, images, recipe, of.choices, of.seed, of.device])


def opened(asked: Asked, layout: Layout | None = None, *, look_at_images: bool = True) -> Opened:
    """List the source and take the subset. Raises BadInput for what cannot be made of them.

    layout: of the source, where it was listed before. look_at_images: read those of source and targets for near
    duplicates; without it none is left out.
    """
    if asked.spec.is_factory or asked.spec.architecture.startswith("local-dir:"):
        raise BadInput(
            f"{asked.spec.architecture}: a timm architecture expected, which is built with a head of the source's "
            "classes; give its name, resnet18 for example"
        )
    if len(asked.recipe.learning_rates) > 1:
        raise BadInput(f"learning_rates: {list(asked.recipe.learning_rates)} found, one expected; nothing is chosen")
    layout = layout or opened_source(asked.source)
    hierarchy = read_hierarchy(asked.hierarchy, layout.classes) if asked.hierarchy else None
    targets = [target_images(request) for request in asked.away_from]
    rule = asked.rule
    near: Sequence[int] = ()
    if targets and look_at_images:
        bits = USUAL if rule.near is None else rule.near
        rule = dataclasses.replace(rule, near=bits, away_from=tuple(items.content_digest for items in targets))
        near = _near(layout.splits["train"], targets, bits)
    subset = subset_of(layout.splits, layout.classes, rule, hierarchy, near)
    recipe = chosen_recipe(asked.recipe, asked.choices)
    kwargs = {**dict(asked.spec.kwargs), "num_classes": len(subset.classes)}
    spec = dataclasses.replace(asked.spec, kwargs=tuple(sorted(kwargs.items())), source_top1=None, source_n=None)
    spec = with_channels(spec, subset.splits["train"].channels).with_random_weights(asked.seed)
    return Opened(dataclasses.replace(asked, rule=rule), subset, spec, recipe)


def check(asked: Asked, layout: Layout | None = None, *, look_at_images: bool = True) -> Opened:
    """As `opened`, and build the model once: a choice that does not fit the architecture is refused before any work."""
    found = opened(asked, layout, look_at_images=look_at_images)
    model = training_model(found.spec, asked.choices)
    feature_width(model, found.spec.view.side, found.spec.view.channels)
    return found


def made_before(found: Opened, folder: Path) -> Made | None:
    """What lies in the folder, if it is this pre-training, whole. Raises BadInput where it is another one's."""
    known = read_json(folder / RESULT)
    if not isinstance(known, dict):
        return None
    if known.get("key") != found.key:
        raise BadInput(
            f"{folder} holds another pre-training ({known.get('name')}: {known.get('rule')}); give another --out, or "
            "remove it"
        )
    return Made(folder, {**known, "name": found.asked.name or known["name"]})


def cached_folder(found: Opened) -> Path:
    """Where the models of studies lie, by what they depend on."""
    return cache_dir() / "pretrained" / found.key


def cached_work(found: Opened) -> Path:
    """Where the training of a study's model goes on, also when its val and test were mended meanwhile."""
    return cache_dir() / "pretrained" / WORK / found.training


def default_folder(found: Opened) -> Path:
    """Below `runs/pretrain`; the same options give the same folder, so that a run that was stopped goes on."""
    parts = (found.spec.architecture.partition(".")[0], found.asked.source.name, found.key[:8])
    return Path("runs", "pretrain", "-".join(as_name(part, 60) for part in parts))


def made_lines(made: Made) -> list[str]:
    """For people: what it learned from, how well, and how to name it."""
    said = made.result
    lines = [
        f"{said['name']}: {said['architecture']} from random weights, seed {said['seed']}",
        f"source: {said['source']}: {said['rule']}; {said['classes']} labels, {said['train_images']:,} training images",
        f"training: {said['steps']:,} steps, {said['passes']:.1f} passes",
        f"choices: {Choices(**said['choices']).words()}",
    ]
    for split in ("val", "test"):
        if of := said.get(split):
            lines.append(f"{split}: top1 {of['top1']:.4f}, 95 % {of['low']:.4f} to {of['high']:.4f}, n = {of['n']:,}")
    entry = ", ".join(f"{key}: {value}" for key, value in made.entry.items())
    if "class_separation" in said:
        lines.append(f"class separation of its features there: R2 {said['class_separation']:.3f}")
    return [*lines, f"in a study file: - {{{entry}}}", f"folder: {made.folder}"]


def make(found: Opened, folder: Path, progress: Progress | None = None, work: Path | None = None) -> Made:
    """Train the whole network from random weights and leave the folder; done once. A killed training goes on.

    The folder holds the model as `local-dir:` names it, subset.csv with the images, log.jsonl with every step, and
    result.json. work: a folder for the training until it ends, by default in that one. Raises BadImages before the
    training for what val and test could not be measured on.
    """
    work = work or folder / WORK
    check_writable(folder / RESULT)
    with locked(work):
        known = made_before(found, folder)
        if known is None and not found.asked.name:
            found = dataclasses.replace(found, asked=dataclasses.replace(found.asked, name=folder.name))
        return known or _made(found, folder, work, progress)


def _made(found: Opened, folder: Path, work: Path, progress: Progress | None) -> Made:
    asked, subset, spec = found.asked, found.subset, found.spec
    items = subset.splits["train"]
    check_images(work, [of for split, of in subset.splits.items() if split != "train"], Silent())
    write_subset(subset, asked.source.name, asked.rule, folder / SUBSET)
    model = training_model(spec, asked.choices)
    run = Run(
        asked.device, work, found.training, 30.0, progress, Decoded(), log=LogFile(folder / LOG), spec=spec
    )  # fmt: skip
    began = time.perf_counter()
    truth = torch.from_numpy(items.truth(len(subset.classes)))
    trained = train(model, items, truth, spec.view, found.recipe, asked.seed, run)
    seconds = time.perf_counter() - began
    state = {name: value.detach().cpu().contiguous() for name, value in trained_network(model).state_dict().items()}
    left = write_network(spec, state, subset.classes, folder)
    per_epoch = found.recipe.steps_per_epoch(len(items))
    counts = counts_of(subset)
    result = {
        "name": asked.name, "key": found.key, "architecture": spec.architecture,
        "weights": left.weights.rpartition("#")[2],
        "source": asked.source.name, "rule": asked.rule.words(), "settings": plain(asked.rule), "subset": subset.digest,
        "classes": len(subset.classes), "fine_classes": len(subset.fine), "train_images": len(items),
        "images_per_class": [min(counts.values()), max(counts.values())], "removed_near_images": subset.removed,
        "choices": plain(asked.choices), "recipe": plain(found.recipe), "seed": asked.seed,
        "steps": trained.steps, "passes": trained.steps / per_epoch, "seconds": round(seconds, 3),
        **_accuracies(model, found), "class_separation": _separation(left, found), "device": asked.device,
        "versions": {name: version(name) for name in ("featune", "torch", "timm")},
    }  # fmt: skip
    write_json(folder / RESULT, result)
    shutil.rmtree(work, ignore_errors=True)
    return Made(folder, result)


def _accuracies(model: torch.nn.Module, found: Opened) -> dict[str, Any]:
    """Top-1 with its 95 % interval on the source's val and test; nothing was chosen by either."""
    result = {}
    for split, items in found.subset.splits.items():
        if split == "train":
            continue
        scores = predict(model, items, found.spec.view, found.asked.device)
        of = interval("top1", items.truth(len(found.subset.classes)), scores)
        result[split] = {"top1": of.value, "low": of.low, "high": of.high, "n": of.n}
    return result


def _separation(left: ModelSpec, found: Opened) -> float:
    """R^2 of the classes in the penultimate features of the source's val, or test where it has no val."""
    items = found.subset.splits.get("val") or found.subset.splits["test"]
    rows = predict(feature_model(left), items, left.view, found.asked.device)
    return class_separation(rows, items.truth(len(found.subset.classes)))


def _near(train: Labelled, targets: Sequence[Labelled], bits: int) -> list[int]:
    """Remembered in the cache: of a large source there are many pairs."""
    key = digest([HASHES, *([of.content_digest, of.channels] for of in (train, *targets)), bits])
    file = cache_dir() / "near" / f"{key}.json"
    known = read_json(file)
    if isinstance(known, list):
        return known
    found = near_images(train, targets, bits)
    write_json(file, found)
    return found
