"""Class numbers of sources and of class maps: from 1, with gaps, of equal names, and what is no number."""

import json
import pickle
import unicodedata
from pathlib import Path

import pytest
from make_layouts import picture

from featune.bench.data import Data, Request, Source, look, open_data
from featune.bench.data.request import numbered
from featune.bench.data.task_splits import _joined
from featune.bench.tasks import Layout
from featune.engine.errors import BadInput
from featune.engine.images import Labelled


def layout_of(tmp_path: Path, splits: dict[str, list[int]]) -> Layout:
    """A local Hugging Face set of such labels as a task."""
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    features = datasets.Features({"image": datasets.Image(), "label": datasets.Value("int64")})
    parts = {}
    for split, labels in splits.items():
        paths = [str(picture(tmp_path / "made" / f"{split}{i}.png")) for i in range(len(labels))]
        images = [{"bytes": None, "path": path} for path in paths]
        parts[split] = datasets.Dataset.from_dict({"image": images, "label": labels}, features=features)
    datasets.DatasetDict(parts).save_to_disk(str(tmp_path / "set"))
    return look(Source("t", images=Request(f"hfds/{tmp_path}/set")))


@pytest.mark.parametrize(
    "labels",
    [[0, 1, 2], [1, 2, 3], [3, 7, 9], [300_000_001, 300_000_007, 300_000_009], [2, 10, 99_999], [5, 70, 2**40]],
)
def test_the_numbers_that_occur_are_the_classes_in_the_order_of_their_values(labels: list[int], tmp_path: Path) -> None:
    layout = layout_of(tmp_path, {"train": labels * 5, "test": labels[::-1]})
    assert layout.classes == tuple(map(str, labels))
    assert layout.splits["test"].labels == ((2,), (1,), (0,))


def test_numbers_mean_the_same_in_splits_that_lack_some_of_them(tmp_path: Path) -> None:
    for high in (9, 300_000_009):
        layout = layout_of(tmp_path / str(high), {"train": [3, 7, high] * 5, "test": [7, high]})
        assert layout.splits["test"].labels == ((1,), (2,))


def test_a_class_that_only_test_has_is_still_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="train: no images of class 4"):
        layout_of(tmp_path, {"train": [1, 2] * 5, "test": [1, 2, 4]})


def test_small_numbers_are_labels_as_they_are_and_a_catalogues_are_numbered_anew() -> None:
    assert numbered("t", [3, -1, 1]) == (((3,), (), (1,)), ("0", "1", "2", "3"))
    assert numbered("t", [300_000_007, -1, 5]) == (((1,), (), (0,)), ("5", "300000007"))
    assert numbered("t", ["10", "9", "9"]) == (((1,), (0,), (0,)), ("9", "10"))
    assert numbered("t", [True, False]) == (((1,), (0,)), ("0", "1"))


def parts(**splits: tuple[tuple[str, ...], tuple[int, ...]]) -> dict[str, Data]:
    return {
        split: Data(split, Labelled("/r", tuple(map(str, labels)), tuple((label,) for label in labels)), classes)
        for split, (classes, labels) in splits.items()
    }


def test_classes_of_equal_names_stay_two_classes() -> None:
    names = ("crane", "hound", "crane")
    splits, classes, told = _joined(Request("t"), parts(train=(names, (0, 1, 2)), test=(names, (2, 0))))
    assert (classes, told) == (names, "")
    assert [items.labels for items in splits.values()] == [((0,), (1,), (2,)), ((2,), (0,))]
    with pytest.raises(BadInput, match="two classes crane found, and other classes in another split"):
        _joined(Request("t"), parts(train=(names, (0, 1, 2)), test=(("hound",), (0,))))


def test_a_class_that_no_split_has_is_left_out_and_told() -> None:
    names = ("ant", "bee", "cow")
    splits, classes, told = _joined(Request("t"), parts(train=(names, (0, 2)), test=(names, (2,))))
    assert (classes, told) == (("ant", "cow"), "; classes without an image in any split are left out: bee")
    assert splits["test"].labels == ((1,),)


# --- class maps


def mapped(tmp_path: Path, name: str, data: bytes, classes: tuple[str, ...] = ("ant", "bee", "cow")) -> Data:
    for kind in classes:
        for i in range(2):
            picture(tmp_path / "im" / kind / f"{i}.png")
    (tmp_path / name).write_bytes(data)
    return open_data(Request(str(tmp_path / "im"), class_map=tmp_path / name))


@pytest.mark.parametrize(
    "data",
    [b"cow\nbee\nant\n", "\ufeffcow\nbee\nant".encode(), b"cow\r\nbee\r\nant\r\n\r\n", b" cow\nbee \nant\n\n  \n"],
)
def test_a_class_map_is_its_names_whatever_an_editor_puts_around_them(data: bytes, tmp_path: Path) -> None:
    found = mapped(tmp_path, "map.txt", data)
    assert (found.classes, found.items.labels[::2], found.notes) == (("cow", "bee", "ant"), ((2,), (1,), (0,)), ())


@pytest.mark.parametrize(
    ("name", "data", "reason"),
    [
        ("map.txt", b"cow\nbee\ncow\nant\n", "class cow in lines 1 and 3; expected each name once"),
        ("map.txt", b"cow\n\nbee\nant\n", "line 2: a class name expected, nothing found"),
        ("map.txt", "cow\nbee\nant".encode("utf-16"), "in UTF-8"),
        ("map.pkl", pickle.dumps({"cow": "0", "bee": "1"}), "'cow' to '0' found; expected names or numbers to whole"),
        ("map.pkl", pickle.dumps({"cow": -1, "bee": 1}), "'cow' to -1; expected numbers from 0"),
        ("map.pkl", pickle.dumps({"cow": 10**9, "bee": 1}), "'cow' to 1000000000; expected numbers from 0"),
        ("map.pkl", pickle.dumps({"cow": True, "bee": 0.0}), "'cow' to True found"),
        ("map.pkl", pickle.dumps({("cow",): 0}), r"\('cow',\) to 0 found"),
        ("map.pkl", pickle.dumps(["cow"]), "expected a .txt of class names"),
        ("map.pkl", b"", "expected a .txt of class names"),
        ("map.json", json.dumps({"cow": 0}).encode(), "expected a .txt of class names"),
    ],
)
def test_what_is_no_class_map_is_refused_by_its_reason(name: str, data: bytes, reason: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=reason):
        mapped(tmp_path, name, data)


def test_a_class_map_finds_a_name_of_another_unicode_form(tmp_path: Path) -> None:
    found = mapped(tmp_path, "map.txt", "café\nant\n".encode(), ("ant", unicodedata.normalize("NFD", "café")))
    assert (found.items.labels[::2], found.notes) == (((1,), (0,)), ())


def test_names_that_a_class_map_joins_are_one_class_of_both_names(tmp_path: Path) -> None:
    assert mapped(tmp_path, "map.pkl", pickle.dumps({"ant": 0, "bee": 0, "cow": 1})).classes == ("ant / bee", "cow")
