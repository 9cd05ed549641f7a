"""A Task: a prepared folder with train.csv, val.csv and test.csv, and what its number means."""

import csv
import dataclasses
import io
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

import numpy as np

from engine.errors import BadInput, nearest
from engine.images import Labelled
from engine.metrics import METRICS
from engine.store import digest, write_json, write_text

SPLITS = ("train", "val", "test")


@dataclasses.dataclass(frozen=True)
class Task:
    """A data set and its metric.

    folder: holds `<split>.csv` with the columns path and label (several class numbers separated by spaces
    where the task is multi-label). root: where the paths start. counts: images per split, as prepared.
    source: where the images are from and how they were split. digest: names the images' bytes, their labels
    and the splits, so that a result of other data is never taken for this one's.
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

    def load(self, split: str) -> Labelled:
        """The split's images, in the order of its CSV. Raises BadInput for a count other than the declared one."""
        path = Path(self.folder, f"{split}.csv")
        try:
            with open(path, newline="", encoding="utf-8") as file:
                lines = list(csv.DictReader(file))
        except FileNotFoundError as error:
            raise BadInput(f"{path}: no such file; prepare the task again") from error
        if len(lines) != self.counts[split]:
            raise BadInput(
                f"{self.name}/{split}: {self.counts[split]} images expected, {len(lines)} found; prepare the task again"
            )
        labels = tuple(tuple(int(label) for label in line["label"].split()) for line in lines)
        return Labelled(self.root, tuple(line["path"] for line in lines), labels)


def save_task(task: Task, splits: Mapping[str, Labelled]) -> Task:
    """Write the task's CSVs and its task.json, unchanged files left alone; the task with its counts and digest."""
    contents = {name: [items.content_digest, items.labels] for name, items in splits.items()}
    task = dataclasses.replace(
        task,
        counts={name: len(items) for name, items in splits.items()},
        digest=digest([contents, task.classes, task.metric, task.multilabel]),
    )
    folder = Path(task.folder)
    for name, items in splits.items():
        text = _csv_text(items)
        path = folder / f"{name}.csv"
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            write_text(path, text)
    write_json(folder / "task.json", task)
    return task


def load_task(folder: Path) -> Task:
    """The task that was prepared in a folder."""
    path = folder / "task.json"
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
        return Task(**{**value, "classes": tuple(value["classes"]), "folder": str(folder)})
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise BadInput(f"{path} is not a prepared task ({error}); prepare it again") from error


def check_metric(name: str, multilabel: bool = False) -> None:
    if name not in METRICS:
        raise BadInput(f"no metric named {name!r}{nearest(name, METRICS)}; one of {', '.join(sorted(METRICS))}")
    if not (METRICS[name].multilabel if multilabel else METRICS[name].single):
        kind = "several labels per image" if multilabel else "one label per image"
        raise BadInput(f"metric {name} is not defined for {kind}; choose another")


def empty_classes(task_classes: Iterable[str], items: Labelled) -> list[str]:
    """The classes that no image of the items has."""
    seen = {label for labels in items.labels for label in labels}
    return [name for number, name in enumerate(task_classes) if number not in seen]


def stratified_split(items: Labelled, fractions: Mapping[str, float], seed: int) -> dict[str, Labelled]:
    """Cut the items by class and seed, each class within one image of its share; order is kept inside a split.

    Every image lands in exactly one split. The result depends on the paths and the seed, not on their order
    in the file system.
    """
    labels = [label[0] for label in items.labels]
    chosen: dict[str, list[int]] = {name: [] for name in fractions}
    edges = np.cumsum(list(fractions.values()))
    for number in sorted(set(labels)):
        members = np.array(
            sorted((i for i, label in enumerate(labels) if label == number), key=items.paths.__getitem__)
        )
        members = members[np.random.default_rng((seed, number)).permutation(len(members))]
        cuts = np.round(edges / edges[-1] * len(members)).astype(int)[:-1]
        for name, part in zip(fractions, np.split(members, cuts), strict=True):
            chosen[name].extend(part.tolist())
    return {name: items.take(sorted(indices, key=items.paths.__getitem__)) for name, indices in chosen.items()}


def _csv_text(items: Labelled) -> str:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["path", "label"])
    for path, labels in zip(items.paths, items.labels, strict=True):
        writer.writerow([path, " ".join(map(str, labels))])
    return text.getvalue()
