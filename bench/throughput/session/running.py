"""The run: build every setup, find its batch, measure in turns, and stream all of it to a journal."""

import dataclasses
import datetime
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from typing import Any, Protocol

from featune.engine.store import digest, plain
from featune.export.commands import model_cost, spec_of_model

from ...progress import Progress
from .. import Configuration, Refused, Row, Setup, WorkerDied, environment, measured_in_turns, row_of
from .batch_size import batches_of, fastest_batch
from .journal import Journal
from .opening import check_precision_of
from .request import Asked, artefact_folder
from .serving import make_of
from .workers import ProcessWorker

TRIAL_SECONDS, TRIAL_CALLS, TRIAL_WARM_UP = 0.25, 5, 2.0
# What a kept result depends on beside what was asked; a later date or another load does not void it.
SAME = ("machine", "processor", "processors", "instruction_sets", "device", "gpu", "driver", "versions")


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
    """All that a report is made of; `document` is its JSON."""

    rows: Sequence[Row]
    document: dict[str, Any]


def run(
    asked: Asked,
    progress: Progress,
    start: StartWorker | None = None,
    around: Mapping[str, Any] | None = None,
) -> Result:
    """Measure what was asked, but for what the journal in `asked.out` has already.

    start: gives the worker of a configuration, by default a process. around: the environment, by default this one.
    """
    for model in asked.models:  # before minutes of work
        for setup in asked.setups(model):
            check_precision_of(setup)
        if start is None:  # a name that nobody knows is no row
            spec_of_model(model, asked.source.checkpoint, asked.source.untrained, say=progress.say)
    here = dict(around) if around is not None else environment(asked.device)
    journal = Journal(asked.out / "rows.jsonl")
    same = {name: here.get(name) for name in SAME}
    one = Run(asked, progress, journal, start or _processes(asked), same)
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
        "made": datetime.datetime.now(datetime.UTC).isoformat(timespec="seconds"),
        "environment": here,
        "asked": plain(asked),
        "peak": peak,
        "spread": max(spreads, default=0.0),
        "costs": {model: one.cost(model, rows) for model in asked.models},
        "verdicts": verdicts,
        "searches": searches,
        "rows": [plain(row) for row in rows],
    }
    return Result(rows, document)


@dataclasses.dataclass
class Run:
    """The steps of a run. same: what names the machine and versions that a kept result is of."""

    asked: Asked
    progress: Progress
    journal: Journal
    start: StartWorker
    same: Mapping[str, Any]

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
        """What a fresh process takes to open the setup: its seconds, or the error. Measured once."""
        key = self._key("build", plain(setup))
        known = self.journal.find("build", key)
        if known is not None and not known.get("error"):
            return known
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
        self.journal.add("build", key, found)
        return found

    def search(self, setup: Setup) -> dict[str, Any]:
        """The batch of the throughput mode, and the trials."""
        key = self._key("search", [plain(setup), self.asked.latency_limit_ms])
        known = self.journal.find("search", key)
        if known is not None:
            return known
        with self.progress.stage(f"batch size of {setup.model} on {setup.name}"), self._opened(setup) as trial:
            batch, trials = fastest_batch(trial, batches_of(setup.device), self.asked.latency_limit_ms)
        found = {"batch": batch, "trials": plain(trials)}
        self.journal.add("search", key, found)
        return found

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
        key = self._key("group", [plain(list(group)), plain(self.asked.effort), self.asked.seed])
        known = self.journal.find("group", key)
        if known is None or any(row["error"] for row in known["rows"]):  # worth another try
            one = group[0]
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
            self.journal.add("group", key, known)
        return known | {"rows": [row_of(each) for each in known["rows"]]}

    def peak(self) -> dict[str, Any]:
        """The machine's fp32 multiply-adds and bytes copied per second, in a process of its own."""
        setup = self.asked.setups(self.asked.models[0])[0]
        key = self._key("peak", [setup.threads, setup.device])
        known = self.journal.find("peak", key)
        if known is not None:
            return known
        worker = self.start(Configuration(setup, 1))
        try:
            found = dict(worker.ask("peak"))
        except (WorkerDied, Refused) as error:
            found = {"error": str(error)}
        finally:
            worker.close()
        self.journal.add("peak", key, found)
        return found

    def cost(self, model: str, rows: Sequence[Row]) -> dict[str, Any]:
        """Parameters and multiply-adds of one image, of the whole timm model; none for others."""
        found = next((r.opened for r in rows if r.configuration.setup.model == model and r.error is None), {})
        name, side = str(found.get("architecture", model)), int(found.get("side", 0))
        try:
            millions, gmacs = model_cost(name, side) if side else (None, None)
        except Exception as error:  # of a factory, or an operator that the counter does not run
            return {"side": side or None, "error": f"{type(error).__name__}: {str(error)[:120]}"}
        return {"side": side or None, "million_parameters": millions, "gmacs": gmacs}

    def _key(self, kind: str, value: Any) -> str:
        return digest([kind, value, plain(self.asked.source), self.same])


def _processes(asked: Asked) -> StartWorker:
    """Starts a process for a configuration; its log lies in the run's folder."""
    os.environ.setdefault("TORCHINDUCTOR_CACHE_DIR", str((asked.out / "artefacts" / "inductor").resolve()))
    count = 0

    def start(configuration: Configuration) -> ProcessWorker:
        nonlocal count
        count += 1
        log = Path(asked.out, "logs", f"{count:03d}.{configuration.setup.backend}.txt")
        return ProcessWorker(configuration, make_of(asked.source), artefact_folder(asked.out), log)

    return start
