"""The report's figure of speed: images per second by device and scope, and what accuracy costs in speed."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np

from ...results import (
    SCOPES,
    Results,
    Speed,
    complete_block,
    counted,
    entry_log_odds,
    label,
    mean_interval,
    printable,
    scope_letter,
    short_label,
)
from .axis import limits_of
from .legend import family_shapes, number_key, regime_styles
from .marks import Bar, Figure, Key, Mark, Panel, Series, ends
from .panels import MOST_ROWS, bar_panel, scatter_panel
from .style import COLOURS


def throughput_figure(speeds: Sequence[Speed], results: Results, numbers: Mapping[str, str]) -> Figure | None:
    if not speeds:
        return None
    ordered = sorted(speeds, key=dataclasses.astuple)
    names = sorted({_setup(one, ordered) for one in ordered})
    colours = {name: COLOURS[at % len(COLOURS)] for at, name in enumerate(names)}
    fastest = _fastest(ordered)
    panels: list[Panel] = []
    count = 0
    for device, scope in sorted({(one.device, scope_letter(one.scope)) for one in ordered}):
        here = [one for one in ordered if (one.device, scope_letter(one.scope)) == (device, scope)]
        models = sorted({one.model for one in here}, key=lambda name: (-fastest[name], name))
        count = max(count, len(models))
        models = models[:MOST_ROWS]
        rows = [
            (printable(model), [_bar(one, ordered, colours) for one in here if one.model == model]) for model in models
        ]
        name, title = f"throughput-{len(panels)}", printable(f"{device}, scope ({scope})")
        description = f"Images per second on {title}, for {counted(len(rows), 'model')}."
        panels.append(bar_panel(name, title, description, rows, "Images per second"))
    caption = _throughput_caption(ordered)
    if count > MOST_ROWS:
        caption += f" Shown are the {MOST_ROWS} fastest of {count} models."
    keys: list[Key] = [[(printable(name), colours[name], "s") for name in names]]
    cost = _cost_panel(ordered, results, numbers)
    if cost is not None:
        panels.append(cost)
        keys += number_key(numbers)
        caption += " What accuracy costs: each model’s mean transfer accuracy at the rate of its fastest backend."
    return Figure("throughput", printable(caption), tuple(panels), tuple(keys))


def _cost_panel(speeds: Sequence[Speed], results: Results, names: Mapping[str, str]) -> Panel | None:
    """Accuracy against speed, for the device and scope with the highest rate and the first regime."""
    if not results.regimes or not results.fraction_tasks:
        return None
    regime = results.regimes[0]
    top = max(speeds, key=lambda one: one.images_per_second)
    rate = _fastest(
        one for one in speeds if (one.device, scope_letter(one.scope)) == (top.device, scope_letter(top.scope))
    )
    models, tasks = complete_block(results, regime, [m for m in results.models if m in rate], results.fraction_tasks)
    if len(models) < 2 or not tasks:
        return None
    shapes = family_shapes(results)
    marks = []
    for model in models:
        entries = [results.entries[task, model, regime] for task in tasks]
        middle = float(np.mean([entry_log_odds(entry)[0] for entry in entries]))
        shape = shapes[results.family.get(model, "")]
        marks.append(Mark(names[model], shape, math.log10(rate[model]), middle, *mean_interval(entries)))
    over = f"mean over {len(tasks)} tasks" if len(tasks) > 1 else printable(tasks[0])
    return scatter_panel(
        "throughput-cost",
        "What accuracy costs",
        f"Accuracy ({label(regime)}, {over}) against images per second, {counted(len(models), 'model')}.",
        [Series(regime, regime_styles(results)[regime][0], tuple(marks))],
        ("Images per second, log scale", f"Accuracy, {over}"),
        (limits_of([mark.x for mark in marks], 0.12), limits_of(ends(marks))),
        named=True,
        note=printable(f"{short_label(regime)}; {top.device}, scope ({scope_letter(top.scope)})"),
        powers=True,
    )


def _bar(one: Speed, among: Sequence[Speed], colours: Mapping[str, str]) -> Bar:
    rate, name = one.images_per_second, _setup(one, among)
    return Bar(name, colours[name], rate, f"{rate:,.0f}" if rate >= 10 else f"{rate:.2g}")


def _fastest(speeds: Iterable[Speed]) -> dict[str, float]:
    found: dict[str, float] = {}
    for one in speeds:
        found[one.model] = max(found.get(one.model, 0.0), one.images_per_second)
    return found


def _throughput_caption(speeds: Sequence[Speed]) -> str:
    def all_of(name: str) -> str:
        return ", ".join(str(value) for value in sorted({getattr(one, name) for one in speeds}))

    scopes = sorted({scope_letter(one.scope) for one in speeds})
    meaning = "; ".join(f"({scope}) {SCOPES[scope]}" if scope in SCOPES else scope for scope in scopes)
    return (
        f"Images per second; higher is better. Device: {all_of('device')}. Batch: {all_of('batch')}. "
        f"Precision: {all_of('precision')}. Threads: {all_of('threads')}. The clock’s scope: {meaning}."
    )


def _setup(one: Speed, among: Sequence[Speed]) -> str:
    """The backend, and whatever else differs between the speeds."""
    parts = [one.backend]
    if len({other.precision for other in among}) > 1:
        parts.append(one.precision)
    if len({other.batch for other in among}) > 1:
        parts.append(f"batch {one.batch}")
    if len({other.threads for other in among}) > 1:
        parts.append(counted(one.threads, "thread"))
    return ", ".join(parts)
