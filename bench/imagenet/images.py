"""Images of ImageNet or one of its variants with the class of each, from the layouts in which they are passed on.

| layout | labels |
|---|---|
| class folders named by wnid (val, A, R, Sketch) | the wnid |
| class folders 0 to 999 (V2) | the number, whatever the order of the folders |
| class folders by English names | the name |
| val folder without class folders | a list: `val.txt`, the devkit, its ground truth, Kaggle's solution, or `--labels` |
| a table, or any other data string | a wnid, a number or a name |
"""

import dataclasses
import re
from collections.abc import Sequence
from pathlib import Path

from featune.engine.errors import BadInput
from featune.engine.images import Labelled, is_hidden, is_image_name

from ..data import Data, Request, open_data
from ..datasets import known_wnids, label_list, lines_of, rows_of, validation, validation_number, whole
from ..progress import Progress
from ..tasks import class_folders, labelled_files
from .class_lists import classes_of_names, devkit_order, place_of_wnid, subset
from .label_orders import Order

VALIDATION = re.compile(r"ILSVRC2012_val_(\d{8})")
SKETCH = re.compile(r"sketch_\d+")
KINDS = {
    "val": "ImageNet", "v2": "ImageNet V2", "a": "ImageNet-A", "r": "ImageNet-R", "sketch": "ImageNet-Sketch",
    "other": "images of ImageNet classes",
}  # fmt: skip
LISTS = ("val.txt", "ILSVRC2012_validation_ground_truth.txt", "LOC_val_solution.csv")
DEVKIT = "ILSVRC2012_devkit_t12"


@dataclasses.dataclass(frozen=True)
class Images:
    """data: its labels are classes of ImageNet-1k, by place among the sorted wnids. kind: a key of `KINDS`.

    numbers: of validation images, from 1, in the data's order; empty for other images. left_out: images beyond a limit.
    """

    data: Data
    kind: str
    numbers: tuple[int, ...] = ()
    left_out: int = 0


def imagenet_images(
    text: str,
    *,
    labels: Path | None = None,
    kind: str | None = None,
    order: Order | None = None,
    progress: Progress | None = None,
) -> Images:
    """The images of a folder, table or data string. labels: a list for images that lie in no class folders.

    kind: what they are, by default as the classes and the files' names tell. order: in which the classes are numbered,
    by default that of the wnids; a number that is none in it becomes -1. Raises BadInput for labels that are no classes
    of ImageNet-1k, and images with none or several.
    """
    if kind is not None and kind not in KINDS:
        raise BadInput(f"no kind of ImageNet {kind!r:.40}; one of {', '.join(KINDS)}")
    path = Path(text)
    folder = path / "val" if (path / "val").is_dir() else path
    if folder.is_dir() and _is_flat(folder):
        data = _from_list(text, folder, labels)
    elif labels is not None:
        raise BadInput(f"{text}: --labels is of a folder of images without class folders; leave it out")
    else:
        data = open_data(Request(str(folder) if folder.is_dir() else text), progress)
    of_name, said = classes_of_names(data.classes, text)
    single = [image for image, some in enumerate(data.items.labels) if len(some) != 1]
    if single:
        raise BadInput(f"{data.items.paths[single[0]]}: {len(data.items.labels[single[0]])} labels found, one expected")
    if order is not None:
        of_name = order.applied(of_name)
    places = tuple((int(of_name[label]),) for (label,) in data.items.labels)
    items = dataclasses.replace(data.items, labels=places, ignore=())
    notes = (*data.notes, said) if said else data.notes
    return Images(
        Data(text, items, known_wnids(), notes), kind or _kind_of(data.classes, items), _numbers_of(items.paths)
    )


def _is_flat(folder: Path) -> bool:
    inside = [path for path in folder.iterdir() if not is_hidden(path.name)]
    return not class_folders(folder) and any(is_image_name(path.name) for path in inside)


def _from_list(text: str, folder: Path, labels: Path | None) -> Data:
    """Images of a flat validation folder, with the labels of a list."""
    root, file = _list_of(folder, labels)
    names = sorted(path.name for path in folder.iterdir() if is_image_name(path.name) and not is_hidden(path.name))
    if file is None:
        items, classes = validation(root)
        return Data(text, items, classes)
    place = _label_of_name(file, names)
    return Data(text, labelled_files(folder, names, [place[name] for name in names]), known_wnids())


def _list_of(folder: Path, labels: Path | None) -> tuple[Path, Path | None]:
    """(the folder beside which the list lies, the list); no list where the devkit tells."""
    if labels is not None:
        return folder.parent, labels
    for root in (folder, folder.parent):
        if root == folder.parent and folder.name == "val" and (root / DEVKIT).is_dir():
            return root, None
        for name in LISTS:
            if (root / name).exists():
                return root, root / name
    raise BadInput(
        f"{folder}: images in no class folders, and no labels beside them; give --labels with {', '.join(LISTS)}, or "
        "move the images into folders named by wnid"
    )


def _label_of_name(file: Path, names: Sequence[str]) -> dict[str, int]:
    """The class of each of these images, by a list in one of the formats that are passed on."""
    if file.suffix.lower() == ".csv":  # Kaggle's: ImageId, then wnid and boxes
        rows = rows_of(file, "ImageId", "PredictionString")
        by_stem = {row["ImageId"]: row["PredictionString"].split()[0] for row in rows}
        known = place_of_wnid()
        found = {name: known.get(by_stem.get(Path(name).stem, ""), -1) for name in names}
    elif all(line.isdecimal() for line in lines_of(file)):  # the devkit's ground truth: an id a line
        ids = [whole(line, file) for line in lines_of(file)]
        wrong = [number for number in ids if not 1 <= number <= len(devkit_order())]
        if wrong:
            raise BadInput(f"{file}: class {wrong[0]} found, ids 1 to 1000 of the devkit expected; give its own file")
        found = {name: _at(devkit_order(), _at(ids, validation_number(name))) for name in names}
    else:
        listed = label_list(file)
        found = {name: _at(listed, validation_number(name)) for name in names}
    absent = [name for name, place in found.items() if place < 0]
    if absent:
        raise BadInput(f"{file}: no label for {absent[0]} of {len(names)} images; give the list of these images")
    return found


def _at(values: Sequence[int], number: int) -> int:
    """The value of a number that counts from 1, -1 where there is none."""
    return values[number - 1] if 1 <= number <= len(values) else -1


def _kind_of(classes: Sequence[str], items: Labelled) -> str:
    stems = [Path(path).stem for path in items.paths[:100]]
    if all(VALIDATION.fullmatch(stem) for stem in stems):
        return "val"
    if all(SKETCH.fullmatch(stem) for stem in stems):
        return "sketch"
    if len(classes) == len(place_of_wnid()) and all(name.isdecimal() for name in classes):
        return "v2"
    places = {label for (label,) in items.labels}
    return next((name for name in ("a", "r") if places == set(subset(name))), "other")


def _numbers_of(paths: Sequence[str]) -> tuple[int, ...]:
    found = [VALIDATION.fullmatch(Path(path).stem) for path in paths]
    return tuple(int(each[1]) for each in found if each) if all(found) else ()
