"""Fang et al.'s data sets but HPA, from official downloads to splits; `released` is what their published code does."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featune.engine.errors import BadInput
from featune.engine.images import Labelled, read_image

from ..tasks import class_folders, folder_items, labelled_files, straddling_groups
from .list_files import AGAIN, json_of, need, rows_of, whole
from .unpacked_download import Copy, Found, Loader, copied, evaluation_splits, folder_of, seeded_evaluation, swapped

BGR = "red and blue exchanged"

# CCT-20: category numbers of the annotation files in the order of the released code; 30 is empty.
ANIMALS = {
    1: "opossum", 3: "raccoon", 5: "squirrel", 6: "bobcat", 7: "skunk", 8: "dog", 9: "coyote", 10: "rabbit",
    11: "bird", 16: "cat", 21: "badger", 33: "car", 34: "deer", 51: "fox", 99: "rodent",
}  # fmt: skip
EMPTY = 30
CCT_PARTS = ("train", "cis_val", "cis_test", "trans_val", "trans_test")

APTOS_CLASSES = ("no DR", "mild", "moderate", "severe", "proliferative DR")
MELANOMA_CLASSES = ("benign", "malignant")
MELANOMA_SEED, MELANOMA_TRAIN, MELANOMA_VAL = 23, 0.8, 0.2
FEWEST_FOLDS = 5  # of which the split needs one for test and one for val


def cct20(raw: Path, variant: str, made: Path) -> Found:
    """COCO Camera Traps JSON. Images without animal are no samples; by default neither are those of two classes."""
    root = folder_of(raw, "CCT-20", "cct20", holds="eccv_18_annotation_files")
    parts = {part: _traps(root / "eccv_18_annotation_files" / f"{part}_annotations.json") for part in CCT_PARTS}
    images = need(root / "eccv_18_all_images_sm")
    notes: list[str] = []
    copies: list[Copy] = []
    if variant in ("annotation", "released"):
        samples = {part: _per_annotation(images, content) for part, content in parts.items()}
    elif variant == "crops":
        samples = {}
        for part, content in parts.items():
            samples[part], more = _crops(images, part, content, made, notes)
            copies += more
    else:
        samples = {part: _per_image(images, part, content, notes) for part, content in parts.items()}
    near, far = ("trans", "cis") if variant == "trans" else ("cis", "trans")
    splits = {"train": samples["train"], "val": samples[f"{near}_val"], "test": samples[f"{near}_test"]}
    if variant != "released":
        splits |= {f"val_{far}": samples[f"{far}_val"], f"test_{far}": samples[f"{far}_test"]}
    unit = "annotation" if variant in ("annotation", "released") else "box" if variant == "crops" else "image"
    note = f"{root}: official splits, {near} val and test, one sample per {unit}"
    note += f"; {BGR}, as the released code has it" if variant == "released" else ""
    counted = {part: len(content["images"]) for part, content in parts.items()}
    found = Found(splits, tuple(ANIMALS.values()), counted, note, tuple(notes), tuple(copies))
    return swapped(found, made) if variant == "released" else found


def _traps(path: Path) -> Mapping[str, Any]:
    """A file of COCO Camera Traps, with the fields that are used here; annotations name images of the file."""
    content = json_of(path)
    fields = {"images": ("id", "location", "width", "height"), "annotations": ("image_id", "category_id")}
    for name, wanted in fields.items():
        listed = content.get(name) if isinstance(content, dict) else None
        if not isinstance(listed, list):
            raise BadInput(f"{path}: an object with a list {name} expected; {AGAIN}")
        wrong = [at for at, one in enumerate(listed) if not (isinstance(one, dict) and set(wanted) <= set(one))]
        if wrong:
            raise BadInput(f"{path}: {name}[{wrong[0]}]: {', '.join(wanted)} expected, not all found; {AGAIN}")
    known = {str(image["id"]) for image in content["images"]}
    lost = [note for note in content["annotations"] if str(note["image_id"]) not in known]
    if lost:
        raise BadInput(f"{path}: {len(lost)} annotations of images that it lacks, as {lost[0]['image_id']}; {AGAIN}")
    return content


def _animals(content: Mapping[str, Any]) -> list[tuple[Mapping[str, Any], int]]:
    """The annotations that name an animal, with their class."""
    number = {category: index for index, category in enumerate(ANIMALS)}
    found = [note for note in content["annotations"] if note["category_id"] != EMPTY]
    unknown = sorted({str(note["category_id"]) for note in found if note["category_id"] not in number})
    if unknown:
        raise BadInput(f"CCT-20: category {unknown[0]} found, one of {', '.join(map(str, number))} or 30 expected")
    return [(note, number[note["category_id"]]) for note in found]


def _places(content: Mapping[str, Any], images: Sequence[str]) -> tuple[str, ...]:
    place = {str(image["id"]): str(image["location"]) for image in content["images"]}
    return tuple(place[name] for name in images)


def _per_image(folder: Path, part: str, content: Mapping[str, Any], notes: list[str]) -> Labelled:
    labels: dict[str, set[int]] = {}
    for note, number in _animals(content):
        labels.setdefault(str(note["image_id"]), set()).add(number)
    several = [image for image, numbers in labels.items() if len(numbers) > 1]
    if several:
        notes.append(f"{part}: images with animals of several classes left out: {len(several)}, as {min(several)}")
    names = sorted(image for image, numbers in labels.items() if len(numbers) == 1)
    return labelled_files(
        folder, [f"{name}.jpg" for name in names], [min(labels[name]) for name in names], groups=_places(content, names)
    )


def _per_annotation(folder: Path, content: Mapping[str, Any]) -> Labelled:
    found = _animals(content)
    names = [str(note["image_id"]) for note, _ in found]
    return labelled_files(
        folder, [f"{name}.jpg" for name in names], [number for _, number in found], groups=_places(content, names)
    )


def _crops(
    folder: Path, part: str, content: Mapping[str, Any], made: Path, notes: list[str]
) -> tuple[Labelled, tuple[Copy, ...]]:
    boxed = [(note, number) for note, number in _animals(content) if note.get("bbox")]
    without = len(_animals(content)) - len(boxed)
    if without:
        notes.append(f"{part}: annotations without a box left out: {without}")
    original = {str(image["id"]): (image["width"], image["height"]) for image in content["images"]}
    images = [str(note["image_id"]) for note, _ in boxed]
    items = labelled_files(
        folder, [f"{name}.jpg" for name in images], [number for _, number in boxed], groups=_places(content, images)
    )

    def draw(index: int) -> Image.Image:
        image = read_image(items.file(index))
        return image.crop(scaled_box(boxed[index][0]["bbox"], original[images[index]], image.size))

    names = [f"{part}/{image}.{place}.png" for place, image in enumerate(images)]
    return copied(items, made, names, draw, [(items.file(i),) for i in range(len(items))])


def scaled_box(box: Sequence[float], original: tuple[float, float], now: tuple[int, int]) -> tuple[int, int, int, int]:
    """left, top, right, bottom in pixels of the small image, at least one pixel each way, inside the image.

    box: x, y, width, height in pixels of the original; original, now: width and height of the two.
    """
    # Multiplied first: box edges that fall on a pixel's edge stay there.
    left = min(max(int(np.floor(box[0] * now[0] / original[0])), 0), now[0] - 1)
    top = min(max(int(np.floor(box[1] * now[1] / original[1])), 0), now[1] - 1)
    right = min(max(int(np.ceil((box[0] + box[2]) * now[0] / original[0])), left + 1), now[0])
    bottom = min(max(int(np.ceil((box[1] + box[3]) * now[1] / original[1])), top + 1), now[1])
    return left, top, right, bottom


def aptos2019(raw: Path, variant: str, made: Path) -> Found:
    """train.csv (id_code, diagnosis) and train_images/<id_code>.png."""
    root = folder_of(raw, "aptos2019", "aptos2019-blindness-detection", holds="train.csv")
    rows = rows_of(root / "train.csv", "id_code", "diagnosis")
    need(root / "train_images")
    paths = [f"train_images/{row['id_code']}.png" for row in rows]
    items = labelled_files(root, paths, [whole(row["diagnosis"], root / "train.csv") for row in rows])
    return _seeded(items, APTOS_CLASSES, 414, "labelled", variant, made, swap=True)


def cassava(raw: Path, variant: str, made: Path) -> Found:
    """train.csv (image_id with its .jpg, label) and train_images/; the names from label_num_to_disease_map.json."""
    root = folder_of(raw, "cassava-leaf-disease-classification", "cassava", holds="train.csv")
    rows = rows_of(root / "train.csv", "image_id", "label")
    file = root / "label_num_to_disease_map.json"
    names = json_of(file)
    if not isinstance(names, dict) or set(names) != set(map(str, range(len(names)))):
        raise BadInput(f"{file}: names of the classes 0, 1, ... expected, {str(names)[:60]} found; {AGAIN}")
    classes = tuple(str(names[str(number)]) for number in range(len(names)))
    labels = [whole(row["label"], root / "train.csv") for row in rows]
    items = labelled_files(root, [f"train_images/{row['image_id']}" for row in rows], labels)
    return _seeded(items, classes, 414, "labelled", variant, made)


def eurosat(raw: Path, variant: str, made: Path) -> Found:
    """<Class>/<Class>_<n>.jpg; the released split depends on the order of names, _10 before _2."""
    root = need(raw / "eurosat" / "2750", raw / "2750", raw / "EuroSAT_RGB", raw / "eurosat" / "EuroSAT_RGB")
    classes = class_folders(root)
    return _seeded(folder_items(root, root, classes), classes, 42, "images", variant, made)


def _seeded(
    items: Labelled, classes: tuple[str, ...], seed: int, unit: str, variant: str, made: Path, swap: bool = False
) -> Found:
    """Train and test by the released code's rule."""
    released = variant == "released"
    evaluation = seeded_evaluation([label for (label,) in items.labels], len(classes), seed)
    splits = evaluation_splits(items, evaluation, released)
    note = f"{items.root}: test is int(0.2 n) of each class by RandomState({seed})"
    if released:
        note += "; val is the test split, as in the released code" + (f"; {BGR}" if swap else "")
    found = Found(splits, classes, {unit: len(items)}, note)
    return swapped(found, made) if released and swap else found


def melanoma(raw: Path, variant: str, made: Path) -> Found:
    """The 512-pixel repacks: melanoma-2020/ and melanoma-2019/ with train.csv and train/<image_name>.jpg."""
    root = folder_of(raw, "melanoma", holds="melanoma-2020")
    rng, drawn = np.random.RandomState(MELANOMA_SEED), np.random.default_rng(0)
    parts: dict[str, list[Labelled]] = {"train": [], "val": [], "test": []}
    counted, dropped = {}, 0
    for year in ("2020", "2019"):  # the order matters: both draw from one generator
        file = root / f"melanoma-{year}" / "train.csv"
        rows = rows_of(file, "image_name", "target", "tfrecord")
        counted[year] = len(rows)
        kept = [row for row in rows if _fold(row, file) >= 0]
        dropped += len(rows) - len(kept)
        where = [_fold(row, file) for row in kept]
        folds = sorted(set(where))
        if len(folds) < FEWEST_FOLDS:
            raise BadInput(f"{file}: {FEWEST_FOLDS} folds (tfrecord) or more expected, {len(folds)} found; {AGAIN}")
        train = sorted(rng.choice(folds, size=int(MELANOMA_TRAIN * len(folds)), replace=False).tolist())
        val = drawn.choice(train, size=max(1, round(MELANOMA_VAL * len(train))), replace=False).tolist()
        items = labelled_files(
            root,
            [f"melanoma-{year}/train/{row['image_name']}.jpg" for row in kept],
            [whole(row["target"], file) for row in kept],
            groups=tuple(_patient(row, year) for row in kept),
        )
        part = {"test": set(folds) - set(train)}
        part |= {"train": set(train), "val": part["test"]} if variant == "released" else {
            "train": set(train) - set(val), "val": set(val)
        }  # fmt: skip
        for split, members in part.items():
            parts[split].append(items.take([i for i, fold in enumerate(where) if fold in members]))
    splits = {split: new + old for split, (new, old) in parts.items()}
    notes = [f"images with tfrecord -1 (duplicates) left out: {dropped}"] if dropped else []
    different = {split: splits[split] for split in splits if (split, variant) != ("val", "released")}
    straddling = straddling_groups(different)
    if straddling:
        notes.append(f"patients with images in two splits: {len(straddling)}, as {straddling[0]}")
    note = f"{root}: test is 20 % of the folds by RandomState({MELANOMA_SEED}), 2020 first, then 2019"
    if variant == "released":
        note += f"; val is the test split, as in the released code; {BGR}"
    else:
        note += "; val is a fifth of the training folds by seed 0"
    found = Found(splits, MELANOMA_CLASSES, counted, note, tuple(notes))
    return swapped(found, made) if variant == "released" else found


def _fold(row: Mapping[str, str], file: Path) -> int:
    return whole(row["tfrecord"].removesuffix(".0"), file)


def _patient(row: Mapping[str, str], year: str) -> str:
    """The patient where one is named; 2019 has none, in words or as -1."""
    name = (row.get("patient_id") or "").strip()
    return "" if name in ("", "-1", "-1.0", "nan") else f"{year}:{name}"


LOADERS: dict[str, Loader] = {
    "cct20": cct20, "aptos2019": aptos2019, "melanoma": melanoma, "cassava": cassava, "eurosat": eurosat,
}  # fmt: skip
