"""The curves over the size of the training set: one panel per task, a line per regime, the mean over models."""

from collections.abc import Mapping

import numpy as np

from ....results import Results, counted, entry_log_odds, printable
from ...figures import Figure, Mark, Panel, Series, curve_panel
from .legend import regime_key, regime_styles

MOST_PANELS = 12


def size_figure(results: Results) -> Figure | None:
    """None where no task is there with several numbers of training images."""
    panels: list[Panel] = []
    for whole, levels in list(results.curves.items())[:MOST_PANELS]:
        panel = _panel(results, whole, levels, f"sizes-{len(panels)}")
        if panel is not None:
            panels.append(panel)
    if not panels:
        return None
    caption = (
        "Accuracy by training images of each class, the mean over the models that have every point of a panel (of log "
        "odds); all: every image of train. Where two lines cross, the better regime changes with the size of the data."
    )
    return Figure("sizes", caption, tuple(panels), (regime_key(results),))


def _panel(results: Results, whole: str, levels: Mapping[str, str], name: str) -> Panel | None:
    def has_all(model: str, regime: str) -> bool:
        return all(results.value(task, model, regime) is not None for task in levels.values())

    regimes = [each for each in results.measured_regimes if any(has_all(model, each) for model in results.models)]
    models = [model for model in results.models if all(has_all(model, regime) for regime in regimes)]
    if not regimes or not models:
        return None
    series = []
    for regime in regimes:
        colour, shape = regime_styles(results)[regime]
        marks = []
        for at, (level, task) in enumerate(levels.items()):
            odds = [entry_log_odds(results.entries[task, model, regime])[0] for model in models]
            marks.append(Mark(f"{regime}, {level}", shape, float(at), float(np.mean(odds))))
        series.append(Series(regime, colour, tuple(marks)))
    labels = [level if level == "all" else f"{level} a class" for level in levels]
    description = printable(
        f"{whole}: mean accuracy of {counted(len(models), 'model')} with {', '.join(labels)} training images, "
        "by regime."
    )
    axes = ("Training images", "Accuracy, spaced by log odds")
    return curve_panel(name, printable(whole), description, series, axes, levels=labels)
