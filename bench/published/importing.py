"""A CSV file of published accuracies, long or wide, as a table with its source.

Wide: a line per model (and regime), a column per task. Long: a line per number, with the columns `model`, `task` and
`accuracy`. Lines that begin with # say where the numbers come from, `# source: ...`, and which metrics they are,
`# metric: top1`, `# metric of pets: mean_per_class`.
"""

import csv
import dataclasses
import math
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TypeVar

from featune.engine.errors import BadInput, nearest
from featune.engine.metrics import METRICS
from featune.engine.paths import refuse_devices

Key = TypeVar("Key")
# What a column may be called, the first being ours.
CALLED = {
    "model": ("model", "arch", "architecture", "network", "backbone"),
    "regime": ("regime", "setting"),
    "task": ("task", "dataset", "data_set"),
    "accuracy": ("accuracy", "value", "test_accuracy", "finetune_acc", "top1"),
    "n": ("n", "test_images"),
    "metric": ("metric",),
}
TOP = ("imagenet_top1", "source_top1")
ASIDE = ("source", "family", "classes")  # columns of a long file that are no number of ours
MOST_BYTES = 20_000_000


@dataclasses.dataclass(frozen=True)
class Published:
    """A published table. values: (regime, model, task) -> fraction. metric, n: by task; n is absent where not known.

    imagenet: column -> model -> fraction; the first column, `imagenet_top1`, is the source's own, others are
    alternatives of the same models. notes: what a reader must know before believing a number.
    """

    name: str
    title: str
    source: str
    paper: str
    date: str
    notes: tuple[str, ...]
    values: Mapping[tuple[str, str, str], float]
    metric: Mapping[str, str]
    n: Mapping[str, int]
    imagenet: Mapping[str, Mapping[str, float]]

    @property
    def regimes(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(regime for regime, _, _ in self.values))

    @property
    def models(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(model for _, model, _ in self.values))

    @property
    def tasks(self) -> tuple[str, ...]:
        return tuple(dict.fromkeys(task for _, _, task in self.values))

    def only(self, regime: str) -> "Published":
        """The table of one regime."""
        values = {key: value for key, value in self.values.items() if key[0] == regime}
        return dataclasses.replace(self, values=values)


def read_published(path: Path, name: str | None = None) -> Published:
    """The table that a CSV file holds. Raises BadInput that names the line of what is no accuracy.

    Numbers are fractions, or all percent: a file with one above 1 is read as percent throughout, so that 0.9 in it
    is 0.9 %. An empty field is a number that was not published.
    """
    lines, head = _lines(path)
    if not lines:
        raise BadInput(f"{path}: no line of numbers found; expected a header and a line for each model or number")
    columns = _columns(path, list(lines[0][1]))
    found = (_long if "accuracy" in columns and "task" in columns else _wide)(path, lines, columns)
    tops = _tops(path, lines, columns)
    values = _fractions(found)
    metric = {task: _metric(path, head, task) for _, _, task in values}
    metric |= _told(path, lines, columns)
    return Published(
        name=name or path.stem,
        title=_said(head, "title") or path.stem,
        source=_said(head, "source") or str(path),
        paper=_said(head, "paper"),
        date=_said(head, "date"),
        notes=tuple(text for key, text in head if key == "note"),
        values=values,
        metric=metric,
        n=_sizes(path, lines, columns),
        imagenet=tops,
    )


Line = tuple[int, dict[str, str]]


def _lines(path: Path) -> tuple[list[Line], list[tuple[str, str]]]:
    """(number, fields) of each line, and (key, text) of what the lines with # say."""
    refuse_devices(path)
    try:
        if path.stat().st_size > MOST_BYTES:
            raise BadInput(f"{path}: {path.stat().st_size:,} bytes found, at most {MOST_BYTES:,} expected of a table")
        texts = path.read_text(encoding="utf-8-sig").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise BadInput(f"{path} cannot be read ({error}); give a CSV file in UTF-8, or a name that ships") from error
    head = [text.lstrip("#").strip().partition(":") for text in texts if text.startswith("#")]
    numbered = [(at, text) for at, text in enumerate(texts, 1) if text.strip() and not text.startswith("#")]
    reader = csv.DictReader([text for _, text in numbered])
    rows = [{(key or "").strip(): (value or "").strip() for key, value in row.items() if isinstance(value, str | None)}
            for row in reader]  # fmt: skip
    return (
        [(at, row) for (at, _), row in zip(numbered[1:], rows, strict=False)],
        [(key.strip().lower(), text.strip()) for key, _, text in head],
    )


def _columns(path: Path, names: Sequence[str]) -> dict[str, str]:
    """What each column of ours is called in the file."""
    low = {name.lower(): name for name in names}
    found = {ours: low[name] for ours, called in CALLED.items() for name in reversed(called) if name in low}
    if "model" not in found:
        raise BadInput(f"{path}: columns {', '.join(names)[:200]} found, one called model expected; rename it")
    return found


def _is_top(name: str) -> bool:
    return name.lower().startswith(TOP)


def _long(path: Path, lines: Sequence[Line], columns: Mapping[str, str]) -> dict[tuple[str, str, str], float]:
    found: dict[tuple[str, str, str], float] = {}
    for at, row in lines:
        value = _number(path, at, columns["accuracy"], row[columns["accuracy"]])
        key = (_regime(row, columns), row[columns["model"]], row[columns["task"]])
        if value is not None:
            if key in found:
                raise BadInput(
                    f"{path}, line {at}: {' '.join(key)} stands there again; keep one line for each, or "
                    "give a column regime that tells them apart"
                )
            found[key] = value
    return found


def _wide(path: Path, lines: Sequence[Line], columns: Mapping[str, str]) -> dict[tuple[str, str, str], float]:
    known = {columns.get(name) for name in ("model", "regime", "metric")}
    tasks = [name for name in lines[0][1] if name not in known and not _is_top(name) and name.lower() not in ASIDE]
    if not tasks:
        raise BadInput(f"{path}: no column of a task found; expected one for each task, or task and accuracy")
    found: dict[tuple[str, str, str], float] = {}
    for at, row in lines:
        for task in tasks:
            value = _number(path, at, task, row[task])
            key = (_regime(row, columns), row[columns["model"]], task)
            if key in found:
                raise BadInput(f"{path}, line {at}: {key[1]} ({key[0]}) stands there again; keep one line for each")
            if value is not None:
                found[key] = value
    return found


def _regime(row: Mapping[str, str], columns: Mapping[str, str]) -> str:
    return (row[columns["regime"]] if "regime" in columns else "") or "finetune"


def _tops(path: Path, lines: Sequence[Line], columns: Mapping[str, str]) -> dict[str, dict[str, float]]:
    names = [name for name in lines[0][1] if _is_top(name)]
    found: dict[str, dict[str, float]] = {name: {} for name in names}
    for name in names:
        read = {
            row[columns["model"]]: value
            for at, row in lines
            if (value := _number(path, at, name, row[name])) is not None
        }
        ours = name.lower().replace("source_top1", "imagenet_top1")
        found[ours] = _fractions(read)
        if ours != name:
            del found[name]
    return found


def _number(path: Path, at: int, column: str, text: str) -> float | None:
    text = text.rstrip("%").strip()
    if not text or text in ("-", "–"):
        return None
    try:
        value = float(text)
    except ValueError:
        value = math.nan
    if not 0 <= value <= 100:
        raise BadInput(f"{path}, line {at}: {column}: {text!r:.60} found, a fraction or percent expected")
    return value


def _fractions(found: Mapping[Key, float]) -> dict[Key, float]:
    """Percent, where one number is above 1, become fractions."""
    scale = 100 if max(found.values(), default=0) > 1 else 1
    return {key: value / scale for key, value in found.items()}


def _said(head: Sequence[tuple[str, str]], key: str) -> str:
    return next((text for name, text in head if name == key), "")


def _metric(path: Path, head: Sequence[tuple[str, str]], task: str) -> str:
    return _known(path, _said(head, f"metric of {task.lower()}") or _said(head, "metric") or "top1")


def _told(path: Path, lines: Sequence[Line], columns: Mapping[str, str]) -> dict[str, str]:
    """The metrics of a long file that has a column of them."""
    if not {"metric", "task"} <= columns.keys():
        return {}
    return {row[columns["task"]]: _known(path, row[columns["metric"]] or "top1") for _, row in lines}


def _known(path: Path, text: str) -> str:
    name = re.sub(r"[ -]+", "_", text.strip().lower())
    name = {"top_1": "top1", "accuracy": "top1", "11_point_map": "map_11point"}.get(name, name)
    if name not in METRICS:
        raise BadInput(f"{path}: metric {text!r:.60} found{nearest(name, METRICS)}; one of {', '.join(METRICS)}")
    return name


def _sizes(path: Path, lines: Sequence[Line], columns: Mapping[str, str]) -> dict[str, int]:
    if not {"n", "task"} <= columns.keys():
        return {}
    found = {row[columns["task"]]: row[columns["n"]] for _, row in lines if row[columns["n"]]}
    wrong = [text for text in found.values() if not text.isdigit() or int(text) < 1]
    if wrong:
        raise BadInput(f"{path}: n: {wrong[0]!r:.60} found, the number of test images expected")
    return {task: int(text) for task, text in found.items()}
