"""A user's images as a task, with no code: a folder, a table of paths and labels, or a data string."""

import dataclasses
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, Literal

import numpy as np

from featune.engine.errors import BadImages, BadInput
from featune.engine.images import Labelled, read_image
from featune.engine.machine import processors
from featune.engine.paths import check_name
from featune.engine.store import read_json, write_json

from ..progress import Progress, Silent
from ..tasks import (
    SPLITS,
    Layout,
    Task,
    check_metric,
    empty_classes,
    fold_layout,
    folder_layout,
    in_order,
    load_task,
    require_files,
    require_writable,
    save_task,
    shared_images,
    table_layout,
)
from .request import Request
from .task_splits import string_layout

KNOWS_IGNORED = ("map", "map_11point", "map_voc2010")  # metrics that leave out labels of -1


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a user's task lies: a folder of images, a table, or a task that was prepared before.

    csv: a table of paths and labels, CSV or Parquet. seed cuts what has no splits. duplicates: what to do about
    images that two splits share. prepared: a folder with task.json; its metric is its own. channels: as which the
    images are read, by default as a prepared task says, else 3. images: a data string of a library or of tars, and
    splits: what its train, val and test are called, where their names do not say so. fold: (number from 0, of how
    many) where one fold is test, of images without splits. classes: all of them in their order, from the lowest grade
    to the highest for example, where it is not the one of their names. shots: so many images of each class in train,
    and at most so many in val, drawn by the seed.
    """

    name: str
    folder: Path | None = None
    csv: Path | None = None
    metric: str = "top1"
    seed: int = 0
    duplicates: Literal["warn", "refuse"] = "warn"
    prepared: Path | None = None
    channels: int | None = None
    images: Request | None = None
    splits: Mapping[str, str] = dataclasses.field(default_factory=dict)
    fold: tuple[int, int] | None = None
    classes: tuple[str, ...] = ()
    shots: int | None = None


def look(source: Source, progress: Progress | None = None) -> Layout:
    """List the source's files and check the layout, without opening an image.

    Raises BadInput for a layout that is not understood, an unfit metric, or a class that train lacks, and Missing
    for what a library that is not installed would read, or named data that are not here.
    """
    check_name("the task's name", source.name)  # its folder's, of what is prepared and of its rows
    if source.prepared:
        layout = _read_prepared(source.prepared)
        _refuse_weights(source, layout)
        return layout
    layout = _layout(source, progress or Silent())
    if source.fold:
        layout = fold_layout(layout, source.name, *source.fold, source.seed)
    if source.channels is not None:
        seen = {split: dataclasses.replace(items, channels=source.channels) for split, items in layout.splits.items()}
        layout = dataclasses.replace(layout, splits=seen)
    _refuse_weights(source, layout)
    if source.classes:
        layout = in_order(layout, source.classes, source.name)
    check_metric(source.metric, layout.multilabel, () if source.classes else layout.classes)
    _check_ignored(source, layout)
    _require_every_class(source.name, layout)
    return _few(source, layout) if source.shots is not None else layout


def _few(source: Source, layout: Layout) -> Layout:
    """The layout with `shots` images of each class in train, and at most so many in val; those of more hold fewer's."""
    assert source.shots is not None
    if layout.multilabel:
        raise BadInput(f"{source.name}: {source.shots} shots asked for, images have several labels; leave shots out")
    splits = dict(layout.splits)
    for split in ("train", "val"):
        items = splits[split]
        truth = items.truth(len(layout.classes))
        counts = np.bincount(truth, minlength=len(layout.classes))
        rare = int(counts.argmin())
        if split == "train" and counts[rare] < source.shots:
            raise BadInput(
                f"{source.name}: {source.shots} shots asked for, class {layout.classes[rare]} has {counts[rare]} "
                "training images; lower shots or add images"
            )
        order = np.random.default_rng((source.seed, len(items))).permutation(len(items))
        place = np.zeros(len(items), dtype=np.int64)  # of an image among its class's, in the order drawn
        for label in range(len(layout.classes)):
            own = order[truth[order] == label]
            place[own] = np.arange(len(own))
        splits[split] = items.take(np.flatnonzero(place < source.shots).tolist())
    return dataclasses.replace(layout, splits=splits, note=f"{layout.note}; {source.shots} images of each class")


def prepare(source: Source, out: Path, progress: Progress | None = None) -> Task:
    """Write the task's CSVs under `out/<name>` and decode every image once.

    Raises what `look` raises, BadImages with all files that cannot be read, and BadInput for images that two
    splits share where the source says so; by default they become notes of the task.
    """
    progress = progress or Silent()
    layout = look(source, progress)
    if source.prepared:
        task = load_task(source.prepared)
        notes = (*task.notes, *_told_of_order(task))
        return dataclasses.replace(task, name=source.name, channels=source.channels or task.channels, notes=notes)
    folder = out / source.name
    check_images(folder, layout.splits.values(), progress)
    notes = describe_shared(shared_images(layout.splits))
    if notes and source.duplicates == "refuse":
        raise BadInput(f"{source.name}: {notes[0]}; remove them from one of the splits, or set duplicates: warn")
    train = layout.splits["train"]
    task = Task(
        source.name, layout.classes, source.metric, {}, str(folder), train.root, layout.note, layout.multilabel,
        notes=notes, channels=train.channels,
    )  # fmt: skip
    return save_task(task, layout.splits)


def describe_shared(pairs: Sequence[tuple[str, str]], shown: int = 3) -> tuple[str, ...]:
    """A sentence on the images that splits share, or none: how many, and the first few pairs."""
    if not pairs:
        return ()
    examples = ", ".join(f"{one} = {other}" for one, other in pairs[:shown])
    noun = "image is" if len(pairs) == 1 else "images are"
    return (
        f"{len(pairs)} {noun} byte for byte in another split too: {examples}{', ...' if len(pairs) > shown else ''}",
    )


def _layout(source: Source, progress: Progress) -> Layout:
    if source.images:
        return string_layout(source.images, source.splits, source.seed, progress)
    if source.csv:
        return table_layout(source.csv, source.seed)
    assert source.folder is not None
    return folder_layout(source.folder, source.seed)


def _read_prepared(folder: Path) -> Layout:
    """The splits of a task that was prepared before, all three of them, with every file in its place."""
    task = load_task(folder)
    absent = [split for split in SPLITS if split not in task.counts]
    if absent:
        raise BadInput(f"{folder}: no {' and no '.join(absent)} split; a study needs train, val and test")
    splits = {split: task.load(split) for split in SPLITS}
    for items in splits.values():
        require_files(items)
    return Layout(splits, task.classes, task.source, task.multilabel)


def _told_of_order(task: Task) -> tuple[str, ...]:
    """A note on an ordinal metric of a task whose classes may have got their order from the alphabet, before that was
    refused."""
    try:
        check_metric(task.metric, task.multilabel, task.classes)
    except BadInput:
        order = " < ".join(task.classes[:5])
        return (f"{task.metric} takes {order} for the order of grades, as the task was prepared",)
    return ()


def _check_ignored(source: Source, layout: Layout) -> None:
    if source.metric not in KNOWS_IGNORED and any(any(items.ignore) for items in layout.splits.values()):
        raise BadInput(
            f"{source.name}: labels of -1 (unknown) found, which {source.metric} cannot leave out; "
            f"expected one of {', '.join(KNOWS_IGNORED)}, or labels of 0 and 1"
        )


def _refuse_weights(source: Source, layout: Layout) -> None:
    """No regime trains and no metric counts with weights; a study that left them out would answer another question."""
    if len({weight for items in layout.splits.values() for weight in items.weights}) > 1:
        raise BadInput(
            f"{source.name}: a column weight of different weights found, which no regime and no metric uses; "
            "remove or rename the column to count every image once"
        )


def _require_every_class(task: str, layout: Layout) -> None:
    """Training needs every class; one that val or test lacks is left to the metric."""
    lacking = empty_classes(layout.classes, layout.splits["train"])
    if lacking:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        raise BadInput(f"{task}, train: no images of class {shown}; add images or remove the class everywhere")
    if len(layout.classes) < 2:
        raise BadInput(
            f"{task}: {len(layout.classes)} class ({', '.join(layout.classes)}) found, at least 2 expected; where the "
            "classes lie one folder deeper, give that folder"
        )


def check_images(folder: Path, splits: Iterable[Labelled], progress: Progress) -> None:
    """Decode every file once; a record of their bytes spares the next run the work."""
    require_writable(folder)
    parts = list(splits)
    record = folder / "checked.json"
    channels = [items.channels for items in parts]
    total = sum(map(len, parts))
    digests: dict[str, Any] = {"digests": [], **({"channels": channels} if set(channels) != {3} else {})}
    with progress.stage(f"hashing {folder.name}") as advance:
        for number, items in enumerate(parts, 1):
            digests["digests"].append(items.content_digest)
            advance(sum(map(len, parts[:number])), total)
    if read_json(record) == digests:
        return
    files = [(items.file(i), items.channels) for items in parts for i in range(len(items))]
    problems: list[tuple[str, str]] = []
    with progress.stage(f"decoding {folder.name}") as advance, ThreadPoolExecutor(processors()) as pool:
        for done, found in enumerate(pool.map(lambda file: _problems(*file), files), 1):
            problems += found
            advance(done, total)
    if problems:
        raise BadImages(problems)
    write_json(record, digests)


def _problems(path: Path, channels: int) -> tuple[tuple[str, str], ...]:
    try:
        read_image(path, channels)
        return ()
    except BadImages as error:
        return error.problems
