"""How many steps fit into a budget of minutes, by steps that are timed first."""

import dataclasses
import math
import shutil
import time
from collections.abc import Callable, Sequence

from featune.engine.errors import BadInput
from featune.engine.finetune import Recipe, Run, Trained, agreed, fit_once, predict
from featune.engine.search import Round, grid, longest_within
from featune.engine.store import read_json, write_json

from .training import SEARCHES, Job

MARGIN = 0.9  # of a budget of minutes, which is spent by steps that were timed before
TIMED = 8  # steps


def check_minutes(minutes: float | None) -> None:
    """Raises BadInput for what is no time, before anything is read."""
    if minutes is not None and not 0 < minutes < math.inf:
        raise BadInput(f"--minutes {minutes:g} found, a number above 0 expected, such as 10")


def within_minutes(
    job: Job,
    recipes: Sequence[Recipe],
    plan: str,
    refit: bool,
    minutes: float,
    clock: Callable[[], float] = time.perf_counter,
) -> int:
    """Steps of one training with which the whole takes about so many minutes; timed once and kept in `budget.json`."""
    path = job.work / "budget.json"
    known = read_json(path)
    if isinstance(known, dict) and known.get("minutes") == minutes:
        return int(known["steps"])
    recipe, since = recipes[0], clock()
    took = timed(job, recipe, clock)
    start, each, look = took.start, took.step, took.look / recipe.steps_per_epoch(len(job.data.train))
    # Each candidate begins with a start and a look at val of its own.
    starts = start * (len(recipes) + refit) + took.look * len(recipes)
    left = minutes * 60 * MARGIN - (clock() - since) - starts
    budget = agreed(int(left / (each + look)))  # or processes would make different numbers of steps
    if budget < len(recipes):
        raise BadInput(
            f"{minutes:g} minutes found, about {each + look:.2g} s a step: not one step for {len(recipes)} recipe(s); "
            "give more minutes, a smaller --batch-size or --img-size"
        )

    def rounds(count: int, steps: int) -> tuple[Round, ...]:
        made = SEARCHES[plan](count, steps) if count > 1 else grid(1, steps)
        return (*made, Round(1, 2 * steps)) if refit else made  # the last training, as steps

    steps = longest_within(len(recipes), budget, rounds)
    write_json(path, {"minutes": minutes, "steps": steps, "seconds_per_step": each, "seconds_of_start": start})
    return steps


@dataclasses.dataclass(frozen=True)
class Timing:
    """Seconds of a training's parts: before its first step, of a step, of one look at val."""

    start: float
    step: float
    look: float


def timed(job: Job, recipe: Recipe, clock: Callable[[], float] = time.perf_counter) -> Timing:
    """Measured on a few steps, of which nothing is left."""
    place, spec = job.work / "timing", job.at(recipe)
    shutil.rmtree(place, ignore_errors=True)  # of a timing that was stopped
    run = Run(job.device, place, "timing", 1e9, None, job.decoded, apart=job.apart)

    def seconds(until: int) -> tuple[float, Trained]:
        began = clock()
        at = dataclasses.replace(run, until=until)
        done = fit_once(spec, job.data, job.data.train, job.goodness, recipe, job.seed, at)
        return clock() - began, done

    start, model = seconds(0)  # the probe, where that is the start
    began = clock()
    predict(model.model, job.data.val, spec.view, job.device, decoded=job.decoded)
    look = clock() - began
    seconds(2)  # with whatever is done once
    each = max(seconds(2 + TIMED)[0] / TIMED, 1e-6)
    shutil.rmtree(place, ignore_errors=True)
    return Timing(start, each, look)
