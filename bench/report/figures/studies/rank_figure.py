"""The heat map of ranks: how each model stands on each task, regime by regime."""

from collections.abc import Mapping, Sequence

import numpy as np

from ....results import Results, capital, counted, printable, short_label
from ...figures import MOST_ROWS, Figure, Panel, heat_panel
from .legend import places, regime_styles

FEWEST = 3  # models and tasks, of which ranks say more than the tables do


def rank_figure(results: Results, source_name: str) -> Figure | None:
    """One panel per measured regime, the models from the best source accuracy down."""
    if len(results.models) < FEWEST or len(results.tasks) < 2:
        return None
    panels: list[Panel] = []
    for regime in results.measured_regimes:
        panel = _panel(results, regime, f"ranks-{len(panels)}")
        if panel is not None:
            panels.append(panel)
    if not panels:
        return None
    order = f"from the best {source_name} accuracy down" if results.source_top1 else "by name"
    which = f"; the {MOST_ROWS} best by mean rank of {len(results.models)}" if len(results.models) > MOST_ROWS else ""
    caption = (
        f"Ranks on each task: 1 and the darkest is the best model of the column. Models {order}{which}. Were "
        f"{source_name} accuracy all that matters, the columns would grow paler from top to bottom."
    )
    return Figure("ranks", caption, tuple(panels))


def _panel(results: Results, regime: str, name: str) -> Panel | None:
    place: dict[str, Mapping[str, int]] = {}
    for task in results.tasks:
        order = results.rankings.get((task, regime), ())
        if len(order) > 1:
            place[task] = {model: at for at, model in enumerate(order, 1)}
    models = _shown(results.models, place)
    if len(place) < 2 or len(models) < FEWEST:
        return None
    ranks = np.array([[place[task].get(model, np.nan) for task in place] for model in models], dtype=float)
    rows = [(printable(model), places(results)[model]) for model in models]
    description = f"Ranks of {counted(len(models), 'model')} on {counted(len(place), 'task')}, {short_label(regime)}."
    colour = regime_styles(results)[regime][0]
    title, columns = printable(capital(short_label(regime))), [printable(task) for task in place]
    return heat_panel(name, title, printable(description), rows, columns, ranks, colour)


def _shown(models: Sequence[str], place: Mapping[str, Mapping[str, int]]) -> list[str]:
    """Those that have a rank, in their order; of many those with the best mean."""
    of = {model: [each[model] for each in place.values() if model in each] for model in models}
    means = {model: float(np.mean(ranks)) for model, ranks in of.items() if ranks}
    kept = set(sorted(means, key=lambda model: means[model])[:MOST_ROWS])
    return [model for model in models if model in kept]
