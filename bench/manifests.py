"""From what lies on the disk to a prepared task: one function per layout, run once, every oddity handled here."""

import csv
import dataclasses
from collections.abc import Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bench.tasks import SPLITS, Task, check_metric, empty_classes, save_task, stratified_split
from engine.errors import BadImages, BadInput
from engine.images import IMAGE_SUFFIXES, Labelled, read_image
from engine.store import read_json, write_json

WHOLE = {"train": 0.6, "val": 0.2, "test": 0.2}  # of one folder that has no splits
VAL_OF_TRAIN = {"train": 0.8, "val": 0.2}  # Kornblith's re-implementations hold out 20 %


@dataclasses.dataclass(frozen=True)
class Source:
    """Where a user's task lies: a folder of images or a CSV; `seed` cuts what has no splits."""

    name: str
    folder: Path | None = None
    csv: Path | None = None
    metric: str = "top1"
    seed: int = 0


@dataclasses.dataclass(frozen=True)
class Layout:
    """What a look at the disk found: the splits, the class names in order, and a sentence on the split."""

    splits: dict[str, Labelled]
    classes: tuple[str, ...]
    note: str

    @property
    def multilabel(self) -> bool:
        return any(len(labels) != 1 for items in self.splits.values() for labels in items.labels)


def look(source: Source) -> Layout:
    """List the source's files and check the layout, without opening an image.

    Raises BadInput for a layout that is not understood, an unfit metric, or a class that train lacks.
    """
    layout = read_csv(source) if source.csv else read_folder(source)
    check_metric(source.metric, layout.multilabel)
    _require_every_class(source.name, layout)
    return layout


def prepare(source: Source, out: Path) -> Task:
    """Write the task's CSVs under `out/<name>` and decode every image once.

    Raises what `look` raises, and BadImages with all files that cannot be read.
    """
    layout = look(source)
    folder = out / source.name
    _check_images(folder, layout.splits.values())
    root = layout.splits["train"].root
    task = Task(source.name, layout.classes, source.metric, {}, str(folder), root, layout.note, layout.multilabel)
    return save_task(task, layout.splits)


def read_folder(source: Source) -> Layout:
    """`train|val|test/<class>/*`, `train|test/<class>/*` (val is cut from train), or `<class>/*` (cut in three)."""
    folder = source.folder
    assert folder is not None
    if not folder.is_dir():
        raise BadInput(f"{folder}: no such folder; give the folder that holds the images")
    present = {split: _split_folder(folder, split) for split in SPLITS}
    found = [split for split, path in present.items() if path]
    if not found:
        classes = _class_folders(folder)
        items = _folder_items(folder, folder, classes)
        _require_images(folder, items)
        note = f"{folder}: {_shares(WHOLE)} of each class by seed {source.seed}"
        return Layout(stratified_split(items, WHOLE, source.seed), classes, note)
    missing = [split for split in ("train", "test") if not present[split]]
    if missing:
        raise BadInput(
            f"{folder}: has {' and '.join(found)} but no {' and no '.join(missing)} folder; "
            "expected train/<class>/* and test/<class>/* (and val), or <class>/* without splits"
        )
    classes = tuple(sorted({name for path in present.values() if path for name in _class_folders(path)}))
    splits = {split: _folder_items(folder, path, classes) for split, path in present.items() if path}
    for split, items in splits.items():
        _require_images(folder / split, items)
    note = f"{folder}: its own splits"
    if "val" not in splits:
        splits |= stratified_split(splits["train"], VAL_OF_TRAIN, source.seed)
        note += f"; val is {_shares(VAL_OF_TRAIN)} of train by class and seed {source.seed}"
    return Layout({split: splits[split] for split in SPLITS}, classes, note)


def read_csv(source: Source) -> Layout:
    """Columns path and label, and perhaps split (train, val, test); several labels are separated by `|`.

    Paths are seen from the CSV's folder.
    """
    file = source.csv
    assert file is not None
    try:
        with open(file, newline="", encoding="utf-8-sig") as text:
            lines = list(csv.DictReader(text))
    except OSError as error:
        raise BadInput(f"{file}: {error.strerror}; give a CSV with the columns path and label") from error
    columns = list(lines[0]) if lines else []
    absent = [column for column in ("path", "label") if column not in columns]
    if absent:
        raise BadInput(f"{file}: no column {' and '.join(absent)}; found {', '.join(columns) or 'nothing'}")
    names = [tuple(filter(None, (line["label"] or "").split("|"))) for line in lines]
    unlabelled = [number for number, labels in enumerate(names, 2) if not labels]
    if unlabelled:
        raise BadInput(f"{file}: no label in line {', '.join(map(str, unlabelled[:5]))}; label every image")
    classes = tuple(sorted({name for labels in names for name in labels}))
    number = {name: i for i, name in enumerate(classes)}
    items = Labelled(
        str(file.parent.absolute()),
        tuple(line["path"] for line in lines),
        tuple(tuple(sorted(number[name] for name in labels)) for labels in names),
    )
    if "split" not in columns:
        if any(len(labels) > 1 for labels in names):
            raise BadInput(f"{file}: several labels per image need a split column (train, val, test)")
        note = f"{file}: {_shares(WHOLE)} of each class by seed {source.seed}"
        return Layout(stratified_split(items, WHOLE, source.seed), classes, note)
    splits = {split: items.take([i for i, line in enumerate(lines) if line["split"] == split]) for split in SPLITS}
    unknown = sorted({line["split"] for line in lines} - set(SPLITS))
    if unknown:
        raise BadInput(f"{file}: split is {', '.join(map(repr, unknown[:5]))}; expected train, val or test")
    note = f"{file}: its own splits"
    if not splits["val"] and splits["train"]:
        splits |= stratified_split(splits["train"], VAL_OF_TRAIN, source.seed)
        note += f"; val is {_shares(VAL_OF_TRAIN)} of train by class and seed {source.seed}"
    for split, part in splits.items():
        if not part:
            raise BadInput(f"{file}: no line has split {split}")
    return Layout(splits, classes, note)


def _split_folder(folder: Path, split: str) -> Path | None:
    """train, or validation for val, where it is a folder of folders."""
    names = {
        "train": ("train", "training"),
        "val": ("val", "valid", "validation"),
        "test": ("test", "testing"),
    }
    return next((folder / name for name in names[split] if (folder / name).is_dir()), None)


def read_folder_split(folder: Path, split: str) -> Labelled:
    """One split of a folder, its classes numbered in the order of their names."""
    path = folder / split
    if not path.is_dir():
        raise BadInput(f"{path}: no such folder; expected {split}/<class>/*")
    return _folder_items(folder, path, _class_folders(path))


def _class_folders(folder: Path) -> tuple[str, ...]:
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def _folder_items(root: Path, folder: Path, classes: Sequence[str]) -> Labelled:
    paths, labels = [], []
    for number, name in enumerate(classes):
        members = folder / name
        found = members.rglob("*") if members.is_dir() else ()
        for path in sorted(p for p in found if p.suffix.lower() in IMAGE_SUFFIXES and not p.name.startswith(".")):
            paths.append(path.relative_to(root).as_posix())
            labels.append((number,))
    return Labelled(str(root.absolute()), tuple(paths), tuple(labels))


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
        raise BadInput(f"{task}: {len(layout.classes)} class ({', '.join(layout.classes)}); a task needs at least 2")


def _check_images(folder: Path, splits: Iterable[Labelled]) -> None:
    """Decode every file once; a record of their bytes spares the next run the work."""
    parts = list(splits)
    record = folder / "checked.json"
    digests = {"digests": [items.content_digest for items in parts]}
    if read_json(record) == digests:
        return
    files = [items.file(i) for items in parts for i in range(len(items))]
    with ThreadPoolExecutor() as pool:
        problems = [problem for found in pool.map(_problems, files) for problem in found]
    if problems:
        raise BadImages(problems)
    write_json(record, digests)


def _problems(path: Path) -> tuple[tuple[str, str], ...]:
    try:
        read_image(path)
        return ()
    except BadImages as error:
        return error.problems


def _shares(fractions: dict[str, float]) -> str:
    return " / ".join(f"{share:.0%} {name}" for name, share in fractions.items())
