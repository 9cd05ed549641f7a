"""Two reports, of two machines, versions or dates: which rows got faster, which did not, which cannot be told."""

import dataclasses
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput

from .. import Configuration, Row, Verdict, row_of, unpaired_verdict


@dataclasses.dataclass(frozen=True)
class Compared:
    """One configuration in both files. verdict: the second against the first."""

    configuration: Configuration
    first: float
    second: float
    verdict: Verdict


@dataclasses.dataclass(frozen=True)
class Comparison:
    """differences: of the environments, (what, first, second). only: configurations of one file alone, in words."""

    compared: list[Compared]
    differences: list[tuple[str, str, str]]
    only: list[str]


def read_document(path: Path) -> dict[str, Any]:
    """A `report.json`. Raises BadInput for any other file."""
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        [row_of(each) for each in value["rows"]]
        value["environment"]["versions"], float(value["spread"])
    except OSError as error:
        raise BadInput(f"{path} cannot be read ({error.strerror}); give a report.json of featune throughput") from error
    except (ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is no report of featune throughput ({error}); give its report.json") from error
    return value


def compare_documents(first: Mapping[str, Any], second: Mapping[str, Any]) -> Comparison:
    """Rows of one model, backend, precision, scope and mode, whatever threads, device and batch each machine has.

    The noise is the larger of both machines' A/A spreads.
    """
    sides = [
        {_what(row): row for row in map(row_of, each["rows"]) if row.error is None and not row.configuration.twin}
        for each in (first, second)
    ]
    spread = max(float(first["spread"]), float(second["spread"]))
    found = [_compared(sides[0][each], sides[1][each], spread) for each in sides[0] if each in sides[1]]
    only = [*_only(sides[0], sides[1], "first"), *_only(sides[1], sides[0], "second")]
    return Comparison(found, _differences(first["environment"], second["environment"]), only)


def _what(row: Row) -> tuple[str, ...]:
    """What is compared between machines; a mode names its batch where that was asked for."""
    asked = row.configuration
    return asked.setup.model, asked.setup.backend, asked.setup.precision, asked.scope, asked.mode


def _only(side: Mapping[tuple[str, ...], Row], other: Mapping[tuple[str, ...], Row], which: str) -> list[str]:
    missing = [row.configuration for what, row in side.items() if what not in other]
    return [
        f"{each.setup.model} {each.setup.name}, {each.mode}, batch {each.batch}, {each.setup.threads} threads, scope "
        f"({each.scope}): in the {which} file only"
        for each in missing
    ]


def _compared(first: Row, second: Row, spread: float) -> Compared:
    return Compared(first.configuration, first.rate, second.rate, unpaired_verdict(second.blocks, first.blocks, spread))


def _differences(first: Mapping[str, Any], second: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    flat = [{**each, **{f"version of {name}": value for name, value in each["versions"].items()}} for each in
            (first, second)]  # fmt: skip
    names = [name for name in {**flat[0], **flat[1]} if name != "versions"]
    return [
        (name, _text(flat[0].get(name)), _text(flat[1].get(name)))
        for name in names
        if flat[0].get(name) != flat[1].get(name)
    ]


def _text(value: Any) -> str:
    return "-" if value is None else " ".join(map(str, value)) if isinstance(value, list) else str(value)


def comparison_lines(found: Comparison) -> list[str]:
    """For the terminal."""
    lines = [f"{name}: {first} | {second}" for name, first, second in found.differences]
    for each in found.compared:
        asked, verdict = each.configuration, each.verdict
        interval = f"{verdict.ratio:.3f} ({verdict.low:.3f} to {verdict.high:.3f})"
        words = {"faster": "faster", "slower": "slower", "equal": "equal within 3 %", "undecided": "undecided"}
        lines.append(
            f"{asked.setup.model} {asked.setup.name}, {asked.mode}, batch {asked.batch}, scope ({asked.scope}): "
            f"{each.first:,.4g} -> {each.second:,.4g} images/s, {words[verdict.word]}, ratio {interval}"
        )
    return [*lines, *found.only]
