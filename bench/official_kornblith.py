"""Kornblith et al.'s twelve data sets, from official downloads to splits. Where there is no val, it is cut later."""

import functools
import json
import pickle
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from bench.raw import (
    Found,
    Loader,
    absent_files,
    class_folders,
    folder_items,
    folder_of,
    items_of,
    lines_of,
    mat,
    need,
    require_files,
    rows_of,
    write_copies,
)
from engine.decoding import read_image
from engine.errors import BadInput
from engine.images import Labelled

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
    splits = {}
    for split in ("train", "test"):
        listed = json.loads(need(root / "meta" / f"{split}.json").read_text(encoding="utf-8"))
        pairs = sorted((image, classes.index(name)) for name, images in listed.items() for image in images)
        splits[split] = items_of(root, [f"images/{image}.jpg" for image, _ in pairs], [number for _, number in pairs])
    return _official(root, splits, classes)


def cifar10(raw: Path, variant: str, made: Path) -> Found:
    root = folder_of(raw, "cifar-10-batches-py", holds="batches.meta")
    files = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    return _cifar(root, made, files, "labels", _unpickled(root / "batches.meta")["label_names"])


def cifar100(raw: Path, variant: str, made: Path) -> Found:
    root = folder_of(raw, "cifar-100-python", holds="meta")
    return _cifar(
        root, made, {"train": ["train"], "test": ["test"]}, "fine_labels", _unpickled(root / "meta")["fine_label_names"]
    )


def _cifar(root: Path, made: Path, files: dict[str, list[str]], key: str, classes: Sequence[str]) -> Found:
    """Pickled batches to one PNG per image; data is uint8 [n, 3072], all red, then all green, then all blue."""
    splits = {}
    for split, names in files.items():
        batches = [_unpickled(root / name) for name in names]
        pixels = np.concatenate([batch["data"] for batch in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        sources = [root / name for name, batch in zip(names, batches, strict=True) for _ in batch["data"]]
        labels = [label for batch in batches for label in batch[key]]
        paths = [f"{split}/{number:05}.png" for number in range(len(pixels))]
        items = items_of(made, paths, labels)
        splits[split] = write_copies(items, made, paths, functools.partial(_picture, pixels), sources)
    return _official(root, splits, tuple(classes))


def _picture(pixels: np.ndarray, index: int) -> Image.Image:
    return Image.fromarray(pixels[index])


class _Arrays(pickle.Unpickler):
    """Reads pickles that hold text, numbers and arrays; any other class could run code, and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding)
        raise BadInput(f"a pickle asks for {module}.{name}; expected arrays and text only; fetch CIFAR again")


def _unpickled(path: Path) -> dict[str, Any]:
    with open(need(path), "rb") as file:
        try:
            return _Arrays(file, encoding="latin1").load()
        except (pickle.UnpicklingError, EOFError) as error:
            raise BadInput(f"{path}: not a whole pickle ({error}); the download is partial, fetch it again") from error


def birdsnap(raw: Path, variant: str, made: Path) -> Found:
    """images.txt and test_images.txt list the images, of which many can no longer be had; species.txt the classes.

    Folders of the images are the species' `dir`, in some other case.
    """
    root = folder_of(raw, "birdsnap", holds="images.txt")
    species = rows_of(root / "species.txt", "id", "common", "dir", delimiter="\t")
    number = {row["dir"].lower(): index for index, row in enumerate(species)}
    header, *lines = (line.split() for line in lines_of(root / "images.txt"))
    listed = [line[header.index("path")] for line in lines]
    tested = set(lines_of(root / "test_images.txt")[1:])
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
        whole = items_of(images, files, [number[folder.lower()] for folder in folders])
        absent = set(absent_files(whole))
        splits[split] = whole.take([i for i in range(len(whole)) if i not in absent])
        if absent:
            gone = f"{len(absent)} of {len(whole)}"
            notes.append(f"{split}: listed images that are not there, their addresses dead: {gone}")
    counted = {"listed": len(listed), "listed test": len(tested)}
    return Found(splits, tuple(row["common"] for row in species), counted, f"{root}: official test list", tuple(notes))


def sun397(raw: Path, variant: str, made: Path) -> Found:
    """ClassName.txt (/a/abbey) and partition 01. A class is the folder of the image: "/b/bar" is in "/b/barn" too."""
    root = folder_of(raw, "SUN397", holds="ClassName.txt")
    names = lines_of(root / "ClassName.txt")
    number = {name: index for index, name in enumerate(names)}
    splits = {}
    for split, file in (("train", "Training_01.txt"), ("test", "Testing_01.txt")):
        paths = lines_of(root / file)
        unknown = sorted({folder for path in paths if (folder := path.rpartition("/")[0]) not in number})
        if unknown:
            raise BadInput(f"{root / file}: class {unknown[0]} found, which ClassName.txt lacks; fetch both again")
        splits[split] = items_of(
            root, [path.lstrip("/") for path in paths], [number[path.rpartition("/")[0]] for path in paths]
        )
    return _official(root, splits, tuple(name[3:] for name in names), "partition 01")


def cars(raw: Path, variant: str, made: Path) -> Found:
    """MATLAB annotations with fname and class, from 1; the test labels lie beside the devkit or in it."""
    root = folder_of(raw, "stanford_cars", "cars", holds="devkit")
    labelled = "cars_test_annos_withlabels.mat"
    files = {
        "train": root / "devkit" / "cars_train_annos.mat",
        "test": need(root / labelled, root / "devkit" / labelled),
    }
    classes = tuple(str(name) for name in mat(root / "devkit" / "cars_meta.mat")["class_names"])
    splits = {}
    for split, file in files.items():
        notes = np.atleast_1d(mat(file)["annotations"])
        if "class" not in (notes.dtype.names or ()):
            raise BadInput(f"{file}: no classes in it; expected {labelled}, the test annotations with labels")
        paths = [f"cars_{split}/{note['fname']}" for note in notes]
        splits[split] = items_of(root, paths, [int(note["class"]) - 1 for note in notes])
    return _official(root, splits, classes)


def aircraft(raw: Path, variant: str, made: Path) -> Found:
    """data/images_variant_<split>.txt: the image's number and the variant's name, which may hold spaces."""
    root = folder_of(raw, "fgvc-aircraft-2013b/data", "data", holds="variants.txt")
    classes = tuple(lines_of(root / "variants.txt"))
    splits = {}
    for split in SPLITS:
        pairs = [line.split(" ", 1) for line in lines_of(root / f"images_variant_{split}.txt")]
        splits[split] = items_of(
            root, [f"images/{image}.jpg" for image, _ in pairs], [classes.index(name) for _, name in pairs]
        )
    counted = _joined(splits)
    if variant == "no_banner":
        splits = {split: _without_banner(items, made) for split, items in splits.items()}
    return Found(splits, classes, counted, f"{root}: official train, val and test of the variant level")


def _without_banner(items: Labelled, made: Path) -> Labelled:
    require_files(items)
    files = [items.file(i) for i in range(len(items))]

    def draw(index: int) -> Image.Image:
        image = read_image(files[index])
        return image.crop((0, 0, image.width, max(1, image.height - BANNER)))

    return write_copies(items, made, [str(Path(path).with_suffix(".png")) for path in items.paths], draw, files)


def voc2007(raw: Path, variant: str, made: Path) -> Found:
    """ImageSets/Main/<class>_<split>.txt: 1 shows the class, -1 does not, 0 shows it only where it is difficult."""
    root = folder_of(raw, "VOCdevkit/VOC2007", "VOC2007", holds="ImageSets")
    splits = {}
    for split in SPLITS:
        names = lines_of(root / "ImageSets" / "Main" / f"{split}.txt")
        marks: dict[str, dict[int, int]] = {name: {} for name in names}
        for number, name in enumerate(VOC_CLASSES):
            for line in lines_of(root / "ImageSets" / "Main" / f"{name}_{split}.txt"):
                image, mark = line.split()
                marks[image][number] = int(mark)
        of_mark = {
            wanted: [tuple(k for k, mark in marks[name].items() if mark == wanted) for name in names]
            for wanted in (1, 0)
        }
        more: dict[str, Any] = {} if variant == "difficult_negative" else {"ignore": tuple(of_mark[0])}
        splits[split] = items_of(root, [f"JPEGImages/{name}.jpg" for name in names], of_mark[1], **more)
    difficult = "count as negatives" if variant == "difficult_negative" else "are ignored"
    note = f"{root}: official train, val and test; images difficult for a class {difficult}"
    return Found(splits, VOC_CLASSES, _joined(splits), note)


def dtd(raw: Path, variant: str, made: Path) -> Found:
    """labels/{train,val,test}1.txt: class/file.jpg."""
    root = folder_of(raw, "dtd/dtd", "dtd", holds="labels")
    classes = class_folders(need(root / "images"))
    splits = {}
    for split in SPLITS:
        paths = lines_of(root / "labels" / f"{split}1.txt")
        splits[split] = items_of(
            root, [f"images/{path}" for path in paths], [classes.index(path.partition("/")[0]) for path in paths]
        )
    return Found(splits, classes, _joined(splits), f"{root}: official train, val and test, split 1")


def pets(raw: Path, variant: str, made: Path) -> Found:
    """annotations/{trainval,test}.txt: image, class from 1, species, breed; the class's name is in the image's."""
    root = folder_of(raw, "oxford-iiit-pet", holds="annotations")
    names: dict[int, str] = {}
    splits = {}
    for split, file in (("train", "trainval.txt"), ("test", "test.txt")):
        lines = [line.split() for line in lines_of(root / "annotations" / file) if not line.startswith("#")]
        names |= {int(number): image.rpartition("_")[0].replace("_", " ") for image, number, *_ in lines}
        splits[split] = items_of(
            root, [f"images/{image}.jpg" for image, *_ in lines], [int(number) - 1 for _, number, *_ in lines]
        )
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
    labels = mat(root / "imagelabels.mat")["labels"]
    ids = mat(root / "setid.mat")
    splits = {}
    for split, key in (("train", "trnid"), ("val", "valid"), ("test", "tstid")):
        numbers = np.atleast_1d(ids[key]).tolist()
        splits[split] = items_of(
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
    "food101": food101, "cifar10": cifar10, "cifar100": cifar100, "birdsnap": birdsnap, "sun397": sun397,
    "cars": cars, "aircraft": aircraft, "voc2007": voc2007, "dtd": dtd, "pets": pets, "caltech101": caltech101,
    "flowers102": flowers102,
}  # fmt: skip
