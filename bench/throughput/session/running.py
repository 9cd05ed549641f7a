"""The run: build every setup, find its batch, measure in turns, and stream all of it to a journal."""

import dataclasses
import datetime
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from featune.engine.store import locked, plain
from featune.export.commands import model_cost, spec_of_model

from ...progress import Progress
from .. import Configuration, Refused, Row, Setup, WorkerDied, environment, measured_in_turns, row_of
from .batch_size import batches_of, fastest_batch
from .identity import Identity
from .journal import Journal
from .opening import check_precision_of
from .request import Asked, artefact_folder
from .serving import make_of
from .workers import ProcessWorker

TRIAL_SECONDS, TRIAL_CALLS, TRIAL_WARM_UP = 0.25, 5, 2.0


class AskedWorker(Protocol):
    """A worker of this room: as turns need it, and any request of `serving.Bench`."""

    def ask(self, request: str, **options: Any) -> Any: ...

    def open(self, most: float) -> Mapping[str, Any]: ...

    def block(self, seconds: float, calls: int) -> Mapping[str, Any]: ...

    def memory(self) -> Mapping[str, Any]: ...

    def close(self) -> None: ...


StartWorker = Callable[[Configuration], AskedWorker]


@dataclasses.dataclass(frozen=True)
class Result:
    """All that a report is made of; `document` is its JSON.

    Of its parts, `measured` are the first and last dates of the groups, `kept` the groups that an earlier run measured,
    `environment` that of the last group, `made` when the document was put together.
    """

    rows: Sequence[Row]
    document: dict[str, Any]


def run(
    asked: Asked,
    progress: Progress,
    start: StartWorker | None = None,
    around: Mapping[str, Any] | None = None,
    remeasure: bool = False,
) -> Result:
    """Measure what was asked, but for what the journal in `asked.out` has already.

    start: gives the worker of a configuration, by default a process. around: the environment, by default this one.
    remeasure: build and measure all again, whatever the journal has.
    """
    for model in asked.models:  # before minutes of work
        for setup in asked.setups(model):
            check_precision_of(setup)
        if start is None:  # a name that nobody knows is no row
            spec_of_model(model, asked.source.checkpoint, asked.source.untrained, say=progress.say)
    here = dict(around) if around is not None else environment(asked.device)
    path = asked.out / "rows.jsonl"
    with locked(path, lambda: progress.say(f"waiting for another run in {asked.out}")):
        identity = Identity(asked.source, here)
        one = Run(asked, progress, Journal(path), identity, start or _processes(asked, identity), here, remeasure)
        return _result(asked, one, here)


def _result(asked: Asked, one: "Run", here: Mapping[str, Any]) -> Result:
    rows: list[Row] = []
    verdicts: list[dict[str, Any]] = []
    searches: list[dict[str, Any]] = []
    peak = one.peak()
    for model in asked.models:
        found, said = one.model(model, searches)
        rows += found
        verdicts += said
    spreads = [each["spread"] for each in verdicts]
    document = {
        "featune": version("featune"),
        "made": now(),
        "measured": [pick((each["measured"] for each in verdicts), default=now()) for pick in (min, max)],
        "kept": one.kept,
        "environment": max(verdicts, key=lambda each: each["measured"])["environment"] if verdicts else here,
        "asked": plain(asked),
        "peak": peak,
        "spread": max(spreads, default=0.0),
        "costs": {model: one.cost(model, rows) for model in asked.models},
        "verdicts": [{key: value for key, value in each.items() if key != "environment"} for each in verdicts],
        "searches": searches,
        "rows": [plain(row) for row in rows],
    }
    return Result(rows, document)


@dataclasses.dataclass
class Run:
    """The steps of a run. kept: groups so far that the journal had."""

    asked: Asked
    progress: Progress
    journal: Journal
    identity: Identity
    start: StartWorker
    here: Mapping[str, Any] = dataclasses.field(default_factory=dict)
    remeasure: bool = False
    kept: int = 0

    def model(self, model: str, searches: list[dict[str, Any]]) -> tuple[list[Row], list[dict[str, Any]]]:
        """(rows, verdicts of each group) of one model; searches gains what was looked for."""
        setups = self.asked.setups(model)
        builds = {setup: self.build(setup) for setup in setups}
        usable = [setup for setup in setups if not builds[setup].get("error")]
        rows = [
            Row(Configuration(setup, self.asked.batches[0] if self.asked.batches else 1), error=builds[setup]["error"])
            for setup in setups
            if setup not in usable
        ]
        best: dict[Setup, int | None] = {}
        if not self.asked.batches:
            for setup in usable:
                found = self.search(setup)
                best[setup] = found["batch"]
                searches.append({"setup": plain(setup)} | found)
        verdicts = []
        for group in self.asked.groups(model, best, usable):
            made = self.group(group)
            rows += [
                dataclasses.replace(row, opened={**row.opened, "build": builds[row.configuration.setup]})
                for row in made["rows"]
            ]
            verdicts.append({key: value for key, value in made.items() if key != "rows"})
        return rows, verdicts

    def build(self, setup: Setup) -> dict[str, Any]:
        """What a fresh process takes to open the setup, its artefact not there: its seconds, or the error. Measured
        once: the artefact's folder is named as the result is, so that where one is there, so is the other."""
        key = build_key(self.identity, setup)
        known = self._find("build", key)
        if known is not None and not known.get("error"):
            return known
        shutil.rmtree(artefact_folder(self.asked.out, key), ignore_errors=True)  # of a run that was killed in it
        worker = None
        with self.progress.stage(f"building {setup.model} on {setup.name}"):
            try:
                worker = self.start(Configuration(setup, 1))
                found = dict(worker.ask("open", most=1.0))
                found.pop("warm", None)
            except (WorkerDied, Refused) as error:
                found = {"error": str(error)}
            finally:
                if worker is not None:
                    worker.close()
        return self._keep("build", key, found)

    def search(self, setup: Setup) -> dict[str, Any]:
        """The batch of the throughput mode, and the trials."""
        key = self.identity.key("search", setup.model, [plain(setup), self.asked.latency_limit_ms])
        known = self._find("search", key)
        if known is not None:
            return known
        with self.progress.stage(f"batch size of {setup.model} on {setup.name}"), self._opened(setup) as trial:
            batch, trials = fastest_batch(trial, batches_of(setup.device), self.asked.latency_limit_ms)
        return self._keep("search", key, {"batch": batch, "trials": plain(trials)})

    @contextmanager
    def _opened(self, setup: Setup) -> Iterator[Callable[[int], Sequence[float]]]:
        workers: list[AskedWorker] = []

        def trial(batch: int) -> Sequence[float]:
            if not workers:
                workers.append(self.start(Configuration(setup, 1)))
                workers[0].open(TRIAL_WARM_UP)
            workers[0].ask("batch", batch=batch, most=TRIAL_WARM_UP)
            found = workers[0].block(TRIAL_SECONDS, TRIAL_CALLS)
            return list(found["samples"])

        try:
            yield trial
        finally:
            for worker in workers:
                worker.close()

    def group(self, group: Sequence[Configuration]) -> dict[str, Any]:
        """Rows, spread and verdicts of configurations that take turns."""
        one = group[0]
        what = [plain(list(group)), plain(self.asked.effort), self.asked.seed]
        key = self.identity.key("group", one.setup.model, what)
        known = self._find("group", key)
        if known is None or any(row["error"] for row in known["rows"]):  # worth another try
            title = f"{one.setup.model}, {one.mode}, scope ({one.scope}), {len(group)} workers in turns"
            with self.progress.stage(title) as advance:
                rows, spread, verdicts = measured_in_turns(
                    group, self.start, self.asked.effort, seed=self.asked.seed,
                    emit=lambda whose, block: self.journal.add(
                        "block", key, {"configuration": plain(whose), "block": plain(block)}
                    ),
                    progress=lambda done, total: advance(done, total),
                )  # fmt: skip
            known = {
                "model": one.setup.model,
                "mode": one.mode,
                "scope": one.scope,
                "spread": spread,
                "rows": [plain(row) for row in rows],
                "pairs": [
                    {
                        "first": first.setup.name,
                        "second": second.setup.name,
                        "sentence": verdict.sentence(first.setup.name, second.setup.name),
                    }
                    | plain(verdict)
                    for first, second, verdict in verdicts
                ],
            }
            known = self._keep("group", key, known | {"environment": dict(self.here)})
        else:
            self.kept += 1
        return known | {"rows": [row_of(each) for each in known["rows"]]}

    def peak(self) -> dict[str, Any]:
        """The machine's fp32 multiply-adds and bytes copied per second, in a process of its own."""
        setup = self.asked.setups(self.asked.models[0])[0]
        key = self.identity.key("peak", None, [setup.threads, setup.device])
        known = self._find("peak", key)
        if known is not None:
            return known
        worker = self.start(Configuration(setup, 1))
        try:
            found = dict(worker.ask("peak"))
        except (WorkerDied, Refused) as error:
            found = {"error": str(error)}
        finally:
            worker.close()
        return self._keep("peak", key, found)

    def cost(self, model: str, rows: Sequence[Row]) -> dict[str, Any]:
        """Parameters and multiply-adds of one image, of the whole timm model; none for others."""
        found = next((r.opened for r in rows if r.configuration.setup.model == model and r.error is None), {})
        name, side = str(found.get("architecture", model)), int(found.get("side", 0))
        try:
            millions, gmacs = model_cost(name, side) if side else (None, None)
        except Exception as error:  # of a factory, or an operator that the counter does not run
            return {"side": side or None, "error": f"{type(error).__name__}: {str(error)[:120]}"}
        return {"side": side or None, "million_parameters": millions, "gmacs": gmacs}

    def _find(self, kind: str, key: str) -> dict[str, Any] | None:
        return None if self.remeasure else self.journal.find(kind, key)

    def _keep(self, kind: str, key: str, found: Mapping[str, Any]) -> dict[str, Any]:
        """The result, with the date that it is of."""
        dated = {**found, "measured": now()}
        self.journal.add(kind, key, dated)
        return dated


def build_key(identity: Identity, setup: Setup) -> str:
    return identity.key("build", setup.model, plain(setup))


def now() -> str:
    return datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds")


def _processes(asked: Asked, identity: Identity) -> StartWorker:
    """Starts a process for a configuration; its log lies in the run's folder."""
    count = 0

    def start(configuration: Configuration) -> ProcessWorker:
        nonlocal count
        count += 1
        log = Path(asked.out, "logs", f"{count:03d}.{configuration.setup.backend}.txt")
        folder = artefact_folder(asked.out, build_key(identity, configuration.setup))
        return ProcessWorker(configuration, make_of(asked.source), folder, log)

    return start
