"""What `featune choose` does: screen, fine-tune, choose on val, measure once on test, export, report."""

import dataclasses
import math
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featune.engine.errors import BadInput
from featune.engine.finetune import Decoded, Recipe, TrainVal, forget
from featune.engine.search import Facts
from featune.engine.store import cache_dir, digest

from ..data import Source, prepare
from ..finetune import Candidate, Folder, Job, chosen_recipes, timed
from ..progress import Progress, Silent
from ..regimes import Goodness
from ..study import check_place
from ..tasks import Task
from .candidates import Backbone, backbones
from .document import Choice, document_of
from .finishing import Winner, files, scored
from .journal import Journal
from .page import write_report
from .probing import Probes, Splits, probe_all
from .rules import FINETUNED, MOST_TUNED, Cost, Tried, best, most_better
from .screening import Opened, Place, open_all
from .tuning import Tuned, Tuning, Work, least_seconds, tune

REGIME_NAMES = ("frozen", "finetune")
FILES_FROM = 10  # minutes
EXPORT_SECONDS = 15  # of making and checking one file, at least
MARGIN = 0.95  # of the budget, which is planned by what was timed before


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a user asks for. models: none for the default list. minutes: of the whole. regimes: of REGIME_NAMES.

    max_latency_ms: of one image, at most. backend: what times the models and takes their features; auto for ONNX
    Runtime from FILES_FROM minutes on, below which making a file of each model would take most of the time, and torch.
    out: None for a folder of runs/choose. command: as it was given.
    """

    models: tuple[str, ...] = ()
    minutes: float = 30.0
    max_latency_ms: float | None = None
    regimes: tuple[str, ...] = REGIME_NAMES
    backend: str = "auto"
    device: str = "cpu"
    untrained: bool = False
    seed: int = 0
    out: Path | None = None
    command: str = ""

    @property
    def runs_on(self) -> str:
        """The backend, by its own name."""
        usual = "onnxruntime" if self.minutes >= FILES_FROM else "torch"
        return usual if self.backend == "auto" else self.backend

    def __post_init__(self) -> None:
        if wrong := [name for name in self.regimes if name not in REGIME_NAMES] or not self.regimes:
            raise BadInput(f"--regime: {wrong or 'nothing'} found; frozen, finetune or both by a comma expected")
        if not self.minutes > 0:
            raise BadInput(f"--minutes {self.minutes:g} found; more than 0 expected")
        if self.max_latency_ms is not None and not self.max_latency_ms > 0:
            raise BadInput(f"--max-latency-ms {self.max_latency_ms:g} found; more than 0 expected")


def choose(
    source: Source, asked: Asked, progress: Progress | None = None, began: float | None = None
) -> tuple[Path, dict[str, Any]]:
    """(the folder, what its choose.json says). A call with the same options goes on where a killed one stopped.

    began: on the clock of `time.perf_counter`, where the time of the budget began before this call. Raises BadInput
    where the folder is another run's or every model is too slow, Missing where no candidate has its weights here.
    """
    progress, began = progress or Silent(), time.perf_counter() if began is None else began
    check_place(asked.runs_on, asked.device)
    place = Place(asked.runs_on, asked.device, cache_dir())
    task = prepare(source, cache_dir() / "choose", progress)
    if task.counts["val"] < 2:
        raise BadInput(f"{task.name}: {task.counts['val']} val images found, 2 or more expected; give a val")
    found, absent = backbones(asked.models, asked.untrained, progress.say)
    if asked.untrained:
        progress.say("--untrained: RANDOM WEIGHTS. This tries the command; the choice means nothing")
    folder = _folder(task, found, asked)
    folder.claim()
    for note in (task.source, *task.notes):
        if note:
            progress.say(f"{task.name}: {note}")
    journal = Journal(folder.work / "journal")
    journal.note("prepare", [task.digest], time.perf_counter() - began)
    budget = 60 * asked.minutes
    splits = Splits(task, task.load("train"), task.load("val"), asked.seed)
    opened, out, slow = open_all(
        found, splits.train, place, journal, seconds=budget, max_ms=asked.max_latency_ms, told=progress.say
    )  # fmt: skip
    if not opened:
        reasons = "; ".join(f"{name}: {reason}" for name, reason in out.items())
        raise BadInput(f"no candidate is left: {reasons}; allow more milliseconds, or name other models")
    deadline = MARGIN * budget - _reserve(opened, task)
    rates, recipe = {one.name: one.images_per_second for one in opened}, _recipe(splits)

    def tuning(models: Sequence[str]) -> float:
        wanted = models[:MOST_TUNED] if "finetune" in asked.regimes else ()
        return least_seconds([rates[name] for name in wanted], recipe, len(splits.train))

    probes = probe_all(opened, splits, place, journal, deadline=deadline, tuning=tuning, progress=progress)
    out |= probes.out
    tuned, candidates = _tuned(asked, opened, probes, place, journal, folder, deadline, progress)
    choice = _choose(asked, probes, tuned, candidates)
    winner = Winner(
        next(one.backbone.spec for one in opened if one.name == choice.chosen.model), choice.chosen.regime,
        probes.splits, candidates.get(choice.tuning) if choice.tuning else None,
    )  # fmt: skip
    progress.say(f"chosen on val: {choice.chosen.model}, {choice.chosen.regime}")
    key = [choice.chosen.model, choice.chosen.regime, choice.tuning, task.digest]
    row = scored(winner, task, place, folder.path, asked.seed)
    journal.note("test", key, row.seconds)
    written = journal.once("files", key, lambda: files(winner, task, place, folder.path, asked.seed))
    if written.get("error"):
        journal.forget("files", key)
    document = document_of(
        asked, task, found, absent, [*opened, *slow.values()], out, probes, tuned, choice, row, written, journal
    )  # fmt: skip
    write_report(folder.path, document)
    if not written.get("error"):  # else the next run writes the files
        for work in [folder.work, *(each for each in folder.work.rglob("*") if each.is_dir())]:
            forget(work)
    return folder.path, document


def _folder(task: Task, found: list[Backbone], asked: Asked) -> Folder:
    fields = {
        "data": {"name": task.name, "digest": task.digest}, "metric": task.metric,
        "models": {each.name: each.spec.digest for each in found}, "minutes": asked.minutes,
        "max_latency_ms": asked.max_latency_ms, "regimes": list(asked.regimes), "backend": asked.runs_on,
        "device": asked.device, "seed": asked.seed, "untrained": asked.untrained,
    }  # fmt: skip
    return Folder(asked.out or Path("runs", "choose", f"{task.name}-{digest(fields)[:8]}"), fields)


def _recipe(splits: Splits) -> Recipe:
    (recipe,) = chosen_recipes("default", Facts(len(splits.train)), {}).candidates
    return recipe


def _reserve(opened: list[Opened], task: Task) -> float:
    """Seconds that the last steps take: test images by the slowest candidate, and its file made anew."""
    return max(2 * task.counts["test"] / one.images_per_second + max(EXPORT_SECONDS, one.seconds) for one in opened)


def _tuned(
    asked: Asked, opened: list[Opened], probes: Probes, place: Place, journal: Journal, folder: Folder,
    deadline: float, progress: Progress,
) -> tuple[Tuned, dict[Tuning, Candidate]]:  # fmt: skip
    """Fine-tuning of the best probes that were not dropped, on the images of the last round."""
    if "finetune" not in asked.regimes:
        return Tuned((), (), {}, "fine-tuning was not asked for"), {}
    splits, task = probes.splits, probes.splits.task
    data = TrainVal(splits.train, splits.val, splits.classes, task.multilabel)
    good = Goodness(task.metric, splits.truth(splits.val))
    decoded, specs = Decoded(), {one.name: one.backbone.spec for one in opened}
    recipe = _recipe(splits)
    names = [one.model for one in probes.tried if one.model not in probes.out]
    known: dict[Tuning, Candidate] = {}
    with progress.stage("fine-tuning") as advance:

        def job(model: str) -> Job:
            work = folder.work / "models" / digest(specs[model].digest)
            return Job(
                specs[model], data, good, asked.seed, work, place.device, decoded=decoded,
                progress=lambda done, total: advance(done, total, about=model),
            )  # fmt: skip

        def candidate(one: Tuning) -> Candidate:
            return known.setdefault(one, Candidate(job(one.model), one.recipe))

        def cost(model: str) -> Cost:
            took = timed(job(model), recipe)
            share = took.look / recipe.steps_per_epoch(len(data.train))
            return Cost(took.start, took.step + share, took.look)

        def train(one: Tuning, until: int) -> float:
            return candidate(one).train(until)

        tuned = tune(
            names, {one.name: one.images_per_second for one in opened}, recipe, len(data.train),
            Work(cost, train), journal, folder.work,
            deadline=deadline, told=progress.say,
        )  # fmt: skip
        for one in tuned.finished:  # a run that goes on has not trained them in this process
            candidate(one)
    if not tuned.finished:
        progress.say(tuned.said)
    return tuned, known


def _choose(asked: Asked, probes: Probes, tuned: Tuned, candidates: Mapping[Tuning, Candidate]) -> Choice:
    """The best on val of what was asked for; frozen features where nothing else could be done."""
    splits = probes.splits
    ms = {one.model: one.ms for one in probes.tried}
    trained: list[tuple[Tried, Tuning | None]] = []
    for tuning in tuned.finished:
        own = candidates[tuning]
        state, scores = own.best(), np.load(own.scores, allow_pickle=False)
        trained.append(
            (Tried(tuning.model, FINETUNED, state["value"], scores, ms[tuning.model], state["details"]), tuning)
        )
    frozen: list[tuple[Tried, Tuning | None]] = [(one, None) for one in probes.tried]
    eligible = [*(frozen if "frozen" in asked.regimes or not trained else []), *trained]
    chosen = best([one for one, _ in eligible])
    training = next(each for one, each in eligible if one is chosen)
    every = [one for one, _ in [*frozen, *trained]]
    bound = most_better(splits.task.metric, splits.truth(splits.val), every, chosen, asked.seed)
    return Choice(chosen, training, (*frozen, *trained), bound if math.isfinite(bound) else 1.0)
