"""Rows as one table: a model on a task in a regime, over its seeds; who leads, and what one regime adds to another."""

import dataclasses
import functools
import json
import math
import re
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Any, TypeVar

import numpy as np

from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS

from .outcome import collapsed, faults
from .rows import Cell, Row

REGIMES = {
    "probe": "frozen features, linear probe",
    "knn": "frozen features, nearest neighbours",
    "finetune": "fine-tuned",
    "scratch": "trained from scratch",
}
FROZEN = ("probe", "knn")
SHOTS = re.compile(r"(?P<task>.+)-(?P<shots>\d+)")
ALL = "all"
Model = TypeVar("Model")


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model on a task in a regime: the mean over its seeds.

    value, low, high: means over the seeds that finished; the interval is the test split's, so more seeds do
    not narrow it. lowest, highest: the seeds' extremes. n: test images, 0 where not known. errors: of the seeds that
    failed. collapsed: seeds that predict one class for all images. faults: what is to be known of the
    seeds, each once, in words.
    """

    value: float | None
    low: float | None
    high: float | None
    lowest: float | None
    highest: float | None
    n: int
    seeds: int
    errors: tuple[str, ...]
    collapsed: int = 0
    faults: tuple[str, ...] = ()

    @property
    def is_collapsed(self) -> bool:
        """Whether every seed that finished predicts one class, so that the number says nothing of the model."""
        return 0 < self.seeds == self.collapsed


@dataclasses.dataclass(frozen=True)
class Results:
    """The rows as one table. models: best source accuracy first, unknown ones last.

    source_n: the images behind each source accuracy; empty unless they are known for all of them. facts: by model,
    other numbers that transfer may follow. cells: the finished ones behind each entry.
    """

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    regimes: tuple[str, ...]
    entries: Mapping[tuple[str, str, str], Entry]
    metric: Mapping[str, str]
    source_top1: Mapping[str, float]
    source_n: Mapping[str, int]
    family: Mapping[str, str]
    facts: Mapping[str, Mapping[str, float]] = dataclasses.field(default_factory=dict)
    cells: Mapping[tuple[str, str, str], tuple[Cell, ...]] = dataclasses.field(default_factory=dict)

    @property
    def measured_regimes(self) -> tuple[str, ...]:
        """Those that are no published table's."""
        return tuple(regime for regime in self.regimes if not is_published(regime))

    def value(self, task: str, model: str, regime: str) -> float | None:
        entry = self.entries.get((task, model, regime))
        return entry.value if entry else None

    def higher_is_better(self, task: str) -> bool:
        known = METRICS.get(self.metric[task])
        return known.higher_is_better if known else True

    def is_fraction(self, task: str) -> bool:
        """Whether the task's numbers are shares of 1, the higher the better, so that log odds make sense."""
        return self.higher_is_better(task) and task not in self._beyond

    @functools.cached_property
    def kept(self) -> dict[Any, Any]:
        """What functions of the table alone have found, for who asks again."""
        return {}

    @functools.cached_property
    def _beyond(self) -> set[str]:
        """The tasks with a number outside 0 to 1."""
        known = ((task, entry.value) for (task, _, _), entry in self.entries.items() if entry.value is not None)
        return {task for task, value in known if not 0 <= value <= 1}

    @functools.cached_property
    def rankings(self) -> Mapping[tuple[str, str], Sequence[str]]:
        """By task and regime: the models that have a number and did not collapse, best first."""
        found: dict[tuple[str, str], list[tuple[float, str]]] = {}
        for (task, model, regime), entry in self.entries.items():
            if entry.value is not None and not entry.is_collapsed:
                sign = -1 if self.higher_is_better(task) else 1
                found.setdefault((task, regime), []).append((sign * entry.value, model))
        return {key: [model for _, model in sorted(pairs)] for key, pairs in found.items()}

    @property
    def fraction_tasks(self) -> tuple[str, ...]:
        return tuple(task for task in self.tasks if self.is_fraction(task))

    @property
    def curves(self) -> dict[str, dict[str, str]]:
        """`curves_of` the tasks whose numbers are fractions, where all levels have test splits of one size."""
        sizes: dict[str, set[int]] = {}
        for (task, _, _), entry in self.entries.items():
            sizes.setdefault(task, set()).add(entry.n)
        found = curves_of(self.fraction_tasks)
        return {whole: of for whole, of in found.items() if len({frozenset(sizes[task]) for task in of.values()}) == 1}


def is_published(regime: str) -> bool:
    return " [" in regime


def collect(rows: Iterable[Row]) -> Results:
    """The rows by task, model and regime. A published row's regime carries its source; the two never mix."""
    rows = sorted(rows, key=row_order)
    measures: dict[str, set[str]] = {}
    for row in rows:
        measures.setdefault(row.cell.task, set()).add(row.metric)
    cells: dict[tuple[str, str, str], list[Row]] = {}
    source_top1: dict[str, float] = {}
    source_n: dict[str, int] = {}
    family: dict[str, str] = {}
    facts: dict[str, Mapping[str, float]] = {}
    metric: dict[str, str] = {}
    for row in rows:
        task = row.cell.task if len(measures[row.cell.task]) == 1 else f"{row.cell.task} ({row.metric})"
        metric[task] = row.metric
        regime = row.cell.regime if row.source == "measured" else f"{row.cell.regime} [{row.source}]"
        cells.setdefault((task, row.cell.model, regime), []).append(row)
    for row in sorted(rows, key=lambda row: row.source != "measured"):  # what was measured says what its models are
        if row.source_top1 is not None and math.isfinite(row.source_top1):
            known = source_top1.setdefault(row.cell.model, row.source_top1)
            if row.source_n and row.source_top1 == known:
                source_n.setdefault(row.cell.model, row.source_n)
        if row.family:
            family.setdefault(row.cell.model, row.family)
        if row.facts:
            facts.setdefault(row.cell.model, row.facts)
    _refuse_to_pool(cells)
    models = sorted({model for _, model, _ in cells}, key=lambda model: (-source_top1.get(model, -1.0), model))
    order = list(REGIMES)
    regimes = sorted(
        {regime for _, _, regime in cells},
        key=lambda regime: (order.index(regime) if regime in order else len(order), regime),
    )
    entries = {key: _entry(found) for key, found in cells.items()}
    tasks = tuple(sorted(metric))
    sizes = source_n if source_n.keys() == source_top1.keys() else {}
    done = {key: tuple(row.cell for row in found if _finished(row)) for key, found in cells.items()}
    return Results(tuple(models), tasks, tuple(regimes), entries, metric, source_top1, sizes, family, facts, done)


def _refuse_to_pool(cells: Mapping[tuple[str, str, str], Sequence[Row]]) -> None:
    """Raises BadInput where rows of one name were measured with other weights, views, splits or settings."""
    for (task, model, regime), rows in cells.items():
        inputs = {row.cell.inputs for row in rows}
        seeds = [row.cell.seed for row in rows]
        if len(inputs) > 1 or len(set(seeds)) < len(seeds):
            what = f"{len(inputs)} set-ups" if len(inputs) > 1 else "two rows of one seed"
            raise BadInput(
                f"{task} {model} {regime}: {what} found under one name, which are never pooled; give one study's rows, "
                "or compare two with `featune study compare`"
            )


def _finished(row: Row) -> bool:
    return row.error is None and row.value is not None and math.isfinite(row.value)


def _entry(rows: Sequence[Row]) -> Entry:
    done = [row for row in rows if _finished(row)]
    values = [row.value for row in done if row.value is not None]
    lows = [row.low for row in done if row.low is not None]
    highs = [row.high for row in done if row.high is not None]
    whole = bool(done) and len(lows) == len(highs) == len(done)
    errors = tuple(row.error or "no finite value" for row in rows if row not in done)
    return Entry(
        value=math.fsum(values) / len(values) if values else None,
        low=math.fsum(lows) / len(lows) if whole else None,
        high=math.fsum(highs) / len(highs) if whole else None,
        lowest=min(values, default=None),
        highest=max(values, default=None),
        n=max(row.n for row in done or rows),
        seeds=len(done),
        errors=errors,
        collapsed=sum(collapsed(row) for row in done),
        faults=tuple(dict.fromkeys(fault for row in done for fault in faults(row))),
    )


def row_order(row: Row) -> tuple[Any, ...]:
    cell = row.cell
    return (cell.task, cell.model, cell.regime, row.source, row.metric, cell.seed, cell.inputs, _Whole(row))


@dataclasses.dataclass(frozen=True)
class _Whole:
    """A row by all that it holds, written out only where two are alike in the rest of their order."""

    row: Row

    def __lt__(self, other: "_Whole") -> bool:
        return self._text() < other._text()

    def _text(self) -> str:
        return json.dumps(dataclasses.asdict(self.row), sort_keys=True, default=str)


# --- Questions to the table


def ranking(results: Results, task: str, regime: str) -> list[str]:
    """Models that have a number, best first; a model that predicts one class for all images is no best one."""
    return list(results.rankings.get((task, regime), ()))


def clear_lead(results: Results, task: str, regime: str, order: Sequence[str]) -> bool | None:
    """Whether the first's interval lies clear of the second's; None where an interval is missing."""
    first, second = (results.entries[task, model, regime] for model in order[:2])
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None
    return first.low > second.high if results.higher_is_better(task) else first.high < second.low


def gains(results: Results, task: str, one: str, other: str) -> list[tuple[str, float]]:
    """(model, percentage points that `one` is above `other`)."""
    pairs = [(model, results.value(task, model, one), results.value(task, model, other)) for model in results.models]
    return [(model, 100 * (a - b)) for model, a, b in pairs if a is not None and b is not None]


def complete_block(
    results: Results, regime: str, models: Sequence[str], tasks: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Models and tasks with every value between them: a mean over other tasks is another mean."""
    tasks = [task for task in tasks if any(results.value(task, model, regime) is not None for model in models)]
    return without_holes(models, tasks, lambda model, task: results.value(task, model, regime) is None)


def without_holes(
    models: Sequence[Model], tasks: Sequence[str], missing: Callable[[Model, str], bool]
) -> tuple[list[Model], list[str]]:
    """The models and tasks that are left when, while a value is missing, the one that misses the largest share goes.

    missing: whether a model and a task have no value.
    """
    models, tasks = list(models), list(tasks)
    while True:
        holes = np.array([[missing(model, task) for task in tasks] for model in models])
        if not holes.size or not holes.any():
            return models, tasks
        by_model, by_task = holes.mean(axis=1), holes.mean(axis=0)
        if by_model.max() >= by_task.max():
            del models[int(by_model.argmax())]
        else:
            del tasks[int(by_task.argmax())]


# --- Tasks of the same images with fewer of them to learn from: `digits-5` beside `digits`


def shots_of(task: str, tasks: Collection[str]) -> tuple[str, str]:
    """(the whole task, training images of each class or `all`): digits, 5 of digits-5 where there is a task digits."""
    known = SHOTS.fullmatch(task)
    return (known["task"], known["shots"]) if known and known["task"] in tasks else (task, ALL)


def curves_of(tasks: Collection[str]) -> dict[str, dict[str, str]]:
    """{whole task: {level: its task}} of those with several levels, from the fewest images to all."""
    found: dict[str, dict[str, str]] = {}
    for task in tasks:
        whole, level = shots_of(task, tasks)
        found.setdefault(whole, {})[level] = task
    several = {whole: of for whole, of in found.items() if len(of) > 1}
    return {whole: dict(sorted(of.items(), key=lambda one: _size(one[0]))) for whole, of in several.items()}


def _size(level: str) -> float:
    return float("inf") if level == ALL else int(level)
