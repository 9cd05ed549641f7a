"""The report's words on which cheap score predicts transfer: tables, sentences and CSV files of what was judged."""

import dataclasses
import math
from collections.abc import Sequence
from operator import attrgetter
from typing import Any

import numpy as np

from ..estimators import CHANCE, ESTIMATORS, SOURCE, TIME, Judged
from ..results import Estimate, capital, counted, joined, label, signed
from ..stats import FEWEST_JUDGED, Interval
from .tables import csv_text, p_text


def judgement(found: Sequence[Judged], estimates: Sequence[Estimate], source_name: str) -> dict[str, Any] | None:
    """What the page shows: a table and a sentence or two per regime, how far they reach, and what has no value."""
    missing = _missing(estimates)
    if not found and not missing:
        return None
    regimes = list(dict.fromkeys(one.regime for one in found))
    return {
        "said": [(name, capital(text)) for name, text in _said(found, source_name)],
        "reach": _reach(found) if found else "",
        "tables": [_table([one for one in found if one.regime == of], estimates, source_name) for of in regimes],
        "missing": missing,
    }


def judged_lines(found: Sequence[Judged], source_name: str) -> list[str]:
    """One line per regime: which scores are settled to rank models, and what following one of them costs."""
    return [f"{name}: {text}" for name, text in _said(found, source_name)]


def _said(found: Sequence[Judged], source_name: str) -> list[tuple[str, str]]:
    """(regime, what is to be said of it)."""
    by_regime = {of: [one for one in found if one.regime == of] for of in dict.fromkeys(one.regime for one in found)}
    return [(capital(label(of)), _text(judged, source_name)) for of, judged in by_regime.items()]


def title(score: str, source_name: str) -> str:
    known = {SOURCE: f"{source_name} accuracy", TIME: "time per image, slower first", CHANCE: "a model at random"}
    return known.get(score) or ESTIMATORS[score].title


# --- Sentences


def _text(of_regime: Sequence[Judged], source_name: str) -> str:
    ranked = [one for one in of_regime if one.tau is not None]
    if not ranked:
        return "too few models to say which score ranks them."
    first = ranked[0]
    parts = [_first(first, source_name), _cost(first, of_regime, source_name)]
    parts += [_settled(ranked, source_name), _ahead(ranked, source_name)]
    return " ".join(part for part in parts if part)


def _first(first: Judged, source_name: str) -> str:
    assert first.tau is not None
    interval = "" if math.isnan(first.tau.low) else f", 95\u00a0% interval {_range(first.tau)}"
    over = f"{counted(len(first.models), 'model')}, {counted(len(first.by_task), 'task')}"
    return (
        f"{title(first.score, source_name)} ranks the models best (weighted τ\u00a0=\u00a0{signed(first.tau.value)}"
        f"{interval}; {over})."
    )


def _settled(ranked: Sequence[Judged], source_name: str) -> str:
    judged = [one for one in ranked if one.p is not None]
    above = [title(one.score, source_name) for one in judged if one.beats_chance]
    if not judged:
        return f"With fewer than {FEWEST_JUDGED} models nothing is settled: that may be chance."
    if not above:
        those = "it may be chance" if len(judged) == 1 else f"all {len(judged)} scores may be chance"
        return f"None is settled to beat chance: judged together, {those}."
    if len(above) == len(judged):
        return "Judged together, every score beats chance."
    return f"Judged together, {len(above)} of {len(judged)} scores beat chance: {joined(above)}."


def _ahead(ranked: Sequence[Judged], source_name: str) -> str:
    compared = [one for one in ranked if one.ahead_p is not None]
    if not compared:
        return ""
    said = [
        f"{joined(names)} {'is' if len(names) == 1 else 'are'} settled to rank them {how} than {source_name} accuracy"
        for sign, how in ((1, "better"), (-1, "worse"))
        if (names := [title(one.score, source_name) for one in compared if one.settled_ahead == sign])
    ]
    if not said:
        return f"No score is settled to rank them better or worse than {source_name} accuracy does."
    return capital("; ".join(said)) + "."


def _cost(first: Judged, of_regime: Sequence[Judged], source_name: str) -> str:
    """What following the first score costs beside source accuracy and chance."""
    several = len(first.by_task) > 1
    if first.worst.regret == 0:
        own = "Its first choice is the best model" + (" on every task" if several else "")
    else:
        average = "on average " if several else ""
        worst = f" (at worst {first.worst.regret:.1f}, on {first.worst.task})" if several else ""
        own = f"Its first choice is {average}{first.regret:.1f} points short of the best model{worst}"
    names = {SOURCE: f"the first by {source_name} accuracy", CHANCE: "a model at random"}
    others = [one for one in of_regime if one.score in names and one is not first]
    return f"{own}; " + ", ".join(f"{names[one.score]} {one.regret:.1f} short" for one in others) + "."


def _reach(found: Sequence[Judged]) -> str:
    models = max(len(one.models) for one in found)
    scores = len({one.score for one in found} - {CHANCE})
    tasks = max(len(one.by_task) for one in found)
    on = "this task" if tasks == 1 else f"these {tasks} tasks"
    return (
        f"What this can show is whether a score ranks these {models} models on {on} better than chance: all claims "
        "here are judged together by exchanging models, so that at no effect any of them is false in at most 5\u00a0% "
        f"of studies; none is made of fewer than {FEWEST_JUDGED} models. It cannot show which of {scores} scores is "
        "the best, nor how any of them ranks models of other families, or other tasks: intervals are over models, "
        "with the tasks as they are, each for itself."
    )


# --- Tables


def _table(of_regime: Sequence[Judged], estimates: Sequence[Estimate], source_name: str) -> dict[str, Any]:
    seconds = {
        name: float(np.median([one.seconds for one in estimates if one.name == name and one.value is not None]))
        for name in {one.name for one in estimates if one.value is not None}
    }
    lines = [
        {
            "score": title(one.score, source_name),
            "baseline": one.score not in ESTIMATORS,
            "tau": _cell(one.tau),
            "p": p_text(one.p),
            "rho": _cell(one.rho),
            "ahead": _cell(one.ahead),
            "ahead_p": p_text(one.ahead_p),
            "regret": f"{one.regret:.1f}",
            "worst": f"{one.worst.regret:.1f} {one.worst.task}" if len(one.by_task) > 1 else "",
            "seconds": _short(seconds[one.score]) if one.score in seconds else "–",
            "size": f"{len(one.models)} × {len(one.by_task)}",
        }
        for one in of_regime
    ]
    return {"regime": capital(label(of_regime[0].regime)), "lines": lines}


def _cell(interval: Interval | None) -> tuple[str, str]:
    """The value and its interval, as texts."""
    if interval is None:
        return "–", ""
    return signed(interval.value), "" if math.isnan(interval.low) else _range(interval)


def _short(seconds: float) -> str:
    return "< 0.01" if seconds < 0.01 else f"{seconds:.2f}" if seconds < 10 else f"{seconds:.0f}"


def _range(interval: Interval) -> str:
    return f"{signed(interval.low)} to {signed(interval.high)}"


def _missing(estimates: Sequence[Estimate]) -> list[str]:
    """Why some estimates have no value, each reason once with how often it holds."""
    reasons: dict[str, list[Estimate]] = {}
    for one in estimates:
        if one.error is not None:
            reasons.setdefault(one.error.strip().splitlines()[-1], []).append(one)
    lines = []
    for reason, found in sorted(reasons.items()):
        names = joined(sorted({ESTIMATORS[one.name].title for one in found}))
        models, tasks = ({of(one) for one in found} for of in (attrgetter("model"), attrgetter("task")))
        where = f"{counted(len(models), 'model')} and {counted(len(tasks), 'task')}"
        lines.append(f"{names} on {where}: {reason}")
    return lines


# --- CSV files


def estimators_csv(found: Sequence[Judged]) -> str:
    """A line per regime, score and task, and one for the mean over the tasks."""
    columns = (
        *("regime", "score", "task", "models", "tasks", "weighted_tau", "weighted_tau_low", "weighted_tau_high"),
        *("spearman", "spearman_low", "spearman_high", "less_source", "less_source_low", "less_source_high"),
        *("regret_points", "chosen", "best", "models_left_out", "p", "less_source_p"),
    )
    lines: list[list[Any]] = []
    for one in found:
        numbers = [number for interval in (one.tau, one.rho, one.ahead) for number in _numbers(interval)]
        head = [one.regime, one.score, "(mean of tasks)", len(one.models), len(one.by_task)]
        lines.append([*head, *numbers, one.regret, None, None, one.left_out, one.p, one.ahead_p])
        for on in one.by_task:
            alone = [on.tau, None, None, on.rho, None, None, None, None, None]
            lines.append([one.regime, one.score, on.task, len(one.models), 1, *alone, on.regret,
                          " ".join(on.chosen), on.best, one.left_out, None, None])  # fmt: skip
    return csv_text(columns, lines)


def _numbers(interval: Interval | None) -> list[float | None]:
    found = [interval.value, interval.low, interval.high] if interval else [math.nan] * 3
    return [None if math.isnan(number) else number for number in found]


def estimates_csv(estimates: Sequence[Estimate]) -> str:
    columns = [field.name for field in dataclasses.fields(Estimate)]
    order = sorted(estimates, key=lambda one: (one.task, one.model, one.name))
    return csv_text(columns, [dataclasses.astuple(one) for one in order])
