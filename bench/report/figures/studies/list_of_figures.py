"""All of the report's figures, in their order."""

from collections.abc import Sequence

from ....results import (
    Choice,
    Results,
    Row,
    Speed,
    Transfer,
    rates_of,
)
from ...figures import Figure
from .cost_figures import choice_figure, cost_figure
from .legend import point_names
from .rank_figure import rank_figure
from .regime_figures import regime_figure
from .size_figure import size_figure
from .speed_figure import throughput_figure
from .transfer_figures import task_figure, transfer_figure

# Every name that a figure may have: what an earlier report left of one that this report has not is removed.
NAMES = ("choice", "transfer", "tasks", "regimes", "costs", "sizes", "ranks", "throughput")


def report_figures(
    results: Results,
    found: Sequence[Transfer],
    speeds: Sequence[Speed],
    source_name: str,
    rows: Sequence[Row] = (),
    choice: Choice | None = None,
) -> list[Figure]:
    """The first screen's picture first, where there is one: its name is `choice`."""
    names = point_names(results, found)
    drawn = [
        choice_figure(results, choice, rates_of(speeds)[1], names),
        transfer_figure(results, found, source_name, names),
        task_figure(results, source_name, names),
        regime_figure(results, rows, names),
        cost_figure(results, choice, names),
        size_figure(results),
        rank_figure(results, source_name),
        throughput_figure(speeds, results),
    ]
    return [one for one in drawn if one is not None and one.panels]
