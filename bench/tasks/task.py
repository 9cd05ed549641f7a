"""A Task: a prepared folder with train.csv, val.csv and test.csv, and what its number means."""

import csv
import dataclasses
import functools
import hashlib
import io
import json
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, nearest
from featune.engine.images import Labelled, name_of_content
from featune.engine.metrics import METRICS
from featune.engine.store import digest, write_json, write_text

from .class_names import is_order_of_grades

SPLITS = ("train", "val", "test")
NAMES = "surrogateescape"  # names of files are bytes, and those that are no UTF-8 come back as they were


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set and its metric.

    folder: holds `<split>.csv` with the columns path and label (several class numbers separated by spaces
    where the task is multi-label). root: where the paths start. counts: images per split, as prepared.
    source: where the images are from and how they were split. notes: what the user should know of them, such as
    images that two splits share. digest: names the images' bytes, their labels and the splits, so that a result
    of other data is never taken for this one's. images: by split, a digest of its images' bytes and the names of their
    classes in whatever order, by which two studies know the same images again; empty where an earlier version
    prepared the task. channels: as which the images are read, see `check_channels`; they
    are in the digest of the models that see them (`with_channels`).
    """

    name: str
    classes: tuple[str, ...]
    metric: str
    counts: Mapping[str, int]
    folder: str
    root: str
    source: str = ""
    multilabel: bool = False
    digest: str = ""
    notes: tuple[str, ...] = ()
    channels: int = 3
    images: Mapping[str, str] = dataclasses.field(default_factory=dict)

    def load(self, split: str) -> Labelled:
        """The split's images, in the order of its CSV. Raises BadInput for a count other than the declared one."""
        path = Path(self.folder, f"{split}.csv")
        columns = _read_columns(path)
        found, expected = len(columns["path"]), self.counts.get(split)
        if found != expected:
            raise BadInput(f"{self.name}/{split}: {expected} images expected, {found} found; prepare the task again")
        # Strings repeat by the thousand: one tuple for each different one keeps a million lines small.
        labels = tuple(map(functools.cache(_numbers), columns["label"]))
        more: dict[str, tuple[Any, ...]] = {
            name: tuple(map(functools.cache(kind), columns[column]))
            for column, (name, kind) in EXTRAS.items()
            if column in columns
        }
        return Labelled(self.root, tuple(columns["path"]), labels, channels=self.channels, **more)


def _numbers(text: str) -> tuple[int, ...]:
    return tuple(int(number) for number in text.split())


# Columns of the CSVs beyond path and label, present where the task has them: the field of Labelled, from text.
EXTRAS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "ignore": ("ignore", _numbers),
    "group": ("groups", str),
    "weight": ("weights", float),
}


def save_task(task: Task, splits: Mapping[str, Labelled]) -> Task:
    """Write the task's CSVs and its task.json, unchanged files left alone; the task with its counts and digest."""
    contents, images = {}, {}
    for name, items in splits.items():
        files = items.file_digests()
        contents[name] = [name_of_content(files), items.labels, *_extras(items)]
        images[name] = _in_any_order(files, items, task.classes)
    task = dataclasses.replace(
        task,
        images=images,
        counts={name: len(items) for name, items in splits.items()},
        digest=digest([contents, task.classes, task.metric, task.multilabel]),
    )
    folder = Path(task.folder)
    for name, items in splits.items():
        text = _csv_text(items)
        path = folder / f"{name}.csv"
        if not path.exists() or path.read_text(encoding="utf-8", errors=NAMES) != text:
            write_text(path, text)
    write_json(folder / "task.json", task)
    return task


def load_task(folder: Path) -> Task:
    """The task that was prepared in a folder."""
    path = folder / "task.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8", errors=NAMES))
        lists = {"classes": tuple(value["classes"]), "notes": tuple(value.get("notes", ()))}
        return Task(**{**value, **lists, "folder": str(folder)})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is not a prepared task ({error}); prepare it again") from error


def check_metric(name: str, multilabel: bool = False, classes: Sequence[str] = ()) -> None:
    """Raise BadInput for an unknown metric, one unfit for the labels, or an ordinal one of classes without an order."""
    if name not in METRICS:
        raise BadInput(f"no metric named {name!r}{nearest(name, METRICS)}; one of {', '.join(sorted(METRICS))}")
    if not (METRICS[name].multilabel if multilabel else METRICS[name].single):
        kind = "several labels per image" if multilabel else "one label per image"
        known = [other for other, metric in METRICS.items() if (metric.multilabel if multilabel else metric.single)]
        raise BadInput(f"metric {name} is not defined for {kind}; choose one of {', '.join(sorted(known))}")
    if METRICS[name].ordinal and not is_order_of_grades(classes):
        raise BadInput(
            f"{name} takes the order of the classes for the order of grades; {', '.join(classes[:5])} found, in the "
            "order of the alphabet; expected numbers (0, 1, 2) or names that begin with one (0-none, 1-mild); rename "
            "the classes, list them from the lowest grade to the highest as `classes` of the task in a study file, or "
            "choose another metric"
        )


def empty_classes(task_classes: Iterable[str], items: Labelled) -> list[str]:
    """The classes that no image of the items has."""
    seen = {label for labels in items.labels for label in labels}
    return [name for number, name in enumerate(task_classes) if number not in seen]


def _in_any_order(files: Sequence[str], items: Labelled, classes: Sequence[str]) -> str:
    """Names the pairs of an image's bytes and its classes by name; weights and what is ignored count too."""
    marks = zip(items.labels, items.ignore or ((),) * len(items), items.weights or (1.0,) * len(items), strict=True)
    said = (
        json.dumps([file, [classes[at] for at in labels], [classes[at] for at in ignored], weight])
        for file, (labels, ignored, weight) in zip(files, marks, strict=True)
    )
    return hashlib.sha256("\n".join(sorted(said)).encode()).hexdigest()[:16]


def _extras(items: Labelled) -> list[Any]:
    """What the digest holds beyond images and labels; groups have no part in a result."""
    return [column for column in (items.ignore, items.weights) if any(column)]


def _csv_text(items: Labelled) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    columns: dict[str, Iterable[object]] = {"path": items.paths, "label": (_spaced(some) for some in items.labels)}
    if any(items.ignore):
        columns["ignore"] = (_spaced(some) for some in items.ignore)
    if any(items.groups):
        columns["group"] = items.groups
    if items.weights:
        columns["weight"] = (repr(weight) for weight in items.weights)
    writer.writerow(columns)
    writer.writerows(zip(*columns.values(), strict=True))
    return text.getvalue()


def _spaced(numbers: Iterable[int]) -> str:
    return " ".join(map(str, numbers))


def _read_columns(path: Path) -> dict[str, list[str]]:
    """The columns of a split's CSV, as text."""
    try:
        with open(path, newline="", encoding="utf-8", errors=NAMES) as file:
            lines = csv.reader(file)
            header = next(lines, [])
            columns: list[list[str]] = [[] for _ in header]
            for line in lines:
                for column, value in zip(columns, line, strict=True):
                    column.append(value)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such file; prepare the task again") from error
    except ValueError as error:
        raise BadInput(
            f"{path}, line {lines.line_num}: {len(header)} columns expected; prepare the task again"
        ) from error
    found = dict(zip(header, columns, strict=True))
    absent = [name for name in ("path", "label") if name not in found]
    if absent:
        raise BadInput(f"{path}: no column {' and '.join(absent)}; prepare the task again")
    return found
