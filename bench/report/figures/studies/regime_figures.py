"""The report's figure of regimes side by side: each model's means, fine-tuned against frozen, what tuning adds."""

import math
from collections.abc import Mapping, Sequence

import numpy as np

from ....results import (
    FROZEN,
    Results,
    Row,
    complete_block,
    counted,
    entry_log_odds,
    gains,
    label,
    mean_interval,
    printable,
    short_label,
)
from ....stats.studies import noise_floor
from ...figures import (
    MOST_ROWS,
    MUTED,
    Figure,
    Line,
    Mark,
    Panel,
    Series,
    dot_panel,
    ends,
    gain_panel,
    limits_of,
    scatter_panel,
    sides,
)
from .legend import family_shapes, places, regime_key, regime_styles

TWO_SIDED = 1.96  # of a normal distribution, 95 %


def regime_figure(results: Results, rows: Sequence[Row], names: Mapping[str, str]) -> Figure | None:
    if len(results.models) == 1 and len(results.regimes) == 1:
        return None
    blocks = [complete_block(results, regime, results.models, results.fraction_tasks) for regime in results.regimes]
    common = [task for task in results.fraction_tasks if all(task in tasks for models, tasks in blocks if models)]
    if not common:
        return None
    lines = [(model, _means_by_regime(results, model, common)) for model in results.models]
    lines = [(printable(model), series) for model, series in lines if series]
    count = len(lines)
    lines = _highest(lines)
    known = [end for _, series in lines for one in series for mark in one.marks
            for end in (mark.x, mark.low, mark.high) if end is not None]  # fmt: skip
    if not lines:
        return None
    over = f"mean over {len(common)} tasks" if len(common) > 1 else printable(common[0])
    which = "" if len(lines) == count else f"; the {len(lines)} of {count} models that are highest in any regime"
    description = f"Accuracy of {counted(len(lines), 'model')} in each regime, {over}."
    axis = "Accuracy, spaced by log odds"
    panels = [dot_panel("regimes-0", f"Accuracy, {over}", description, lines, axis, limits_of(known, 0.06))]
    caption = f"Regimes side by side, {over} (of log odds){which}; pale bars: 95\u00a0%, from the finite test splits."
    against = _against_panel(results, common, over, names)
    if against is not None:
        panels.append(against)
        caption += " Fine-tuned against frozen: above the diagonal fine-tuning is better."
    floors = _floors(results, rows)
    added = _gain_panel(results, floors)
    if added is not None:
        panels.append(added)
        caption += " What fine-tuning adds: fine-tuned minus frozen, a dot per model, the stroke at their mean."
    if added is not None and floors:
        caption += (
            " Grey: the noise floor, within which 95\u00a0% of the differences of two equal cells lie, by their spread "
            "over seeds."
        )
    elif added is not None:
        caption += (
            " Grey: the noise floor, within which 95\u00a0% of the differences of two equal cells lie, by the finite "
            "test split alone; seeds, which would add to it, have not been repeated."
        )
    return Figure("regimes", caption, tuple(panels), (regime_key(results),))


def _highest(rows: Sequence[tuple[str, list[Series]]]) -> list[tuple[str, list[Series]]]:
    """As many rows as a reader looks through, in their order: those whose mark in any series is highest."""
    best = [max(mark.x for one in series for mark in one.marks) for _, series in rows]
    kept = sorted(sorted(range(len(rows)), key=lambda at: -best[at])[:MOST_ROWS])
    return [rows[at] for at in kept]


def _means_by_regime(results: Results, model: str, tasks: Sequence[str]) -> list[Series]:
    """The model's mean log odds over these tasks in every regime that has them all."""
    styles, found = regime_styles(results), []
    for regime in results.regimes:
        entries = [results.entries.get((task, model, regime)) for task in tasks]
        done = [entry for entry in entries if entry is not None and entry.value is not None]
        if len(done) == len(tasks):
            middle = float(np.mean([entry_log_odds(entry)[0] for entry in done]))
            colour, shape = styles[regime]
            mark = Mark(model, shape, middle, 0.0, *mean_interval(done), about=places(results)[model])
            found.append(Series(regime, colour, (mark,)))
    return found


def _pair(results: Results) -> str | None:
    """The frozen regime that fine-tuning is compared with."""
    frozen = next((regime for regime in FROZEN if regime in results.regimes), None)
    return frozen if "finetune" in results.regimes else None


def _against_panel(results: Results, tasks: Sequence[str], over: str, names: Mapping[str, str]) -> Panel | None:
    """Fine-tuned against frozen, both in log odds, with the diagonal."""
    frozen = _pair(results)
    if frozen is None:
        return None
    shapes, marks = family_shapes(results), []
    for model in results.models:
        of = [[results.entries.get((task, model, regime)) for task in tasks] for regime in (frozen, "finetune")]
        known = [[entry for entry in each if entry is not None and entry.value is not None] for each in of]
        if any(len(each) < len(tasks) for each in known):
            continue
        x, y = (float(np.mean([entry_log_odds(entry)[0] for entry in each])) for each in known)
        marks.append(Mark(names[model], shapes[results.family.get(model, "")], x, y, *mean_interval(known[1]),
                          *mean_interval(known[0]), about=places(results)[model]))  # fmt: skip
    if len(marks) < 2:
        return None
    limits = limits_of([*sides(marks), *ends(marks)], 0.06)
    diagonal = Series("equal", MUTED, (), Line(np.array(limits), np.array(limits), dashed=True))
    points = Series("finetune", regime_styles(results)["finetune"][0], tuple(marks))
    description = f"Fine-tuned against {label(frozen)}, {over}, {counted(len(marks), 'model')}; the diagonal is equal."
    return scatter_panel(
        "regimes-2", "Frozen against fine-tuned", printable(description), [points, diagonal],
        (printable(f"{short_label(frozen)}"), "fine-tuned"), (limits, limits), named=True, note=printable(over),
    )  # fmt: skip


def _floors(results: Results, rows: Sequence[Row]) -> dict[str, float]:
    """Half the width in points, by regime, within which the same cell's values differ by seed; empty with one seed."""
    cells: dict[tuple[str, str, str], list[float]] = {}
    for row in rows:
        if row.error is None and row.source == "measured" and row.value is not None:
            cells.setdefault((row.cell.task, row.cell.model, row.cell.regime), []).append(100 * row.value)
    found = {}
    for regime in results.measured_regimes:
        spread, free = noise_floor([of for key, of in cells.items() if key[2] == regime])
        if free:
            found[regime] = spread
    return found


def _noise(results: Results, task: str, frozen: str, floors: Mapping[str, float]) -> float:
    """Half the width, in points, of 95 % of the differences of two cells that are equal."""
    if "finetune" in floors and frozen in floors:
        return TWO_SIDED * math.hypot(floors["finetune"], floors[frozen])
    widths = [
        100 * (entry.high - entry.low) / 2
        for (of, _, regime), entry in results.entries.items()
        if of == task and regime in (frozen, "finetune") and entry.low is not None and entry.high is not None
    ]
    return math.sqrt(2) * float(np.mean(widths)) if widths else 0.0


def _gain_panel(results: Results, floors: Mapping[str, float]) -> Panel | None:
    frozen = _pair(results)
    if frozen is None:
        return None
    of = {task: gains(results, task, "finetune", frozen) for task in results.fraction_tasks}
    rows = [
        (
            printable(task),
            [(gain, places(results)[model]) for model, gain in points],
            _noise(results, task, frozen, floors),
        )
        for task, points in of.items()
        if points
    ]
    if not rows:
        return None
    colour = regime_styles(results)["finetune"][0]
    description = f"Fine-tuned minus {label(frozen)}, in percentage points: one dot per model, by task."
    axis = "Fine-tuned minus frozen, percentage points"
    return gain_panel("regimes-1", "What fine-tuning adds", description, rows, axis, colour)
