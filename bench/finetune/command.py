"""What `featune finetune` does: search, train, keep the best, measure once on test, write the folder."""

import dataclasses
import logging
import statistics
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.finetune import Diverged, Finetuned, Recipe, TrainVal, joined, place, why_not
from featune.engine.images import Labelled, read_image
from featune.engine.models import LOCAL, ModelSpec, is_model_folder, source_model, spec_from_string
from featune.engine.search import Facts, Searched
from featune.engine.store import cache_dir, digest, plain, write_json, write_text

from ..data import Source, prepare
from ..progress import Progress, Silent
from ..regimes import Goodness, Scorer, Scores
from ..results import Cell, Row, RunStore, energy_text
from ..study import Study, measured, save_failed, study_of
from ..tasks import Task
from ..training_log import read_log, seconds_before, steps_to_odds
from .budget import check_minutes, within_minutes
from .folder import CONFUSION, LOG, MISTAKES, PAGE, RECIPE, RESULT, ROWS, Folder, default_folder
from .mistakes import judge
from .page import page_html
from .recipes import Chosen, chosen_recipes, write_recipe
from .several import check_device, claimed, energy_of_run, first_alone, with_energy_of_all
from .timm_folder import write_model
from .training import Job, NoneTrained, Outcome, trained, trial_line

log = logging.getLogger("featune")
SAMPLED = 50  # images whose size is looked at
SMALL = 96 * 96  # pixels; of BiT's rule


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a user asks for. recipe: a name, a .yaml file, or a Recipe. options, sets: see `chosen_recipes`.

    search: grid or halving, where there are several candidates. minutes: of the whole, which then decides the steps.
    refit: None for what the recipe says. scratch: from random weights. out: None for a folder of runs/finetune.
    log: names of TRACKERS.
    """

    recipe: str | Recipe = "default"
    options: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    sets: tuple[str, ...] = ()
    search: str = "grid"
    minutes: float | None = None
    refit: bool | None = None
    scratch: bool = False
    seed: int = 0
    device: str = "cpu"
    out: Path | None = None
    log: tuple[str, ...] = ()


class Trained:
    """A scorer that remembers the items it was called with: those of test, for the list of mistakes."""

    def __init__(self, outcome: Outcome, scorer: Any):
        self.outcome, self.scorer = outcome, scorer
        self.items: Labelled | None = None
        self.details: Mapping[str, Any] = {
            "recipe": plain(outcome.recipe), "learning_rate": outcome.recipe.learning_rates[0], "step": outcome.step,
            "steps": outcome.total, "val": outcome.val, "trials": plain(outcome.searched.trials), **outcome.details,
        }  # fmt: skip

    def __call__(self, items: Labelled, /) -> Scores:
        self.items = items
        return self.scorer(items)


def finetune_model(
    spec: ModelSpec, source: Source, asked: Asked, progress: Progress | None = None
) -> tuple[Path, dict[str, Any], Outcome | None]:
    """(the folder, what its result.json says, the trained classifier or None where an earlier call has ended).

    A call with the same options goes on where a killed one stopped. Of several processes (torchrun) the first one has
    the folder and the result, the others give an empty one. Raises BadInput where the folder is another run's or
    another process works in it, CameToNothing where trainings diverged and there is no model.
    """
    with joined(asked.device):
        check_device(asked.device)
        return _finetuned(spec, source, asked, progress or Silent())


def _finetuned(
    spec: ModelSpec, source: Source, asked: Asked, progress: Progress
) -> tuple[Path, dict[str, Any], Outcome | None]:
    check_minutes(asked.minutes)
    if asked.scratch:
        spec = spec.with_random_weights(asked.seed)
    chosen_recipes(asked.recipe, Facts(1, scratch=asked.scratch), asked.options, asked.sets)  # before the images
    with first_alone():
        task = prepare(source, cache_dir() / "finetune", progress)
    train = task.load("train")
    chosen = chosen_recipes(asked.recipe, _facts(train, asked.scratch), asked.options, asked.sets)
    refit = chosen.refit if asked.refit is None else asked.refit
    whole = _folder(spec, task, chosen, refit, asked)
    with claimed(whole) as (folder, apart):
        if (known := folder.ended()) is not None:
            progress.say(f"{folder.path}: this run has ended before; its result is given")
            return folder.path, {} if apart else known, None
        for note in filter(None, (task.source, *task.notes)):
            progress.say(f"{task.name}: {note}")
        began = time.perf_counter() - seconds_before(folder.work)
        regime_ = _Regime(asked, chosen, refit, folder, progress, apart)
        study, cell = _study(spec, task, chosen, asked, folder)
        try:
            row, scores = measured(study, cell, regime_, energy_of_run(whole.path, asked.device))
        except Diverged as error:
            if apart:
                raise
            failed = save_failed(study, cell, str(error), time.perf_counter() - began)
            raise folder.end_without_model(_result_of_none(failed, chosen, error)) from error
        row = with_energy_of_all(row)
        if apart:
            return folder.path, {}, None
        outcome, scorer = regime_.outcome, regime_.scorer
        assert outcome is not None
        assert scorer is not None
        RunStore(folder.path / ROWS).save(row, scores)
        spent = time.perf_counter() - began
        result = _leave(folder, task, chosen, outcome, scorer, row, scores, refit, asked, spent)
        return folder.path, result, outcome


def finetuned_model(spec: ModelSpec, source: Source, asked: Asked, progress: Progress | None = None) -> Finetuned:
    """As `finetune_model`, as a classifier with the result as its details; of a run that has ended, from its folder."""
    folder, result, outcome = finetune_model(spec, source, asked, progress)
    if outcome is not None:
        return Finetuned(outcome.model.to(asked.device), outcome.spec.view, result, asked.device, outcome.spec)
    if not is_model_folder(folder):
        raise BadInput(f"{folder}: this run has ended, and {result['files']['timm']}; give another `out`")
    kept = spec_from_string(f"{LOCAL}{folder}")
    return Finetuned(source_model(kept).to(asked.device), kept.view, result, asked.device, kept)


class _Regime:
    """The regime of one call: train and val to a scorer; test is opened by `measured` alone, after it."""

    def __init__(self, asked: Asked, chosen: Chosen, refit: bool, folder: Folder, progress: Progress, apart: bool):
        self.asked, self.chosen, self.refit = asked, chosen, refit
        self.folder, self.progress, self.apart = folder, progress, apart
        self.outcome: Outcome | None = None
        self.scorer: Trained | None = None

    def __call__(self, spec: ModelSpec, task: Task, train: Labelled, val: Labelled, seed: int) -> Scorer:
        data = TrainVal(train, val, len(task.classes), task.multilabel)
        good = Goodness(task.metric, val.truth(data.classes, task.multilabel, masked=True))
        with self.progress.stage("fine-tune") as told:
            job = Job(
                spec, data, good, seed, self.folder.work, self.asked.device, progress=told, apart=self.apart,
                trackers=() if self.apart else self.asked.log,
            )  # fmt: skip
            recipes = list(self.chosen.candidates)
            if self.asked.minutes is not None:
                steps = within_minutes(job, recipes, self.asked.search, self.refit, self.asked.minutes)
                self.progress.say(f"{self.asked.minutes:g} minutes: {steps:,} steps a training")
                recipes = [dataclasses.replace(recipe, steps=steps) for recipe in recipes]
            for reason in {why_not(recipe) for recipe in recipes if recipe.trained != "all"} - {None}:
                self.progress.say(f"what is frozen is computed at each step: {reason}")
            several = len(recipes) > 1
            self.outcome = trained(
                job, recipes, self.asked.search, self.refit, self.progress.say,
                (lambda trial: self.progress.say(trial_line(trial, recipes[trial.candidate], len(data.train))))
                if several else None,
            )  # fmt: skip
        found = Finetuned(self.outcome.model, self.outcome.spec.view, {}, self.asked.device)
        self.scorer = Trained(self.outcome, found)
        return self.scorer


def _facts(train: Labelled, scratch: bool) -> Facts:
    step = max(1, len(train) // SAMPLED)
    sizes = [read_image(train.file(at), train.channels).size for at in range(0, len(train), step)]
    small = bool(sizes) and statistics.median(width * height for width, height in sizes) < SMALL
    return Facts(len(train), small, scratch)


def _folder(spec: ModelSpec, task: Task, chosen: Chosen, refit: bool, asked: Asked) -> Folder:
    fields = {
        "model": {"name": spec.name, "digest": spec.digest}, "data": {"name": task.name, "digest": task.digest},
        "metric": task.metric, "recipe": chosen.name, "settings of the recipe": digest(list(chosen.candidates)),
        "search": asked.search if len(chosen.candidates) > 1 else None, "refit": refit, "minutes": asked.minutes,
        "seed": asked.seed, "device": asked.device, "scratch": asked.scratch,
    }  # fmt: skip
    if (count := place()[1]) > 1:
        fields["processes"] = count
    return Folder(asked.out or default_folder(spec.name, task.name, digest(fields)), fields)


def _study(spec: ModelSpec, task: Task, chosen: Chosen, asked: Asked, folder: Folder) -> tuple[Study, Cell]:
    study = study_of("torch", asked.device, asked.seed)
    kind = "scratch" if asked.scratch else "finetune"
    regimes = {chosen.name: (kind, chosen.candidates[0])}
    study = dataclasses.replace(study, models=(spec,), tasks=(task,), regimes=regimes, out=str(folder.path))
    return study, next(cell for cell in study.cells() if cell.regime == chosen.name)


def _leave(
    folder: Folder, task: Task, chosen: Chosen, outcome: Outcome, scorer: Trained, row: Row, scores: Scores,
    refit: bool, asked: Asked, seconds: float,
) -> dict[str, Any]:  # fmt: skip
    """Write the files; result.json last, since it says that the run has ended."""
    path, recipe = folder.path, outcome.recipe
    lines = read_log(outcome.log)
    write_text(path / LOG, outcome.log.read_text(encoding="utf-8"))
    chose = f"chosen on val among {len(chosen.candidates)}" if len(chosen.candidates) > 1 else "the only candidate"
    write_recipe(path / RECIPE, recipe, f"recipe {chosen.name}, {chose}{'; --refit' * refit}", outcome.spec.view.side)
    loads = write_model(outcome.spec, outcome.model, task.classes, path)
    trained_seconds = max((line["seconds"] for line in lines), default=0.0)
    looked = [line for line in lines if line.get("val") is not None]
    result = {
        "model": outcome.spec.name, "task": task.name, "classes": len(task.classes), "metric": task.metric,
        "recipe": chosen.name, "scratch": asked.scratch, "seed": asked.seed,
        "test": {"value": row.value, "low": row.low, "high": row.high, "n": row.n},
        "val": {"value": outcome.val, "n": task.counts["val"], "start": looked[0]["val"] if looked else None},
        "steps_to_90_percent_of_final_odds": steps_to_odds(lines, task.counts["val"], task.metric),
        "kept": {"step": outcome.step, "of": outcome.total, "trained_on": "train + val" if refit else "train"},
        "learning_rate": recipe.learning_rates[0],
        "search": _search_of(chosen, outcome.searched),
        "cost": {
            "seconds": seconds, "training_seconds": trained_seconds,
            "images_per_second": outcome.cost.get("images_per_second"), "headspace": outcome.cost.get("headspace"),
            "kwh": row.kwh, "kwh_said": row.kwh_said,
        },
        "files": {"timm": loads},
        "data": {"source": task.source, "notes": list(task.notes), "digest": task.digest, "counts": dict(task.counts)},
        "weights": outcome.spec.weights, "environment": plain(row.environment), "row": row.cell.name,
    }  # fmt: skip
    judged = None
    if not task.multilabel and scorer.items is not None:
        judged = judge(scorer.items, scores, task.classes)
        write_text(path / CONFUSION, judged.confusion_csv())
        write_text(path / MISTAKES, judged.mistakes_csv())
    title = f"{outcome.spec.name} on {task.name}"
    write_text(path / PAGE, page_html(title, _facts_of_page(result), lines, judged, scorer.items))
    write_json(path / RESULT, result)
    folder.clean()
    return result


def _result_of_none(row: Row, chosen: Chosen, error: Diverged) -> dict[str, Any]:
    """result.json of a run whose trainings all diverged; `error` says so. The steps that went wrong are in `work`."""
    searched = error.searched if isinstance(error, NoneTrained) else Searched[Recipe](None, 0, ())
    return {
        "model": row.cell.model, "task": row.cell.task, "metric": row.metric, "recipe": chosen.name, "error": row.error,
        "search": _search_of(chosen, searched), "cost": {"seconds": row.seconds}, "row": row.cell.name,
    }  # fmt: skip


def _search_of(chosen: Chosen, searched: Searched[Recipe]) -> dict[str, Any]:
    return {
        "candidates": len(chosen.candidates), "steps": searched.steps, "trials": plain(searched.trials),
        "value_before_the_end": "minus the log loss on val (several labels: the metric) of an average of the weights",
    }  # fmt: skip


def _facts_of_page(result: Mapping[str, Any]) -> dict[str, str]:
    return dict(line.split(": ", 1) for line in result_lines(result))


def result_lines(result: Mapping[str, Any]) -> list[str]:
    """For people, as `name: value`."""
    test, val, kept, cost = (result[key] for key in ("test", "val", "kept", "cost"))
    spread = f", 95 % {test['low']:.4f} to {test['high']:.4f}" if test["low"] is not None else ""
    found = [f"test: {result['metric']} {test['value']:.4f}{spread}, n = {test['n']}"]
    if val["value"] is not None:
        start = f" (before training {val['start']:.4f})" if val["start"] is not None else ""
        found.append(
            f"val: {val['value']:.4f}{start}, n = {val['n']}; the weights of step {kept['step']} of {kept['of']}"
        )
    else:
        found.append(f"val: trained on too, so not measured; step {kept['step']} of {kept['of']}")
    found.append(
        f"recipe: {result['recipe']}, learning rate {result['learning_rate']:g}, trained on {kept['trained_on']}"
    )
    if result["search"]["candidates"] > 1:
        count = result["search"]["candidates"]
        found.append(f"search: {count} candidates, {result['search']['steps']:,} steps in all")
    if (converged := result.get("steps_to_90_percent_of_final_odds")) is not None:
        found.append(f"convergence: val has 90 % of its final odds after {converged:,} steps")
    found.append(f"cost: {cost_words(cost)}")
    found.append(f"timm: {result['files']['timm']}")
    return found


def cost_words(cost: Mapping[str, Any]) -> str:
    rate = f", {cost['images_per_second']:.0f} images/s" if cost["images_per_second"] else ""
    energy = f", {energy_text(cost['kwh'], 3)}" if cost["kwh"] is not None else "; kWh unknown"
    return f"{cost['seconds']:.0f} s, training {cost['training_seconds']:.0f} s{rate}{energy}"
