"""Train the candidates, keep the best state on val of the one that val chooses, or train that one on train + val."""

import contextlib
import dataclasses
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from torch import nn

from featune.engine.errors import BadInput
from featune.engine.finetune import (
    BestState,
    Decoded,
    Diverged,
    Recipe,
    Run,
    Trained,
    TrainVal,
    fit_once,
    predict,
    sized,
)
from featune.engine.models import ModelSpec, fresh_classifier, with_channels
from featune.engine.search import (
    Round,
    Searched,
    Trial,
    TrialFailed,
    grid,
    halving,
    search,
    total_steps,
)
from featune.engine.store import digest, plain, read_json, write_json, written_whole

from ..regimes import Goodness
from ..training_log import LogFile
from .trackers import opened

SEARCHES: dict[str, Callable[[int, int], tuple[Round, ...]]] = {"grid": grid, "halving": halving}
Said = Callable[[str], None]


@dataclasses.dataclass(frozen=True)
class Job:
    """What is trained, and where. work: of checkpoints, trials and logs. trackers: names of TRACKERS.

    apart: as of `Run`.
    """

    spec: ModelSpec
    data: TrainVal
    goodness: Goodness
    seed: int
    work: Path
    device: str = "cpu"
    save_seconds: float = 30.0
    trackers: tuple[str, ...] = ()
    decoded: Decoded = dataclasses.field(default_factory=Decoded)
    progress: Callable[[int, int], None] | None = None
    apart: bool = False

    def at(self, recipe: Recipe) -> ModelSpec:
        return sized(with_channels(self.spec, self.data.train.channels), recipe)

    def log_file(self, path: Path, recipe: Recipe) -> LogFile:
        return LogFile(path, trackers=opened(self.trackers, self.work.parent, path.stem, plain(recipe)))


@dataclasses.dataclass(frozen=True)
class Outcome:
    """The trained classifier [Normalise, body, head] and how it came about.

    spec: at the side that it was trained at. step: that of the weights kept, of `total`. val: their value on val, None
    where val was trained on. details: of a row, a threshold among them.
    """

    model: nn.Module
    spec: ModelSpec
    recipe: Recipe
    step: int
    total: int
    val: float | None
    log: Path
    searched: Searched[Recipe]
    details: Mapping[str, Any]
    cost: Mapping[str, Any] = dataclasses.field(default_factory=dict)


class Candidate:
    """One recipe's training on train: its checkpoint, its log, and its best state on val, the start's among them."""

    def __init__(self, job: Job, recipe: Recipe):
        self.job, self.recipe, self.name = job, recipe, digest(recipe)
        self.spec = job.at(recipe)
        self.log = job.work / f"{self.name}.jsonl"
        self.state = BestState(job.work, self.name)
        self.spent = job.work / f"{self.name}.cost.json"
        self.scores = job.work / f"{self.name}.best.npy"  # [n_val, classes] of that state

    def train(self, until: int) -> float:
        """Goes on to a step, and gives what it is worth on val. Raises TrialFailed where it diverges.

        At its end that is the best value so far. Before, weights whose rate is still high say little of what comes
        out, so there an average of the last ones is judged: by its log loss, negative, since early on the accuracy of
        low rates may be the highest; of several labels by the metric.
        """
        told = self.job.log_file(self.log, self.recipe)
        step = [0]

        def evaluate(model: nn.Module) -> dict[str, float]:
            return {"val": self._looked_at(model, step[0])}

        def advance(done: int, total: int) -> None:
            step[0] = done
            if self.job.progress:
                self.job.progress(done, total)

        run = Run(
            self.job.device, self.job.work, self.name, self.job.save_seconds, advance, self.job.decoded,
            evaluate=evaluate, log=told, spec=self.spec, apart=self.job.apart,
        )  # fmt: skip
        try:
            if not self.state.known:
                start = self._fit(dataclasses.replace(run, until=0))
                told({"step": 0, "epoch": 0, "val": self._looked_at(start.model, 0)})
            ends = until >= self.recipe.total_steps(len(self.job.data.train))
            trained = self._fit(dataclasses.replace(run, until=until, tail=not ends))
            step[0] = trained.steps
            value = self.best()["value"] if trained.tail is None else self._ahead(trained.tail)
        except Diverged as error:
            raise TrialFailed(str(error), step[0] if error.steps is None else error.steps) from error
        finally:
            told.close()
        write_json(self.spent, _cost(trained))
        return float(value)

    def _ahead(self, tail: nn.Module) -> float:
        job = self.job
        return job.goodness.ahead(predict(tail, job.data.val, self.spec.view, job.device, decoded=job.decoded))

    def _fit(self, run: Run) -> Any:
        job = self.job
        return fit_once(self.spec, job.data, job.data.train, job.goodness, self.recipe, job.seed, run)

    def best(self) -> dict[str, Any]:
        """`value` on val, `step` and `details` of the best state, and all `looks`, [step, value]."""
        return self.state.known

    def _looked_at(self, model: nn.Module, step: int) -> float:
        """The value on val; the state is kept where it is the best so far, the earlier of equals."""
        job = self.job
        calls = len(job.goodness.thresholds)
        scores = predict(model, job.data.val, self.spec.view, job.device, decoded=job.decoded)
        value = job.goodness(scores)

        def save_scores() -> None:
            with written_whole(self.scores) as temporary:
                np.save(temporary, scores, allow_pickle=False)

        self.state.look(model, step, value, job.goodness.details(calls), save_scores)
        return value

    def forget(self) -> None:
        """Remove what a candidate that went out needs no more; its log stays."""
        for suffix in ("best.pt", "pt"):
            (self.job.work / f"{self.name}.{suffix}").unlink(missing_ok=True)

    def model(self) -> nn.Module:
        model = fresh_classifier(self.spec, self.job.data.classes, self.job.seed)
        model.load_state_dict(self.state.weights())
        return model.eval().to(self.job.device)


class NoneTrained(Diverged):
    """No training came to its end. searched: with every trial and its reason."""

    def __init__(self, said: str, searched: Searched[Recipe], kept: Path | None = None):
        self.searched = searched
        super().__init__(said, kept)


def trained(
    job: Job,
    recipes: Sequence[Recipe],
    plan: str,
    refit: bool,
    told: Said,
    on_trial: Callable[[Trial], None] | None = None,
) -> Outcome:
    """The candidate that val chooses, trained. plan: of SEARCHES, for more than one candidate.

    refit: it is trained anew on train + val, to its last step; else its best state on val is kept. Raises NoneTrained
    where every candidate diverges, or that last training.
    """
    images = len(job.data.train)
    totals = {recipe.total_steps(images) for recipe in recipes}
    if len(totals) > 1:
        raise BadInput(f"candidates of {sorted(totals)} steps found; one length for all expected, give --steps")
    (total,) = totals
    rounds = grid(1, total) if len(recipes) == 1 else SEARCHES[plan](len(recipes), total)
    if len(recipes) > 1:
        share = total_steps(rounds) / (len(recipes) * total)
        told(
            f"{len(recipes)} recipes, {total_steps(rounds):,} steps of search, {share:.0%} of the whole grid; a search "
            "that is stopped goes on"
        )
    found = search(
        recipes, rounds, lambda recipe, steps: Candidate(job, recipe).train(steps), job.work / "trials",
        told=on_trial, dropped=lambda recipe: Candidate(job, recipe).forget(),
    )  # fmt: skip
    if found.best is None:
        reasons = list(dict.fromkeys(trial.error for trial in found.trials))
        every = "the training" if len(recipes) == 1 else f"every one of {len(recipes)} recipes"
        others = f" (and {len(reasons) - 1} other reasons, in {job.work / 'trials'})" if len(reasons) > 1 else ""
        raise NoneTrained(f"{every} diverged: {reasons[0]}{others}", found)
    candidate = Candidate(job, found.best)
    best = candidate.best()
    if not refit:
        model, step = candidate.model(), int(best["step"])
        return Outcome(
            model, candidate.spec, found.best, step, total, best["value"], candidate.log, found, best["details"],
            read_json(candidate.spent) or {},
        )  # fmt: skip
    log_path = job.work / "refit.jsonl"
    both = job.data.train + job.data.val
    with contextlib.closing(job.log_file(log_path, found.best)) as told_to:
        run = Run(
            job.device, job.work, "refit", job.save_seconds, job.progress, job.decoded, log=told_to,
            spec=candidate.spec, apart=job.apart,
        )  # fmt: skip
        try:
            done = fit_once(candidate.spec, job.data, both, job.goodness, found.best, job.seed, run)
        except Diverged as error:
            raise NoneTrained(f"the training on train + val diverged: {error}", found, error.kept) from error
    return Outcome(
        done.model, candidate.spec, found.best, done.steps, done.total, None, log_path, found, best["details"],
        _cost(done),
    )  # fmt: skip


def said_of(trial: Trial, total: int) -> str:
    """What a trial found, in words. total: steps of a whole training."""
    if trial.value is None:
        return f"failed ({trial.error})"
    if trial.steps < total:
        judged = f"log loss on val {-trial.value:.4f}" if trial.value < 0 else f"val {trial.value:.4f}"
        return f"{judged} of the average of its last weights"
    return f"val {trial.value:.4f}"


def trial_line(trial: Trial, recipe: Recipe, images: int) -> str:
    what = f"{recipe.optimizer} {recipe.learning_rates[0]:g}, weight decay {recipe.weight_decay:g}"
    return f"{what}: {said_of(trial, recipe.total_steps(images))} after {trial.steps:,} steps, {trial.seconds:.0f} s"


def _cost(trained: Trained) -> dict[str, Any]:
    return {key: trained.details[key] for key in ("seconds", "images_per_second", "headspace")}
