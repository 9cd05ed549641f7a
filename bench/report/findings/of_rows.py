"""Findings about the rows themselves: whether the numbers that are compared were made alike."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any

from ...results import Results, Row, counted, joined, short_label
from .finding import Finding


def uneven_seeds(results: Results) -> Finding | None:
    """Regimes in which some numbers are means of more seeds than others, which are less noisy."""
    said, numbers = [], {}
    for regime in results.measured_regimes:
        of = Counter(
            entry.seeds for (_, _, name), entry in results.entries.items() if name == regime and entry.value is not None
        )
        if len(of) > 1:
            numbers[regime] = {str(seeds): count for seeds, count in sorted(of.items(), reverse=True)}
            parts = [
                f"{counted(seeds, 'seed')} in {counted(count, 'cell')}" for seeds, count in sorted(of.items())[::-1]
            ]
            said.append(f"{short_label(regime)} {joined(parts)}")
    if not said:
        return None
    text = f"Not every number is the mean of as many seeds, so some are noisier than others: {'; '.join(said)}."
    return Finding("uneven_seeds", "", text, numbers)


def unlike(rows: Sequence[Row]) -> Finding | None:
    """What the rows of one regime were computed with, where that is not one and the same."""
    found: dict[str, dict[str, set[str]]] = {}
    for row in rows:
        if row.error is None and row.environment:
            for name, value in _made_with(row.environment).items():
                found.setdefault(row.cell.regime, {}).setdefault(name, set()).add(value)
    said, numbers = [], {}
    for regime, of in found.items():
        several = {name: sorted(values) for name, values in of.items() if len(values) > 1}
        if several:
            numbers[regime] = several
            said.append(f"{short_label(regime)} {joined([f'{name} {joined(of)}' for name, of in several.items()])}")
    if not said:
        return None
    text = (
        f"Numbers of one regime were not all computed alike: {'; '.join(said)}. Their last digits may differ for that."
    )
    return Finding("unlike", "", text, numbers)


def _made_with(environment: Mapping[str, Any]) -> dict[str, str]:
    found = {name: str(of) for name, of in (environment.get("versions") or {}).items() if name != "featune"}
    return found | {name: str(environment[name]) for name in ("device", "precision") if environment.get(name)}
