"""Findings about variants of one pre-training: how each transfers against the first, by shots, and what could be seen.

A variant is what the names of models have before `@`, and its seeds are what stands behind it.
"""

import math
import re
from collections.abc import Collection, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ...results import Row, counted, is_published, short_label, shots_of, signed
from ...stats import ERROR, holm, log_odds
from ...stats.studies import detectable_difference, noise_floor
from .finding import Finding

Table = dict[str, list[float]]  # variant: of each of its seeds, mean log odds over tasks
NAME = re.compile(r"(?P<variant>.+)@(?P<seed>\d+)")
SOURCE = "source accuracy, each variant on its own labels"
ONE_SEED = (
    "one seed of each: they are not compared, since one seed says nothing of what another would change; give pretrain "
    "two seeds or more."
)


def variants(rows: Sequence[Row], tasks: Collection[str]) -> list[Finding]:
    """One finding for each regime, and one for the source accuracy; where no variant has two seeds, one that says so.

    tasks: those whose values are fractions; rows of others have no log odds and are left out.
    """
    named = [row for row in rows if NAME.fullmatch(row.cell.model) and not is_published(row.cell.regime)]
    kept = [row for row in named if row.error is None and row.value is not None and row.n]
    order = list(dict.fromkeys(_variant(row.cell.model) for row in named))
    models = {row.cell.model for row in named}
    if len(order) > 1 and len(models) == len(order):
        return [Finding("variants", "", f"{counted(len(order), 'variant')}, {ONE_SEED}", {"variants": order})]
    found = []
    fractions = [row for row in kept if row.cell.task in tasks]
    for regime in dict.fromkeys(row.cell.regime for row in fractions):
        own = [row for row in fractions if row.cell.regime == regime]
        here = {row.cell.task for row in own}
        shots = list(dict.fromkeys(shots_of(row.cell.task, here)[1] for row in own))
        levels = {"": own}
        if len(shots) > 1:
            levels |= {level: [row for row in own if shots_of(row.cell.task, here)[1] == level] for level in shots}
        tables = {level: _means(of, order) for level, of in levels.items()}
        if made := _finding(regime, short_label(regime), tables):
            found.append(made)
    source = {row.cell.model: (row.source_top1, row.source_n) for row in kept if row.source_top1 and row.source_n}
    table: Table = {}
    for model, (top1, n) in source.items():
        table.setdefault(_variant(model), []).append(float(log_odds(np.array([top1]), np.array([n]))[0]))
    made = _finding("", SOURCE, {"": {v: table[v] for v in order if v in table}})
    return [*([made] if made else []), *found]


def _variant(model: str) -> str:
    known = NAME.fullmatch(model)
    return known["variant"] if known else model


def _means(rows: Sequence[Row], order: Sequence[str]) -> Table:
    """Of the models that have every task: the mean over tasks of the log odds, seeds of a cell being averaged first."""
    cells: dict[tuple[str, str], list[float]] = {}
    for row in rows:
        value = log_odds(np.array([row.value]), np.array([row.n]))[0]
        cells.setdefault((row.cell.model, row.cell.task), []).append(float(value))
    tasks = {task for _, task in cells}
    found: Table = {variant: [] for variant in order}
    for model in dict.fromkeys(model for model, _ in cells):
        if all((model, task) in cells for task in tasks):
            found[_variant(model)].append(float(np.mean([np.mean(cells[model, task]) for task in tasks])))
    return found


def _finding(regime: str, label: str, tables: dict[str, Table]) -> Finding | None:
    whole = {level: {name: of for name, of in table.items() if len(of) > 1} for level, table in tables.items()}
    if len(whole[""]) < 2:
        return None
    numbers: dict[str, Any] = {}
    said = ""
    for level, table in whole.items():
        compared = comparisons(table)
        if not compared:
            continue
        numbers[level or "all tasks"] = compared
        if level:
            continue
        said = _words(label, compared)
    return Finding("variants", regime, said, numbers) if said else None


def _words(label: str, compared: dict[str, Any]) -> str:
    settled = [one for one in compared["variants"] if one["p_holm"] <= ERROR]
    listed = "; ".join(
        f"{one['variant']} {signed(one['difference'])} ({signed(one['low'])} to {signed(one['high'])})"
        for one in settled
    )
    return (
        f"Against {compared['reference']}, {label}: of {counted(len(compared['variants']), 'variant')}, "
        f"{len(settled) or 'none'} differ{'s' if len(settled) == 1 else ''} in mean log odds (Holm’s adjustment, p at "
        f"most {ERROR:g}){f': {listed}' if listed else ''}. The seeds’ standard deviation is "
        f"{compared['seed_sd']:.3f}; a true difference of {compared['detectable']:.2f} between two variants is found "
        "in four of five studies of this size by Student’s t test, smaller ones are mostly missed."
    )


def comparisons(table: Table) -> dict[str, Any]:
    """Each variant less the first: difference of mean log odds, 95 % interval, p, and Holm's p over all variants.

    table: at least two values of each. The standard deviation over seeds is pooled over variants, so that an interval
    is Student's with its degrees of freedom. detectable: of two variants of so many seeds, by the same test.
    same: variants whose values are those of an earlier one, as where equal steps are equal passes; they are one.
    """
    from scipy.stats import t as student

    same: dict[str, str] = {}
    for at, name in enumerate(table):
        earlier = next((other for other in list(table)[:at] if table[other] == table[name]), None)
        if earlier is not None:
            same[name] = earlier
    table = {name: of for name, of in table.items() if name not in same}
    names = list(table)
    spread, free = noise_floor(list(table.values()))
    if len(names) < 2 or not free or spread == 0:
        return {}
    first = np.array(table[names[0]])
    found: list[dict[str, Any]] = []
    for name in names[1:]:
        own: NDArray[np.float64] = np.array(table[name])
        error = spread * math.sqrt(1 / len(first) + 1 / len(own))
        difference = float(own.mean() - first.mean())
        reach = float(student.ppf(1 - ERROR / 2, free)) * error
        p = float(2 * student.sf(abs(difference) / error, free))
        found.append({
            "variant": name, "difference": difference, "low": difference - reach, "high": difference + reach, "p": p,
            "seeds": len(own),
        })  # fmt: skip
    for one, adjusted in zip(found, holm([one["p"] for one in found]), strict=True):
        one["p_holm"] = adjusted
    fewest = min(map(len, table.values()))
    detectable = detectable_difference(spread, free, (fewest, fewest))
    return {
        "reference": names[0], "reference_mean": float(first.mean()), "seed_sd": spread, "degrees_of_freedom": free,
        "detectable": detectable, "variants": found, "same": same,
    }  # fmt: skip
