"""The report's first words: which backend to take, how much faster it is, and what is not settled."""

import re
from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...results import counted, joined
from .. import Row
from .beyond_speed import REFERENCE, Recommendation

MOST_NAMED = 4  # models; of more the first words give counts
KIND = re.compile(r" in \d|[:(]| \(")  # ends the words for the kind of a mark


def answer(found: Sequence[Recommendation], rows: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
    """take: the backend. expect: how fast. sentences: what is settled here. trouble: what to doubt, what failed."""
    return {
        "take": _take(found, rows),
        "expect": _expect(found, rows),
        "sentences": _settled(document),
        "trouble": _trouble(rows),
    }


def _take(found: Sequence[Recommendation], rows: Sequence[Row]) -> str:
    if not found:
        return "Nothing could be measured."
    passed = [one for one in found if one.setup]
    if not passed:
        return "No backend passed its gate, so none is recommended."
    models = list(dict.fromkeys(one.model for one in found))
    of: dict[str, list[Recommendation]] = {model: [one for one in passed if one.model == model] for model in models}
    if len(_setups(rows)) == 1:
        what = models[0] if len(models) == 1 else counted(len(models), "model")
        return f"{what}: only {_setups(rows)[0]} was measured, so there is nothing to choose between."
    single = {model: {str(one.setup) for one in each} for model, each in of.items()}
    groups: dict[str, list[str]] = {}
    for model, setups in single.items():
        if len(setups) == 1:
            groups.setdefault(next(iter(setups)), []).append(model)
    mixed = [model for model, setups in single.items() if len(setups) > 1]
    none = [model for model, setups in single.items() if not setups]
    order = sorted(groups, key=lambda setup: -len(groups[setup]))
    if len(models) <= MOST_NAMED:
        parts = [f"{setup} for {joined(groups[setup])}" for setup in order]
        alike = len({one.scope for one in passed}) == 1  # then the scope tells nothing apart
        parts += [
            f"for {model} {joined([f'{one.setup} ({one.mode if alike else one.where})' for one in of[model]])}"
            for model in mixed
        ]
    elif not mixed and not none and len(order) == 1:
        parts = [f"{order[0]} for all {len(models)} models"]
    else:
        parts = [f"{setup} for {len(groups[setup])} of {len(models)} models" for setup in order]
        parts += [f"for {len(mixed)} what the batch or the scope asks for"] if mixed else []
    rest = f" None for {joined(none) if len(none) <= MOST_NAMED else counted(len(none), 'model')}." if none else ""
    return f"Take {'; '.join(parts)}.{rest}"


def _setups(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(row.configuration.setup.name for row in rows))


def _expect(found: Sequence[Recommendation], rows: Sequence[Row]) -> str:
    """The speed where there is one recommendation, how many times as fast as eager torch where there are several."""
    passed = [one for one in found if one.setup]
    words = []
    if len(passed) == 1:
        [one] = passed
        interval = f"95\u00a0% interval {one.low:,.4g} to {one.high:,.4g}"
        words.append(f"Expect {one.rate:,.4g} images per second ({one.where}; {interval}).")
    faster = [one.against for one in passed if one.against and one.against[0] == "faster"]
    if faster and len(passed) > 1:
        ratios = sorted(each[1] for each in faster)
        many = f"{ratios[0]:.2f}" + (f" to {ratios[-1]:.2f}" if len(faster) > 1 else "")
        words.append(f"{many} times as fast as {REFERENCE} in {len(faster)} of {len(passed)} comparisons.")
    elif not faster and passed and REFERENCE in _setups(rows) and len(_setups(rows)) > 1:
        words.append(f"Nothing is settled to be faster than {REFERENCE}.")
    return " ".join(words)


def _settled(document: Mapping[str, Any]) -> list[str]:
    said = [f"Twins of the same configuration differed by up to {document['spread']:.1%} here (A/A spread)."]
    pairs = [pair for group in document["verdicts"] for pair in group["pairs"]]
    open_ = sum(pair["word"] == "undecided" for pair in pairs)
    if open_:
        verb = "is" if open_ == 1 else "are"
        said.append(f"{open_} of {counted(len(pairs), 'comparison')} {verb} undecided; the verdicts below say which.")
    return said


def _trouble(rows: Sequence[Row]) -> list[str]:
    said = []
    failed = [row.configuration for row in rows if row.error is not None and not row.configuration.twin]
    if failed:
        named = list(dict.fromkeys(f"{each.setup.model} on {each.setup.name}" for each in failed))
        more = f" and {len(named) - MOST_NAMED} more" if len(named) > MOST_NAMED else ""
        said.append(f"Failed, without a number: {', '.join(named[:MOST_NAMED])}{more}.")
    marked = [row for row in rows if row.error is None and row.marks and not row.configuration.twin]
    if marked:
        kinds = Counter(kind for row in marked for kind in {KIND.split(mark)[0] for mark in row.marks})
        whole = sum(row.error is None and not row.configuration.twin for row in rows)
        why = ", ".join(f"{kind} ({count})" for kind, count in kinds.most_common())
        said.append(f"To be doubted: {len(marked)} of {counted(whole, 'row')}; {why}. The table says more.")
    return said
