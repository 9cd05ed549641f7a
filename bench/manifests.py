"""A user's images as a task, with no code: a folder, or a table of paths and labels (CSV or Parquet)."""

import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Literal

from bench.progress import Progress, Silent
from bench.raw import absent_files, class_folders, folder_items, require_files
from bench.splits import shared_images, straddling_groups, stratified_split
from bench.tasks import SPLITS, Task, check_metric, empty_classes, load_task, save_task
from bench.usertables import Table, items_of_table, read_table
from engine.decoding import read_image
from engine.errors import BadImages, BadInput
from engine.images import IMAGE_SUFFIXES, Labelled
from engine.store import read_json, write_json

WHOLE = {"train": 0.6, "val": 0.2, "test": 0.2}  # of one folder that has no splits
VAL_OF_TRAIN = {"train": 0.8, "val": 0.2}  # Kornblith's re-implementations hold out 20 %

# Names of splits, in any case, and what they are called here.
SYNONYMS = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val",
            "test": "test", "testing": "test"}  # fmt: skip

KNOWS_IGNORED = ("map", "map_11point", "map_voc2010")  # metrics that leave out labels of -1


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a user's task lies: a folder of images, a table, or a task that was prepared before.

    csv: a table of paths and labels, CSV or Parquet. seed cuts what has no splits. duplicates: what to do about
    images that two splits share. prepared: a folder with task.json; its metric is its own.
    """

    name: str
    folder: Path | None = None
    csv: Path | None = None
    metric: str = "top1"
    seed: int = 0
    duplicates: Literal["warn", "refuse"] = "warn"
    prepared: Path | None = None


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a look at the disk found: the splits, the class names in order, and a sentence on the split.

    several: an image may have several labels, or none, even where each of these has one.
    """

    splits: dict[str, Labelled]
    classes: tuple[str, ...]
    note: str
    several: bool = False

    @property
    def multilabel(self) -> bool:
        return self.several or any(len(labels) != 1 for items in self.splits.values() for labels in items.labels)


def look(source: Source) -> Layout:
    """List the source's files and check the layout, without opening an image.

    Raises BadInput for a layout that is not understood, an unfit metric, or a class that train lacks, and Missing
    for a Parquet file where pyarrow is not installed.
    """
    if source.prepared:
        layout = _read_prepared(source.prepared)
        _refuse_weights(source, layout)
        return layout
    layout = read_csv(source) if source.csv else read_folder(source)
    _refuse_weights(source, layout)
    check_metric(source.metric, layout.multilabel)
    _check_ignored(source, layout)
    _require_every_class(source.name, layout)
    return layout


def prepare(source: Source, out: Path, progress: Progress | None = None) -> Task:
    """Write the task's CSVs under `out/<name>` and decode every image once.

    Raises what `look` raises, BadImages with all files that cannot be read, and BadInput for images that two
    splits share where the source says so; by default they become notes of the task.
    """
    layout = look(source)
    if source.prepared:
        return dataclasses.replace(load_task(source.prepared), name=source.name)
    folder = out / source.name
    check_images(folder, layout.splits.values(), progress or Silent())
    notes = describe_shared(shared_images(layout.splits))
    if notes and source.duplicates == "refuse":
        raise BadInput(f"{source.name}: {notes[0]}; remove them from one of the splits, or set duplicates: warn")
    root = layout.splits["train"].root
    task = Task(
        source.name, layout.classes, source.metric, {}, str(folder), root, layout.note, layout.multilabel, notes=notes
    )
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


def read_folder(source: Source) -> Layout:
    """`train|val|test/<class>/*`, `train|test/<class>/*` (val is cut from train), or `<class>/*` (cut in three)."""
    folder = source.folder
    assert folder is not None
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the folder that holds the images")
    present = {split: split_folder(folder, split) for split in SPLITS}
    found = [split for split, path in present.items() if path]
    if not found:
        classes = class_folders(folder)
        items = folder_items(folder, folder, classes)
        _require_images(folder, items)
        note = f"{folder}: {_shares(WHOLE)} of each class by seed {source.seed}"
        return Layout(stratified_split(items, WHOLE, source.seed), classes, note)
    missing = [split for split in ("train", "test") if not present[split]]
    if missing:
        raise BadInput(
            f"{folder}: has {' and '.join(found)} but no {' and no '.join(missing)} folder; "
            "expected train/<class>/* and test/<class>/* (and val), or <class>/* without splits"
        )
    classes = tuple(sorted({name for path in present.values() if path for name in class_folders(path)}))
    splits = {split: folder_items(folder, path, classes) for split, path in present.items() if path}
    for split, items in splits.items():
        _require_images(folder / split, items)
    note = f"{folder}: its own splits"
    if "val" not in splits:
        splits |= stratified_split(splits["train"], VAL_OF_TRAIN, source.seed)
        note += f"; val is {_shares(VAL_OF_TRAIN)} of train by class and seed {source.seed}"
    return Layout({split: splits[split] for split in SPLITS}, classes, note)


def read_csv(source: Source) -> Layout:
    """A table with the columns path and label, and perhaps split (train, val, test) and group.

    Several labels are separated by `|`, or there is a column `label:<class>` of 0 and 1 for each class instead of
    `label` (-1: nobody can say). Paths are seen from the table's folder. A group never straddles splits.
    """
    file = source.csv
    assert file is not None
    table = read_table(file)
    items, classes, several = items_of_table(file, table)
    layout = _table_layout(source, table, items, classes, several)
    _check_table(file, items)
    return layout


def _table_layout(source: Source, table: Table, items: Labelled, classes: tuple[str, ...], several: bool) -> Layout:
    """The table's own splits, or cut ones."""
    file = source.csv
    if "split" not in table:
        note = f"{file}: {_shares(WHOLE)} of each class by seed {source.seed}" + _together(items)
        return Layout(stratified_split(items, WHOLE, source.seed), classes, note, several)
    places: dict[str, list[int]] = {split: [] for split in SPLITS}
    unknown = sorted(name for name in set(table["split"]) if name.lower() not in SYNONYMS)
    if unknown:
        raise BadInput(f"{file}: split is {', '.join(map(repr, unknown[:5]))}; expected train, val or test")
    for index, name in enumerate(table["split"]):
        places[SYNONYMS[name.lower()]].append(index)
    splits = {split: items.take(indices) for split, indices in places.items()}
    straddling = straddling_groups(splits)
    if straddling:
        raise BadInput(
            f"{file}: group {straddling[0]!r} has images in two splits, {len(straddling)} such groups found; give each "
            "group one split, or remove the column split to have them cut by group"
        )
    note = f"{file}: its own splits"
    if not len(splits["val"]) and len(splits["train"]):
        splits |= stratified_split(splits["train"], VAL_OF_TRAIN, source.seed)
        note += f"; val is {_shares(VAL_OF_TRAIN)} of train by class and seed {source.seed}" + _together(items)
    for split, part in splits.items():
        if not len(part):
            raise BadInput(f"{file}: no line has split {split}")
    return Layout(splits, classes, note, several)


def _check_table(file: Path, items: Labelled) -> None:
    """Every file must be there, and one that is listed twice must have the same labels."""
    if len(set(items.paths)) < len(items):
        labels: dict[str, tuple[int, ...]] = {}
        for path, some in zip(items.paths, items.labels, strict=True):
            if labels.setdefault(path, some) != some:
                raise BadInput(
                    f"{file}: {path} has two lines of different labels; give one of them, or several as a|b in one line"
                )
    absent = absent_files(items)
    if absent:
        path = items.paths[absent[0]]
        slash = "; write / for \\" if "\\" in path else ""
        raise BadInput(
            f"{file}: {len(items)} images expected under {items.root}, {len(items) - len(absent)} found, {path} is not "
            f"there; paths are seen from the table's folder{slash}"
        )


def _together(items: Labelled) -> str:
    return ", groups kept together" if any(items.groups) else ""


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


def split_folder(folder: Path, split: str) -> Path | None:
    """train, or Validation for val, where it is a folder."""
    of_split = sorted(name for name in class_folders(folder) if SYNONYMS.get(name.lower()) == split)
    if len(of_split) > 1:
        raise BadInput(
            f"{folder}: {' and '.join(of_split)} found, one folder for {split} expected; join or rename them"
        )
    return folder / of_split[0] if of_split else None


def read_folder_split(folder: Path, split: str) -> Labelled:
    """One split of a folder, its classes numbered in the order of their names."""
    path = folder / split
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; expected {split}/<class>/*")
    return folder_items(folder, path, class_folders(path))


def _check_ignored(source: Source, layout: Layout) -> None:
    if source.metric not in KNOWS_IGNORED and any(any(items.ignore) for items in layout.splits.values()):
        raise BadInput(
            f"{source.name}: labels of -1 (nobody can say) found, which {source.metric} cannot leave out; "
            f"expected one of {', '.join(KNOWS_IGNORED)}, or labels of 0 and 1"
        )


def _refuse_weights(source: Source, layout: Layout) -> None:
    """No regime trains and no metric counts with weights; a study that left them out would answer another question."""
    if len({weight for items in layout.splits.values() for weight in items.weights}) > 1:
        raise BadInput(
            f"{source.name}: a column weight of different weights found, which no regime and no metric uses; "
            "remove or rename the column to count every image once"
        )


def _require_images(folder: Path, items: Labelled) -> None:
    if not len(items):
        suffixes = " ".join(IMAGE_SUFFIXES)
        raise BadInput(f"{folder}: no images found; expected <class>/<image> files ending in {suffixes}")


def _require_every_class(task: str, layout: Layout) -> None:
    """Training needs every class; one that val or test lacks is left to the metric."""
    lacking = empty_classes(layout.classes, layout.splits["train"])
    if lacking:
        shown = ", ".join(lacking[:5]) + (f" and {len(lacking) - 5} more" if len(lacking) > 5 else "")
        raise BadInput(f"{task}/train: no images of class {shown}; add images or remove the class everywhere")
    if len(layout.classes) < 2:
        raise BadInput(
            f"{task}: {len(layout.classes)} class ({', '.join(layout.classes)}) found, at least 2 expected; where the "
            "classes lie one folder deeper, give that folder"
        )


def check_images(folder: Path, splits: Iterable[Labelled], progress: Progress) -> None:
    """Decode every file once; a record of their bytes spares the next run the work."""
    parts = list(splits)
    record = folder / "checked.json"
    total, digests = sum(map(len, parts)), []
    with progress.stage(f"hashing {folder.name}") as advance:
        for number, items in enumerate(parts, 1):
            digests.append(items.content_digest)
            advance(sum(map(len, parts[:number])), total)
    if read_json(record) == {"digests": digests}:
        return
    files = [items.file(i) for items in parts for i in range(len(items))]
    problems: list[tuple[str, str]] = []
    with progress.stage(f"decoding {folder.name}") as advance, ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(_problems, files), 1):
            problems += found
            advance(done, total)
    if problems:
        raise BadImages(problems)
    write_json(record, {"digests": digests})


def _problems(path: Path) -> tuple[tuple[str, str], ...]:
    try:
        read_image(path)
        return ()
    except BadImages as error:
        return error.problems


def _shares(fractions: dict[str, float]) -> str:
    return " / ".join(f"{share:.0%} {name}" for name, share in fractions.items())
