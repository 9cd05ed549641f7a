"""The traps of Fang et al.'s six data sets and of their released code."""

import csv
import json
from collections import Counter
from pathlib import Path

import numpy as np
import pytest
from make_layouts import Counts, aptos2019, cassava, cct20, eurosat, hpa, melanoma, picture
from PIL import Image

from featune.bench.datasets import prepare_official
from featune.bench.datasets.fang2023 import scaled_box
from featune.bench.datasets.human_protein_atlas import HPA_CLASSES, HPA_SPLIT_SHA256
from featune.bench.datasets.list_files import rows_of
from featune.bench.datasets.unpacked_download import seeded_evaluation
from featune.bench.tasks import Task, labelled_files
from featune.engine.errors import BadInput
from featune.engine.images import Labelled, read_image
from featune.engine.store import file_digest

SHARED = Path(__file__).parents[4] / "shared" / "data"


def prepared(name: str, tmp_path: Path, counts: Counts, variant: str = "default") -> Task:
    return prepare_official(name, tmp_path, tmp_path / "out", counts=counts, variant=variant)


def test_an_image_with_two_boxes_counts_once_unless_annotations_are_asked_for(tmp_path: Path) -> None:
    counts = cct20(tmp_path)
    by_image, by_annotation = (prepared("cct20", tmp_path, counts, v).load("train") for v in ("default", "annotation"))
    assert Counter(by_image.paths)["train-two-cats.jpg"] == 1
    assert Counter(by_annotation.paths)["train-two-cats.jpg"] == 2
    assert len(by_image) == len(set(by_image.paths)) == 8
    assert len(by_annotation) == 11


def test_an_image_of_two_species_has_no_one_label_and_an_empty_one_none(tmp_path: Path) -> None:
    made = prepared("cct20", tmp_path, cct20(tmp_path))
    paths = made.load("test").paths
    assert "cis_test-cat-and-dog.jpg" not in paths
    assert "cis_test-empty.jpg" not in paths
    assert any("cis_test: images with animals of several classes left out: 1" in note for note in made.notes)


def test_cameras_that_training_has_seen_are_apart_from_those_it_has_not(tmp_path: Path) -> None:
    counts = cct20(tmp_path)
    cis, trans = prepared("cct20", tmp_path, counts), prepared("cct20", tmp_path, counts, "trans")
    assert cis.load("test_trans").paths == trans.load("test").paths
    seen = set(cis.load("train").groups)
    assert set(cis.load("test").groups) <= seen
    assert not set(trans.load("test").groups) & seen
    assert all(path.startswith("cis_val") for path in cis.load("val").paths)


def test_categories_are_numbered_in_the_order_of_the_released_code(tmp_path: Path) -> None:
    made = prepared("cct20", tmp_path, cct20(tmp_path))
    assert (made.classes[5], made.classes[9], made.classes[14]) == ("dog", "cat", "rodent")
    train = made.load("train")
    assert {path.split("-")[1][:3]: label for path, (label,) in zip(train.paths, train.labels, strict=True)} == {
        "cat": 9, "dog": 5, "two": 9,
    }  # fmt: skip


def test_boxes_are_scaled_from_the_original_to_the_small_image() -> None:
    assert scaled_box([1024, 747, 512, 373.5], (2048, 1494), (64, 48)) == (32, 24, 48, 36)
    assert scaled_box([2047, 1493, 400, 400], (2048, 1494), (64, 48)) == (63, 47, 64, 48)
    left, top, right, bottom = scaled_box([5, 5, 0, 0], (2048, 1494), (64, 48))
    assert right > left
    assert bottom > top


def test_crops_show_what_is_in_the_box_and_need_one(tmp_path: Path) -> None:
    made = prepared("cct20", tmp_path, cct20(tmp_path), "crops")
    train = made.load("train")
    assert len(train) == 10  # 11 annotations, one of which has no box
    assert any(note == "train: annotations without a box left out: 1" for note in made.notes)
    number = next(i for i, path in enumerate(train.paths) if path.startswith("train/train-cat0"))
    whole = read_image(tmp_path / "CCT-20" / "eccv_18_all_images_sm" / "train-cat0.jpg")
    assert np.array_equal(read_image(train.file(number)), whole.crop((32, 24, 48, 36)))


def test_an_unknown_category_is_refused(tmp_path: Path) -> None:
    counts = cct20(tmp_path)
    file = tmp_path / "CCT-20" / "eccv_18_annotation_files" / "train_annotations.json"
    content = json.loads(file.read_text())
    content["annotations"][0]["category_id"] = 77
    file.write_text(json.dumps(content))
    with pytest.raises(BadInput, match="category 77 found"):
        prepared("cct20", tmp_path, counts)


@pytest.mark.parametrize(("name", "make"), [("cct20", cct20), ("aptos2019", aptos2019), ("melanoma", melanoma)])
def test_only_the_released_variant_exchanges_red_and_blue(name: str, make, tmp_path: Path) -> None:
    counts = make(tmp_path)
    right, wrong = (prepared(name, tmp_path, counts, variant).load("test") for variant in ("default", "released"))
    assert set(wrong.paths) == {str(Path(path).with_suffix(".png")) for path in wrong.paths}
    place = {Path(path).stem: i for i, path in enumerate(wrong.paths)}
    for i, path in enumerate(right.paths):
        as_is, fed = (
            np.asarray(read_image(items.file(k))) for items, k in ((right, i), (wrong, place[Path(path).stem]))
        )
        assert np.array_equal(as_is, np.asarray(read_image(Path(right.root, path))))
        assert np.array_equal(fed, as_is[..., ::-1])


@pytest.mark.parametrize(("name", "make"), [("cassava", cassava), ("eurosat", eurosat)])
def test_released_code_that_read_rgb_stays_rgb(name: str, make, tmp_path: Path) -> None:
    made = prepared(name, tmp_path, make(tmp_path), "released")
    assert made.load("test").root.startswith(str(tmp_path))
    assert not (tmp_path / "out" / f"{name}-released" / "images").exists()


@pytest.mark.parametrize("name", ["aptos2019", "cassava", "eurosat", "melanoma"])
def test_selection_on_the_test_split_is_the_released_variants_alone(name: str, tmp_path: Path) -> None:
    counts = {"aptos2019": aptos2019, "cassava": cassava, "eurosat": eurosat, "melanoma": melanoma}[name](tmp_path)
    ours, released = prepared(name, tmp_path, counts), prepared(name, tmp_path, counts, "released")
    assert released.load("val").paths == released.load("test").paths
    assert not set(ours.load("val").paths) & set(ours.load("test").paths)
    stems = [{Path(path).stem for path in made.load("test").paths} for made in (ours, released)]
    assert stems[0] == stems[1]
    assert ours.counts["train"] + ours.counts["val"] == released.counts["train"]


def test_the_released_draw_is_legacy_numpys_choice_per_class_from_one_stream() -> None:
    """The rule written out as the released code has it, with the global generator, on unsorted labels."""
    labels = [2, 0, 1, 1, 0, 2, 2, 0, 1, 0, 0, 1, 2, 0, 1] * 3
    np.random.seed(414)  # noqa: NPY002
    expected: list[int] = []
    for number in range(3):
        members = [i for i, label in enumerate(labels) if label == number]
        expected += np.random.choice(members, int(0.2 * len(members)), replace=False).tolist()  # noqa: NPY002
    assert seeded_evaluation(labels, 3, 414) == sorted(expected)


def test_the_published_grades_of_aptos_give_731_of_3662() -> None:
    labels = np.repeat(np.arange(5), [1805, 370, 999, 193, 295]).tolist()
    assert len(labels) == 3662
    assert len(seeded_evaluation(labels, 5, 414)) == 731


def test_eurosat_is_numbered_in_order_of_names_not_of_numbers(tmp_path: Path) -> None:
    """As torchvision's ImageFolder lists it, on which the released draw was made."""
    made = prepared("eurosat", tmp_path, eurosat(tmp_path), "released")
    names = sorted(f"River_{i}.jpg" for i in range(1, 13))
    assert names[1] == "River_10.jpg"
    labels = [number for number in range(3) for _ in range(12)]
    rivers = [names[i - 24] for i in seeded_evaluation(labels, 3, 42) if i >= 24]
    assert [Path(path).name for path in made.load("test").paths if path.startswith("River")] == rivers


def test_zenodos_folder_is_eurosat_too(tmp_path: Path) -> None:
    counts = eurosat(tmp_path / "tv")
    (tmp_path / "tv" / "eurosat" / "2750").rename(tmp_path / "EuroSAT_RGB")
    assert prepared("eurosat", tmp_path, counts).counts["test"] == 6


def test_melanoma_draws_2020_before_2019_from_one_stream(tmp_path: Path) -> None:
    made = prepared("melanoma", tmp_path, melanoma(tmp_path), "released")
    np.random.seed(23)  # noqa: NPY002
    for year in ("2020", "2019"):
        train = np.random.choice(list(range(10)), size=8, replace=False)  # noqa: NPY002
        held = {path.split("_")[2] for path in made.load("test").paths if f"_{year}_" in path}
        assert held == {str(fold) for fold in set(range(10)) - set(train.tolist())}


def test_no_patient_and_no_duplicate_straddles_melanomas_splits(tmp_path: Path) -> None:
    made = prepared("melanoma", tmp_path, melanoma(tmp_path))
    patients = [set(filter(None, made.load(split).groups)) for split in ("train", "val", "test")]
    assert all(patients)
    assert len(set().union(*patients)) == sum(map(len, patients)) == 20
    assert made.notes == ("images with tfrecord -1 (duplicates) left out: 4",)
    folds = [{path.split("_")[1:3][1] + path.split("_")[1] for path in made.load(s).paths} for s in ("train", "val")]
    assert not folds[0] & folds[1]


def test_a_patient_in_two_folds_is_reported(tmp_path: Path) -> None:
    counts = melanoma(tmp_path)
    file = tmp_path / "melanoma" / "melanoma-2020" / "train.csv"
    rows = rows_of(file)
    for row in rows:
        if row["tfrecord"] in ("0", "1", "2", "3", "4", "5"):
            row["patient_id"] = "IP_everywhere"
    with open(file, "w", newline="") as out:
        writer = csv.DictWriter(out, rows[0])
        writer.writeheader()
        writer.writerows(rows)
    assert (
        "patients with images in two splits: 1, as 2020:IP_everywhere" in prepared("melanoma", tmp_path, counts).notes
    )


def test_hpas_four_stains_are_kept_in_their_places(tmp_path: Path) -> None:
    counts = hpa(tmp_path)
    test = prepared("hpa", tmp_path, counts).load("test")
    name = Path(test.paths[0]).stem
    grey = {colour: np.asarray(Image.open(tmp_path / "hpa" / "train" / f"{name}_{colour}.png"))
            for colour in ("red", "green", "blue", "yellow")}  # fmt: skip
    with Image.open(test.file(0)) as image:
        assert image.mode == "RGBA"
        assert np.array_equal(np.asarray(image), np.stack(list(grey.values()), axis=2))
    seen = np.asarray(read_image(test.file(0)))
    assert np.array_equal(seen, np.stack([grey["red"], grey["green"], grey["blue"]], axis=2))
    mixed = np.asarray(read_image(prepared("hpa", tmp_path, counts, "mixed").load("test").file(0)))
    assert np.array_equal(mixed[..., 0], (grey["red"].astype(int) + grey["yellow"]) // 2)
    assert np.array_equal(mixed[..., 2], grey["blue"])
    released = np.asarray(read_image(prepared("hpa", tmp_path, counts, "released").load("test").file(0)))
    assert np.array_equal(released, seen[..., ::-1])


def test_hpa_that_was_merged_by_others_is_read_as_it_is(tmp_path: Path) -> None:
    counts = hpa(tmp_path, merged=True)
    test = prepared("hpa", tmp_path, counts).load("test")
    with Image.open(test.file(0)) as ours, Image.open(tmp_path / "hpa" / "rgby" / "train" / test.paths[0]) as theirs:
        assert np.array_equal(np.asarray(ours), np.asarray(theirs))


def test_an_hpa_image_without_its_yellow_is_named(tmp_path: Path) -> None:
    counts = hpa(tmp_path)
    (tmp_path / "hpa" / "train" / "val-1_yellow.png").unlink()
    with pytest.raises(BadInput, match=r"val-1_yellow\.png: no such file"):
        prepared("hpa", tmp_path, counts)


def hpa_class_counts(items: Labelled) -> list[int]:
    """Images of each class, of which an image may have several."""
    counts = Counter(number for labels in items.labels for number in labels)
    return [counts[number] for number in range(len(HPA_CLASSES))]


def test_hpas_labels_are_sets_and_its_classes_are_counted(tmp_path: Path) -> None:
    made = prepared("hpa", tmp_path, hpa(tmp_path))
    train = made.load("train")
    label = dict(zip(train.paths, train.labels, strict=True))
    assert label["train-0.png"] == (27,)
    assert label["train-1.png"] == (0, 2)  # "2 0" in the file
    counts = hpa_class_counts(train)
    assert (counts[0], counts[25], counts[27]) == (4, 3, 1)
    assert train.truth(28, multilabel=True).sum() == sum(counts)
    assert made.notes[0].endswith("is not the split file of the paper")


def test_class_counts_of_the_papers_split_are_the_published_ones() -> None:
    split, published = SHARED / "hpa-split" / "hpa.split.stratified.small.0.csv", SHARED / "published"
    if not split.exists():
        pytest.skip("the split file of the Human Protein Atlas is not on this machine")
    assert file_digest(split) == HPA_SPLIT_SHA256
    rows = rows_of(split, "Id", "Target", "Split")
    lines = (published / "F_hpa_class_counts.csv").read_text().splitlines()
    table = list(csv.DictReader(line for line in lines if not line.startswith("#")))
    assert tuple(row["class_name"] for row in table) == HPA_CLASSES
    for part in ("train", "val", "test_val"):
        of = [row for row in rows if row["Split"] == part]
        items = labelled_files(
            Path(), [row["Id"] for row in of], [tuple(map(int, row["Target"].split())) for row in of]
        )
        assert hpa_class_counts(items) == [int(row[part]) for row in table]


def test_kaggles_class_names_come_from_the_map_in_order_of_numbers(tmp_path: Path) -> None:
    made = prepared("cassava", tmp_path, cassava(tmp_path))
    assert made.classes[0].endswith("(CBB)")
    assert made.classes[4] == "Healthy"


def test_a_csv_without_its_columns_is_refused(tmp_path: Path) -> None:
    counts = aptos2019(tmp_path)
    (tmp_path / "aptos2019" / "train.csv").write_text("id,grade\na,0\n")
    picture(tmp_path / "aptos2019" / "train_images" / "a.png")
    with pytest.raises(BadInput, match="columns id_code, diagnosis expected, id, grade found"):
        prepared("aptos2019", tmp_path, counts)
