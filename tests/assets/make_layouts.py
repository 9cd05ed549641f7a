"""A tiny example of every official download, written by code into a folder, with the layout's awkward parts.

Each function takes the folder for `--raw` and gives the counts that the loader must find in it. All pictures are
made here: noise of a few pixels, no two alike.
"""

import csv
import json
import pickle
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image
from scipy.io import savemat

Counts = dict[str, int]


def picture(path: Path, size: tuple[int, int] = (6, 5), grey: bool = False) -> Path:
    """Noise that depends on the path's last three parts, as PNG or JPEG."""
    seed = [ord(letter) for part in path.parts[-3:] for letter in part]
    shape = (size[1], size[0]) if grey else (size[1], size[0], 3)
    path.parent.mkdir(parents=True, exist_ok=True)
    pixels = np.random.default_rng(seed).integers(0, 256, shape, dtype=np.uint8)
    Image.fromarray(pixels).save(path, format="PNG" if path.suffix == ".png" else "JPEG")
    return path


def table(path: Path, columns: Sequence[str], lines: Iterable[Sequence[Any]], delimiter: str = ",") -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    with open(path, "w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file, delimiter=delimiter)
        writer.writerow(columns)
        writer.writerows(lines)


def text(path: Path, lines: Iterable[str]) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def shuffled(values: Iterable[Any], seed: int = 0) -> list[Any]:
    found = list(values)
    return [found[i] for i in np.random.default_rng(seed).permutation(len(found))]


# --- Fang et al.


def cct20(root: Path) -> Counts:
    """Per part: cats, dogs, a frame with two cats, one with cat and dog, an empty one; one cat without a box.

    Boxes are in pixels of the 2048 x 1494 original; the files here are 64 x 48.
    """
    parts = ("train", "cis_val", "cis_test", "trans_val", "trans_test")
    return {part: _cct_part(root / "CCT-20", part) for part in parts} | {"classes": 15}


def _cct_part(root: Path, part: str) -> int:
    images: list[dict[str, Any]] = []
    notes: list[dict[str, Any]] = []

    def frame(name: str, place: int, *animals: tuple[int, list[float] | None]) -> None:
        picture(root / "eccv_18_all_images_sm" / f"{part}-{name}.jpg", (64, 48))
        images.append({"id": f"{part}-{name}", "file_name": f"{part}-{name}.jpg", "width": 2048, "height": 1494,
                       "location": place, "seq_id": name, "seq_num_frames": 1, "frame_num": 1})  # fmt: skip
        for category, box in animals:
            note = {"id": f"{part}-{len(notes)}", "image_id": f"{part}-{name}", "category_id": category}
            notes.append(note | ({"bbox": box} if box else {}))

    place = 100 if part.startswith("trans") else 33
    for number in range(3):
        frame(f"cat{number}", place, (16, [1024.0, 747.0, 512.0, 373.5]))
        frame(f"dog{number}", place + 1, (8, [0.0, 0.0, 2048.0, 1494.0]))
    frame("two-cats", place, (16, [10.0, 10.0, 900.0, 900.0]), (16, [1000.0, 10.0, 900.0, 900.0]))
    frame("cat-and-dog", place, (16, [10.0, 10.0, 900.0, 900.0]), (8, [1000.0, 10.0, 900.0, 900.0]))
    frame("empty", place, (30, None))
    frame("cat-without-box", place, (16, None))
    content = {"info": {}, "images": shuffled(images), "annotations": shuffled(notes, 1),
               "categories": [{"id": 8, "name": "dog"}, {"id": 16, "name": "cat"}]}  # fmt: skip
    text(root / "eccv_18_annotation_files" / f"{part}_annotations.json", [json.dumps(content)])
    return len(images)


def aptos2019(root: Path) -> Counts:
    """Ten of each grade, in no order; test.csv has no labels."""
    folder = root / "aptos2019"
    lines = shuffled([(f"{grade}{number:02}ab", grade) for grade in range(5) for number in range(10)])
    table(folder / "train.csv", ("id_code", "diagnosis"), lines)
    table(folder / "test.csv", ("id_code",), [("0005cfc8afb6",)])
    for name, _ in lines:
        picture(folder / "train_images" / f"{name}.png")
    return {"labelled": 50, "classes": 5}


def cassava(root: Path) -> Counts:
    folder = root / "cassava-leaf-disease-classification"
    names = ("Blight (CBB)", "Brown Streak (CBSD)", "Green Mottle (CGM)", "Mosaic (CMD)", "Healthy")
    lines = shuffled([(f"{number}{label}.jpg", label) for label in range(5) for number in range(10, 20)])
    table(folder / "train.csv", ("image_id", "label"), lines)
    text(folder / "label_num_to_disease_map.json", [json.dumps({str(i): name for i, name in enumerate(names)})])
    for name, _ in lines:
        picture(folder / "train_images" / name)
    return {"labelled": 50, "classes": 5}


def eurosat(root: Path) -> Counts:
    """River_10 comes before River_2 in order of names."""
    for name in ("AnnualCrop", "Forest", "River"):
        for number in range(1, 13):
            picture(root / "eurosat" / "2750" / name / f"{name}_{number}.jpg")
    return {"images": 36, "classes": 3}


def hpa(root: Path, merged: bool = False) -> Counts:
    """Four grey files each (or one RGBA file, merged); class 27 in train only; several labels in no order."""
    lines = []
    for split, count in (("train", 8), ("val", 3), ("test_val", 4)):
        for number in range(count):
            name = f"{split}-{number}"
            target = "27" if (split, number) == ("train", 0) else f"{(number + 1) % 3} 0" if number % 2 else "25"
            lines.append((name, target, split))
            if merged:
                pixels = np.random.default_rng(len(lines)).integers(0, 256, (5, 6, 4), dtype=np.uint8)
                (root / "hpa" / "rgby" / "train").mkdir(parents=True, exist_ok=True)
                Image.fromarray(pixels).save(root / "hpa" / "rgby" / "train" / f"{name}.png")
            else:
                for colour in ("red", "green", "blue", "yellow"):
                    picture(root / "hpa" / "train" / f"{name}_{colour}.png", grey=True)
    table(root / "hpa" / "split.stratified.small.0.csv", ("Id", "Target", "Split"), shuffled(lines))
    return {"train": 8, "val": 3, "test": 4, "classes": 28}


def melanoma(root: Path) -> Counts:
    """2020: 10 folds of 2 patients with 2 images; 2019: 10 folds without patients; two images with fold -1 each."""
    for year in ("2020", "2019"):
        lines = []
        for fold in [*range(10), -1]:
            for number in range(4 if fold >= 0 else 2):
                name = f"ISIC_{year}_{fold}_{number}"
                patient = f"IP_{2 * fold + number % 2}" if year == "2020" else "-1"
                lines.append((name, patient, "male", int((fold + number) % 3 == 0), fold))
                picture(root / "melanoma" / f"melanoma-{year}" / "train" / f"{name}.jpg")
        columns = ("image_name", "patient_id", "sex", "target", "tfrecord")
        table(root / "melanoma" / f"melanoma-{year}" / "train.csv", columns, shuffled(lines))
    return {"2020": 42, "2019": 42, "classes": 2}


# --- Kornblith et al.


def food101(root: Path) -> Counts:
    folder, counts = root / "food-101", {"classes": 2}
    text(folder / "meta" / "classes.txt", ["apple_pie", "waffles"])
    for split, count in (("train", 10), ("test", 4)):
        listed = {name: shuffled(f"{name}/{split}{i}" for i in range(count)) for name in ("waffles", "apple_pie")}
        text(folder / "meta" / f"{split}.json", [json.dumps(listed)])
        for image in (image for images in listed.values() for image in images):
            picture(folder / "images" / f"{image}.jpg")
        counts[split] = 2 * count
    return counts


def cifar10(root: Path) -> Counts:
    return _cifar(
        root / "cifar-10-batches-py",
        {**{f"data_batch_{i}": 4 for i in range(1, 6)}, "test_batch": 6},
        ("batches.meta", "label_names", ("airplane", "automobile")),
        "labels",
    )


def cifar100(root: Path) -> Counts:
    meta = ("meta", "fine_label_names", ("apple", "aquarium_fish"))
    return _cifar(root / "cifar-100-python", {"train": 20, "test": 6}, meta, "fine_labels")


def _cifar(root: Path, files: Mapping[str, int], meta: tuple[str, str, Sequence[str]], key: str) -> Counts:
    """As the originals, which Python 2 wrote: protocol 2, numpy's old module name, planes of red, green, blue."""

    def write(name: str, value: object) -> None:
        root.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes(pickle.dumps(value, 2).replace(b"numpy._core.multiarray", b"numpy.core.multiarray"))

    for number, (name, count) in enumerate(files.items()):
        data = np.random.default_rng(number).integers(0, 256, (count, 3072), dtype=np.uint8)
        data[0] = np.repeat([250, 120, 10], 1024)  # one plain orange picture
        labels = [i % 2 for i in range(count)]
        write(name, {"data": data, key: labels, "coarse_labels": [7] * count, "filenames": ["x.png"] * count})
    write(meta[0], {meta[1]: list(meta[2])})
    tested = sum(count for name, count in files.items() if "test" in name)
    return {"train": sum(files.values()) - tested, "test": tested, "classes": 2}


def birdsnap(root: Path) -> Counts:
    """Folders spelt in another case than species.txt has them; one image of each split is gone."""
    folder = root / "birdsnap"
    species = [(1, "Acadian Flycatcher", "Empidonax virescens", "acadian_flycatcher"),
               (2, "Acorn Woodpecker", "Melanerpes", "acorn_woodpecker")]  # fmt: skip
    table(folder / "species.txt", ("id", "common", "scientific", "dir"), species, "\t")
    listed = [f"{name}/{i}.jpg" for name in ("Acadian_Flycatcher", "Acorn_Woodpecker") for i in range(12)]
    tested = [path for path in listed if path.endswith(("/0.jpg", "/1.jpg"))]
    lines = [(f"http://farm.example/{i}", "md5", path, 1) for i, path in enumerate(shuffled(listed))]
    table(folder / "images.txt", ("url", "md5", "path", "species_id"), lines, "\t")
    text(folder / "test_images.txt", ["path", *tested])
    for path in listed:
        if path not in ("Acadian_Flycatcher/0.jpg", "Acorn_Woodpecker/7.jpg"):
            picture(folder / "download" / "images" / path)
    return {"listed": 24, "listed test": 4, "classes": 2}


def sun397(root: Path) -> Counts:
    """`bar` is part of the name `barn`; a class may lie one folder deeper; lists are unsorted."""
    folder, names = root / "SUN397", ("/b/bar", "/b/barn", "/c/church/outdoor")
    text(folder / "ClassName.txt", names)
    for file, count in (("Training_01.txt", 6), ("Testing_01.txt", 3)):
        paths = shuffled(f"{name}/sun_{file[:4]}{i}.jpg" for name in names for i in range(count))
        text(folder / file, paths)
        for path in paths:
            picture(folder / path.lstrip("/"))
    picture(folder / "b" / "bar" / "sun_in_no_partition.jpg")
    return {"train": 18, "test": 9, "classes": 3}


def cars(root: Path) -> Counts:
    """Classes from 1; cars_test_annos.mat, without classes, lies in the devkit as in the original."""
    folder = root / "stanford_cars"
    (folder / "devkit").mkdir(parents=True)
    names = np.empty((1, 3), dtype=object)
    names[0] = ["AM General Hummer SUV 2000", "Acura RL Sedan 2012", "smart fortwo Convertible 2012"]
    savemat(folder / "devkit" / "cars_meta.mat", {"class_names": names})

    def annotations(split: str, count: int, labelled: bool) -> dict[str, Any]:
        fields = ["bbox_x1", "bbox_x2", *(["class"] if labelled else []), "fname"]
        lines = np.empty((1, count), dtype=[(field, "O") for field in fields])
        for i in range(count):
            picture(folder / f"cars_{split}" / f"{i + 1:05}.jpg")
            lines[0, i] = (1, 2, *([i % 3 + 1] if labelled else []), f"{i + 1:05}.jpg")
        return {"annotations": lines}

    savemat(folder / "devkit" / "cars_train_annos.mat", annotations("train", 15, True))
    savemat(folder / "devkit" / "cars_test_annos.mat", annotations("test", 6, False))
    savemat(folder / "cars_test_annos_withlabels.mat", annotations("test", 6, True))
    return {"train": 15, "test": 6, "classes": 3}


def aircraft(root: Path) -> Counts:
    """Names with spaces and strokes; pictures with a banner of 20 white lines at the bottom."""
    folder, names = root / "fgvc-aircraft-2013b" / "data", ("707-320", "DC-3", "F/A-18", "Model B200")
    text(folder / "variants.txt", names)
    number = 34000
    for split, count in (("train", 8), ("val", 4), ("test", 8)):
        lines = []
        for i in range(count):
            number += 1
            path = picture(folder / "images" / f"{number:07}.jpg", (30, 50))
            pixels = np.asarray(Image.open(path)).copy() // 2
            pixels[-20:] = 255
            Image.fromarray(pixels).save(path, quality=95)
            lines.append(f"{number:07} {names[i % 4]}")
        text(folder / f"images_variant_{split}.txt", shuffled(lines))
    return {"trainval": 12, "test": 8, "classes": 4}


def voc2007(root: Path) -> Counts:
    """Dogs and persons; in each split one dog is only there as difficult (0), and that image shows nothing else."""
    from featune.bench.datasets.kornblith2019 import VOC_CLASSES

    folder = root / "VOCdevkit" / "VOC2007"
    number = 0
    for split, count in (("train", 6), ("val", 5), ("test", 7)):
        names = []
        for _ in range(count):
            number += 1
            names.append(f"{number:06}")
            picture(folder / "JPEGImages" / f"{number:06}.jpg")
        marks = {
            "dog": {name: 0 if i == 0 else 1 if i % 2 else -1 for i, name in enumerate(names)},
            "person": {name: 1 if i and (i % 2 == 0 or i == 3) else -1 for i, name in enumerate(names)},
        }
        for kind in VOC_CLASSES:
            lines = [f"{name} {marks.get(kind, {}).get(name, -1):2d}" for name in names]
            text(folder / "ImageSets" / "Main" / f"{kind}_{split}.txt", lines)
        text(folder / "ImageSets" / "Main" / f"{split}.txt", names)
    return {"trainval": 11, "test": 7, "classes": 20}


def dtd(root: Path) -> Counts:
    """Ten splits are listed, of which the first counts."""
    folder = root / "dtd" / "dtd"
    for split, start in (("train", 0), ("val", 3), ("test", 6)):
        paths = [f"{name}/{name}_{i:04}.jpg" for name in ("banded", "zigzagged") for i in range(start, start + 3)]
        text(folder / "labels" / f"{split}1.txt", shuffled(paths))
        text(folder / "labels" / f"{split}2.txt", paths[:1])
        for path in paths:
            picture(folder / "images" / path)
    return {"trainval": 12, "test": 6, "classes": 2}


def pets(root: Path) -> Counts:
    """Classes from 1; the class's name is the image's without its number and may hold underscores."""
    folder, counts = root / "oxford-iiit-pet", {"classes": 3}
    kinds = (("Abyssinian", 1, 1), ("american_bulldog", 2, 2), ("Bengal", 3, 1))
    for split, file, count in (("train", "trainval.txt", 10), ("test", "test.txt", 4)):
        start = 100 if split == "test" else 1
        lines = [f"{kind}_{start + i} {number} {animal} 1" for kind, number, animal in kinds for i in range(count)]
        text(folder / "annotations" / file, ["#Image CLASS-ID SPECIES BREED ID", *shuffled(lines)])
        for line in lines:
            picture(folder / "images" / f"{line.split()[0]}.jpg")
        counts[split] = 3 * count
    text(folder / "images" / "Abyssinian_1.mat", ["not an image"])
    return counts


def caltech101(root: Path) -> Counts:
    """33 to 35 images per class, BACKGROUND_Google among the classes, with a stray file in it as in the original."""
    folder = root / "caltech101" / "101_ObjectCategories"
    for extra, name in enumerate(("BACKGROUND_Google", "Faces", "accordion")):
        for number in range(1, 34 + extra):
            picture(folder / name / f"image_{number:04}.jpg", (3, 2))
    text(folder / "BACKGROUND_Google" / "tmp", ["not an image"])
    return {"images": 33 + 34 + 35, "classes": 3}


def flowers102(root: Path) -> Counts:
    """Images and labels from 1; the ids of a split are in no order."""
    folder = root / "flowers-102"
    order = shuffled(range(1, 25))
    for number in order:
        picture(folder / "jpg" / f"image_{number:05}.jpg")
    savemat(folder / "imagelabels.mat", {"labels": np.array([[(i % 3) + 1 for i in range(24)]])})
    savemat(folder / "setid.mat", {"trnid": [order[:6]], "valid": [order[6:12]], "tstid": [order[12:]]})
    return {"train": 6, "val": 6, "test": 12, "classes": 3}


# --- ImageNet

WNIDS = ("n01440764", "n01443537", "n01484850")  # tench, goldfish, great white shark: the first three, sorted
VAL_LABELS = (2, 0, 1, 1, 0, 2)  # of the validation images 1 to 6
REAL = ([2], [], [0, 1], [0], [0], [2, 1])  # 4 of 5 original labels hold


def imagenet(root: Path) -> Counts:
    """val/<wnid>/*.JPEG, so that the order of the folders is not the order of the numbers."""
    for number, label in enumerate(VAL_LABELS, 1):
        picture(root / "imagenet" / "val" / WNIDS[label] / f"ILSVRC2012_val_{number:08}.JPEG")
    return {"test": 6, "classes": 3}


def imagenet_flat(root: Path, devkit: bool) -> Counts:
    """val/*.JPEG as the tar unpacks, with the devkit, whose class numbers are not the wnids' order, or a list."""
    for number in range(1, 7):
        picture(root / "imagenet" / "val" / f"ILSVRC2012_val_{number:08}.JPEG")
    if not devkit:
        lines = [f"ILSVRC2012_val_{number:08}.JPEG {label}" for number, label in enumerate(VAL_LABELS, 1)]
        text(root / "imagenet" / "val.txt", shuffled(lines))
        return {"test": 6, "classes": 3}
    data = root / "imagenet" / "ILSVRC2012_devkit_t12" / "data"
    number_of = {0: 3, 1: 1, 2: 2}  # class index to the devkit's number
    text(data / "ILSVRC2012_validation_ground_truth.txt", [str(number_of[label]) for label in VAL_LABELS])
    fields = ("ILSVRC2012_ID", "WNID", "words", "gloss", "num_children")
    synsets = np.empty((4, 1), dtype=[(field, "O") for field in fields])
    for index, number in number_of.items():
        synsets[number - 1, 0] = (number, WNIDS[index], "words", "gloss", 0)
    synsets[3, 0] = (4, "n00001740", "entity", "inner node", 3)
    savemat(data / "meta.mat", {"synsets": synsets})
    return {"test": 6, "classes": 3}


def imagenet_train(root: Path) -> Counts:
    for wnid in WNIDS:
        for number in range(60):
            picture(root / "imagenet" / "train" / wnid / f"{wnid}_{number}.JPEG", (3, 2))
    return imagenet(root) | {"train": 180}


def imagenet_real(root: Path) -> Counts:
    text(root / "imagenet" / "real.json", [json.dumps(REAL)])
    return imagenet(root)


def imagenet_v2(root: Path) -> Counts:
    """Folders named by class number, which sorted as text come as 0, 1, 10, 2."""
    for number in (0, 1, 2, 10):
        for i in range(2):
            picture(root / "imagenetv2-matched-frequency-format-val" / str(number) / f"{number}a{i}.jpeg")
    return {"test": 8, "classes": 1000}


LAYOUTS: dict[str, Callable[[Path], Counts]] = {
    make.__name__: make
    for make in (
        cct20, aptos2019, hpa, melanoma, cassava, eurosat,
        food101, cifar10, cifar100, birdsnap, sun397, cars, aircraft, voc2007, dtd, pets, caltech101, flowers102,
        imagenet, imagenet_real, imagenet_v2,
    )
}  # fmt: skip
