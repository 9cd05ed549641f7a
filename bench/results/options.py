"""Which model to take, in which regime: what each is worth over the tasks, and by how much another may be better."""

import dataclasses
import math
from collections.abc import Mapping, Sequence

from ..stats import ERROR, paired_wald
from .paired_leads import Right, correct_over_seeds, same_images
from .rows import Cell, Row, Speed
from .table import Results, without_holes
from .wording import scope_letter

MOST_PAIRED = 40  # options whose scores are read, nearest first


@dataclasses.dataclass(frozen=True)
class Option:
    """A model in a regime, over the tasks that are compared.

    value: the mean of the metric over the tasks, a fraction; low, high: its 95 % interval, of the finite test splits.
    rate: images per second, where measured. seconds, kwh: of a cell, the mean over tasks and seeds; None where
    one of them does not tell.
    """

    model: str
    regime: str
    value: float
    low: float | None
    high: float | None
    rate: float | None = None
    seconds: float | None = None
    kwh: float | None = None


@dataclasses.dataclass(frozen=True)
class Choice:
    """The best option of those allowed, and how sure that is.

    tasks: over which all options were compared. options: allowed and not, best first. not_better_by: nothing else
    that is allowed is better by more, a fraction, at 95 % for all together; None where no interval is known. paired:
    whether the scores on the same test images were at hand for the nearest. least_rate: what was allowed.
    """

    chosen: Option
    tasks: tuple[str, ...]
    options: tuple[Option, ...]
    compared: int
    not_better_by: float | None
    paired: bool
    least_rate: float | None = None
    left_out: int = 0


def rates_of(speeds: Sequence[Speed]) -> tuple[dict[str, float], str]:
    """Images per second of each model by the way of running that has most of the models, and that way in words."""
    kinds: dict[tuple[str, str, str, str, str, str], dict[str, float]] = {}
    for one in speeds:
        kind = (one.backend, one.precision, one.device, str(one.batch), str(one.threads), one.scope)
        kinds.setdefault(kind, {})[one.model] = one.images_per_second
    if not kinds:
        return {}, ""
    kind = max(sorted(kinds), key=lambda each: len(kinds[each]))
    backend, precision, device, batch, threads, scope = kind
    on = f"{threads} thread{'' if threads == '1' else 's'}, scope ({scope_letter(scope)})"
    return kinds[kind], f"{backend}, {precision}, {device}, batch {batch}, {on}"


def choice_of(
    results: Results,
    rows: Sequence[Row],
    speeds: Sequence[Speed] = (),
    right: Mapping[Cell, Right] | None = None,
    least_rate: float | None = None,
) -> Choice | None:
    """The option with the highest mean over the tasks, of those that run at `least_rate` images per second.

    None where no task's metric is a share, or no option is allowed. An option that misses a task is left out.
    """
    rates, _ = rates_of(speeds)
    pairs = [
        (model, regime)
        for regime in results.measured_regimes
        for model in results.models
        if any(results.value(task, model, regime) is not None for task in results.fraction_tasks)
    ]
    found, tasks = without_holes(pairs, results.fraction_tasks, lambda pair, task: _value(results, task, pair) is None)
    if not found or not tasks:
        return None
    costs = _costs(rows, tasks)
    options = [_option(results, pair, tasks, rates.get(pair[0]), costs.get(pair, (None, None))) for pair in found]
    options.sort(key=lambda one: (-one.value, one.seconds or 0.0, one.model, one.regime))
    allowed = [one for one in options if least_rate is None or (one.rate is not None and one.rate >= least_rate)]
    if not allowed:
        return None
    bound, paired = _most_better(results, allowed, tasks, {} if right is None else right)
    return Choice(
        allowed[0], tuple(tasks), tuple(options), len(allowed), bound, paired, least_rate, len(pairs) - len(found)
    )


def frontier(options: Sequence[Option], more: str) -> list[Option]:
    """Those that no other beats in both, the most accurate first. more: `rate`, or `seconds`, the less the better."""
    sign = 1 if more == "rate" else -1
    known = [one for one in options if getattr(one, more) is not None]
    found: list[Option] = []
    for one in sorted(known, key=lambda each: (-each.value, -sign * getattr(each, more))):
        if not found or sign * getattr(one, more) > sign * getattr(found[-1], more):
            found.append(one)
    return found


def _value(results: Results, task: str, pair: tuple[str, str]) -> float | None:
    entry = results.entries.get((task, *pair))
    return None if entry is None or entry.is_collapsed else entry.value


Costs = tuple[float | None, float | None]  # seconds and kWh of a cell


def _costs(rows: Sequence[Row], tasks: Sequence[str]) -> dict[tuple[str, str], Costs]:
    """Means over the cells of each pair."""
    found: dict[tuple[str, str], list[Row]] = {}
    for row in rows:
        if row.source == "measured" and row.error is None and row.cell.task in tasks and row.seconds > 0:
            found.setdefault((row.cell.model, row.cell.regime), []).append(row)
    return {pair: (_mean([row.seconds for row in of]), _mean([row.kwh for row in of])) for pair, of in found.items()}


def _mean(values: Sequence[float | None]) -> float | None:
    """None where one of them is."""
    known = [value for value in values if value is not None]
    return math.fsum(known) / len(known) if len(known) == len(values) else None


def _option(results: Results, pair: tuple[str, str], tasks: Sequence[str], rate: float | None, costs: Costs) -> Option:
    entries = [results.entries[(task, *pair)] for task in tasks]
    value = math.fsum(entry.value or 0.0 for entry in entries) / len(entries)
    low, high = None, None
    if len(entries) == 1:
        low, high = entries[0].low, entries[0].high
    elif all(entry.low is not None and entry.high is not None for entry in entries):
        below, above = (
            math.sqrt(math.fsum(((entry.value or 0.0) - (getattr(entry, end) or 0.0)) ** 2 for entry in entries))
            for end in ("low", "high")
        )
        low, high = max(0.0, value - below / len(entries)), min(1.0, value + above / len(entries))
    return Option(*pair, value, low, high, rate, *costs)


# --- By how much may another one be better?


def _most_better(
    results: Results, options: Sequence[Option], tasks: Sequence[str], right: Mapping[Cell, Right]
) -> tuple[float | None, bool]:
    """(the largest upper end of (other - first), whether the nearest were judged on the same images).

    One-sided, at ERROR over the number of ordered pairs, since any option could have come out as the first. Without
    scores: from the two intervals as if the images were others, which is wider.
    """
    from scipy.stats import norm

    first, others = options[0], options[1:]
    if not others or any(one.low is None or one.high is None for one in options):
        return (0.0, False) if not others else (None, False)
    z = float(norm.isf(ERROR / (len(options) * len(others))))
    wide = {at: _unpaired(first, one, z) for at, one in enumerate(others)}
    order = sorted(wide, key=lambda at: -wide[at])
    if any(correct_over_seeds(results, task, first.model, first.regime, right) is None for task in tasks):
        return max(0.0, wide[order[0]]), False
    bounds, paired = dict(wide), True
    for at in order[:MOST_PAIRED]:
        if bounds[at] <= max((bounds[done] for done in order[: order.index(at)]), default=0.0):
            break  # what follows is nearer still by its own wider bound
        same = _paired(results, first, others[at], tasks, right, z)
        bounds[at] = wide[at] if same is None else same
        paired = paired and not (same is None and at == order[0])
    return max(0.0, *bounds.values()), paired


def _unpaired(first: Option, other: Option, z: float) -> float:
    errors = [((one.high or 0.0) - (one.low or 0.0)) / (2 * 1.96) for one in (first, other)]
    return other.value - first.value + z * math.hypot(*errors)


def _paired(
    results: Results, first: Option, other: Option, tasks: Sequence[str], right: Mapping[Cell, Right], z: float
) -> float | None:
    """Upper end of other less first, over the same images: Wald's with one image added to each side of a task.

    Source: Bonett and Price 2012, adjusted Wald interval for a difference of paired proportions.
    """
    mean, variance = 0.0, 0.0
    for task in tasks:
        a, b = (correct_over_seeds(results, task, one.model, one.regime, right) for one in (first, other))
        if a is None or b is None or not same_images(a, b):
            return None
        middle, spread = paired_wald(b, a)
        mean, variance = mean + middle, variance + spread
    return (mean + z * math.sqrt(variance)) / len(tasks)
