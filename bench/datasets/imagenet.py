"""ImageNet-1k's validation images with original or ReaL labels, its train images, and ImageNet V2."""

from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

import numpy as np

from featune.engine.errors import BadInput
from featune.engine.images import Labelled, is_hidden

from ..tasks import class_folders, folder_items, labelled_files, stratified_split
from .list_files import AGAIN, fields_of, json_of, lines_of, mat, need, whole
from .unpacked_download import Found, Loader, folder_of

CLASSES = 1000
TRAIN = {"train": 0.99, "val": 0.01}  # of the train images, where a model is to be trained on them
V2_FOLDERS = {
    "default": "imagenetv2-matched-frequency-format-val",
    "threshold07": "imagenetv2-threshold0.7-format-val",
    "top_images": "imagenetv2-top-images-format-val",
}


def imagenet(raw: Path, variant: str, made: Path) -> Found:
    """The validation images; with `full`, the train images in folders named by wnid too."""
    root = folder_of(raw, "imagenet", holds="val")
    test, classes = validation(root)
    note = f"{root}: the validation images with their original labels"
    if variant != "full":
        return Found({"test": test}, classes, {"test": len(test)}, note)
    train = folder_items(root, need(root / "train"), classes)
    cut = stratified_split(train, TRAIN, seed=0)
    note += "; val is 1 % of train by class and seed 0"
    return Found({**cut, "test": test}, classes, {"test": len(test), "train": len(train)}, note)


def imagenet_real(raw: Path, variant: str, made: Path) -> Found:
    """The validation images with the labels of Beyer et al. 2020; several, one or none per image."""
    root = folder_of(raw, "imagenet", holds="val")
    original, classes = validation(root)
    labels = real_labels(root)
    if len(labels) < len(original):
        raise BadInput(f"real.json: {len(original)} lists of labels expected, {len(labels)} found; fetch it again")
    numbers = [validation_number(path) for path in original.paths]
    items = labelled_files(root, original.paths, [tuple(labels[number - 1]) for number in numbers])
    empty = sum(not some for some in items.labels)
    note = f"{root}: the validation images with ReaL labels; {empty} have none and leave the accuracy"
    return Found({"test": items}, classes, {"test": len(items)}, note)


def imagenet_v2(raw: Path, variant: str, made: Path) -> Found:
    """Folders 0 to 999 whose names are class numbers: sorted as text, 10 would come before 2."""
    root = need(raw / V2_FOLDERS[variant], raw / "imagenetv2" / V2_FOLDERS[variant])
    names = class_folders(root)
    if not all(name.isdigit() for name in names):
        raise BadInput(f"{root}: folders named by class number expected, {names[0]} found; fetch the archive again")
    by_number = folder_items(root, root, sorted(names, key=int))
    numbers = sorted(map(int, names))
    items = labelled_files(root, by_number.paths, [numbers[label] for (label,) in by_number.labels])
    return Found({"test": items}, known_wnids(), {"test": len(items)}, f"{root}: all images")


def validation(root: Path) -> tuple[Labelled, tuple[str, ...]]:
    """The validation images in order of their numbers with the index of their wnid among the sorted ones.

    val/<wnid>/*.JPEG; or val/*.JPEG with a list of `name index` (val.txt), or with the devkit, whose class
    numbers (from 1) are in another order than the wnids.
    """
    folder = need(root / "val")
    wnids = class_folders(folder)
    if wnids:
        items = folder_items(root, folder, wnids)
        order = sorted(range(len(items)), key=lambda i: validation_number(items.paths[i]))
        return items.take(order), wnids
    paths = sorted(path.name for path in folder.glob("*.JPEG") if not is_hidden(path.name))
    if not paths:
        raise BadInput(f"{folder}: ILSVRC2012_val_*.JPEG or <wnid>/*.JPEG expected, neither found; unpack the tar")
    label, classes = _labels_of_list(root / "val.txt") if (root / "val.txt").exists() else _labels_of_devkit(root)
    short = [name for name in paths if validation_number(name) > len(label)]
    if short:
        raise BadInput(f"{root}: {len(label)} labels found, none for {short[0]}; fetch the labels again")
    numbers = [label[validation_number(name) - 1] for name in paths]
    return labelled_files(root, [f"val/{name}" for name in paths], numbers), classes


def validation_number(path: str) -> int:
    """12 of `ILSVRC2012_val_00000012.JPEG`, from 1."""
    try:
        return int(Path(path).stem.rpartition("_")[2])
    except ValueError:
        raise BadInput(f"{path}: a name like ILSVRC2012_val_00000001.JPEG expected; restore the names") from None


def _labels_of_list(path: Path) -> tuple[list[int], tuple[str, ...]]:
    """Class indices of a list of `ILSVRC2012_val_00000001.JPEG 65`, by the number in the name."""
    label = label_list(path)
    wnids = known_wnids()
    return label, wnids[: max(label) + 1] if max(label) < len(wnids) else wnids


def label_list(path: Path) -> list[int]:
    """Original labels in the order of the images' numbers, whatever the order of the lines."""
    pairs = fields_of(path, 2)
    by_number = {validation_number(name): whole(index, path) for name, index in pairs}
    if sorted(by_number) != list(range(1, len(pairs) + 1)):
        raise BadInput(f"{path}: one line for each image from 1 expected, {len(pairs)} found; fetch the list again")
    return [by_number[number] for number in sorted(by_number)]


def _labels_of_devkit(root: Path) -> tuple[list[int], tuple[str, ...]]:
    devkit = folder_of(root, "ILSVRC2012_devkit_t12", holds="data") / "data"
    file = devkit / "ILSVRC2012_validation_ground_truth.txt"
    truth = [whole(line, file) for line in lines_of(file)]
    synsets = np.atleast_1d(mat(devkit / "meta.mat", "synsets")["synsets"])
    # Fields: number, wnid, words, gloss, number of children; inner nodes of the tree are no classes.
    leaves = {int(synset[0]): str(synset[1]) for synset in synsets if int(synset[4]) == 0}
    classes = tuple(sorted(leaves.values()))
    place = {wnid: index for index, wnid in enumerate(classes)}
    unknown = [number for number in truth if number not in leaves]
    if unknown:
        raise BadInput(f"{file}: class {unknown[0]} found, which meta.mat lacks; {AGAIN}")
    return [place[leaves[number]] for number in truth], classes


def known_wnids() -> tuple[str, ...]:
    """The 1000 wnids of ImageNet-1k, sorted, from timm's own list."""
    return timm_list("imagenet_synsets.txt")


def timm_list(name: str) -> tuple[str, ...]:
    """The lines of a list of classes that timm ships, such as `imagenet_a_synsets.txt`."""
    return tuple(lines_of(_timm_file(name)))


def real_labels(root: Path) -> list[list[int]]:
    """ReaL labels in the order of the images' numbers: real.json beside the images, else timm's identical copy."""
    for path in (root / "real.json", root / "real" / "real.json"):
        if path.exists():
            return label_lists(path)
    return label_lists(_timm_file("imagenet_real_labels.json"))


def label_lists(path: Path) -> list[list[int]]:
    """The class indices of each image that a JSON file such as real.json lists."""
    labels = json_of(path)
    if not (isinstance(labels, list) and all(isinstance(some, list) for some in labels)):
        raise BadInput(f"{path}: a list of lists of labels expected; {AGAIN}")
    wrong = [label for some in labels for label in some if not (isinstance(label, int) and 0 <= label < CLASSES)]
    if wrong:
        raise BadInput(f"{path}: label {wrong[0]!r} found, 0 to {CLASSES - 1} expected; {AGAIN}")
    return labels


def _timm_file(name: str) -> Path:
    """A list that timm ships, found without importing timm, which takes seconds."""
    found = find_spec("timm")
    assert found is not None
    assert found.origin is not None
    return need(Path(found.origin).parent / "data" / "_info" / name)


def real_of_labels(labels: Sequence[int], real: Sequence[Sequence[int]]) -> tuple[int, int]:
    """(right, judged) of one label per image under ReaL: images without a ReaL label leave both numbers.

    Source: Beyer et al. 2020, README of their repository; the original labels give 42,164 of 46,837.
    """
    if len(labels) != len(real):
        raise BadInput(f"{len(labels)} labels and {len(real)} lists found; expected as many of each, in one order")
    judged = [(label, some) for label, some in zip(labels, real, strict=True) if some]
    return sum(label in some for label, some in judged), len(judged)


LOADERS: dict[str, Loader] = {"imagenet": imagenet, "imagenet_real": imagenet_real, "imagenet_v2": imagenet_v2}
