"""`prepare_official`: a public data set from its official download to a checked task."""

from collections.abc import Mapping
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.images import Labelled

from ..catalogue import DEFAULT, Entry, entry, how_to_get
from ..data import check_images, describe_shared
from ..progress import Progress, Silent
from ..tasks import Task, check_metric, require_files, require_writable, save_task, shared_images, stratified_split
from . import cifar, fang2023, human_protein_atlas, imagenet, kornblith2019
from .list_files import AGAIN
from .unpacked_download import Found, Loader, require_sources, write_copies

MODULES = (fang2023, human_protein_atlas, kornblith2019, cifar, imagenet)
LOADERS: dict[str, Loader] = {name: loader for module in MODULES for name, loader in module.LOADERS.items()}
CUT = {"train": 0.8, "val": 0.2}  # SimCLR's and Kornblith's re-implementations hold out a part of train; 20 %
SPLIT_ORDER = ("train", "val", "test")


def prepare_official(
    name: str,
    raw: Path,
    out: Path,
    *,
    variant: str = DEFAULT,
    counts: Mapping[str, int] | None = None,
    decode: bool = True,
    progress: Progress | None = None,
) -> Task:
    """Write the task's CSVs (and images, where it needs its own) under `out/<task>` and check what it found.

    raw: where the official download was unpacked. counts: numbers to expect instead of the catalogue's, with
    "classes" among them; for tests with small fixtures. decode: read every image once, as `manifests.prepare`.
    Raises BadInput for an unknown name or variant and a wrong or partial download, before anything is written, and
    BadImages.
    """
    progress = progress or Silent()
    facts = entry(name)
    facts.check_variant(variant)
    check_metric(facts.metric, facts.multilabel)
    title = task_name(name, variant)
    folder = out / title
    made = folder / "images"
    try:
        found = LOADERS[name](raw, variant, made)
    except BadInput as error:
        raise BadInput(f"{name}: {error}\n{how_to_get(facts)}") from error
    expected = counts if counts is not None else {**facts.counts, "classes": _classes(facts, variant)}
    _check_counts(facts, {**found.counted, "classes": len(found.classes)}, expected)
    _check_labels(facts, found)
    splits, note = _with_val(found)
    try:
        require_sources(found.copies)
        for items in splits.values():
            if items.root != str(made.absolute()):
                require_files(items)
    except BadInput as error:
        raise BadInput(f"{name}: {error}\n{how_to_get(facts)}") from error
    require_writable(folder)
    write_copies(found.copies, progress)
    if decode:
        check_images(folder, splits.values(), progress)
    different = {split: items for split, items in splits.items() if variant != "released" or split != "val"}
    notes = (*found.notes, *describe_shared(shared_images(different)))
    task = Task(
        title, found.classes, facts.metric, {}, str(folder), splits["test"].root, note, facts.multilabel, notes=notes,
        channels=splits["test"].channels,
    )  # fmt: skip
    return save_task(task, splits)


def task_name(name: str, variant: str) -> str:
    """A variant is a task of its own, so that its results are never taken for the default's."""
    return name if variant == DEFAULT else f"{name}-{variant}"


def _classes(facts: Entry, variant: str) -> int:
    return facts.classes - 1 if (facts.name, variant) == ("caltech101", "no_background") else facts.classes


def _check_counts(facts: Entry, found: Mapping[str, int], expected: Mapping[str, int]) -> None:
    """Everything that was counted must be what the catalogue declares."""
    wrong = [f"{key}: {expected.get(key)} expected, {count} found" for key, count in found.items()
             if count != expected.get(key)]  # fmt: skip
    if wrong:
        raise BadInput(
            f"{facts.name}: {'; '.join(wrong)}; the download is partial or another version; {how_to_get(facts)}"
        )


def _check_labels(facts: Entry, found: Found) -> None:
    """Every split must have images, and every label must be a class."""
    for split, items in found.splits.items():
        if not len(items):
            raise BadInput(f"{facts.name}: no image of {split} found; {AGAIN}; {how_to_get(facts)}")
        wrong = {label for labels in items.labels for label in labels} - set(range(len(found.classes)))
        if wrong:
            raise BadInput(
                f"{facts.name}: class {min(wrong)} found in {split}, 0 to {len(found.classes) - 1} expected; {AGAIN}; "
                f"{how_to_get(facts)}"
            )


def _with_val(found: Found) -> tuple[dict[str, Labelled], str]:
    """The splits in order, val cut from train where the data set has none; never from test."""
    splits, note = dict(found.splits), found.note
    if "train" in splits and "val" not in splits:
        splits |= stratified_split(splits["train"], CUT, seed=0)
        note += "; val is 20 % of train by class and seed 0"
    first = {split: splits.pop(split) for split in SPLIT_ORDER if split in splits}
    roots = {items.root for items in (*first.values(), *splits.values())}
    if len(roots) > 1:
        raise AssertionError(f"{sorted(roots)}: one root expected")
    return first | splits, note


def described(task: Task) -> dict[str, object]:
    """What `featune prepare` prints of a task."""
    shown = {"task": task.name, "classes": len(task.classes), "metric": task.metric, **dict(task.counts)}
    shown["channels"] = task.channels
    return shown | {"folder": task.folder, "source": task.source, "notes": list(task.notes)}
