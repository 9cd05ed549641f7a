"""All of the report's figures, in their order."""

from collections.abc import Sequence

from ...results import (
    Results,
    Speed,
    Transfer,
)
from .legend import point_names
from .marks import Figure
from .speed_figure import throughput_figure
from .transfer_figures import _regime_figure, _task_figure, _transfer_figure


def report_figures(
    results: Results, found: Sequence[Transfer], speeds: Sequence[Speed], source_name: str
) -> list[Figure]:
    names = point_names(results, found)
    drawn = [
        _transfer_figure(results, found, source_name, names),
        _task_figure(results, source_name, names),
        _regime_figure(results),
        throughput_figure(speeds, results, names),
    ]
    return [one for one in drawn if one is not None and one.panels]
