"""The report's figures of transfer: over all tasks, and task by task."""

import dataclasses
from collections.abc import Mapping, Sequence

import numpy as np

from ....results import (
    Results,
    Transfer,
    capital,
    counted,
    entry_log_odds,
    label,
    mean_interval,
    metric_name,
    printable,
    short_label,
    signed,
    source_log_odds,
)
from ....stats import fit_line
from ...figures import (
    Figure,
    Limits,
    Line,
    Mark,
    Panel,
    Series,
    ends,
    limits_of,
    scatter_panel,
    sides,
)
from .legend import family_key, family_shapes, number_key, places, regime_key, regime_styles, said_of_numbers

STRONG = 0.7  # of source accuracy: Fang et al. 2023 fit a second line above it
FEWEST_OF_A_LINE = 3  # models


def transfer_figure(
    results: Results, found: Sequence[Transfer], source_name: str, names: Mapping[str, str]
) -> Figure | None:
    means = [one for one in found if not one.task]
    if not means:
        return None
    styles, shapes = regime_styles(results), family_shapes(results)
    series = []
    for one in means:
        marks = []
        for model, x, y in zip(one.models, one.x, one.y, strict=True):
            low, high = mean_interval([results.entries[task, model, one.regime] for task in one.tasks])
            _, left, right = source_log_odds(results, model)
            marks.append(Mark(names[model], shapes[results.family.get(model, "")], x, y, low, high, left, right,
                              about=places(results)[model]))  # fmt: skip
        series.append(Series(one.regime, styles[one.regime][0], tuple(marks), _line(one)))
    across = limits_of([x for one in series for x in sides(one.marks)], 0.12)
    # Every panel is as many log odds tall, so that slopes compare; regimes side by side are another figure.
    tall = max(high - low for low, high in map(_limits, series))
    panels = tuple(
        _transfer_panel(f"transfer-{at}", one, drawn, source_name, across, tall)
        for at, (one, drawn) in enumerate(zip(means, series, strict=True))
    )
    keys = [*family_key(results), *number_key(names)]
    caption = _transfer_caption(results, means, source_name) + said_of_numbers(results)
    return Figure("transfer", caption, panels, tuple(keys))


def _transfer_panel(name: str, one: Transfer, series: Series, source_name: str, across: Limits, tall: float) -> Panel:
    note = counted(len(one.models), "model")
    if one.r is not None and one.low is not None and one.high is not None:
        note = f"r\u00a0=\u00a0{signed(one.r)} ({signed(one.low)} to {signed(one.high)}), {note}"
    several = len(one.tasks) > 1
    axis = f"Accuracy, mean over {len(one.tasks)} tasks" if several else f"Accuracy on {printable(one.tasks[0])}"
    low, high = _limits(series)
    middle = (low + high) / 2
    description = f"{capital(label(one.regime))}: {axis.lower()}, against {source_name} accuracy. {note}."
    return scatter_panel(
        name,
        printable(capital(short_label(one.regime))),
        printable(description),
        [series],
        (printable(f"{capital(source_name)} accuracy"), axis),
        (across, (middle - tall / 2, middle + tall / 2)),
        named=True,
        note=note,
    )


def _limits(series: Series) -> Limits:
    """Ends of the vertical axis, which holds marks and the line."""
    line = series.line
    return limits_of([*ends(series.marks), *(() if line is None else (float(line.y[0]), float(line.y[-1])))])


def _line(one: Transfer) -> Line | None:
    if one.slope is None:
        return None
    fit = fit_line(one.x, one.y, np.linspace(one.x.min(), one.x.max(), 40))
    known = bool(np.isfinite(fit.low).all())
    return Line(fit.at, fit.line, fit.low if known else None, fit.high if known else None)


def _transfer_caption(results: Results, means: Sequence[Transfer], source_name: str) -> str:
    several = any(len(one.tasks) > 1 for one in means)
    parts = [
        f"{capital(source_name)} accuracy against transfer accuracy, both in log odds (marked in percent)"
        + ("; transfer is the mean over tasks of the log odds." if several else "."),
        "One point per model; bars: 95\u00a0%, from the finite test splits"
        + (" and the images behind the source accuracy." if results.source_n else "."),
    ]
    if len(means) > 1:
        parts.append("Panels differ in where their vertical axis starts, not in its scale.")
    if any(one.r is not None for one in means):
        parts.append("Line: least squares; band: 95\u00a0%, Student’s.")
    if "scratch" in results.regimes:
        parts.append(
            f"From scratch is the control: those weights never saw {source_name}, so what correlation is "
            "left there belongs to the architectures."
        )
    missing = [model for model in results.models if model not in results.source_top1]
    if missing:
        parts.append(f"{counted(len(missing), 'model')} without a known {source_name} accuracy left out.")
    if any(one.left_out for one in means):
        worst = max(one.left_out for one in means)
        parts.append(f"Up to {counted(worst, 'model')} per panel left out for want of a result on every task shown.")
    if len(results.fraction_tasks) < len(results.tasks):
        parts.append("Tasks whose metric is not a share of 1 to be maximised are left out.")
    return " ".join(parts)


def task_figure(results: Results, source_name: str, names: Mapping[str, str]) -> Figure | None:
    if len(results.fraction_tasks) == 1 and len(results.regimes) == 1:
        return None  # the first figure shows just that
    panels: list[Panel] = []
    for task in results.fraction_tasks:
        series = _task_series(results, task, names)
        if series:
            panels.append(_task_panel(results, task, series, source_name, f"task-{len(panels)}"))
    caption = (
        f"Each task by itself: {source_name} accuracy against the task’s metric, both in log odds, one point "
        "per model and regime, regimes a little apart, named at its highest; bars: 95\u00a0% intervals. Lines: least "
        f"squares over all models, and dashed over those above {100 * STRONG:.0f}\u00a0% where there are others. The "
        "vertical axes differ."
    )
    numbered = " Numbered: the models of Figure 1." if said_of_numbers(results) else ""
    return Figure("tasks", caption + numbered, tuple(panels), (regime_key(results), *number_key(names)))


def _task_series(results: Results, task: str, names: Mapping[str, str]) -> list[Series]:
    styles, found = regime_styles(results), []
    for at, regime in enumerate(results.regimes):
        marks = []
        for model in results.source_top1:
            entry = results.entries.get((task, model, regime))
            if entry is not None and entry.value is not None:
                x, _, _ = source_log_odds(results, model)
                mark = Mark(names[model], styles[regime][1], x, *entry_log_odds(entry), about=places(results)[model])
                marks.append(mark)
        shift = 4 * (at - (len(results.regimes) - 1) / 2)
        if marks:
            colour = styles[regime][0]
            found.append(Series(regime, colour, tuple(marks), shift=shift, others=_two_lines(results, marks)))
    return found


def _two_lines(results: Results, marks: Sequence[Mark]) -> tuple[Line, ...]:
    """Through all models, and dashed through those above `STRONG` (Fang et al. 2023) where there are others too."""
    source = [results.source_top1[results.models[mark.about or 0]] for mark in marks]
    strong = [mark for mark, known in zip(marks, source, strict=True) if known >= STRONG]
    lines = [_plain_line(marks, False)]
    if len(strong) < len(marks):
        lines.append(_plain_line(strong, True))
    return tuple(line for line in lines if line is not None)


def _plain_line(marks: Sequence[Mark], dashed: bool) -> Line | None:
    if len({mark.x for mark in marks}) < FEWEST_OF_A_LINE:
        return None
    x, y = (np.array([getattr(mark, name) for mark in marks]) for name in ("x", "y"))
    fit = fit_line(x, y, np.array([x.min(), x.max()]))
    return Line(fit.at, fit.line, dashed=dashed)


def _task_panel(results: Results, task: str, series: Sequence[Series], source_name: str, name: str) -> Panel:
    marks = [mark for one in series for mark in one.marks]
    metric = metric_name(results.metric[task])
    panel = scatter_panel(
        name,
        printable(task),
        printable(f"{task}: {metric} against {source_name} accuracy, {counted(len(marks), 'point')}."),
        series,
        (printable(f"{capital(source_name)} accuracy"), printable(capital(metric))),
        (
            limits_of([mark.x for mark in marks], 0.1),
            limits_of(ends(marks)),
        ),
        named=True,
        height=300,
    )
    return dataclasses.replace(panel, task=task)
