"""Data strings: each kind on a tiny example that the test makes."""

import io
import json
import pickle
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from make_layouts import picture, table
from PIL import Image

from featune.bench.data import Data, Request, Source, open_data, prepare
from featune.bench.data.request import numbered
from featune.bench.tasks import items_of_table, read_table, table_layout
from featune.engine.errors import BadInput, Missing
from featune.engine.images import encoded, read_image


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def classes_of(data: Data) -> list[tuple[str, ...]]:
    return [tuple(data.classes[label] for label in labels) for labels in data.items.labels]


def test_a_flat_folder_has_images_and_no_labels(tmp_path: Path) -> None:
    for name in ("b.png", "a.jpg", "sub/c.png", ".hidden.png"):
        picture(tmp_path / "flat" / name)
    data = open_data(Request(str(tmp_path / "flat")))
    assert data.items.paths == ("a.jpg", "b.png", "sub/c.png")
    assert data.items.labels == ((), (), ())
    assert data.classes == ()


def test_class_folders_are_labels_and_a_split_is_one_of_its_folders(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=3, val=1, test=2)
    data = open_data(Request(str(folder), split="validation"))
    assert data.classes == ("blue", "green", "red")
    assert data.items.paths == ("val/blue/0.png", "val/green/0.png", "val/red/0.png")
    assert data.items.labels == ((0,), (1,), (2,))
    assert len(open_data(Request(str(folder), split="all")).items) == 18
    assert len(open_data(Request(str(folder / "train"))).items) == 9
    with pytest.raises(BadInput, match="3 splits found; give --split, one of train, val, test, all"):
        open_data(Request(str(folder)))
    with pytest.raises(BadInput, match="no split 'tset'; nearest: test"):
        open_data(Request(str(folder), split="tset"))


def test_a_splits_classes_are_numbered_over_all_splits(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=1, val=1)
    for image in (folder / "val" / "blue").iterdir():
        image.unlink()
    (folder / "val" / "blue").rmdir()
    assert open_data(Request(str(folder), split="val")).items.labels == ((1,), (2,))


def test_a_table_needs_no_labels_and_its_columns_may_have_other_names(tmp_path: Path) -> None:
    rows = [(picture(tmp_path / f"{i}.png").name, "ab"[i % 2], ("train", "test")[i // 3]) for i in range(5)]
    table(tmp_path / "t.csv", ("file", "kind", "split"), rows)
    text = str(tmp_path / "t.csv")
    bare = open_data(Request(text, split="test", input_key="file"))
    assert (bare.items.paths, bare.items.labels, bare.classes) == (("3.png", "4.png"), ((), ()), ())
    named = open_data(Request(text, split="all", input_key="file", target_key="kind"))
    assert classes_of(named) == [("a",), ("b",), ("a",), ("b",), ("a",)]
    with pytest.raises(BadInput, match="no column path; found file, kind, split"):
        open_data(Request(text))
    with pytest.raises(BadInput, match="give --split"):
        open_data(Request(text, input_key="file"))


def test_a_spreadsheets_capitals_are_understood_in_splits_and_named_in_columns(tmp_path: Path) -> None:
    rows = [(picture(tmp_path / f"{i}.png").name, "ab"[i % 2], ("Train", "Test")[i // 3]) for i in range(5)]
    table(tmp_path / "t.csv", ("path", "label", "split"), rows)
    assert open_data(Request(str(tmp_path / "t.csv"), split="test")).items.paths == ("3.png", "4.png")
    table(tmp_path / "u.csv", ("Path", "Label", "split"), rows)
    with pytest.raises(BadInput, match="no column path; found Path, Label, split; rename Path to path"):
        open_data(Request(str(tmp_path / "u.csv"), split="test"))
    with pytest.raises(BadInput, match=r"no column path and label; found .*; rename Path to path and Label to label"):
        items_of_table(tmp_path / "u.csv", read_table(tmp_path / "u.csv"))


@pytest.mark.parametrize(
    ("asked", "found"),
    [("train", "axd"), ("Train", "axd"), ("training", "axd"), ("validation", "bf"), ("val", "bf"), ("testing", "c")],
)
def test_a_tables_split_is_all_lines_under_its_usual_names_as_in_a_study(
    asked: str, found: str, tmp_path: Path
) -> None:
    splits = ("train", "TRAIN", "Training", "Val", "valid", "Test")
    rows = [
        (picture(tmp_path / f"{name}.png").name, "ab"[at % 2], split)
        for at, (name, split) in enumerate(zip("axdbfc", splits, strict=True))
    ]
    file = tmp_path / "t.csv"
    table(file, ("path", "label", "split"), rows)
    data = open_data(Request(str(file), split=asked))
    assert data.items.paths == tuple(f"{name}.png" for name in found)
    assert len(data.notes) == (len(found) > 1)
    split = {"a": "train", "b": "val", "c": "test"}[found[0]]
    assert table_layout(file, seed=0).splits[split].paths == data.items.paths
    with pytest.raises(BadInput, match="no split 'dev'"):
        open_data(Request(str(file), split="dev"))


def test_other_names_of_a_tables_splits_are_understood_in_any_case(tmp_path: Path) -> None:
    rows = [(picture(tmp_path / f"{i}.png").name, split) for i, split in enumerate(("fold1", "Fold1", "all", "fold2"))]
    file = tmp_path / "t.csv"
    table(file, ("path", "split"), rows)
    assert open_data(Request(str(file), split="FOLD1")).items.paths == ("0.png", "1.png")
    assert open_data(Request(str(file), split="all")).items.paths == ("2.png",)


def test_two_folders_of_one_split_are_refused(tmp_path: Path) -> None:
    for name in ("train", "Training"):
        picture(tmp_path / "f" / name / "a" / "0.png")
    with pytest.raises(BadInput, match="Training and train found, one folder for train expected"):
        open_data(Request(str(tmp_path / "f"), split="train"))


def test_a_table_whose_split_is_blank_in_places_is_not_read_without_split(tmp_path: Path) -> None:
    rows = [(picture(tmp_path / f"{i}.png").name, split) for i, split in enumerate(("train", "", "val", "train"))]
    file = str(tmp_path / "t.csv")
    table(tmp_path / "t.csv", ("path", "split"), rows)
    with pytest.raises(BadInput, match=r"3 splits found; give --split, one of train, '' \(blank\), val, all"):
        open_data(Request(file))
    assert open_data(Request(file, split="")).items.paths == ("1.png",)
    assert open_data(Request(file, split="train")).items.paths == ("0.png", "3.png")


def test_several_target_columns_of_0_and_1_are_classes(tmp_path: Path) -> None:
    rows = [(picture(tmp_path / f"{i}.png").name, i % 2, int(i > 1), "unused") for i in range(4)]
    table(tmp_path / "t.csv", ("path", "wings", "fur", "label"), rows)
    data = open_data(Request(str(tmp_path / "t.csv"), target_key="wings,fur"))
    assert data.classes == ("wings", "fur")
    assert data.items.labels == ((), (0,), (1,), (0, 1))
    assert open_data(Request(str(tmp_path / "t.csv"), target_key="")).classes == ()


def test_a_prepared_task_is_found_by_folder_and_by_name(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    made = prepare(Source("colours", folder=image_folder()), tmp_path / "data")
    by_folder = open_data(Request(str(tmp_path / "data" / "colours"), split="val"))
    by_name = open_data(Request("colours", split="val", root=tmp_path / "data"))
    assert by_folder.items == by_name.items == made.load("val")
    assert by_name.classes == made.classes
    with pytest.raises(BadInput, match="3 splits found"):
        open_data(Request("colours", root=tmp_path / "data"))


def test_a_known_task_that_is_not_prepared_says_how(tmp_path: Path) -> None:
    with pytest.raises(Missing, match="featune prepare pets"):
        open_data(Request("pets", split="test", root=tmp_path))


@pytest.mark.parametrize("text", ["petz", "tfds/mnist", "hfids/a/b", "torch/no_such_set", "nowhere/at/all"])
def test_a_string_that_means_nothing_is_refused(text: str, tmp_path: Path) -> None:
    with pytest.raises(BadInput, match=r"expected|use hfds/|no no_such_set"):
        open_data(Request(text, split="train", root=tmp_path))


def test_a_limit_is_the_first_so_many_and_a_class_map_renumbers(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=2)
    names = folder / "names.txt"
    names.write_text("red\nblue\n")
    data = open_data(Request(str(folder / "train"), class_map=names))
    assert data.classes == ("red", "blue")
    assert [path.partition("/")[0] for path in data.items.paths] == ["blue", "blue", "red", "red"]
    assert data.items.labels == ((1,), (1,), (0,), (0,))
    assert "2 images of classes" in data.notes[0]
    assert open_data(Request(str(folder / "train"), limit=3)).items.labels == ((0,), (0,), (1,))
    for wrong in ({"limit": 0}, {"class_map": folder / "none.txt"}):
        with pytest.raises(BadInput):
            open_data(Request(str(folder / "train"), **wrong))


def test_a_pickled_class_map_runs_no_code(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=1)
    (folder / "map.pkl").write_bytes(pickle.dumps({"red": 0, "blue": 1, "green": 0}))
    data = open_data(Request(str(folder / "train"), class_map=folder / "map.pkl"))
    assert data.items.labels == ((1,), (0,), (0,))
    (folder / "bad.pkl").write_bytes(b"cos\nsystem\n(S'true'\ntR.")
    with pytest.raises(BadInput, match="not permitted"):
        open_data(Request(str(folder / "train"), class_map=folder / "bad.pkl"))


def test_targets_are_numbers_or_names_or_several_of_them() -> None:
    assert numbered("t", ["b", None, "a"]) == (((1,), (), (0,)), ("a", "b"))
    assert numbered("t", [2, -1, 0]) == (((2,), (), (0,)), ("0", "1", "2"))
    assert numbered("t", [[1, 0], [], [0]], ["x", "y"]) == (((0, 1), (), (0,)), ("x", "y"))
    for targets, classes in (([0.5], None), ([1, "a"], None), ([3], ["x"])):
        with pytest.raises(BadInput, match="--target-key"):
            numbered("t", targets, classes)


# --- tar shards


def shard(path: Path, members: Mapping[str, bytes]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for name, data in members.items():
            member = tarfile.TarInfo(name)
            member.size = len(data)
            archive.addfile(member, io.BytesIO(data))
    return path


def png(tmp_path: Path, name: str) -> bytes:
    return picture(tmp_path / "made" / name).read_bytes()


def test_a_tar_of_class_folders_is_read_in_place(tmp_path: Path) -> None:
    images = {f"train/{kind}/{i}.png": png(tmp_path, f"{kind}{i}.png") for kind in ("dog", "cat") for i in range(2)}
    shard(tmp_path / "set.tar", images | {"train/readme.txt": b"none"})
    data = open_data(Request(str(tmp_path / "set.tar")))
    assert classes_of(data) == [("cat",), ("cat",), ("dog",), ("dog",)]
    assert [encoded(data.items.file(i)) for i in range(4)] == [images[name] for name in sorted(images)]
    assert not list(tmp_path.rglob("cat/*"))


def test_a_folder_of_tars_has_a_class_per_tar(tmp_path: Path) -> None:
    for kind in ("n01", "n02"):
        shard(tmp_path / "tars" / f"{kind}.tar", {f"{kind}_{i}.png": png(tmp_path, f"{kind}{i}.png") for i in range(2)})
    data = open_data(Request(str(tmp_path / "tars")))
    assert classes_of(data) == [("n01",), ("n01",), ("n02",), ("n02",)]


def wds(tmp_path: Path) -> tuple[Path, dict[str, bytes]]:
    """Two shards of three samples: image, cls and json; one sample without an image."""
    images = {}
    for part in range(2):
        members: dict[str, bytes] = {}
        for i in range(3):
            key = f"{part}{i}"
            images[key] = png(tmp_path, f"{key}.png")
            fields = {"colour": i % 2, "tags": [0, 2], "big": part, "name": "ab"[part]}
            members |= {
                f"{key}.png": images[key],
                f"{key}.cls": b"%d\n" % i,
                f"{key}.json": json.dumps(fields).encode(),
            }
        members |= {"none.cls": b"7"}
        shard(tmp_path / "wds" / f"set-{('train', 'val')[part]}-000{part}.tar", members)
    return tmp_path / "wds", images


def test_webdataset_samples_are_read_in_place_in_the_shards_order(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder, images = wds(tmp_path)
    data = open_data(Request(f"wds/{folder}/set-{{train-0000,val-0001}}.tar"))
    assert [encoded(data.items.file(i)) for i in range(6)] == list(images.values())
    assert data.items.labels == ((0,), (1,), (2,)) * 2
    assert data.notes == ("2 samples without an image are left out, with cls",)
    assert np.asarray(read_image(data.items.file(4))).shape == (5, 6, 3)
    assert open_data(Request(f"wds/{folder}/set-train-{{0000..0000}}.tar", limit=2)).items.labels == ((0,), (1,))


def test_the_samples_are_those_that_webdataset_gives(tmp_path: Path) -> None:
    theirs_of = pytest.importorskip("webdataset.tariterators", reason="webdataset is not installed")
    folder, _ = wds(tmp_path)
    theirs = []
    for path in sorted(folder.glob("*.tar")):
        with tarfile.open(path) as archive:
            named = {m.name: archive.extractfile(m).read() for m in archive}  # type: ignore[union-attr]
        files = [{"__url__": "here", "fname": name, "data": data} for name, data in named.items()]
        theirs += [(s["png"], int(s["cls"])) for s in theirs_of.group_by_keys(files) if "png" in s]
    data = open_data(Request(f"wds/{folder}"))
    assert [(encoded(data.items.file(i)), data.items.labels[i][0]) for i in range(6)] == theirs


def test_a_target_key_names_an_extension_a_field_or_several_fields(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder, _ = wds(tmp_path)
    found = {
        key: open_data(Request(f"wds/{folder}", target_key=key, split="train"))
        for key in ("colour", "tags", "name", "cls", "colour,big", "")
    }
    assert found["colour"].items.labels == ((0,), (1,), (0,))
    assert found["tags"].items.labels == ((0, 2),) * 3
    assert found["name"].classes == ("a",)
    assert found["cls"].items.labels == ((0,), (1,), (2,))
    assert found["colour,big"].classes == ("colour", "big")
    assert found["colour,big"].items.labels == ((), (0,), ())
    assert found[""].items.labels == ((),) * 3
    with pytest.raises(BadInput, match="no field size"):
        open_data(Request(f"wds/{folder}", target_key="size"))


def test_a_folders_info_names_the_shards_of_a_split(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder, _ = wds(tmp_path)
    splits = {"one": {"filenames": ["set-val-0001.tar"]}, "two": {"filenames": ["set-train-0000.tar"]}}
    (folder / "_info.json").write_text(json.dumps({"splits": splits}))
    assert all("val" in path for path in open_data(Request(f"wds/{folder}", split="one")).items.paths)
    assert len(open_data(Request(f"wds/{folder}", split="all")).items) == 6
    with pytest.raises(BadInput, match="2 splits found"):
        open_data(Request(f"wds/{folder}"))
    with pytest.raises(BadInput, match="no split 'three'"):
        open_data(Request(f"wds/{folder}", split="three"))


def test_shards_that_are_elsewhere_are_refused_with_the_way_out(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder, _ = wds(tmp_path)
    with pytest.raises(BadInput, match=r"3 shards expected .* 1 found, .*0001.tar is not there"):
        open_data(Request(f"wds/{folder}/set-train-{{0000..0002}}.tar"))
    with pytest.raises(BadInput, match="copy them"):
        open_data(Request("wds/s3://bucket/a.tar"))
    with pytest.raises(Missing, match=r"--download to fetch http://example.invalid/a.tar"):
        open_data(Request("wds/http://example.invalid/a.tar", root=tmp_path))


@pytest.mark.parametrize(
    "address",
    ["127.0.0.1:9/../../../../x/.bash_aliases", "127.0.0.1:9/a/../b.tar", "127.0.0.1:9//etc/a.tar",
     f"127.0.0.1:9/{'x' * 256}.tar", "127.0.0.1:9/", "../a.tar", "127.0.0.1:9/{a,..}/b.tar"],
)  # fmt: skip
def test_an_address_that_would_leave_its_folder_is_refused_before_it_is_asked_for(address: str, tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    with pytest.raises(BadInput, match=r"the address .* would lie outside"):
        open_data(Request(f"wds/http://{address}", root=tmp_path / "root", download=True))
    assert not (tmp_path / "root").exists()


@pytest.mark.parametrize("pattern", ["{0..99999999999}.tar", "{0..999999}.tar", "{a,b}" * 60, "{-1..9999999999999}"])
def test_a_pattern_of_more_shards_than_anyone_has_is_refused_at_once(pattern: str, tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    with pytest.raises(BadInput, match="more than 100,000 shards"):
        open_data(Request(f"wds/{pattern}", root=tmp_path))


@pytest.mark.parametrize("pattern", ["http://127.0.0.1:9/${NOT_SET}/a.tar", "${NOT_SET}.tar", "{a,{b}.tar", "}{.tar"])
def test_a_pattern_that_cannot_be_expanded_is_refused(pattern: str, tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    with pytest.raises(BadInput, match=r"check the pattern"):
        open_data(Request(f"wds/{pattern}", root=tmp_path, download=True))


@pytest.mark.parametrize("names", [["../set-train-0000.tar"], ["/etc/passwd"], 5, [5], None])
def test_shards_outside_the_folder_of_their_info_are_not_read(names: object, tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    folder, _ = wds(tmp_path)
    (folder / "_info.json").write_text(json.dumps({"splits": {"one": {"filenames": names}}}))
    with pytest.raises(BadInput, match=r"would lie outside|has no list `filenames`"):
        open_data(Request(f"wds/{folder}", split="one"))


def test_a_task_whose_name_would_leave_its_folder_is_refused_before_any_work(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    for name in ("../victim", "", "x" * 256):
        with pytest.raises(BadInput, match="the task's name"):
            prepare(Source(name, folder=image_folder()), tmp_path / "out")
    assert not (tmp_path / "out").exists()


def test_webdataset_that_is_not_installed_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, _ = wds(tmp_path)
    monkeypatch.setitem(__import__("sys").modules, "webdataset.tariterators", None)
    with pytest.raises(Missing, match=r"pip install 'featune\[data\]'"):
        open_data(Request(f"wds/{folder}"))


# --- torchvision


@pytest.fixture
def cifar(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Any]:
    """Files in CIFAR-10's layout, whose hashes torchvision does not know: (root, uint8 pixels [7, 32, 32, 3])."""
    import torchvision.datasets as sets

    pixels = np.random.default_rng(0).integers(0, 256, (7, 32, 32, 3), dtype=np.uint8)
    folder = tmp_path / "raw" / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    flat = pixels.transpose(0, 3, 1, 2).reshape(7, -1)
    (folder / "part").write_bytes(pickle.dumps({"data": flat, "labels": [3, 1, 0, 9, 2, 2, 5]}))
    (folder / "names").write_bytes(pickle.dumps({"label_names": [f"kind {i}" for i in range(10)]}))
    monkeypatch.setattr(sets.CIFAR10, "train_list", [["part", None]])
    monkeypatch.setattr(sets.CIFAR10, "test_list", [["part", None]])
    monkeypatch.setattr(sets.CIFAR10, "meta", {"filename": "names", "key": "label_names", "md5": None})
    return tmp_path / "raw", pixels


def test_arrays_of_torchvision_are_packed_once_without_loss(cifar: tuple[Path, Any], cache: Path) -> None:
    root, pixels = cifar
    data = open_data(Request("torch/cifar10", split="train", root=root))
    seen = np.stack([np.asarray(read_image(data.items.file(i))) for i in range(7)])
    assert np.array_equal(seen, pixels)
    assert data.items.labels == ((3,), (1,), (0,), (9,), (2,), (2,), (5,))
    assert data.classes[9] == "kind 9"
    (tar,) = cache.rglob("00000.tar")
    written = tar.stat().st_mtime_ns
    assert (
        open_data(Request("Torch/CIFAR10", split="validation", root=root, limit=2)).items.paths == data.items.paths[:2]
    )
    assert tar.stat().st_mtime_ns == written


def test_files_of_torchvision_are_used_where_they_lie(image_folder: Callable[..., Path], cache: Path) -> None:
    folder = image_folder(train=2, val=1)
    data = open_data(Request("torch/image_folder", split="val", root=folder))
    assert [str(data.items.file(i)) for i in range(3)] == [str(folder / "val" / c / "0.png") for c in data.classes]
    assert data.items.labels == ((0,), (1,), (2,))
    assert not list(cache.rglob("*.tar"))


def test_a_data_set_that_timm_does_not_name_is_opened_by_torchvision(tmp_path: Path, cache: Path) -> None:
    names = ["coast_1.jpg", "coast_2.jpg", "forest_1.jpg"]
    for number, kind in enumerate(("AnnualCrop", "River")):
        for name in names[: number + 1]:
            picture(tmp_path / "eurosat" / "2750" / kind / name)
    data = open_data(Request("torch/eurosat", root=tmp_path))
    assert data.classes == ("AnnualCrop", "River")
    assert data.items.labels == ((0,), (1,), (1,))
    assert not list(cache.rglob("*.tar"))
    with pytest.raises(BadInput, match="no splits; leave --split out"):
        open_data(Request("torch/eurosat", split="train", root=tmp_path))


def test_a_torch_data_set_that_is_not_there_or_lacks_a_split_says_so(tmp_path: Path) -> None:
    for text in ("torch/cifar10", "torch/flowers102"):
        with pytest.raises(Missing, match=r"is not there; give --download"):
            open_data(Request(text, split="train", root=tmp_path))
        with pytest.raises(BadInput, match="give --split"):
            open_data(Request(text, root=tmp_path))
    with pytest.raises(BadInput, match="split"):
        open_data(Request("torch/flowers102", split="second", root=tmp_path))
    for text in ("torch/mnist", "torch/usps"):
        with pytest.raises(BadInput, match="no split 'tran'; nearest: train"):
            open_data(Request(text, split="tran", root=tmp_path))


# --- Hugging Face


def rows_of_bytes(tmp_path: Path) -> tuple[Any, list[bytes]]:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    encodings = [picture(tmp_path / "made" / f"{i}.{('png', 'jpg')[i % 2]}").read_bytes() for i in range(6)]
    features = datasets.Features({
        "img": datasets.Image(), "fine": datasets.ClassLabel(names=["x", "y"]), "name": datasets.Value("string"),
        "several": datasets.Sequence(datasets.ClassLabel(names=["p", "q", "r"])),
        "wings": datasets.Value("int8"), "fur": datasets.Value("bool"),
    })  # fmt: skip
    columns = {
        "img": [{"bytes": data, "path": None} for data in encodings], "fine": [0, 1, 1, 0, 1, 0],
        "name": list("cabcab"), "several": [[], [0], [2, 1], [], [2], [0]], "wings": [0, 1] * 3,
        "fur": [False, False, True] * 2,
    }  # fmt: skip
    return datasets.Dataset.from_dict(columns, features=features), encodings


def test_encoded_rows_are_packed_unchanged_and_labels_follow_the_target_key(tmp_path: Path, cache: Path) -> None:
    rows, encodings = rows_of_bytes(tmp_path)
    rows.save_to_disk(str(tmp_path / "arrow"))
    text = f"hfds/{tmp_path}/arrow"
    data = open_data(Request(text, target_key="fine"))
    assert [encoded(data.items.file(i)) for i in range(6)] == encodings
    assert (data.classes, data.items.labels[:3]) == (("x", "y"), ((0,), (1,), (1,)))
    (tar,) = cache.rglob("00000.tar")
    written = tar.stat().st_mtime_ns
    several = open_data(Request(text, target_key="several", limit=3))
    assert (several.classes, several.items.labels) == (("p", "q", "r"), ((), (0,), (1, 2)))
    assert tar.stat().st_mtime_ns == written
    assert open_data(Request(text, target_key="name")).items.labels == ((2,), (0,), (1,)) * 2
    assert open_data(Request(text, target_key="wings,fur")).items.labels == ((), (0,), (1,), (0,), (), (0, 1))
    assert open_data(Request(text, target_key="")).items.labels == ((),) * 6
    with pytest.raises(BadInput, match="columns fine, several found; name one by --target-key"):
        open_data(Request(text))
    with pytest.raises(BadInput, match="no column age; found img"):
        open_data(Request(text, target_key="age"))


def test_a_folder_of_parquet_files_is_a_data_set_with_splits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows, encodings = rows_of_bytes(tmp_path)
    for split, part in (("train", range(4)), ("test", range(4, 6))):
        path = tmp_path / "set" / "data" / f"{split}-00000-of-00001.parquet"
        path.parent.mkdir(parents=True, exist_ok=True)
        rows.select(part).to_parquet(str(path))
    request = Request(f"hfds/{tmp_path}/set", split="test", target_key="fine", root=tmp_path / "hub")
    data = open_data(request)
    assert [encoded(data.items.file(i)) for i in range(2)] == encodings[4:]
    assert data.items.labels == ((1,), (0,))
    half = open_data(Request(request.text, split="train[:50%]", target_key="fine", root=request.root))
    assert [encoded(half.items.file(i)) for i in range(2)] == encodings[:2]
    with pytest.raises(BadInput, match="2 splits found; give --split"):
        open_data(Request(request.text, root=request.root))
    with pytest.raises(BadInput, match="choose another --split"):
        open_data(Request(request.text, split="val", root=request.root))


def test_a_damaged_file_of_a_hub_set_is_refused_with_what_to_do(tmp_path: Path) -> None:
    rows, _ = rows_of_bytes(tmp_path)
    path = tmp_path / "set" / "train-00000-of-00001.parquet"
    path.parent.mkdir()
    rows.to_parquet(str(path))
    path.write_bytes(path.read_bytes()[:-100])
    with pytest.raises(BadInput, match="repair the files or fetch them again"):
        open_data(Request(f"hfds/{tmp_path}/set", split="train", target_key="fine", root=tmp_path / "hub"))


def test_files_that_a_data_set_names_are_used_where_they_lie(
    image_folder: Callable[..., Path], tmp_path: Path, cache: Path
) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    folder = image_folder(train=2, test=1)
    data = open_data(Request(f"hfds/{folder}", split="test", root=tmp_path / "hub"))
    assert [str(data.items.file(i)) for i in range(3)] == [str(folder / "test" / c / "0.png") for c in data.classes]
    assert data.items.labels == ((0,), (1,), (2,))
    assert not list(cache.rglob("*.tar"))


def test_a_data_set_of_the_hub_is_not_fetched_unasked(tmp_path: Path) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    with pytest.raises(Missing, match=r"is not on this machine; give --download"):
        open_data(Request("hfds/owner/no-such-set", split="train", root=tmp_path))


def test_datasets_that_is_not_installed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "datasets", None)
    with pytest.raises(Missing, match=r"pip install 'featune\[data\]'"):
        open_data(Request("hfds/owner/name"))


def test_an_image_is_the_same_through_every_door(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    pytest.importorskip("datasets", reason="datasets is not installed")
    image = picture(tmp_path / "one" / "kind" / "0.png")
    table(tmp_path / "t.csv", ("path",), [("one/kind/0.png",)])
    shard(tmp_path / "s.tar", {"kind/0.png": image.read_bytes(), "kind/0.cls": b"0"})
    texts = (str(tmp_path / "one"), str(tmp_path / "t.csv"), f"wds/{tmp_path}/s.tar", f"hfds/{tmp_path}/one")
    found = [open_data(Request(text)).items for text in texts]
    found.append(open_data(Request("torch/image_folder", split="train", root=tmp_path / "one")).items)
    assert len({items.content_digest for items in found}) == 1
    assert np.array_equal(np.asarray(read_image(found[2].file(0))), np.asarray(Image.open(image)))


def test_a_table_of_a_header_alone_says_that_it_has_no_rows(tmp_path: Path) -> None:
    table(tmp_path / "t.csv", ("path", "label"), [])
    with pytest.raises(BadInput, match=r"a header \(path, label\) and no rows"):
        open_data(Request(str(tmp_path / "t.csv")))


@pytest.mark.parametrize("names", [("airplane", "bus", "train"), ("beaker", "test-tube")])
def test_class_folders_that_the_hubs_library_takes_for_splits_are_refused(
    names: tuple[str, ...], tmp_path: Path
) -> None:
    pytest.importorskip("datasets", reason="datasets is not installed")
    for name in names:
        for i in range(3):
            picture(tmp_path / "set" / name / f"{i}.png")
    with pytest.raises(BadInput, match=f"{3 * len(names)} images expected, 3 found, .* give the folder itself"):
        open_data(Request(f"hfds/{tmp_path}/set", root=tmp_path / "hub"))
    assert open_data(Request(f"{tmp_path}/set")).classes == names


def test_hidden_folders_are_no_data_of_torchvisions_image_folder_either(tmp_path: Path) -> None:
    for name in ("a/0.png", "b/0.png", ".git/0.png", "a/.thumbnails/0.png", "@eaDir/0.png"):
        picture(tmp_path / "train" / name)
    data = open_data(Request("torch/image_folder", split="train", root=tmp_path))
    assert [Path(path).parts[-2:] for path in data.items.paths] == [("a", "0.png"), ("b", "0.png")]
    assert (data.classes, data.items.labels) == (("a", "b"), ((0,), (1,)))
