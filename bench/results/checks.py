"""What is read from a file is checked before it is believed: the types, ranges and depth of a record's fields."""

import dataclasses
import functools
import json
import math
import types
import typing
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

Record = TypeVar("Record")
PLAIN = {str, bool, type(None)}  # types of which every value is right
DEEPEST = 20  # levels of a mapping in a record
COUNTS = {
    "n",
    "source_n",
    "seconds",
    "kwh",
    "iterations",
    "batch",
    "threads",
    "images_per_second",
    "images_per_second_low",
    "images_per_second_high",
    "median_ms",
    "p95_ms",
}
SHARES = {"source_top1"}


def checked(record: Record) -> Record:
    """The record itself, a dataclass. Raises ValueError that names the field, what it is and what it should be."""
    kind: Any = type(record)
    for name, allowed in _fields(kind).items():
        value = getattr(record, name)
        if type(value) in allowed and type(value) in PLAIN:  # most are
            continue
        if dataclasses.is_dataclass(value):
            checked(value)
        elif not isinstance(value, allowed) or (isinstance(value, bool) and bool not in allowed):
            raise ValueError(
                f"{name}: {_shown(value)} found, {' or '.join(kind.__name__ for kind in allowed)} expected"
            )
        elif isinstance(value, (int, float)):
            _check_number(name, value)
        elif isinstance(value, Mapping) and _is_deeper(value, DEEPEST):
            raise ValueError(f"{name}: nested deeper than {DEEPEST} levels")
    return record


def read_checked(kind: type[Record], path: Path) -> Record | None:
    """The record that a file holds, or None where the file is absent or holds none of this version."""
    try:
        value = json_object(path)
        return checked(kind(**value))
    except (OSError, ValueError, TypeError):
        return None


def json_object(path: Path) -> dict[str, Any]:
    """What a JSON file holds. Raises ValueError where that is no object, or nested too deep to read."""
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors="surrogateescape"))
    except RecursionError as error:
        raise ValueError("nested too deep") from error
    if not isinstance(value, dict):
        raise ValueError(f"{_shown(value)} found, an object expected")
    return value


def _check_number(name: str, value: float) -> None:
    try:
        finite = math.isfinite(value)
    except OverflowError:  # an integer beyond every float
        finite = False
    if not finite:
        raise ValueError(f"{name}: {_shown(value)} found, a finite number expected")
    if name in COUNTS and value < 0:
        raise ValueError(f"{name}: {value} found, at least 0 expected")
    if name in SHARES and not 0 <= value <= 1:
        raise ValueError(f"{name}: {value} found, a share from 0 to 1 expected")


@functools.cache
def _fields(kind: type) -> dict[str, tuple[type, ...]]:
    """The types that each field of a dataclass may have."""
    hints = typing.get_type_hints(kind)
    return {field.name: _kinds(hints[field.name]) for field in dataclasses.fields(kind)}


def _kinds(hint: Any) -> tuple[type, ...]:
    if isinstance(hint, types.UnionType):
        return tuple(one for part in typing.get_args(hint) for one in _kinds(part))
    kind = typing.get_origin(hint) or hint
    return (float, int) if kind is float else (kind,)


def _is_deeper(value: Any, levels: int) -> bool:
    waiting = [(value, 1)]
    while waiting:
        one, level = waiting.pop()
        inner = one.values() if isinstance(one, Mapping) else one if isinstance(one, list) else ()
        if inner and level > levels:
            return True
        waiting += [(each, level + 1) for each in inner]
    return False


def _shown(value: Any) -> str:
    if isinstance(value, (dict, list)):
        return type(value).__name__
    try:
        return f"{value!r:.60}"
    except ValueError:  # more digits than Python writes
        return f"{type(value).__name__} of many digits"


# What is computed with among a row's details; all others are only shown.
NUMBERS = ("train_top1", "train_label_accuracy", "majority_train", "majority_test", "predicted_most", "learning_rate",
           "test_classes", "predicted_classes", "n_train", "n_val", "threshold", "penalty",
           "steps_to_90_percent_of_final_odds")  # fmt: skip


def details_fault(details: Mapping[str, Any]) -> str:
    """What is wrong with the details of a row that the report computes with, or nothing."""
    for name in NUMBERS:
        value = details.get(name)
        if value is not None and not _is_number(value):
            return f"{name}: {_shown(value)} found, a finite number expected"
    rates, tried = details.get("rates", []), details.get("tried", {})
    if not isinstance(rates, list | tuple) or not all(map(_is_number, rates)):
        return f"rates: {_shown(rates)} found, a list of numbers expected"
    if not isinstance(tried, Mapping) or not all(map(_is_text_of_number, tried)):
        return f"tried: {_shown(tried)} found, values by learning rate expected"
    for name in ("recipe", "images", "view", "training"):
        if not isinstance(details.get(name, {}), Mapping | None):
            return f"{name}: {_shown(details[name])} found, settings by name expected"
    steps = (details.get("training") or {}).get("steps", 0)
    return "" if _is_number(steps) else f"training: steps: {_shown(steps)} found, a finite number expected"


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def _is_text_of_number(text: Any) -> bool:
    try:
        return math.isfinite(float(text))
    except (TypeError, ValueError, OverflowError):
        return False
