"""What a published table says: models, tasks, both accuracies, and how transfer follows ImageNet accuracy."""

import dataclasses
import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np

from featune.engine.accuracies import timm_accuracies
from featune.engine.errors import BadInput, nearest

from ..results import WITHOUT_N, counted, label, signed, without_holes
from ..stats import (
    ERROR,
    FEWEST_JUDGED,
    kendall,
    leave_one_family_out,
    log_odds,
    mean_log_odds,
    pearson,
    spearman,
    transfer_correlation,
)
from ..stats.slopes import detectable_correlation, theil_sen, two_lines
from ..stats.studies import FEWEST_SHOWN, Compared, compare_correlations, regret_of
from .importing import Published

CARRIED = 0.1  # change of r without one model from which on it is told


@dataclasses.dataclass(frozen=True)
class Regime:
    """A regime of a table over the models that have an ImageNet accuracy and every task.

    imagenet, transfer: fractions [models], transfer the mean over tasks of log odds turned back into a fraction.
    r: Pearson of logit ImageNet accuracy with mean logit transfer; low, high, p: its 95 % interval and the permutation
    test, NaN for too few models. without: r without each model. slope: of the least-squares line, theil_sen the robust
    one. regret: points lost by choosing the best ImageNet model, mean and worst over tasks.
    """

    regime: str
    models: tuple[str, ...]
    tasks: tuple[str, ...]
    left_out: tuple[str, ...]
    imagenet: tuple[float, ...]
    transfer: tuple[float, ...]
    r: float
    low: float
    high: float
    p: float
    slope: float
    theil_sen: float
    r_raw: float
    spearman: float
    kendall: float
    without: Mapping[str, float]
    regret: float
    worst_regret: float
    worst_task: str


@dataclasses.dataclass(frozen=True)
class Summary:
    """table: what was summed up, without the models that were left out. compared: fine-tuned against frozen."""

    table: Published
    regimes: tuple[Regime, ...]
    compared: Compared | None

    def as_json(self) -> Any:
        """r at the top is that of the first regime; `values` are [models, tasks]; NaN becomes null."""
        table, first = self.table, self.regimes[0]
        found = {
            "name": table.name, "title": table.title, "paper": table.paper, "source": table.source, "date": table.date,
            "notes": list(table.notes), "regime": first.regime, "r": first.r, "low": first.low, "high": first.high,
            "p": first.p, "models": list(first.models), "tasks": list(first.tasks),
            "regimes": [dataclasses.asdict(one) | {"values": self._values(one)} for one in self.regimes],
            "compared": None if self.compared is None else dataclasses.asdict(self.compared),
        }  # fmt: skip
        return _without_nan(found)

    def _values(self, one: Regime) -> list[list[float]]:
        """[models, tasks], fractions."""
        return [[self.table.values[one.regime, model, task] for task in one.tasks] for model in one.models]


def summary(table: Published, *, without: Sequence[str] = (), imagenet: str = "") -> Summary:
    """The table without some models, against one of its ImageNet columns (the source's own unless named).

    Raises BadInput with the nearest names for a model or column that it does not have.
    """
    for model in without:
        if model not in table.models:
            raise BadInput(f"{table.name} has no model {model!r:.80}{nearest(model, table.models)}; "
                           f"one of {', '.join(table.models)}")  # fmt: skip
    column = _column(table, imagenet)
    kept = {key: value for key, value in table.values.items() if key[1] not in without}
    if not kept:
        raise BadInput(f"{table.name}: no model is left; leave out fewer")
    table = dataclasses.replace(table, values=kept)
    tops = table.imagenet.get(column, {})
    regimes = tuple(_regime(table, regime, tops) for regime in table.regimes)
    return Summary(table, regimes, _compared(regimes))


def _column(table: Published, asked: str) -> str:
    columns = list(table.imagenet)
    if not asked:
        return columns[0] if columns else ""
    short = {name.removeprefix("imagenet_top1_"): name for name in columns}
    if asked not in columns and asked not in short:
        raise BadInput(f"{table.name} has no ImageNet column {asked!r:.80}; one of {', '.join(short) or 'none'}")
    return asked if asked in columns else short[asked]


def _regime(table: Published, regime: str, tops: Mapping[str, float]) -> Regime:
    known = [model for model in table.models if any((regime, model, task) in table.values for task in table.tasks)]
    tasks = [task for task in table.tasks if any((regime, model, task) in table.values for model in known)]
    judged = [model for model in known if model in tops]
    models, tasks = without_holes(judged, tasks, lambda model, task: (regime, model, task) not in table.values)
    if not models:  # no ImageNet accuracy: the numbers alone
        models, tasks = without_holes(known, tasks, lambda model, task: (regime, model, task) not in table.values)
    values = np.array([[table.values[regime, model, task] for task in tasks] for model in models])
    n = np.array([table.n.get(task, WITHOUT_N) for task in tasks])
    y = mean_log_odds(values, n)
    source = np.array([tops.get(model, math.nan) for model in models])
    bare = Regime(
        regime=regime,
        models=tuple(models),
        tasks=tuple(tasks),
        left_out=tuple(model for model in known if model not in models),
        imagenet=tuple(source.tolist()),
        transfer=tuple((1 / (1 + np.exp(-y))).tolist()),
        **dict.fromkeys(("r", "low", "high", "p", "slope", "theil_sen", "r_raw", "spearman", "kendall"), math.nan),
        without={},
        regret=math.nan,
        worst_regret=math.nan,
        worst_task="",
    )
    if np.isnan(source).any():
        return bare
    x = log_odds(source)
    fit, lost = transfer_correlation(source, values, n), regret_of(source, values)
    low, high = (fit.low, fit.high) if len(models) >= FEWEST_JUDGED else (math.nan, math.nan)
    return dataclasses.replace(
        bare, r=fit.r, low=low, high=high, p=fit.p, slope=fit.slope, theil_sen=theil_sen(x, y).slope,
        r_raw=pearson(source, values.mean(axis=1)), spearman=spearman(x, y), kendall=kendall(x, y),
        without=leave_one_family_out(x, y, models), regret=100 * lost.mean, worst_regret=100 * lost.worst,
        worst_task=tasks[lost.worst_task],
    )  # fmt: skip


def _compared(regimes: Iterable[Regime]) -> Compared | None:
    """r of fine-tuning less r of frozen features, where a table has both over the same models and tasks."""
    of = {one.regime: one for one in regimes}
    if not {"finetune", "probe"} <= of.keys():
        return None
    tuned, frozen = of["finetune"], of["probe"]
    if (tuned.models, tuned.tasks) != (frozen.models, frozen.tasks):
        return None
    if np.isnan(tuned.imagenet).any():
        return None
    found = compare_correlations(*map(log_odds, (tuned.imagenet, tuned.transfer, frozen.transfer)))
    return None if math.isnan(found.difference) else found


# --- In words


def summary_lines(found: Summary) -> list[str]:
    """What a reader sees below the table of models, a sentence or two per regime."""
    lines = [line for one in found.regimes for line in _lines(one)]
    if (both := found.compared) is not None:
        if math.isnan(both.p) or both.models < FEWEST_SHOWN:
            lines.append(f"Fine-tuned r less frozen r: {signed(both.difference)}; too few models to compare them.")
        else:
            settled = "differ" if both.p <= ERROR and not both.low <= 0 <= both.high else "are not settled to differ"
            lines.append(
                f"Fine-tuned r less frozen r: {signed(both.difference)}, 95 % interval {signed(both.low)} to "
                f"{signed(both.high)}, p = {both.p:.3f} (Williams's test): the two {settled}."
            )
    return [*lines, *(f"note: {note}" for note in found.table.notes)]


def _lines(one: Regime) -> list[str]:
    name = f"{label(one.regime)}: "
    over = f"{counted(len(one.models), 'model')}, {counted(len(one.tasks), 'task')}"
    if math.isnan(one.r):
        why = "no ImageNet accuracy" if np.isnan(one.imagenet).all() else "too few models for a correlation"
        return [f"{name}{why} ({over})."]
    judged = len(one.models) >= FEWEST_JUDGED
    interval = "" if math.isnan(one.low) or not judged else f", 95 % interval {signed(one.low)} to {signed(one.high)}"
    p = "" if math.isnan(one.p) else f", p {'< 0.001' if one.p < 0.001 else f'= {one.p:.3f}'}"
    few = "" if judged else "; too few models for an interval"
    open_ = interval and not math.isnan(one.p) and one.p <= ERROR and one.low <= 0 <= one.high
    lines = [f"{name}r = {one.r:.5f}{interval}{p} ({over}{few}); slope {signed(one.slope)}, Theil-Sen "
             f"{signed(one.theil_sen)}; Spearman {signed(one.spearman)}, Kendall {signed(one.kendall)}; "
             f"r of plain accuracies {signed(one.r_raw)}."]  # fmt: skip
    if open_:
        lines.append(f"{name}not settled: the permutation test finds a link, and the interval, which is widened where "
                     "single models count, holds 0.")  # fmt: skip
    if judged:
        model, left = max(one.without.items(), key=lambda item: abs(item[1] - one.r))
        if abs(left - one.r) >= CARRIED:
            lines.append(f"{name}one model counts most: without {model} r = {left:.5f}.")
        lines.append(f"{name}{len(one.models)} models show a true r of {detectable_correlation(len(one.models)):.2f} "
                     "or more in four of five studies by Student's t; a clear interval asks for more.")  # fmt: skip
    lines.append(f"{name}the best ImageNet model is on average {one.regret:.1f} points short of the best one "
                 f"(at worst {one.worst_regret:.1f}, on {one.worst_task}).")  # fmt: skip
    return lines


def real_on_imagenet(x: str = "top1", y: str = "real") -> dict[str, Any]:
    """How one ImageNet measure follows another over timm's results, below and above the median of x.

    Fractions throughout, so slopes are points per point; r is Pearson's of the accuracies as they are. After Beyer et
    al. 2020, who find 0.86 and 0.51 for the earlier and the recent half of their models.
    """
    rows = [row for row in timm_accuracies().values() if row.get(x) is not None and row.get(y) is not None]
    first, second = ([float(row[of] or 0) for row in rows] for of in (x, y))
    found = two_lines(first, second)
    return {
        "name": f"timm-{y}" if x == "top1" else f"timm-{y}-on-{x}",
        "x": x, "y": y, "rows": len(rows), "r": pearson(first, second), "median": found.knot,
        "slope_below": found.below.slope, "slope_below_interval": [found.below.slope_low, found.below.slope_high],
        "slope_above": found.above.slope, "slope_above_interval": [found.above.slope_low, found.above.slope_high],
        "change": found.change, "change_interval": [found.low, found.high], "p": found.p,
        "source": "github.com/huggingface/pytorch-image-models, results/ at aa4b5850",
    }  # fmt: skip


def _without_nan(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _without_nan(one) for key, one in value.items()}
    if isinstance(value, list | tuple):
        return [_without_nan(one) for one in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value
