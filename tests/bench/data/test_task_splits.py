"""Data strings as tasks: which split is which, and classes that mean the same in all of them."""

import io
import json
import tarfile
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest
from make_layouts import caltech101, picture

from featune.bench.data import Request, Source, look, parsed_splits, prepare, task_name
from featune.bench.progress import Lines, Progress, Silent
from featune.bench.study import source_of
from featune.bench.study.schema import TaskEntry
from featune.bench.study.study_file import _source
from featune.engine.errors import BadInput
from featune.engine.images import read_image

KINDS = ("cat", "dog", "emu")


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


def source(text: str, splits: Mapping[str, str] | None = None, **more: object) -> Source:
    return Source("t", images=Request(text, **more), splits=splits or {})  # type: ignore[arg-type]


def shard(path: Path, images: Mapping[str, str]) -> None:
    """A WebDataset shard of {key: class name}."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w") as archive:
        for key, name in images.items():
            data = picture(path.parent / "made" / f"{path.stem}{key}.png").read_bytes()
            for suffix, content in (("png", data), ("cls", name.encode())):
                member = tarfile.TarInfo(f"{key}.{suffix}")
                member.size = len(content)
                archive.addfile(member, io.BytesIO(content))


def test_the_words_in_shards_names_are_splits_and_classes_are_numbered_alike(tmp_path: Path) -> None:
    pytest.importorskip("webdataset", reason="webdataset is not installed")
    shard(tmp_path / "set" / "x-train-0.tar", {f"{i}": KINDS[i % 3] for i in range(30)})
    shard(tmp_path / "set" / "x-test-0.tar", {"0": "emu", "1": "dog"})  # no cat: numbered alone, dog would be 0
    made = prepare(source(f"wds/{tmp_path}/set"), tmp_path / "out")
    assert made.classes == KINDS
    assert dict(made.counts) == {"train": 24, "val": 6, "test": 2}
    test = made.load("test")
    assert test.labels == ((2,), (1,))
    assert np.asarray(read_image(test.file(0))).shape == (5, 6, 3)
    assert made.source.startswith(f"wds/{tmp_path}/set: its splits train, test; val is 80% train / 20% val of train")


def hub(folder: Path, parts: Mapping[str, list[str]]) -> str:
    datasets = pytest.importorskip("datasets", reason="datasets is not installed")
    for split, names in parts.items():
        images = [picture(folder / "made" / f"{split}{i}.png").read_bytes() for i in range(len(names))]
        columns = {"image": [{"bytes": data, "path": None} for data in images], "kind": names}
        features = datasets.Features({"image": datasets.Image(), "kind": datasets.Value("string")})
        (folder / "data").mkdir(exist_ok=True)
        rows = datasets.Dataset.from_dict(columns, features=features)
        rows.to_parquet(str(folder / "data" / f"{split}-00000-of-00001.parquet"))
    return f"hfds/{folder}"


@pytest.mark.parametrize(("progress", "shown"), [(Silent(), False), (Lines(io.StringIO()), True)])
def test_the_librarys_own_bars_are_silent_where_ours_are(
    progress: Progress, shown: bool, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    text = hub(tmp_path, {"train": list(KINDS) * 3, "test": list(KINDS)})
    request = Request(text, target_key="kind", root=tmp_path / "cache")
    capfd.readouterr()  # of the writing
    look(Source("t", images=request), progress)
    assert ("split" in capfd.readouterr().err) == shown


def test_a_hub_set_without_a_test_is_asked_which_split_is_which(tmp_path: Path) -> None:
    text = hub(tmp_path / "set", {"train": list(KINDS) * 5, "validation": list(KINDS)})
    options = {"target_key": "kind", "root": tmp_path / "hub"}
    with pytest.raises(
        BadInput,
        match="no test; say which is which, as test: validation under splits, or --splits test=",
    ):
        look(source(text, **options))
    made = prepare(source(text, {"test": "validation"}, **options), tmp_path / "out")
    assert dict(made.counts) == {"train": 12, "val": 3, "test": 3}
    assert made.load("test").labels == ((0,), (1,), (2,))
    assert made.load("train").root == made.root == "/"  # each split is packed in a folder of its own
    with pytest.raises(BadInput, match="validatoin asked for; nearest: validation"):
        look(source(text, {"test": "validatoin"}, **options))
    with pytest.raises(BadInput, match="split validation is used for two of train, val and test"):
        look(source(text, {"test": "validation", "val": "validation"}, **options))


def test_images_without_a_label_are_refused(tmp_path: Path) -> None:
    text = hub(tmp_path / "set", {"train": list(KINDS) * 5, "test": list(KINDS)})
    with pytest.raises(BadInput, match="images without labels found; name the target key"):
        look(source(text, root=tmp_path / "hub"))


def test_what_has_no_splits_is_cut_in_three(tmp_path: Path) -> None:
    for kind in KINDS[:2]:
        with tarfile.open(tmp_path / f"{kind}.tar", "w") as archive:
            for i in range(10):
                archive.add(picture(tmp_path / "made" / kind / f"{i}.png"), f"{i}.png")
    (tmp_path / "tars").mkdir()
    for kind in KINDS[:2]:
        (tmp_path / f"{kind}.tar").rename(tmp_path / "tars" / f"{kind}.tar")
    layout = look(source(str(tmp_path / "tars")))
    assert {split: len(items) for split, items in layout.splits.items()} == {"train": 12, "val": 4, "test": 4}
    caltech101(tmp_path)
    layout = look(source("torch/caltech101", root=tmp_path))
    assert [len(items) for items in layout.splits.values()] == [41, 14, 14]


def test_the_test_half_of_a_torch_set_is_never_val(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """torchvision knows train and not train only, so that asking it for val would give test."""
    import pickle

    import torchvision.datasets as sets

    folder = tmp_path / "cifar-10-batches-py"
    folder.mkdir(parents=True)
    for seed, part in enumerate(("train", "test")):
        pixels = np.random.default_rng(seed).integers(0, 256, (20, 3072), dtype=np.uint8)
        (folder / part).write_bytes(pickle.dumps({"data": pixels, "labels": [i % 2 for i in range(20)]}))
    (folder / "names").write_bytes(pickle.dumps({"label_names": ["cat", "dog"]}))
    monkeypatch.setattr(sets.CIFAR10, "train_list", [["train", None]])
    monkeypatch.setattr(sets.CIFAR10, "test_list", [["test", None]])
    monkeypatch.setattr(sets.CIFAR10, "meta", {"filename": "names", "key": "label_names", "md5": None})
    made = prepare(source("torch/cifar10", root=tmp_path), tmp_path / "out")
    assert dict(made.counts) == {"train": 16, "val": 4, "test": 20}
    assert made.classes == ("cat", "dog")
    assert made.notes == ()  # no image is in two splits


@pytest.mark.parametrize(("name", "known"), [
    ("mnist", ["train", "test"]), ("dtd", ["train", "val", "test"]), ("oxfordiiitpet", ["trainval", "test"]),
    ("fgvc_aircraft", ["train", "trainval", "val", "test"]), ("eurosat", []), ("imagenet", ["train", "val"]),
    ("usps", ["train", "test"]),
])  # fmt: skip
def test_splits_of_torchvision_are_asked_of_its_classes(name: str, known: list[str], tmp_path: Path) -> None:
    from featune.bench.data.torchvision_names import torch_splits

    assert torch_splits(Request(f"torch/{name}", root=tmp_path), Silent()) == known


def test_a_study_file_and_the_probe_take_data_strings(tmp_path: Path, image_folder: Callable[..., Path]) -> None:
    entry = TaskEntry(
        images="hfds/owner/some-set:small", splits={"test": "validation"}, target_key="kind", metric="map"
    )
    made = _source(entry, tmp_path)
    assert (made.name, made.metric, made.splits) == ("some-set-small", "map", {"test": "validation"})
    assert made.images == Request("hfds/owner/some-set:small", target_key="kind")
    (tmp_path / "shards").mkdir()
    shards = _source(TaskEntry(images="wds/shards"), tmp_path).images
    assert shards == Request(f"wds/{tmp_path}/shards", root=tmp_path / "data")
    beside, given = (_source(TaskEntry(images="torch/dtd", root=root), tmp_path).images for root in (None, Path("x")))
    assert beside == Request("torch/dtd", root=tmp_path / "data")
    assert given == Request("torch/dtd", root=tmp_path / "x")
    pattern = _source(TaskEntry(images="wds/shards/{0..3}.tar"), tmp_path).images
    assert pattern == Request("wds/shards/{0..3}.tar", root=tmp_path)  # seen from the study file's folder, too
    assert source_of(Request("torch/cifar10"), "top1", 3, {}).images == Request("torch/cifar10")
    folder = image_folder()
    assert source_of(Request(str(folder)), "top1", 3, {}).folder == folder
    with pytest.raises(ValueError, match="splits, target_key: an option of images only"):
        TaskEntry(folder=folder, splits={"test": "dev"}, target_key="x")
    for unused, splits in ((Request(str(folder), target_key="x"), {}), (Request(str(folder)), {"test": "dev"})):
        with pytest.raises(BadInput, match="are of data strings, leave them out"):
            source_of(unused, "top1", 3, splits)


def test_splits_are_named_in_the_command_as_pairs() -> None:
    assert parsed_splits("test=validation, train=train[:50%]") == {"test": "validation", "train": "train[:50%]"}
    for wrong in ("validation", "dev=x", "test="):
        with pytest.raises(BadInput, match=f"--splits: {wrong} found; expected train=NAME"):
            parsed_splits(wrong)


def test_a_task_is_called_by_the_last_part_of_its_string() -> None:
    texts = ("torch/cifar10", "hfds/owner/name:config", "wds/shards/set-{0000..0009}.tar", "a/b.tar", "wds/x")
    assert [task_name(text) for text in texts] == ["cifar10", "name-config", "set-0000..0009", "b", "x"]


def test_an_info_file_names_splits(tmp_path: Path) -> None:
    from featune.bench.data.webdataset_shards import wds_splits

    (tmp_path / "_info.json").write_text(json.dumps({"splits": {"train": {"filenames": []}, "dev": {"filenames": []}}}))
    assert wds_splits(Request(f"wds/{tmp_path}"), Silent()) == ["train", "dev"]


def test_every_word_that_tasks_know_names_shards_and_a_shard_of_two_is_refused(tmp_path: Path) -> None:
    from featune.bench.data.webdataset_shards import wds_splits

    for name in ("x-trainval-0", "x-dev-0", "x-testing-0"):
        (tmp_path / f"{name}.tar").touch()
    assert wds_splits(Request(f"wds/{tmp_path}"), Silent()) == ["trainval", "dev", "testing"]
    (tmp_path / "dev-test-0.tar").touch()  # as dev, its images of test would be val
    with pytest.raises(BadInput, match=r"dev-test-0\.tar would be of dev and test"):
        wds_splits(Request(f"wds/{tmp_path}"), Silent())
