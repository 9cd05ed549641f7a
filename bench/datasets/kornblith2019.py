"""Kornblith et al.'s data sets but CIFAR, from official downloads to splits. Where there is no val, it is cut later."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featune.engine.errors import BadInput
from featune.engine.images import Labelled, read_image

from ..tasks import absent_files, class_folders, folder_items, labelled_files
from .list_files import AGAIN, fields_of, json_of, lines_of, mat, need, numbering, rows_of, whole
from .unpacked_download import Copy, Found, Loader, copied, folder_of

SPLITS = ("train", "val", "test")
PER_CLASS = 30  # Caltech-101: images per class for train and val
BANNER = 20  # FGVC Aircraft: pixels at the bottom of each image that hold a copyright notice
VOC_CLASSES = (
    "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow", "diningtable", "dog",
    "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor",
)  # fmt: skip


def food101(raw: Path, variant: str, made: Path) -> Found:
    """meta/classes.txt and meta/{train,test}.json: class -> "class/id" without the .jpg."""
    root = folder_of(raw, "food-101", holds="meta")
    classes = tuple(lines_of(root / "meta" / "classes.txt"))
    number = numbering(classes, root / "meta" / "classes.txt")
    splits = {}
    for split in ("train", "test"):
        file = root / "meta" / f"{split}.json"
        listed = json_of(file)
        if not (isinstance(listed, dict) and all(isinstance(images, list) for images in listed.values())):
            raise BadInput(f"{file}: an object of class names and lists of images expected; {AGAIN}")
        pairs = sorted((str(image), number(name, file)) for name, images in listed.items() for image in images)
        splits[split] = labelled_files(
            root, [f"images/{image}.jpg" for image, _ in pairs], [number for _, number in pairs]
        )
    return _official(root, splits, classes)


def birdsnap(raw: Path, variant: str, made: Path) -> Found:
    """images.txt and test_images.txt list the images, of which many can no longer be had; species.txt the classes.

    Folders of the images are the species' `dir`, in some other case.
    """
    root = folder_of(raw, "birdsnap", holds="images.txt")
    species = rows_of(root / "species.txt", "id", "common", "dir", delimiter="\t")
    number = numbering([row["dir"].lower() for row in species], root / "species.txt")
    listed = _birds(root / "images.txt")
    tested = set(lines_of(root / "test_images.txt")[1:])
    unlisted = sorted(tested - set(listed))
    if unlisted:
        raise BadInput(f"{root / 'test_images.txt'}: {unlisted[0]} found, which images.txt lacks; {AGAIN}")
    images = need(root / "download" / "images")
    spelt = {name.lower(): name for name in class_folders(images)}
    splits, notes = {}, []
    for split in ("train", "test"):
        paths = sorted(path for path in listed if (path in tested) == (split == "test"))
        folders = [path.partition("/")[0] for path in paths]
        files = [
            f"{spelt.get(folder.lower(), folder)}/{path.partition('/')[2]}"
            for folder, path in zip(folders, paths, strict=True)
        ]
        items = labelled_files(images, files, [number(folder.lower(), root / "images.txt") for folder in folders])
        absent = set(absent_files(items))
        splits[split] = items.take([i for i in range(len(items)) if i not in absent])
        if absent:
            gone = f"{len(absent)} of {len(items)}"
            notes.append(f"{split}: listed images that are not there, their addresses dead: {gone}")
    counted = {"listed": len(listed), "listed test": len(tested)}
    return Found(splits, tuple(row["common"] for row in species), counted, f"{root}: official test list", tuple(notes))


def _birds(path: Path) -> list[str]:
    """The column path of a list whose fields are separated by space."""
    header = lines_of(path)[:1]
    columns = header[0].split() if header else []
    if "path" not in columns:
        raise BadInput(f"{path}: a header with path expected, {' '.join(columns) or 'nothing'} found; {AGAIN}")
    place = columns.index("path")
    # One field more, which takes all columns after it.
    return [fields[place] for fields in fields_of(path, min(place + 2, len(columns)))[1:]]


def sun397(raw: Path, variant: str, made: Path) -> Found:
    """ClassName.txt (/a/abbey) and partition 01. A class is the folder of the image: "/b/bar" is in "/b/barn" too."""
    root = folder_of(raw, "SUN397", holds="ClassName.txt")
    names = lines_of(root / "ClassName.txt")
    number = numbering(names, root / "ClassName.txt")
    splits = {}
    for split, name in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        file = root / name
        paths = lines_of(file)
        labels = [number(path.rpartition("/")[0], file) for path in paths]
        splits[split] = labelled_files(root, [path.lstrip("/") for path in paths], labels)
    return _official(root, splits, tuple(name[3:] for name in names), "partition 01")


def cars(raw: Path, variant: str, made: Path) -> Found:
    """MATLAB annotations with fname and class, from 1; the test labels lie beside the devkit or in it."""
    root = folder_of(raw, "stanford_cars", "cars", holds="devkit")
    labelled = "cars_test_annos_withlabels.mat"
    files = {
        "train": root / "devkit" / "cars_train_annos.mat",
        "test": need(root / labelled, root / "devkit" / labelled),
    }
    classes = tuple(str(name) for name in mat(root / "devkit" / "cars_meta.mat", "class_names")["class_names"])
    splits = {}
    for split, file in files.items():
        notes = np.atleast_1d(mat(file, "annotations")["annotations"])
        if not {"class", "fname"} <= set(notes.dtype.names or ()):
            raise BadInput(f"{file}: no classes in it; expected {labelled}, the test annotations with labels")
        paths = [f"cars_{split}/{note['fname']}" for note in notes]
        splits[split] = labelled_files(root, paths, [int(note["class"]) - 1 for note in notes])
    return _official(root, splits, classes)


def aircraft(raw: Path, variant: str, made: Path) -> Found:
    """data/images_variant_<split>.txt: the image's number and the variant's name, which may hold spaces."""
    root = folder_of(raw, "fgvc-aircraft-2013b/data", "data", holds="variants.txt")
    classes = tuple(lines_of(root / "variants.txt"))
    number = numbering(classes, root / "variants.txt")
    splits: dict[str, Labelled] = {}
    for split in SPLITS:
        file = root / f"images_variant_{split}.txt"
        pairs = fields_of(file, 2)
        splits[split] = labelled_files(
            root, [f"images/{image}.jpg" for image, _ in pairs], [number(name, file) for _, name in pairs]
        )
    counted = _joined(splits)
    copies: list[Copy] = []
    if variant == "no_banner":
        for split, items in splits.items():
            splits[split], more = _without_banner(items, made)
            copies += more
    note = f"{root}: official train, val and test of the variant level"
    return Found(splits, classes, counted, note, copies=tuple(copies))


def _without_banner(items: Labelled, made: Path) -> tuple[Labelled, tuple[Copy, ...]]:
    files = [items.file(i) for i in range(len(items))]

    def draw(index: int) -> Image.Image:
        image = read_image(files[index])
        return image.crop((0, 0, image.width, max(1, image.height - BANNER)))

    names = [str(Path(path).with_suffix(".png")) for path in items.paths]
    return copied(items, made, names, draw, [(file,) for file in files])


def voc2007(raw: Path, variant: str, made: Path) -> Found:
    """ImageSets/Main/<class>_<split>.txt: 1 shows the class, -1 does not, 0 shows it only where it is difficult."""
    root = folder_of(raw, "VOCdevkit/VOC2007", "VOC2007", holds="ImageSets")
    splits = {}
    for split in SPLITS:
        names = lines_of(root / "ImageSets" / "Main" / f"{split}.txt")
        marks = [_voc_marks(root / "ImageSets" / "Main" / f"{kind}_{split}.txt", names) for kind in VOC_CLASSES]
        shown, hard = (
            [tuple(k for k, of_class in enumerate(marks) if of_class[name] == mark) for name in names]
            for mark in (1, 0)
        )
        more: dict[str, Any] = {} if variant == "difficult_negative" else {"ignore": tuple(hard)}
        splits[split] = labelled_files(root, [f"JPEGImages/{name}.jpg" for name in names], shown, **more)
    difficult = "count as negatives" if variant == "difficult_negative" else "are ignored"
    note = f"{root}: official train, val and test; images difficult for a class {difficult}"
    return Found(splits, VOC_CLASSES, _joined(splits), note)


def _voc_marks(path: Path, names: Sequence[str]) -> dict[str, int]:
    """1, 0 or -1 of each image; a list that lacks one would make it a negative."""
    marks = {image: whole(mark, path) for image, mark in fields_of(path, 2)}
    if set(marks) != set(names):
        apart = sorted(set(marks) ^ set(names))
        raise BadInput(
            f"{path}: a line for each of {len(names)} images expected, {len(marks)} found, differing in {apart[0]}; "
            f"{AGAIN}"
        )
    if not set(marks.values()) <= {-1, 0, 1}:
        raise BadInput(f"{path}: marks of 1, 0 and -1 expected, {sorted(set(marks.values()))[:5]} found; {AGAIN}")
    return marks


def dtd(raw: Path, variant: str, made: Path) -> Found:
    """labels/{train,val,test}1.txt: class/file.jpg."""
    root = folder_of(raw, "dtd/dtd", "dtd", holds="labels")
    classes = class_folders(need(root / "images"))
    number = numbering(classes, root / "images")
    splits = {}
    for split in SPLITS:
        file = root / "labels" / f"{split}1.txt"
        paths = lines_of(file)
        labels = [number(path.partition("/")[0], file) for path in paths]
        splits[split] = labelled_files(root, [f"images/{path}" for path in paths], labels)
    return Found(splits, classes, _joined(splits), f"{root}: official train, val and test, split 1")


def pets(raw: Path, variant: str, made: Path) -> Found:
    """annotations/{trainval,test}.txt: image, class from 1, species, breed; the class's name is in the image's."""
    root = folder_of(raw, "oxford-iiit-pet", holds="annotations")
    names: dict[int, str] = {}
    splits = {}
    for split, name in (("train", "trainval.txt"), ("test", "test.txt")):
        file = root / "annotations" / name
        lines = [(image, whole(number, file)) for image, number, *_ in fields_of(file, 4)]
        names |= {number: image.rpartition("_")[0].replace("_", " ") for image, number in lines}
        splits[split] = labelled_files(root, [f"images/{image}.jpg" for image, _ in lines], [n - 1 for _, n in lines])
    return _official(root, splits, tuple(names[number] for number in sorted(names)))


def caltech101(raw: Path, variant: str, made: Path) -> Found:
    """101_ObjectCategories/<class>/, BACKGROUND_Google among them; 30 of each for train and val, the rest for test."""
    root = folder_of(raw, "caltech101", "caltech-101", holds="101_ObjectCategories") / "101_ObjectCategories"
    classes = class_folders(root)
    count = len(folder_items(root, root, classes))
    if variant == "no_background":
        classes = tuple(name for name in classes if name != "BACKGROUND_Google")
    items = folder_items(root, root, classes)
    replace = variant == "with_replacement"
    chosen: set[int] = set()
    labels = np.array([label for (label,) in items.labels])
    for number, name in enumerate(classes):
        members = np.flatnonzero(labels == number)
        if len(members) <= PER_CLASS:
            raise BadInput(
                f"{root / name}: more than {PER_CLASS} images expected, {len(members)} found; fetch it again"
            )
        chosen.update(np.random.default_rng((0, number)).choice(members, PER_CLASS, replace=replace).tolist())
    parts = [[i for i in range(len(items)) if (i in chosen) == wanted] for wanted in (True, False)]
    how = "with" if replace else "without"
    note = f"{root}: {PER_CLASS} of each class by seed 0, drawn {how} replacement; test is the rest"
    return Found({"train": items.take(parts[0]), "test": items.take(parts[1])}, classes, {"images": count}, note)


def flowers102(raw: Path, variant: str, made: Path) -> Found:
    """imagelabels.mat and setid.mat, both from 1; the test set (tstid) is the large one."""
    root = folder_of(raw, "flowers-102", "flowers102", holds="imagelabels.mat")
    labels = np.atleast_1d(mat(root / "imagelabels.mat", "labels")["labels"])
    ids = mat(root / "setid.mat", "trnid", "valid", "tstid")
    splits = {}
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        numbers = [int(number) for number in np.atleast_1d(ids[key]).ravel()]
        if not numbers or min(numbers) < 1 or max(numbers) > len(labels):
            raise BadInput(f"{root / 'setid.mat'}: {key} of numbers from 1 to {len(labels)} expected; {AGAIN}")
        splits[split] = labelled_files(
            root, [f"jpg/image_{i:05}.jpg" for i in numbers], [int(labels[i - 1]) - 1 for i in numbers]
        )
    from torchvision.datasets import Flowers102

    return _official(root, splits, tuple(Flowers102.classes[: int(labels.max())]))


def _official(root: Path, splits: dict[str, Labelled], classes: tuple[str, ...], part: str = "") -> Found:
    note = f"{root}: official {' and '.join(splits)}" + (f", {part}" if part else "")
    return Found(splits, classes, {split: len(items) for split, items in splits.items()}, note)


def _joined(splits: dict[str, Labelled]) -> dict[str, int]:
    """Counts of train and val together, whose sum is what the papers print, and of test."""
    return {"trainval": len(splits["train"]) + len(splits["val"]), "test": len(splits["test"])}


LOADERS: dict[str, Loader] = {
    "food101": food101, "birdsnap": birdsnap, "sun397": sun397,
    "cars": cars, "aircraft": aircraft, "voc2007": voc2007, "dtd": dtd, "pets": pets, "caltech101": caltech101,
    "flowers102": flowers102,
}  # fmt: skip
