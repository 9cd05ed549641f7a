"""What `featune imagenet` does: models and folders of ImageNet's variants to accuracies with intervals."""

import dataclasses
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from featune.engine.errors import BadInput
from featune.engine.features import Options
from featune.engine.paths import as_name
from featune.engine.store import check_writable, write_json
from featune.export.commands import RunSettings

from ..datasets import label_lists, lines_of, real_labels
from ..features import Extraction, Models, check_models, extract_data
from ..progress import Progress
from .class_lists import CLASSES, SUBSETS, columns_of, place_of_wnid, subset
from .images import Images, imagenet_images
from .label_orders import order_named
from .measured import Measured, compared, fault_of, partly_of, published_of, shares_of
from .predictions import predictions_of, write_predictions

MASKS = ("auto", "none", "folders", *SUBSETS)


@dataclasses.dataclass(frozen=True)
class Request:
    """texts: folders, tables or data strings of images. labels, kind: see `imagenet_images`, of a single one.

    real: a file of ReaL labels, by default timm's copy. masks: which classes can be said: auto (the 200 of ImageNet-A
    and -R where the images are of these), none, a, r, folders (those that occur), or a file of wnids. label_order,
    output_order: a key of `orders()`, by which labels or outputs are numbered. against: a file of predictions on the
    same images. out: a folder for measured.json and the predictions. limit: the first so many images of each.
    """

    texts: Sequence[str]
    labels: Path | None = None
    kind: str | None = None
    real: Path | None = None
    masks: str = "auto"
    label_order: str | None = None
    output_order: str | None = None
    against: Path | None = None
    out: Path | None = None
    limit: int | None = None


def measure_imagenet(
    models: Models,
    asked: Request,
    how: RunSettings,
    options: Options,
    *,
    store: Path | None = None,
    progress: Progress,
) -> list[Measured]:
    """Every model on every folder, in the order of the folders; what is in the store already is not computed again."""
    _check(asked, models)
    models = dataclasses.replace(models, logits=True)
    check_models(models, how, store)
    opened = [_opened(text, asked, progress) for text in asked.texts]
    if asked.real is not None and not any(images.numbers for images in opened):
        raise BadInput(f"{asked.real}: ReaL labels are of ILSVRC2012_val_*.JPEG, other names found; leave --real out")
    reals = [real_of(images, asked.real) for images in opened]
    found = []
    for images, real, name in zip(opened, reals, file_names(asked.texts), strict=True):
        made = extract_data(models, images.data, how, options, store=store, progress=progress)
        found += [_measured(models, each, images, real, asked, name) for each in made]
    if asked.out is not None:
        write_json(asked.out / "measured.json", [one.record() for one in found])
    return found


def _check(asked: Request, models: Models) -> None:
    """What can be wrong before an image is opened."""
    for name in (asked.label_order, asked.output_order):
        if name is not None:
            order_named(name)
    if len(asked.texts) > 1 and (asked.labels or asked.kind or asked.against):
        raise BadInput(f"--labels, --kind and --against are of one folder, {len(asked.texts)} given; name one")
    if asked.against and len(models.names) > 1:
        raise BadInput(f"--against is of one model, {len(models.names)} given; name one")
    if asked.masks not in MASKS and not Path(asked.masks).is_file():
        raise BadInput(f"--masks {asked.masks!r:.80} found; expected {', '.join(MASKS)}, or a file of wnids")
    if asked.out is not None:
        file_names(asked.texts)
        _refuse_equal([as_name(name) for name in models.names], models.names, "models")
        check_writable(asked.out / "measured.json")


def file_names(texts: Sequence[str]) -> list[str]:
    """What each of the data is called in a file's name: by the last parts of its path, as many as tell all apart."""
    parts = [Path(text).parts for text in texts]
    names = []
    for count in range(1, 1 + max(1, *map(len, parts))):
        names = [as_name("_".join(some[-count:])) for some in parts]
        if len(set(names)) == len(names):
            return names
    _refuse_equal(names, texts, "folders")
    return names


def _refuse_equal(names: Sequence[str], texts: Sequence[str], what: str) -> None:
    for at, name in enumerate(names):
        if name in names[:at]:
            other = texts[names.index(name)]
            raise BadInput(
                f"{what} {other!r:.200} and {texts[at]!r:.200} would write one file of predictions, ...{name}...; name "
                "each once, or measure them one by one with another --out"
            )


def _opened(text: str, asked: Request, progress: Progress) -> Images:
    order = order_named(asked.label_order) if asked.label_order else None
    images = imagenet_images(text, labels=asked.labels, kind=asked.kind, order=order, progress=progress)
    if asked.limit is not None and asked.limit < len(images.data.items):
        left_out = len(images.data.items) - asked.limit
        data = dataclasses.replace(images.data, items=images.data.items.take(range(asked.limit)))
        images = dataclasses.replace(images, data=data, numbers=images.numbers[: asked.limit], left_out=left_out)
    return images


def _measured(
    models: Models, made: Extraction, images: Images, real: Sequence[tuple[int, ...]], asked: Request, name: str
) -> Measured:
    """real: ReaL labels of each image, or nothing. name: of the data, in the name of the file of predictions."""
    features, items = made.features, images.data.items
    kept = np.asarray(features.kept).tolist()
    labels = np.array([items.labels[at][0] for at in kept])
    columns, said = columns_of(features.rows.shape[1], made.model)
    if asked.output_order:
        columns = _columns_in_order(columns, asked.output_order)
    mask = mask_of(asked.masks, images)
    found = predictions_of(features.rows, [items.paths[at] for at in kept], labels, columns, mask)
    if real:
        found = dataclasses.replace(found, real=tuple(real[at] for at in kept))
    notes = (*images.data.notes, *([said] if said else []))
    file = ""
    if asked.out is not None:
        path = asked.out / f"{as_name(made.model)}.{made.precision}.{name}.csv"
        write_predictions(path, found)
        file = str(path)
    partly = partly_of(images, mask, mask_of("auto", images))
    own = models.checkpoint is None and not models.untrained and not models.view
    return Measured(
        model=made.model,
        data=images.data.name,
        kind=images.kind,
        side=made.side,
        classes=len(mask) or CLASSES,
        backend=made.backend,
        precision=made.precision,
        shares=shares_of(found),
        published=published_of(made.model, made.side, images.kind) if own and not partly else {},
        fault=fault_of(found),
        against=compared(found, asked.against) if asked.against else None,
        notes=notes,
        skipped=len(features.skipped),
        rows=file,
        partly=partly,
    )


def _columns_in_order(columns: Any, name: str) -> Any:
    """The column of each class, where the model's outputs are numbered in that order."""
    placed = np.full(CLASSES, -1)
    for output, place in enumerate(order_named(name).classes):
        if place >= 0 and output < CLASSES:
            placed[place] = columns[output]
    return placed


def mask_of(masks: str, images: Images) -> tuple[int, ...]:
    """The classes that can be said, rising; none for all of them."""
    if masks == "none" or (masks == "auto" and images.kind not in SUBSETS):
        return ()
    if masks in SUBSETS or masks == "auto":
        return subset(images.kind if masks == "auto" else masks)
    if masks == "folders":
        return tuple(sorted({label for (label,) in images.data.items.labels if label >= 0}))
    known = place_of_wnid()
    wnids = lines_of(Path(masks))
    absent = [wnid for wnid in wnids if wnid not in known]
    if absent:
        raise BadInput(f"{masks}: {absent[0]!r:.40} is no wnid of ImageNet-1k; expected one wnid a line")
    return tuple(sorted({known[wnid] for wnid in wnids}))


def real_of(images: Images, file: Path | None) -> list[tuple[int, ...]]:
    """The ReaL labels of validation images, of a file, else of real.json at the root, else of timm's copy.

    Nothing for other images. Raises BadInput for a list that is too short.
    """
    if not images.numbers:
        return []
    labels = label_lists(file) if file is not None else real_labels(Path(images.data.items.root))
    last = max(images.numbers)
    if last > len(labels):
        raise BadInput(f"{len(labels)} lists of ReaL labels found, image {last} asked for; fetch the file again")
    return [tuple(labels[number - 1]) for number in images.numbers]
