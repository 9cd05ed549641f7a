"""Fine-tuning within the seconds that are left: successive halving over the best probes, then what else fits."""

import dataclasses
import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from featune.engine.finetune import Recipe
from featune.engine.search import Trial, TrialFailed, search, total_steps
from featune.engine.store import digest

from ..finetune import said_of
from ..results import counted
from .journal import Journal
from .rules import MOST_TUNED, Cost, halving_rounds, least_steps, seconds_of, steps_within, survivors

FORWARD = 3  # forward passes that one step of an image costs: one forward, two backward
RATES = (1 / 3, 3.0)  # of the recipe's learning rate: tried on the winner where time is left
WORTH = 0.1  # of the seconds for fine-tuning that must be left for one more training


@dataclasses.dataclass(frozen=True)
class Tuning:
    """One model with one recipe, whose `steps` are those of the whole training."""

    model: str
    recipe: Recipe


@dataclasses.dataclass(frozen=True)
class Tuned:
    """trials: by (model, learning rate), in order. finished: those that were trained to their end.

    out: {name: why it was not fine-tuned, or not to the end}. said: what was planned, or why nothing was.
    """

    finished: tuple[Tuning, ...]
    trials: tuple[tuple[Tuning, Trial], ...]
    out: Mapping[str, str]
    said: str


@dataclasses.dataclass(frozen=True)
class Work:
    """How fine-tuning is done, so that a test may do it otherwise.

    cost: seconds of a model's parts, measured. train: takes a model on to a step, and gives what it is worth on val.
    """

    cost: Callable[[str], Cost]
    train: Callable[[Tuning, int], float]


def least_seconds(rates: Iterable[float], recipe: Recipe, train_images: int) -> float:
    """Of the shortest fine-tuning that is worth starting, by the fastest model's forward passes."""
    steps = _least(recipe, train_images)
    return min((FORWARD * recipe.batch / rate * steps for rate in rates), default=math.inf)


def _least(recipe: Recipe, train_images: int) -> int:
    return least_steps(recipe.total_steps(train_images), recipe.steps_per_epoch(train_images))


def tune(
    models: Sequence[str],
    rates: Mapping[str, float],
    recipe: Recipe,
    train_images: int,
    work: Work,
    journal: Journal,
    folder: Path,
    *,
    deadline: float,
    told: Callable[[str], None] = lambda text: None,
) -> Tuned:
    """models: best probe first. rates: images per second of each, forward. deadline: in seconds of the journal.

    Fine-tuning is started where the fastest of them can make `least_steps` in the time that is left.
    """
    full, least = recipe.total_steps(train_images), _least(recipe, train_images)
    left = deadline - journal.seconds
    models = models[:MOST_TUNED]
    seconds = least_seconds([rates[model] for model in models], recipe, train_images)
    if seconds > left:
        need = f"about {seconds:.0f} s for {least} steps of the fastest model" if models else "a model"
        return Tuned((), (), {}, f"fine-tuning was not started: it needs {need}, {max(0.0, left):.0f} s were left")
    costs, out, planned = dict[str, Cost](), dict[str, str](), 0.0
    for model in models:
        guess = FORWARD * recipe.batch / rates[model] * least
        if costs and planned + guess > left:  # timing it would take what the better one needs
            out[model] = "not fine-tuned: no time for a further model"
            continue
        if guess > left:
            out[model] = f"not fine-tuned: {least} steps take about {guess:.0f} s, {left:.0f} s were left"
            continue
        value = journal.once(f"time {model}", [model, recipe], lambda model=model: work.cost(model))  # type: ignore[misc]
        costs[model] = Cost(**value)
        planned += guess
    left = deadline - journal.seconds
    for model, cost in list(costs.items()):
        if seconds_of([cost], halving_rounds(1, least)) > left:
            out[model] = (
                f"not fine-tuned: {least} steps take {least * cost.step:.0f} s, {max(0.0, left):.0f} s were left"
            )
            del costs[model]
    count, steps = survivors(list(costs.values()), left, full, least)
    chosen = list(costs)[:count]
    out |= dict.fromkeys(list(costs)[count:], "not fine-tuned: no time for a further model")
    if not chosen:
        return Tuned((), (), out, f"fine-tuning was not started: {least} steps do not fit in {max(0.0, left):.0f} s")
    steps = _kept(journal, "steps", [chosen, recipe, full], steps)
    spent_before = journal.seconds
    made = [Tuning(model, dataclasses.replace(recipe, steps=steps)) for model in chosen]
    rounds = halving_rounds(len(made), steps)
    said = f"fine-tuning of {counted(len(made), 'model')}, {steps:,} of {full:,} steps"
    told(f"{said}, {total_steps(rounds):,} steps in all")
    trials: list[tuple[Tuning, Trial]] = []

    def heard(of: Sequence[Tuning]) -> Callable[[Trial], None]:
        def hear(trial: Trial) -> None:
            one = of[trial.candidate]
            seconds = journal.add(_piece(one, trial.until), trial.seconds)  # those of killed processes too
            trials.append((one, dataclasses.replace(trial, seconds=seconds)))
            found = said_of(trial, one.recipe.steps or 0)
            told(f"{one.model}, rate {one.recipe.learning_rates[0]:g}: {found} after {trial.steps:,} steps")

        return hear

    def train(one: Tuning, until: int) -> float:
        failed: list[TrialFailed] = []

        def end() -> float:
            try:
                return work.train(one, until)
            except TrialFailed as error:  # an end like another, whose seconds are written down
                failed.append(error)
                return math.nan

        value = journal.watched(_piece(one, until), end)
        if failed:
            raise failed[0]
        return value

    found = search(made, rounds, train, folder / "trials", told=heard(made))
    ended = {one for one, trial in trials if trial.steps == steps and trial.value is not None}
    finished = [one for one in made if one in ended]
    for one in made:
        if one not in ended:
            own = [trial for each, trial in trials if each == one]
            out[one.model] = f"fine-tuning ended after {own[-1].steps:,} of {steps:,} steps: " + (
                own[-1].error or "others were better on val"
            )
    if found.best is not None:
        few = WORTH * (deadline - spent_before)
        diverged = {one for one, trial in trials if trial.value is None}
        for extra in _extras(found.best, [one for one in made if one not in diverged], finished):
            left = deadline - journal.seconds
            cost = _seen(costs[extra.model], extra.model, trials)
            fits = steps_within([cost], left, full) if left > few else 0
            done = max((trial.steps for one, trial in trials if one == extra), default=0)
            if done and seconds_of([dataclasses.replace(cost, start=0.0)], halving_rounds(1, steps - done)) <= left:
                fits = steps  # it goes on from where it went out
            fits = _kept(journal, "further", [extra, steps], fits)
            if fits < least:
                continue
            one = Tuning(extra.model, dataclasses.replace(extra.recipe, steps=fits))
            search([one], halving_rounds(1, fits), train, folder / "trials", told=heard([one]))
            if trials[-1][1].value is not None:
                finished.append(one)
                out.pop(one.model, None)
    return Tuned(tuple(finished), tuple(trials), out, said)


def _piece(one: Tuning, until: int) -> str:
    return f"trial {digest(one)} {until}"


def _kept(journal: Journal, name: str, inputs: object, steps: int) -> int:
    """The steps that were decided on when this was first asked: a killed run goes on with the same."""
    return int(journal.once(name, inputs, lambda: steps))


def _extras(winner: Tuning, made: Sequence[Tuning], finished: Sequence[Tuning]) -> list[Tuning]:
    """Worth one more training where time is left: the winner at other rates, then the models that were dropped."""
    rate = winner.recipe.learning_rates[0]
    others = [
        Tuning(winner.model, dataclasses.replace(winner.recipe, learning_rates=(float(f"{rate * by:.3g}"),)))
        for by in RATES
    ]
    return [*others, *(one for one in made if one not in finished and one != winner)]


def _seen(cost: Cost, model: str, trials: Sequence[tuple[Tuning, Trial]]) -> Cost:
    """The cost by what the model's own longest training took, which knows more than the few steps timed before."""
    made, seconds, looks = dict[Tuning, int](), dict[Tuning, float](), dict[Tuning, int]()
    for one, trial in trials:
        if one.model == model:
            made[one] = max(made.get(one, 0), trial.steps)
            seconds[one] = seconds.get(one, 0.0) + trial.seconds
            looks[one] = looks.get(one, 1) + 1
    if not made:
        return cost
    longest = max(made, key=lambda one: made[one])
    own = seconds[longest] - cost.start - cost.look * looks[longest]
    return dataclasses.replace(cost, step=max(own / made[longest], cost.step / 2))
