"""Rows to what people read: a page that answers first, its figures, CSV files, and tables for the terminal.

Everything here is a pure function of the rows; the same rows in any order give the same bytes.
"""

import csv
import dataclasses
import io
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from bench import figures
from bench.runs import Row, Speed
from bench.stats import fit_line, log_odds, mean_log_odds, transfer_correlation
from engine.errors import BadInput
from engine.metrics import METRICS
from engine.store import write_text

if TYPE_CHECKING:
    from markupsafe import Markup
    from rich.table import Table

Array = NDArray[np.float64]

REGIMES = {
    "probe": "frozen features, linear probe",
    "knn": "frozen features, nearest neighbours",
    "finetune": "fine-tuned",
    "scratch": "trained from scratch",
}
FROZEN = ("probe", "knn")
SCOPES = {
    "a": "kernel only, data resident on the device",
    "b": "with copies between host and device",
    "c": "from files, decoding included",
}
# Up to here names fit beside their points on 360 px; beyond, points carry numbers and a key names them.
NAMED_AT_MOST = 8
ROUGH_BELOW = 10


@dataclasses.dataclass(frozen=True)
class Entry:
    """A model on a task in a regime: the mean over its seeds.

    value, low, high: means over the seeds that finished; the interval is the test split's, so more seeds do
    not narrow it. lowest, highest: the seeds' extremes. n: test images. errors: of the seeds that failed.
    """

    value: float | None
    low: float | None
    high: float | None
    lowest: float | None
    highest: float | None
    n: int
    seeds: int
    errors: tuple[str, ...]


@dataclasses.dataclass(frozen=True)
class Results:
    """The rows as one table. models: best source accuracy first, unknown ones last."""

    models: tuple[str, ...]
    tasks: tuple[str, ...]
    regimes: tuple[str, ...]
    entries: Mapping[tuple[str, str, str], Entry]
    metric: Mapping[str, str]
    source_top1: Mapping[str, float]
    family: Mapping[str, str]

    def value(self, task: str, model: str, regime: str) -> float | None:
        entry = self.entries.get((task, model, regime))
        return entry.value if entry else None

    def higher_is_better(self, task: str) -> bool:
        known = METRICS.get(self.metric[task])
        return known.higher_is_better if known else True

    def is_fraction(self, task: str) -> bool:
        """Whether the task's numbers are shares of 1, the higher the better, so that log odds make sense."""
        values = [entry.value for (of, _, _), entry in self.entries.items() if of == task and entry.value is not None]
        return self.higher_is_better(task) and all(0 <= value <= 1 for value in values)

    @property
    def fraction_tasks(self) -> tuple[str, ...]:
        return tuple(task for task in self.tasks if self.is_fraction(task))


@dataclasses.dataclass(frozen=True)
class Correlation:
    """How one regime's transfer follows source accuracy, over models; task is empty for the mean over tasks.

    r: Pearson's, between log odds; low, high: 95 % bootstrap interval; None where there are too few models.
    x, y: log odds of the source and of the transfer accuracy [models]. left_out: models that miss a task.
    """

    regime: str
    task: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    x: Array
    y: Array
    r: float | None = None
    low: float | None = None
    high: float | None = None
    slope: float | None = None
    intercept: float | None = None
    left_out: int = 0


def write_report(
    out: Path,
    title: str,
    rows: Sequence[Row],
    speeds: Sequence[Speed] = (),
    *,
    notes: Sequence[str] = (),
    source_name: str = "ImageNet",
    command: str = "",
    seed: int = 0,
) -> Path:
    """The path of `report.html`, written under `out` with figures/*.png, results.csv and correlations.csv.

    notes: what a reader must know before believing a number. seed: of the bootstrap.
    Raises BadInput where there is neither a row nor a speed, or `out` cannot be written.
    """
    out = Path(out)
    if not rows and not speeds:
        raise BadInput(f"no results for {out}; run the study first")
    results = collect(rows)
    found = correlations(results, seed)
    drawn = _figures(results, found, speeds, source_name, seed)
    write_text(out / "results.csv", results_csv(rows))
    write_text(out / "correlations.csv", correlations_csv(found))
    if speeds:
        write_text(out / "throughput.csv", throughput_csv(speeds))
    else:
        (out / "throughput.csv").unlink(missing_ok=True)
    for name in {"transfer", "tasks", "regimes", "throughput"} - {one.name for one in drawn}:
        (out / "figures" / f"{name}.png").unlink(missing_ok=True)
    for one in drawn:
        figures.write_png(out / "figures" / f"{one.name}.png", one.panels, one.keys)
    page = _page(title, rows, speeds, results, found, drawn, notes, source_name, command, seed)
    write_text(out / "report.html", page)
    return out / "report.html"


def collect(rows: Iterable[Row]) -> Results:
    """The rows by task, model and regime. A published row's regime carries its source; the two never mix."""
    rows = sorted(rows, key=_row_order)
    measures: dict[str, set[str]] = {}
    for row in rows:
        measures.setdefault(row.cell.task, set()).add(row.metric)
    cells: dict[tuple[str, str, str], list[Row]] = {}
    source_top1: dict[str, float] = {}
    family: dict[str, str] = {}
    metric: dict[str, str] = {}
    for row in rows:
        task = row.cell.task if len(measures[row.cell.task]) == 1 else f"{row.cell.task} ({row.metric})"
        metric[task] = row.metric
        regime = row.cell.regime if row.source == "measured" else f"{row.cell.regime} [{row.source}]"
        cells.setdefault((task, row.cell.model, regime), []).append(row)
        if row.source_top1 is not None and math.isfinite(row.source_top1):
            source_top1.setdefault(row.cell.model, row.source_top1)
        if row.family:
            family.setdefault(row.cell.model, row.family)
    models = sorted({model for _, model, _ in cells}, key=lambda model: (-source_top1.get(model, -1.0), model))
    known = list(REGIMES)
    regimes = sorted(
        {regime for _, _, regime in cells},
        key=lambda regime: (known.index(regime) if regime in known else len(known), regime),
    )
    entries = {key: _entry(found) for key, found in cells.items()}
    tasks = tuple(sorted(metric))
    return Results(tuple(models), tasks, tuple(regimes), entries, metric, source_top1, family)


def _entry(rows: Sequence[Row]) -> Entry:
    done = [row for row in rows if row.error is None and row.value is not None and math.isfinite(row.value)]
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
        n=max(1, *(row.n for row in done or rows)),
        seeds=len(done),
        errors=errors,
    )


# --- Correlation of source accuracy with transfer


def correlations(results: Results, seed: int = 0) -> list[Correlation]:
    """Per regime: over the mean of the tasks first, then task by task."""
    found = []
    for regime in results.regimes:
        tasks = results.fraction_tasks
        known = [model for model in results.models if model in results.source_top1]
        measured = [m for m in known if any(results.value(task, m, regime) is not None for task in tasks)]
        block = _complete_block(results, regime, measured, tasks)
        found.append(_correlation(results, regime, "", *block, len(measured) - len(block[0]), seed))
        for task in tasks:
            models = [model for model in known if results.value(task, model, regime) is not None]
            found.append(_correlation(results, regime, task, models, [task], 0, seed))
    return [one for one in found if one.models]


def _complete_block(
    results: Results, regime: str, models: Sequence[str], tasks: Sequence[str]
) -> tuple[list[str], list[str]]:
    """Models and tasks with every value between them: a mean over other tasks is another mean.

    While a value is missing, the model or task that misses the largest share goes.
    """
    models = list(models)
    tasks = [task for task in tasks if any(results.value(task, model, regime) is not None for model in models)]
    while True:
        holes = np.array([[results.value(task, model, regime) is None for task in tasks] for model in models])
        if not holes.size or not holes.any():
            return models, tasks
        by_model, by_task = holes.mean(axis=1), holes.mean(axis=0)
        if by_model.max() >= by_task.max():
            del models[int(by_model.argmax())]
        else:
            del tasks[int(by_task.argmax())]


def _correlation(
    results: Results,
    regime: str,
    task: str,
    models: Sequence[str],
    tasks: Sequence[str],
    left_out: int,
    seed: int,
) -> Correlation:
    if not models or not tasks:
        return Correlation(regime, task, (), (), np.empty(0), np.empty(0))
    entries = [[results.entries[of, model, regime] for of in tasks] for model in models]
    source = np.array([_inside(results.source_top1[model]) for model in models])
    values = np.array([[entry.value for entry in line] for line in entries], dtype=np.float64)
    n = np.array([[entry.n for entry in line] for line in entries])
    fit = transfer_correlation(source, values, n, seed=seed)
    bare = Correlation(
        regime,
        task,
        tuple(models),
        tuple(tasks),
        log_odds(source),
        mean_log_odds(values, n),
        left_out=left_out,
    )
    r, low, high, slope, intercept = map(_finite, (fit.r, fit.low, fit.high, fit.slope, fit.intercept))
    return dataclasses.replace(bare, r=r, low=low, high=high, slope=slope, intercept=intercept)


def _inside(value: float) -> float:
    """A source accuracy comes without its n; off the very ends its log odds are finite."""
    return min(max(value, 1e-4), 1 - 1e-4)


def _source_log_odds(results: Results, model: str) -> float:
    return float(log_odds(_inside(results.source_top1[model])))


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None


def _entry_log_odds(entry: Entry) -> tuple[float, float | None, float | None]:
    """Log odds of the value and of the ends of its interval, if it has one."""
    assert entry.value is not None, "a failed cell has no log odds"
    ends = (entry.low, entry.high)
    low, high = (None if end is None else float(log_odds(min(max(end, 0.0), 1.0), entry.n)) for end in ends)
    return float(log_odds(entry.value, entry.n)), low, high


def correlation_lines(results: Results | Sequence[Row], source_name: str = "ImageNet", seed: int = 0) -> list[str]:
    """One sentence per regime, for the terminal."""
    table = results if isinstance(results, Results) else collect(results)
    return [_sentence(one, source_name) for one in correlations(table, seed) if not one.task]


def _sentence(one: Correlation, source_name: str) -> str:
    name = _capital(label(one.regime))
    over = f"{_count(len(one.models), 'model')}, {_count(len(one.tasks), 'task')}"
    verdict = {
        "yes": f"better {source_name} models score higher",
        "no": f"better {source_name} models score lower",
        "open": f"whether better {source_name} models score higher is not settled",
        "none": f"too few models to say whether better {source_name} models score higher",
    }[_verdict(one)]
    return f"{name}: {verdict} ({_numbers(one)}{over})."


def _verdict(one: Correlation) -> str:
    """Does transfer follow source accuracy: yes, no, open (the interval holds 0) or none (no interval)."""
    if one.low is None or one.high is None:
        return "none"
    return "yes" if one.low > 0 else "no" if one.high < 0 else "open"


def _numbers(one: Correlation) -> str:
    if one.r is None or one.low is None or one.high is None:
        return ""
    return f"r\u00a0=\u00a0{_signed(one.r)}, 95\u00a0% interval {_signed(one.low)} to {_signed(one.high)}; "


# --- Words


def label(regime: str) -> str:
    """What a reader sees for a regime's name."""
    name, _, source = regime.partition(" [")
    return REGIMES.get(name, name) + (f" [{source}" if source else "")


def _short_label(regime: str) -> str:
    name, _, source = regime.partition(" [")
    short = {"probe": "frozen, probe", "knn": "frozen, kNN", "scratch": "from scratch"}
    return short.get(name, REGIMES.get(name, name)) + (f" [{source}" if source else "")


def _answer(results: Results, found: Sequence[Correlation], source_name: str) -> dict[str, Any]:
    """The page's first words. lead: the answer in a paragraph; regimes: (name, text) each; close: how sure."""
    means = [one for one in found if not one.task]
    lead = _verdicts(means, source_name) if means else [_no_correlation(results, source_name)]
    lead += _regime_comparisons(results)
    regimes = []
    for regime in results.regimes:
        judged = [one for one in means if one.regime == regime and _verdict(one) != "none"]
        of = [_sentence(one, source_name).partition(": ")[2] for one in judged]
        text = " ".join([*(_capital(sentence) for sentence in of), _best(results, regime)]).strip()
        if text:
            regimes.append((_capital(label(regime)), text))
    return {"lead": " ".join(lead), "regimes": regimes, "close": _separation(results)}


WITH = {
    "probe": "with a linear probe on frozen features",
    "knn": "with nearest neighbours on frozen features",
    "finetune": "with fine-tuning",
    "scratch": "trained from scratch",
}


def _verdicts(means: Sequence[Correlation], source_name: str) -> list[str]:
    """One sentence per verdict, for the regimes that it holds for; from scratch apart, as the control."""
    groups: dict[str, list[str]] = {}
    for one in means:
        if one.regime != "scratch":
            groups.setdefault(_verdict(one), []).append(WITH.get(one.regime, f"with {label(one.regime)}"))
    words = {
        "yes": f"Models with higher {source_name} accuracy transfer better {{}}.",
        "no": f"Models with higher {source_name} accuracy transfer worse {{}}.",
        "open": f"Whether models with higher {source_name} accuracy transfer better {{}} is not settled: "
        "the interval of the correlation holds zero.",
        "none": f"Too few models to say whether those with higher {source_name} accuracy transfer better {{}}.",
    }
    sentences = [words[verdict].replace("{}", _joined(groups[verdict])) for verdict in words if verdict in groups]
    control = next((_verdict(one) for one in means if one.regime == "scratch"), "none")
    if control == "yes":
        sentences.append(
            "Trained from scratch (the control), the same architectures show the link too: part of it belongs to "
            "them, not to pre-training."
        )
    elif control in ("open", "no"):
        sentences.append("Trained from scratch (the control), the same architectures show no such settled link.")
    counts = [len(one.models) for one in means if _verdict(one) != "none"]
    if counts and min(counts) < ROUGH_BELOW:
        sentences.append(
            f"With {_count(min(counts), 'model')} an interval over models is itself rough: "
            "read it as a sketch, not a test."
        )
    return sentences


def _no_correlation(results: Results, source_name: str) -> str:
    if not results.entries:
        return "Throughput only: no accuracy has been measured."
    if not any(entry.value is not None for entry in results.entries.values()):
        return "No cell has finished with a number; the errors are listed below."
    if not results.source_top1:
        return f"No model’s {source_name} accuracy is known, so nothing is said about how transfer follows it."
    return f"No task’s metric can be compared with {source_name} accuracy in log odds."


def _best(results: Results, regime: str) -> str:
    """Who is best where in this regime, with values where there are few tasks."""
    best: dict[str, list[str]] = {}
    for task in results.tasks:
        for model in _ranking(results, task, regime)[:1]:
            entry = results.entries[task, model, regime]
            best.setdefault(model, []).append(f"{task} ({_with_interval(entry, results, task)})")
    if not best:
        return ""
    order = sorted(best, key=lambda model: (-len(best[model]), model))
    count = sum(len(tasks) for tasks in best.values())
    if len(results.models) == 1:
        return f"{order[0]}: {_joined(best[order[0]])}."
    if count <= 4:
        return "Best: " + "; ".join(f"{model} on {_joined(best[model])}" for model in order) + "."
    counts = [f"{model} on {len(best[model])}" for model in order[:3]]
    rest = sum(len(best[model]) for model in order[3:])
    return f"Best, of {count} tasks: {_joined(counts + ([f'others on {rest}'] if rest else []))}."


def _separation(results: Results) -> str:
    """In how many places the first two can be told apart."""
    leads = [
        _clear_lead(results, task, regime, order)
        for regime in results.regimes
        for task in results.tasks
        if len(order := _ranking(results, task, regime)) > 1
    ]
    clear, overlapping = leads.count(True), leads.count(False)
    if not clear + overlapping:
        return ""
    both = clear + overlapping
    if not clear:
        many = "the one place" if both == 1 else f"all {both} places"
        return f"In {many} where a model is best, its interval overlaps the runner-up’s: no lead is settled."
    rest = f"; in the other {overlapping} they overlap, so the lead is not settled there" if overlapping else ""
    return f"In {clear} of {both} places the best model’s interval lies clear of the runner-up’s{rest}."


def _regime_comparisons(results: Results) -> list[str]:
    frozen = next((regime for regime in FROZEN if regime in results.regimes), None)
    sentences = []
    if frozen and "finetune" in results.regimes:
        sentences.append(_comparison(results, "finetune", frozen, "Fine-tuning", "frozen features"))
    if "finetune" in results.regimes and "scratch" in results.regimes:
        sentences.append(_comparison(results, "finetune", "scratch", "Fine-tuning", "training from scratch"))
    elif frozen and "scratch" in results.regimes:
        sentences.append(_comparison(results, frozen, "scratch", "A frozen backbone", "training from scratch"))
    return [text for text in sentences if text]


def _comparison(results: Results, one: str, other: str, name: str, than: str) -> str:
    gains = [gain for task in results.fraction_tasks for _, gain in _gains(results, task, one, other)]
    if not gains:
        return ""
    if len(gains) == 1:
        return f"{name} against {than}: {_gain(gains[0])} points."
    higher = sum(gain > 0 for gain in gains)
    return (
        f"{name} beats {than} in {higher} of {len(gains)} pairs of model and task; the mean difference is "
        f"{_gain(float(np.mean(gains)))} points ({_gain(min(gains))} to {_gain(max(gains))})."
    )


def _gains(results: Results, task: str, one: str, other: str) -> list[tuple[str, float]]:
    """(model, percentage points that `one` is above `other`)."""
    pairs = [(model, results.value(task, model, one), results.value(task, model, other)) for model in results.models]
    return [(model, 100 * (a - b)) for model, a, b in pairs if a is not None and b is not None]


def _ranking(results: Results, task: str, regime: str) -> list[str]:
    """Models that have a number, best first."""
    sign = -1 if results.higher_is_better(task) else 1
    found = [(results.value(task, model, regime), model) for model in results.models]
    return [model for _, model in sorted((sign * value, model) for value, model in found if value is not None)]


def _clear_lead(results: Results, task: str, regime: str, order: Sequence[str]) -> bool | None:
    """Whether the first's interval lies clear of the second's; None where an interval is missing."""
    first, second = (results.entries[task, model, regime] for model in order[:2])
    if first.low is None or first.high is None or second.low is None or second.high is None:
        return None
    return first.low > second.high if results.higher_is_better(task) else first.high < second.low


def _number(value: float, results: Results, task: str) -> str:
    if not results.is_fraction(task):
        return f"{value:.3f}".replace("-", "−")
    return f"{100 * value:.1f}"


def _interval(entry: Entry, results: Results, task: str) -> str:
    if entry.low is None or entry.high is None:
        return ""
    low, high = (_number(end, results, task) for end in (entry.low, entry.high))
    return f"{low}–{high}" if results.is_fraction(task) else f"{low} to {high}"


def _with_interval(entry: Entry, results: Results, task: str) -> str:
    unit = "\u00a0%" if results.is_fraction(task) else ""
    interval = _interval(entry, results, task)
    value = _number(entry.value or 0.0, results, task)
    return f"{value}{unit}" + (f", {interval}" if interval else "")


def _signed(value: float) -> str:
    """Two decimals, three where two would round to a perfect 1."""
    return f"{value:.{3 if 0.995 <= abs(value) < 0.9995 else 2}f}".replace("-", "−")


def _gain(points: float) -> str:
    return f"{points:+.1f}".replace("-", "−")


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" + ("" if number == 1 else "s")


def _joined(parts: Sequence[str]) -> str:
    return parts[0] if len(parts) == 1 else ", ".join(parts[:-1]) + " and " + parts[-1]


def _capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def _printable(text: object) -> str:
    """Names are user data: control characters and half surrogates would break XML."""
    return re.sub(r"[\x00-\x08\x0b-\x1f\x7f-\x9f\ud800-\udfff\ufffe\uffff]", "\ufffd", str(text))


# --- Figures


@dataclasses.dataclass(frozen=True)
class Drawn:
    """A figure of one or several panels. keys: what colours, shapes and numbers mean."""

    name: str
    caption: str
    panels: tuple[figures.Panel, ...]
    keys: tuple[figures.Key, ...] = ()


def _figures(
    results: Results, found: Sequence[Correlation], speeds: Sequence[Speed], source_name: str, seed: int
) -> list[Drawn]:
    drawn = [
        _transfer_figure(results, found, source_name, seed),
        _task_figure(results, source_name),
        _regime_figure(results),
        _throughput_figure(speeds, results),
    ]
    return [one for one in drawn if one is not None and one.panels]


def _styles(results: Results) -> dict[str, tuple[str, str]]:
    """Regime to (colour, shape), the same throughout."""
    fixed = {"probe": 0, "finetune": 1, "scratch": 2, "knn": 3}
    free = [at for at in range(len(figures.SHAPES)) if at not in {fixed.get(name) for name in results.regimes}]
    styles = {}
    for regime in results.regimes:
        at = fixed[regime] if regime in fixed else free.pop(0) if free else 0
        styles[regime] = (figures.COLOURS[at % len(figures.COLOURS)], figures.SHAPES[at])
    return styles


def _family_shapes(results: Results) -> dict[str, str]:
    families = sorted({results.family.get(model, "") for model in results.models})
    return {family: figures.SHAPES[at % len(figures.SHAPES)] for at, family in enumerate(families)}


def _transfer_figure(results: Results, found: Sequence[Correlation], source_name: str, seed: int) -> Drawn | None:
    means = [one for one in found if not one.task]
    if not means:
        return None
    styles, names = _styles(results), _point_names(results)
    shapes = _family_shapes(results)
    series = []
    for one in means:
        marks = []
        for model, x, y in zip(one.models, one.x, one.y, strict=True):
            low, high = _mean_interval([results.entries[task, model, one.regime] for task in one.tasks])
            marks.append(figures.Mark(names[model], shapes[results.family.get(model, "")], x, y, low, high))
        series.append(figures.Series(one.regime, styles[one.regime][0], tuple(marks), _line(one, seed)))
    across = figures.limits_of([float(x) for one in means for x in one.x], 0.12)
    # Every panel is as many log odds tall, so that slopes compare; regimes side by side are another figure.
    tall = max(high - low for low, high in (figures.limits_of(_ends(one.marks)) for one in series))
    panels = tuple(
        _transfer_panel(f"transfer-{at}", one, drawn, source_name, across, tall)
        for at, (one, drawn) in enumerate(zip(means, series, strict=True))
    )
    keys = [*_family_key(results), *_number_key(results)]
    return Drawn("transfer", _transfer_caption(results, means, source_name), panels, tuple(keys))


def _transfer_panel(
    name: str, one: Correlation, series: figures.Series, source_name: str, across: figures.Limits, tall: float
) -> figures.Panel:
    note = _count(len(one.models), "model")
    if one.r is not None and one.low is not None and one.high is not None:
        note = f"r\u00a0=\u00a0{_signed(one.r)} ({_signed(one.low)} to {_signed(one.high)}), {note}"
    several = len(one.tasks) > 1
    axis = f"Accuracy, mean over {len(one.tasks)} tasks" if several else f"Accuracy on {_printable(one.tasks[0])}"
    low, high = figures.limits_of(_ends(series.marks))
    middle = (low + high) / 2
    description = f"{_capital(label(one.regime))}: {axis.lower()}, against {source_name} accuracy. {note}."
    return figures.scatter_panel(
        name,
        _printable(_capital(_short_label(one.regime))),
        _printable(description),
        [series],
        (_printable(f"{_capital(source_name)} accuracy"), axis),
        (across, (middle - tall / 2, middle + tall / 2)),
        named=True,
        note=note,
    )


def _ends(marks: Iterable[figures.Mark]) -> list[float]:
    return [end for mark in marks for end in (mark.y, mark.low, mark.high) if end is not None]


def _point_names(results: Results) -> dict[str, str]:
    """What stands beside a model's point: its name, or a number where there are many."""
    if len(results.models) <= NAMED_AT_MOST:
        return {model: _printable(model) for model in results.models}
    return {model: str(at) for at, model in enumerate(results.models, 1)}


def _number_key(results: Results) -> list[figures.Key]:
    if len(results.models) <= NAMED_AT_MOST:
        return []
    return [[(f"{number}\u00a0\u00a0{_printable(model)}", "", "") for model, number in _point_names(results).items()]]


def _family_key(results: Results) -> list[figures.Key]:
    shapes = _family_shapes(results)
    if len(shapes) == 1:
        return []
    return [[(_printable(name) or "no family given", figures.MUTED, shape) for name, shape in shapes.items()]]


def _transfer_caption(results: Results, means: Sequence[Correlation], source_name: str) -> str:
    several = any(len(one.tasks) > 1 for one in means)
    parts = [
        f"{_capital(source_name)} accuracy against transfer accuracy, both in log odds (marked in percent)"
        + ("; transfer is the mean over tasks of the log odds." if several else "."),
        "One point per model; bars: 95\u00a0%, from the finite test splits.",
    ]
    if len(means) > 1:
        parts.append("Panels differ in where their vertical axis starts, not in its scale.")
    if any(one.r is not None for one in means):
        parts.append("Line: least squares; band: 95\u00a0%, from drawing models with replacement.")
    if "scratch" in results.regimes:
        parts.append(
            f"From scratch is the control: those weights never saw {source_name}, so what correlation is "
            "left there belongs to the architectures."
        )
    missing = [model for model in results.models if model not in results.source_top1]
    if missing:
        parts.append(f"{_count(len(missing), 'model')} without a known {source_name} accuracy left out.")
    if any(one.left_out for one in means):
        worst = max(one.left_out for one in means)
        parts.append(f"Up to {_count(worst, 'model')} per panel left out for want of a result on every task shown.")
    if len(results.fraction_tasks) < len(results.tasks):
        parts.append("Tasks whose metric is not a share of 1 to be maximised are left out.")
    return " ".join(parts)


def _mean_interval(entries: Sequence[Entry]) -> tuple[float | None, float | None]:
    """Ends of the 95 % interval of the mean log odds over tasks, whose test splits are independent."""
    below, above, middle = 0.0, 0.0, 0.0
    for entry in entries:
        at, low, high = _entry_log_odds(entry)
        if low is None or high is None:
            return None, None
        middle, below, above = middle + at, below + (at - low) ** 2, above + (high - at) ** 2
    count = len(entries)
    return (middle - math.sqrt(below)) / count, (middle + math.sqrt(above)) / count


def _line(one: Correlation, seed: int) -> figures.Line | None:
    if one.slope is None:
        return None
    fit = fit_line(one.x, one.y, np.linspace(one.x.min(), one.x.max(), 40), seed=seed)
    known = bool(np.isfinite(fit.low).all())
    return figures.Line(fit.at, fit.line, fit.low if known else None, fit.high if known else None)


def _task_figure(results: Results, source_name: str) -> Drawn | None:
    if len(results.fraction_tasks) == 1 and len(results.regimes) == 1:
        return None  # the first figure shows just that
    panels: list[figures.Panel] = []
    for task in results.fraction_tasks:
        series = _task_series(results, task)
        if series:
            panels.append(_task_panel(results, task, series, source_name, f"task-{len(panels)}"))
    caption = (
        f"Each task by itself: {source_name} accuracy against the task’s metric, both in log odds, one point "
        "per model and regime, regimes a little apart; bars: 95\u00a0% intervals. The vertical axes differ."
    )
    return Drawn("tasks", caption, tuple(panels), (_regime_key(results),))


def _task_series(results: Results, task: str) -> list[figures.Series]:
    styles, found = _styles(results), []
    for at, regime in enumerate(results.regimes):
        marks = []
        for model in results.source_top1:
            entry = results.entries.get((task, model, regime))
            if entry is not None and entry.value is not None:
                x = _source_log_odds(results, model)
                marks.append(figures.Mark(model, styles[regime][1], x, *_entry_log_odds(entry)))
        shift = 4 * (at - (len(results.regimes) - 1) / 2)
        if marks:
            found.append(figures.Series(regime, styles[regime][0], tuple(marks), shift=shift))
    return found


def _task_panel(
    results: Results, task: str, series: Sequence[figures.Series], source_name: str, name: str
) -> figures.Panel:
    marks = [mark for one in series for mark in one.marks]
    metric = _metric_name(results.metric[task])
    return figures.scatter_panel(
        name,
        _printable(task),
        _printable(f"{task}: {metric} against {source_name} accuracy, {_count(len(marks), 'point')}."),
        series,
        (_printable(f"{_capital(source_name)} accuracy"), _printable(_capital(metric))),
        (
            figures.limits_of([_source_log_odds(results, model) for model in results.source_top1], 0.1),
            figures.limits_of(_ends(marks)),
        ),
        height=270,
    )


def _metric_name(name: str) -> str:
    known = {"top1": "top-1 accuracy", "top5": "top-5 accuracy", "mean_per_class": "mean per-class accuracy"}
    return known.get(name, name.replace("_", " "))


def _regime_key(results: Results) -> figures.Key:
    return [(_printable(_short_label(regime)), *style) for regime, style in _styles(results).items()]


def _regime_figure(results: Results) -> Drawn | None:
    if len(results.models) == 1 and len(results.regimes) == 1:
        return None
    blocks = [_complete_block(results, regime, results.models, results.fraction_tasks) for regime in results.regimes]
    common = [task for task in results.fraction_tasks if all(task in tasks for models, tasks in blocks if models)]
    if not common:
        return None
    rows = [(model, _means_by_regime(results, model, common)) for model in results.models]
    rows = [(_printable(model), series) for model, series in rows if series]
    ends = [end for _, series in rows for one in series for mark in one.marks
            for end in (mark.x, mark.low, mark.high) if end is not None]  # fmt: skip
    if not rows:
        return None
    over = f"mean over {len(common)} tasks" if len(common) > 1 else _printable(common[0])
    description = f"Accuracy of {_count(len(rows), 'model')} in each regime, {over}."
    axis = "Accuracy, spaced by log odds"
    panels = [
        figures.dot_panel("regimes-0", f"Accuracy, {over}", description, rows, axis, figures.limits_of(ends, 0.06))
    ]
    caption = f"Regimes side by side, {over} (of log odds); pale bars: 95\u00a0%, from the finite test splits."
    gains = _gain_panel(results)
    if gains is not None:
        panels.append(gains)
        caption += " What fine-tuning adds: fine-tuned minus frozen, a dot per model, the stroke at their mean."
    return Drawn("regimes", caption, tuple(panels), (_regime_key(results),))


def _means_by_regime(results: Results, model: str, tasks: Sequence[str]) -> list[figures.Series]:
    """The model's mean log odds over these tasks in every regime that has them all."""
    styles, found = _styles(results), []
    for regime in results.regimes:
        entries = [results.entries.get((task, model, regime)) for task in tasks]
        done = [entry for entry in entries if entry is not None and entry.value is not None]
        if len(done) == len(tasks):
            middle = float(np.mean([_entry_log_odds(entry)[0] for entry in done]))
            colour, shape = styles[regime]
            mark = figures.Mark(model, shape, middle, 0.0, *_mean_interval(done))
            found.append(figures.Series(regime, colour, (mark,)))
    return found


def _gain_panel(results: Results) -> figures.Panel | None:
    frozen = next((regime for regime in FROZEN if regime in results.regimes), None)
    if frozen is None or "finetune" not in results.regimes:
        return None
    rows = [
        (_printable(task), [gain for _, gain in _gains(results, task, "finetune", frozen)])
        for task in results.fraction_tasks
    ]
    rows = [(task, gains) for task, gains in rows if gains]
    if not rows:
        return None
    colour = _styles(results)["finetune"][0]
    description = f"Fine-tuned minus {label(frozen)}, in percentage points: one dot per model, by task."
    axis = "Fine-tuned minus frozen, percentage points"
    return figures.gain_panel("regimes-1", "What fine-tuning adds", description, rows, axis, colour)


def _throughput_figure(speeds: Sequence[Speed], results: Results) -> Drawn | None:
    if not speeds:
        return None
    ordered = sorted(speeds, key=dataclasses.astuple)
    names = sorted({_setup(one, ordered) for one in ordered})
    colours = {name: figures.COLOURS[at % len(figures.COLOURS)] for at, name in enumerate(names)}
    fastest = _fastest(ordered)
    panels: list[figures.Panel] = []
    for device, scope in sorted({(one.device, _scope(one.scope)) for one in ordered}):
        here = [one for one in ordered if (one.device, _scope(one.scope)) == (device, scope)]
        models = sorted({one.model for one in here}, key=lambda name: (-fastest[name], name))
        rows = [
            (_printable(model), [_bar(one, ordered, colours) for one in here if one.model == model]) for model in models
        ]
        name, title = f"throughput-{len(panels)}", _printable(f"{device}, scope ({scope})")
        description = f"Images per second on {title}, for {_count(len(rows), 'model')}."
        panels.append(figures.bar_panel(name, title, description, rows, "Images per second"))
    caption = _throughput_caption(ordered)
    keys: list[figures.Key] = [[(_printable(name), colours[name], "s") for name in names]]
    cost = _cost_panel(ordered, results)
    if cost is not None:
        panels.append(cost)
        keys += _number_key(results)
        caption += " What accuracy costs: each model’s mean transfer accuracy at the rate of its fastest backend."
    return Drawn("throughput", _printable(caption), tuple(panels), tuple(keys))


def _cost_panel(speeds: Sequence[Speed], results: Results) -> figures.Panel | None:
    """Accuracy against speed, for the device and scope with the highest rate and the first regime."""
    if not results.regimes or not results.fraction_tasks:
        return None
    regime = results.regimes[0]
    top = max(speeds, key=lambda one: one.images_per_second)
    rate = _fastest(one for one in speeds if (one.device, _scope(one.scope)) == (top.device, _scope(top.scope)))
    models, tasks = _complete_block(results, regime, [m for m in results.models if m in rate], results.fraction_tasks)
    if len(models) < 2 or not tasks:
        return None
    shapes, names = _family_shapes(results), _point_names(results)
    marks = []
    for model in models:
        entries = [results.entries[task, model, regime] for task in tasks]
        middle = float(np.mean([_entry_log_odds(entry)[0] for entry in entries]))
        shape = shapes[results.family.get(model, "")]
        marks.append(figures.Mark(names[model], shape, math.log10(rate[model]), middle, *_mean_interval(entries)))
    over = f"mean over {len(tasks)} tasks" if len(tasks) > 1 else _printable(tasks[0])
    return figures.scatter_panel(
        "throughput-cost",
        "What accuracy costs",
        f"Accuracy ({label(regime)}, {over}) against images per second, {_count(len(models), 'model')}.",
        [figures.Series(regime, _styles(results)[regime][0], tuple(marks))],
        ("Images per second, log scale", f"Accuracy, {over}"),
        (figures.limits_of([mark.x for mark in marks], 0.12), figures.limits_of(_ends(marks))),
        named=True,
        note=_printable(f"{_short_label(regime)}; {top.device}, scope ({_scope(top.scope)})"),
        powers=True,
    )


def _bar(one: Speed, among: Sequence[Speed], colours: Mapping[str, str]) -> figures.Bar:
    rate, name = one.images_per_second, _setup(one, among)
    return figures.Bar(name, colours[name], rate, f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}")


def _fastest(speeds: Iterable[Speed]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in speeds:
        found[one.model] = max(found.get(one.model, 0.0), one.images_per_second)
    return found


def _throughput_caption(speeds: Sequence[Speed]) -> str:
    def all_of(name: str) -> str:
        return ", ".join(str(value) for value in sorted({getattr(one, name) for one in speeds}))

    scopes = sorted({_scope(one.scope) for one in speeds})
    meaning = "; ".join(f"({scope}) {SCOPES[scope]}" if scope in SCOPES else scope for scope in scopes)
    return (
        f"Images per second; higher is better. Device: {all_of('device')}. Batch: {all_of('batch')}. "
        f"Precision: {all_of('precision')}. Threads: {all_of('threads')}. The clock’s scope: {meaning}."
    )


def _scope(text: str) -> str:
    """The scope's letter, whether it was written a, (a) or with words after it."""
    letter = text.strip().lstrip("(")[:1].lower()
    rest = text.strip().lstrip("(")[1:2]
    return letter if letter in SCOPES and not rest.isalnum() else text


def _setup(one: Speed, among: Sequence[Speed]) -> str:
    """The backend, and whatever else differs between the speeds."""
    parts = [one.backend]
    if len({other.precision for other in among}) > 1:
        parts.append(one.precision)
    if len({other.batch for other in among}) > 1:
        parts.append(f"batch {one.batch}")
    if len({other.threads for other in among}) > 1:
        parts.append(_count(one.threads, "thread"))
    return ", ".join(parts)


# --- Tables, CSV and the page


def results_csv(rows: Iterable[Row]) -> str:
    """One line per row, sorted; numbers in full precision; RFC 4180."""
    columns = (
        *("task", "model", "family", "source_top1", "regime", "seed", "metric", "value", "low", "high", "n"),
        *("seconds", "error", "source", "inputs", "scores_digest"),
    )
    found = []
    for row in sorted(rows, key=_row_order):
        values = {**{name: getattr(row, name, None) for name in columns}, **dataclasses.asdict(row.cell)}
        if row.error is not None:
            values |= {"value": None, "low": None, "high": None}
        found.append([values[name] for name in columns])
    return _csv(columns, found)


def correlations_csv(found: Iterable[Correlation]) -> str:
    columns = (
        "regime",
        "task",
        "models",
        "tasks",
        "r",
        "low",
        "high",
        "slope",
        "intercept",
        "models_left_out",
    )
    return _csv(columns, (
        [one.regime, one.task or "(mean of tasks)", len(one.models), len(one.tasks), one.r, one.low, one.high,
         one.slope, one.intercept, one.left_out]
        for one in found
    ))  # fmt: skip


def throughput_csv(speeds: Iterable[Speed]) -> str:
    columns = [field.name for field in dataclasses.fields(Speed)]
    return _csv(columns, sorted(dataclasses.astuple(one) for one in speeds))


def _csv(columns: Sequence[str], lines: Iterable[Sequence[Any]]) -> str:
    text = io.StringIO(newline="")
    writer = csv.writer(text, lineterminator="\r\n")
    writer.writerow(columns)
    for line in lines:
        writer.writerow(["" if value is None else repr(float(value)) if isinstance(value, float) else
                         _printable(value) for value in line])  # fmt: skip
    return text.getvalue()


def _row_order(row: Row) -> tuple[Any, ...]:
    cell = row.cell
    rest = json.dumps(dataclasses.asdict(row), sort_keys=True, default=str)
    return (cell.task, cell.model, cell.regime, row.source, row.metric, cell.seed, cell.inputs, rest)


def results_table(rows: Sequence[Row]) -> "Table":
    """Models by regimes, task after task, for the terminal; the best of each task and regime in bold."""
    from rich.table import Table
    from rich.text import Text

    results = collect(rows)
    table = Table(caption="percent where a metric is a share; in brackets its 95 % interval; best in bold")
    for name in ("task", "n", "model", "source"):
        table.add_column(name, justify="right" if name in ("n", "source") else "left", overflow="fold")
    for regime in results.regimes:
        table.add_column(Text(_printable(_short_label(regime))), justify="right")
    for task in results.tasks:
        for at, model in enumerate(results.models):
            known = results.source_top1.get(model)
            cells = [_cell(results, task, model, regime) for regime in results.regimes]
            table.add_row(
                Text(_printable(task) if at == 0 else ""),
                _sizes(results, task) if at == 0 else "",
                Text(_printable(model)),
                "–" if known is None else f"{100 * known:.1f}",
                *(Text(cell["value"] + (f" [{cell['interval']}]" if cell["interval"] else ""),
                       style="bold" if cell["best"] else "red" if cell["failed"] else "") for cell in cells),
                end_section=model == results.models[-1],
            )  # fmt: skip
    return table


def _cell(results: Results, task: str, model: str, regime: str) -> dict[str, Any]:
    """What a table shows of an entry; a failed one is a word, one that is not there yet a dash."""
    entry = results.entries.get((task, model, regime))
    cell = {"value": "–", "interval": "", "note": "", "best": False, "failed": False}
    if entry is None:
        return cell
    if entry.value is None:
        return cell | {"value": "failed", "failed": True}
    order = _ranking(results, task, regime)
    notes = []
    if entry.seeds > 1 and entry.lowest is not None and entry.highest is not None:
        ends = f"{_number(entry.lowest, results, task)} to {_number(entry.highest, results, task)}"
        notes.append(f"{entry.seeds} seeds: {ends}")
    if entry.errors:
        notes.append(f"{_count(len(entry.errors), 'seed')} failed")
    best = len(order) > 1 and entry.value == results.value(task, order[0], regime)
    return cell | {
        "value": _number(entry.value, results, task),
        "interval": _interval(entry, results, task),
        "note": "; ".join(notes),
        "best": best,
    }


def _sizes(results: Results, task: str) -> str:
    """The test images, or their range where cells differ."""
    found = [entry.n for (of, _, _), entry in results.entries.items() if of == task and entry.value is not None]
    if not found:
        return "–"
    return f"{min(found):,}" if min(found) == max(found) else f"{min(found):,} to {max(found):,}"


def _page(
    title: str,
    rows: Sequence[Row],
    speeds: Sequence[Speed],
    results: Results,
    found: Sequence[Correlation],
    drawn: Sequence[Drawn],
    notes: Sequence[str],
    source_name: str,
    command: str,
    seed: int,
) -> str:
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("bench", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["breakable"] = _breakable
    environment.finalize = lambda value: value if isinstance(value, Markup) else _printable(value)
    pictures = [
        {
            "name": one.name,
            "caption": one.caption,
            "number": at,
            "panels": [Markup(figures.svg(panel)) for panel in one.panels],
            "keys": [
                [(text, Markup(figures.key_svg(colour, shape)) if shape else "") for text, colour, shape in key]
                for key in one.keys
            ],
        }
        for at, one in enumerate(drawn, 1)
    ]
    return environment.get_template("report.html.j2").render(
        title=title,
        answer=_answer(results, found, source_name),
        notes=notes,
        figures=pictures,
        regimes=[_short_label(regime) for regime in results.regimes],
        tables=[_task_table(results, task) for task in results.tasks],
        correlations=_correlation_table(found, results),
        throughput=_throughput_table(speeds),
        failures=[row for row in sorted(rows, key=_row_order) if row.error is not None],
        label=_short_label,
        made=_how_made(rows, results, command, seed),
        metrics=_metric_definitions(results),
        environment=_environments(rows),
        splits=_splits(rows),
        files=["results.csv", "correlations.csv", *(["throughput.csv"] if speeds else [])],
        source_name=source_name,
        several_seeds=len({row.cell.seed for row in rows}) > 1,
    )


def _breakable(name: str) -> "Markup":
    """The name, escaped, with places to break a line after its separators."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_./\\-])(?=[^_./\\-])", r"\1<wbr>", str(escape(_printable(name)))))


def _task_table(results: Results, task: str) -> dict[str, Any]:
    lines = []
    for model in results.models:
        cells = [_cell(results, task, model, regime) for regime in results.regimes]
        if any((task, model, regime) in results.entries for regime in results.regimes):
            known = results.source_top1.get(model)
            source = "–" if known is None else f"{100 * known:.1f}"
            lines.append({"model": model, "family": results.family.get(model, ""), "source": source, "cells": cells})
    unit = (
        "percent"
        if results.is_fraction(task)
        else "as it is" + ("" if results.higher_is_better(task) else ", lower is better")
    )
    return {
        "task": task,
        "metric": _metric_name(results.metric[task]),
        "unit": unit,
        "n": _sizes(results, task),
        "lines": lines,
    }


def _correlation_table(found: Sequence[Correlation], results: Results) -> list[dict[str, Any]]:
    """The mean over tasks and, where there are several, each task; nothing where no r exists."""
    if all(one.r is None for one in found):
        return []
    return [
        {
            "regime": label(one.regime),
            "task": one.task or ("mean of tasks" if len(one.tasks) > 1 else one.tasks[0]),
            "whole": not one.task,
            "models": len(one.models),
            "tasks": len(one.tasks),
            "r": "–" if one.r is None else _signed(one.r),
            "interval": "–" if one.low is None or one.high is None else f"{_signed(one.low)} to {_signed(one.high)}",
            "slope": "–" if one.slope is None else _signed(one.slope),
        }
        for one in found
        if not one.task or len(results.fraction_tasks) > 1
    ]


def _throughput_table(speeds: Sequence[Speed]) -> list[Speed]:
    return sorted(speeds, key=lambda one: (_scope(one.scope), one.device, one.model, dataclasses.astuple(one)))


def _how_made(rows: Sequence[Row], results: Results, command: str, seed: int) -> list[tuple[str, str]]:
    counts = Counter("failed" if row.error is not None else "measured" for row in rows)
    facts = []
    if rows:
        done = f"{counts['measured']} finished, {counts['failed']} failed"
        size = f"{len(results.models)} × {len(results.tasks)} × {len(results.regimes)}"
        facts.append(("Cells", f"{done}; {size} models × tasks × regimes"))
        facts.append(("Seeds", ", ".join(str(one) for one in sorted({row.cell.seed for row in rows}))))
        facts.append(("Wall time of the cells", _duration(math.fsum(row.seconds for row in rows))))
    published = sorted({row.source for row in rows} - {"measured"})
    if published:
        facts.append(("Numbers not measured here", ", ".join(published)))
    facts.append(("Bootstrap", f"10,000 resamples, seed {seed}"))
    if command:
        facts.append(("Command", command))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _metric_definitions(results: Results) -> list[tuple[str, str]]:
    """Each metric's name and the first sentence of its docstring."""
    found = []
    for name in sorted(set(results.metric.values())):
        words = " ".join((METRICS[name].prepare.__doc__ or "").split()) if name in METRICS else ""
        found.append(
            (_metric_name(name), words.partition(". ")[0].rstrip(".") + "." if words else "as the rows name it.")
        )
    return found


def _environments(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Every fact of the rows' environments with all values that it took."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in _flat(row.environment):
            values.setdefault(name, set()).add(value)
    return [(name, ", ".join(sorted(found))) for name, found in sorted(values.items())]


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def _splits(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Names of the splits whose sizes the rows tell (details: n_train, n_val), and (task, sizes) for each task."""
    measured = [row for row in rows if row.source == "measured" and row.error is None]
    sizes = {
        "train": lambda row: row.details.get("n_train"),
        "val": lambda row: row.details.get("n_val"),
        "test": lambda row: row.n,
    }
    told = [name for name, size in sizes.items() if any(isinstance(size(row), int) for row in measured)]
    tasks = sorted({row.cell.task for row in measured})
    return told, [
        (task, [_either(sizes[name](row) for row in measured if row.cell.task == task) for name in told])
        for task in tasks
    ]


def _either(sizes: Iterable[Any]) -> str:
    return " or ".join(f"{size:,}" for size in sorted({size for size in sizes if isinstance(size, int)})) or "–"
