"""`featune imagenet`: accuracies of constructed models and predictions, kept, compared in pairs, resumed."""

import csv
import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from typer.testing import CliRunner, Result

from featune.bench.cli.app import app
from featune.bench.datasets import known_wnids
from featune.bench.imagenet import accuracies_of_file
from featune.bench.imagenet.class_lists import devkit_order, subset
from featune.bench.imagenet.measured import shares_of
from featune.bench.imagenet.predictions import Predictions, predictions_of
from featune.engine.errors import BadInput
from featune.engine.features.files import Part

# Sees one grey level in an image, 20 levels apart, and says the class at that place of PLACES.
FACTORY = """
import torch
PLACES = {places}
class Net(torch.nn.Module):
    num_classes = 1000
    def __init__(self):
        super().__init__()
        self.head = torch.nn.Linear(1, 1000)
        weight, bias = torch.zeros(1000, 1), torch.full((1000,), -1000.0)
        for level, place in enumerate(PLACES):  # -(x - m)^2 but for x^2: 2 m x - m^2
            mean = (20.0 * level + 10) / 255
            weight[place], bias[place] = 2 * mean, -mean * mean
        self.head.weight.data, self.head.bias.data = 300 * weight, 300 * bias
    def forward(self, images):
        return self.head(images.mean((1, 2, 3))[:, None])
def net():
    model = Net()
    model.pretrained_cfg = dict(input_size=(3, 32, 32), mean=(0, 0, 0), std=(1, 1, 1), crop_pct=1.0,
                                interpolation="bilinear")
    return model
"""
PLACES = (5, 65, 283, 500, 970, 999)


@pytest.fixture(autouse=True)
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))


@pytest.fixture
def net(tmp_path: Path) -> str:
    (tmp_path / "nets.py").write_text(FACTORY.format(places=PLACES))
    return f"{tmp_path / 'nets.py'}:net"


def images(folder: Path, labels: list[int], each: int = 1, levels: list[int] | None = None) -> Path:
    """Grey images in wnid folders; the level of number i is i unless given."""
    number = 0
    for level, place in enumerate(labels):
        for _ in range(each):
            number += 1
            shown = levels[level] if levels else level
            path = folder / known_wnids()[place] / f"ILSVRC2012_val_{number:08d}.JPEG"
            path.parent.mkdir(parents=True, exist_ok=True)
            pixels = np.full((32, 32, 3), 20 * shown + 10) + np.random.default_rng(number).integers(-3, 4, (32, 32, 3))
            Image.fromarray(pixels.astype(np.uint8)).save(path, "PNG")
    return folder


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, ["imagenet", *map(str, arguments), "-q"], catch_exceptions=False)


def records(*arguments: object, code: int = 0) -> list[dict]:
    result = run(*arguments, "--json")
    assert result.exit_code == code, result.output
    return json.loads(result.stdout)


@pytest.mark.parametrize("backend", ["torch", "onnxruntime"])
def test_a_model_that_knows_its_classes_is_right_on_every_backend(net: str, backend: str, tmp_path: Path) -> None:
    folder = images(tmp_path / "val", [*PLACES[:5], 1], levels=[0, 1, 2, 3, 4, 5])  # the last shows class 999
    (found,) = records(net, folder, "--backend", backend)
    assert found["shares"]["top1"]["value"] == pytest.approx(5 / 6)
    assert found["shares"]["top1"]["n"] == 6
    assert 0 < found["shares"]["top1"]["low"] < 5 / 6 < found["shares"]["top1"]["high"] < 1
    assert found["backend"] == f"{backend}:cpu"
    assert found["fault"] is None


def test_predictions_are_kept_and_a_second_run_computes_nothing(net: str, tmp_path: Path) -> None:
    folder = images(tmp_path / "val", list(PLACES))
    (first,) = records(net, folder, "--backend", "torch", "--out", tmp_path / "out")
    lines = list(csv.DictReader(Path(first["rows"]).read_text().splitlines()))
    assert [int(line["predicted"]) for line in lines] == list(PLACES)
    assert all(line["top5"].split()[0] == line["predicted"] for line in lines)
    assert {line["right"] for line in lines} == {"1"}
    stored = {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "features").glob("*.npy")}
    (again,) = records(net, folder, "--backend", "torch", "--out", tmp_path / "out")
    assert again == first
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "cache" / "features").glob("*.npy")} == stored
    assert json.loads((tmp_path / "out" / "measured.json").read_text()) == [first]


class Killed(BaseException):
    """In place of SIGKILL: nothing catches it, so what was not on the disk is lost."""


@pytest.mark.parametrize("stop", [2, 5])
def test_a_killed_run_goes_on_behind_what_it_had_saved_and_ends_with_the_same_numbers(
    net: str, stop: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = images(tmp_path / "val", list(PLACES), each=4)
    asked = (net, folder, "--backend", "torch", "--batch", "4", "--workers", "1")
    (whole,) = records(*asked, "--out", tmp_path / "whole")
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "another cache"))
    computed: list[int] = []
    append = Part.append

    def counted(part: Part, until: int, rows: np.ndarray, bad: list[tuple[int, str]]) -> None:
        if len(computed) == stop:
            raise Killed
        computed.append(until)
        part._due = 0.0  # every batch is on the disk at once
        append(part, until, rows, bad)

    monkeypatch.setattr(Part, "append", counted)
    with pytest.raises(Killed):
        run(*asked, "--out", tmp_path / "out")
    assert not (tmp_path / "out" / "measured.json").exists()
    had, computed[:] = list(computed), [0] * 100  # never killed again
    (again,) = records(*asked, "--out", tmp_path / "out")
    assert had + computed[100:] == [4, 8, 12, 16, 20, 24]
    assert again | {"rows": ""} == whole | {"rows": ""}
    assert Path(again["rows"]).read_text() == Path(whole["rows"]).read_text()


def test_two_models_are_compared_image_by_image(net: str, tmp_path: Path) -> None:
    folder = images(tmp_path / "val", list(PLACES))
    (first,) = records(net, folder, "--backend", "torch", "--out", tmp_path / "out")
    (tmp_path / "worse.py").write_text(FACTORY.format(places=(*PLACES[:4], 2, 3)))
    (worse,) = records(f"{tmp_path / 'worse.py'}:net", folder, "--backend", "torch", "--against", first["rows"])
    assert worse["against"]["difference"] == pytest.approx(-2 / 6)
    assert worse["against"]["p"] == pytest.approx(0.5)  # two images that one model alone gets right
    images(tmp_path / "others", list(PLACES[:2]))
    result = run(net, tmp_path / "others", "--backend", "torch", "--against", first["rows"])
    assert result.exit_code == 2
    assert "the same images expected" in result.stderr


def test_a_of_200_classes_is_masked_and_none_gives_all(tmp_path: Path) -> None:
    inside = subset("a")[:5]
    (tmp_path / "nets.py").write_text(FACTORY.format(places=(0, *inside)))  # class 0 is not of A
    folder = images(tmp_path / "a", list(inside), levels=[0, 1, 2, 3, 4])  # the first shows class 0
    name = f"{tmp_path / 'nets.py'}:net"
    (masked,) = records(name, folder, "--backend", "torch", "--masks", "a", "--out", tmp_path / "masked")
    (free,) = records(name, folder, "--backend", "torch", "--masks", "none", "--out", tmp_path / "free")
    assert (masked["classes"], free["classes"]) == (200, 1000)
    said = [
        [int(line["predicted"]) for line in csv.DictReader(Path(one["rows"]).read_text().splitlines())]
        for one in (masked, free)
    ]
    assert said[1] == [0, *inside[:4]]
    assert said[0] == [inside[0], *inside[:4]]  # the nearest grey level among the classes of A


def as_numbers(folder: Path, count: int) -> Path:
    """Grey images in folders 0, 1 and so on; the first five show levels 0 to 4, the others 5."""
    for number in range(count):
        (folder / str(number)).mkdir(parents=True)
        Image.new("RGB", (32, 32), (20 * min(number, 5) + 10,) * 3).save(folder / str(number) / f"{number}.png")
    return folder


def test_an_order_of_labels_is_read_before_the_kind_and_the_mask(tmp_path: Path) -> None:
    inside = subset("a")
    (tmp_path / "nets.py").write_text(FACTORY.format(places=(*inside[:5], 0)))  # class 0 is not of A
    arguments = (f"{tmp_path / 'nets.py'}:net", as_numbers(tmp_path / "a", 200), "--backend", "torch")
    (found,) = records(*arguments, "--label-order", "a-places")
    assert (found["kind"], found["classes"]) == ("a", 200)
    assert found["shares"]["top1"]["value"] == 5 / 200
    (by_folder,) = records(*arguments, "--label-order", "a-places", "--masks", "folders", "--out", tmp_path / "out")
    said = {int(line["predicted"]) for line in csv.DictReader(Path(by_folder["rows"]).read_text().splitlines())}
    assert said <= set(inside)


def test_labels_by_the_devkits_ids_end_with_the_fault_and_its_remedy_mends_them(tmp_path: Path) -> None:
    ids = [0, 99, 250, 400, 640, 999]  # of the devkit, less one
    classes = [devkit_order()[number] for number in ids]
    (tmp_path / "nets.py").write_text(FACTORY.format(places=classes))
    folder = images(tmp_path / "val", classes, each=4)
    paths = sorted(folder.rglob("*.JPEG"))
    number = {known_wnids()[place]: one for place, one in zip(classes, ids, strict=True)}
    lines = [f"{path.relative_to(folder)},{number[path.parent.name]}" for path in paths]
    (folder / "labels.csv").write_text("\n".join(["path,label", *lines, ""]))
    name = f"{tmp_path / 'nets.py'}:net"
    result = run(name, folder / "labels.csv", "--backend", "torch")
    assert result.exit_code == 1
    assert "WRONG LABEL ORDER" in result.stdout
    assert "--label-order devkit-ids" in result.stdout
    (found,) = records(name, folder / "labels.csv", "--backend", "torch", "--label-order", "devkit-ids")
    assert found["shares"]["top1"]["value"] == 1
    assert found["fault"] is None


def test_real_labels_are_those_of_the_images_numbers(net: str, tmp_path: Path) -> None:
    folder = images(tmp_path / "val", list(PLACES[:4]))
    real = [[PLACES[0]], [1, 2], [], [3, PLACES[3]]]
    (tmp_path / "real.json").write_text(json.dumps(real))
    (found,) = records(net, folder, "--backend", "torch", "--real", tmp_path / "real.json")
    assert found["shares"]["real"]["n"] == 3
    assert found["shares"]["real"]["value"] == pytest.approx(2 / 3)


def test_real_labels_are_left_to_the_validation_images_among_several_folders(net: str, tmp_path: Path) -> None:
    val, other = images(tmp_path / "val", list(PLACES[:4])), as_numbers(tmp_path / "other", 4)
    (tmp_path / "real.json").write_text(json.dumps([[PLACES[0]], [1, 2], [], [3, PLACES[3]]]))
    found = records(net, val, other, "--backend", "torch", "--real", tmp_path / "real.json")
    assert ["real" in one["shares"] for one in found] == [True, False]


def test_real_labels_of_no_validation_images_are_refused_before_anything_is_computed(net: str, tmp_path: Path) -> None:
    (tmp_path / "real.json").write_text("[[0]]")
    result = run(net, as_numbers(tmp_path / "other", 4), "--backend", "torch", "--real", tmp_path / "real.json")
    assert result.exit_code == 2
    assert "leave --real out" in result.stderr
    assert not list((tmp_path / "cache").rglob("*.npy"))


def test_folders_of_one_name_have_a_file_of_predictions_each(net: str, tmp_path: Path) -> None:
    folders = [images(tmp_path / "one" / "val", [PLACES[0]]), images(tmp_path / "two" / "val", [PLACES[1]], levels=[1])]
    found = records(net, *folders, "--backend", "torch", "--out", tmp_path / "out")
    assert [Path(one["rows"]).name.split(".")[-2] for one in found] == ["one_val", "two_val"]
    assert len({Path(one["rows"]).read_text() for one in found}) == 2
    result = run(net, folders[0], folders[0], "--backend", "torch", "--out", tmp_path / "twice")
    assert result.exit_code == 2
    assert "one file of predictions" in result.stderr


def test_real_of_constructed_predictions_is_exact() -> None:
    """Right, right by its second label, wrong, and left out: two of three."""
    top = np.array([[1, 0, 2, 3, 4], [5, 0, 2, 3, 4], [6, 0, 2, 3, 4], [7, 0, 2, 3, 4]])
    found = Predictions(("a", "b", "c", "d"), np.array([1, 6, 0, 7]), top, top[:, 0], ((1,), (6, 5), (0,), ()))
    shares = shares_of(found)
    assert (shares["real"].value, shares["real"].n) == (2 / 3, 3)
    assert shares["top1"].value == 0.5
    assert shares["top5"].value == 0.75


def test_of_equal_logits_the_lower_class_comes_first() -> None:
    found = predictions_of(np.zeros((1, 1000), np.float32), ["a"], np.array([3]), np.arange(1000))
    assert found.top.tolist() == [[0, 1, 2, 3, 4]]


def test_features_without_a_classifier_are_refused(tmp_path: Path) -> None:
    folder = images(tmp_path / "val", list(PLACES[:2]))
    result = run("test_vit", folder, "--untrained", "--backend", "torch", "--model-kwargs", "num_classes=0")
    assert result.exit_code == 2
    assert "no classifier" in result.stderr


def test_an_exported_file_with_logits_gives_the_models_predictions(tmp_path: Path) -> None:
    folder = images(tmp_path / "val", list(PLACES))
    file = tmp_path / "vit.onnx"
    made = CliRunner().invoke(app, ["export", "test_vit", "--out", str(file), "--untrained", "--logits"])
    assert made.exit_code == 0, made.output
    (by_file,) = records(file, folder, "--out", tmp_path / "file")
    (by_torch,) = records("test_vit", folder, "--untrained", "--backend", "torch", "--out", tmp_path / "torch")
    said = [
        [line["top5"] for line in csv.DictReader(Path(one["rows"]).read_text().splitlines())]
        for one in (by_file, by_torch)
    ]
    assert said[0] == said[1]
    made = CliRunner().invoke(app, ["export", "test_vit", "--out", str(tmp_path / "bare.onnx"), "--untrained"])
    assert made.exit_code == 0, made.output
    result = run(tmp_path / "bare.onnx", folder)
    assert result.exit_code == 2
    assert "export it again with --logits" in result.stderr


def test_other_images_of_its_classes_are_no_imagenet_accuracy(net: str, tmp_path: Path) -> None:
    folder = images(tmp_path / "val", list(PLACES))
    for path in folder.rglob("*.JPEG"):
        path.rename(path.with_name(path.name[-6:]))
    (found,) = records(net, folder, "--backend", "torch")
    assert (found["kind"], found["published"]) == ("other", {})
    with pytest.raises(BadInput, match="other images alone"):
        accuracies_of_file([found], found["model"], Path("measured.json"))
    (named,) = records(net, folder, "--backend", "torch", "--kind", "v2")
    assert accuracies_of_file([named], named["model"], Path("measured.json")) == {"v2": (1.0, 6)}


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--kind", "a", "--masks", "none"), "1000 classes could be said, other ones than its own 200"),
        (("--kind", "v2", "--masks", "a"), "200 classes could be said, other ones than its own 1000"),
        (("--limit", "4"), "--limit left out 2 images"),
    ],
)
def test_a_part_is_neither_compared_with_timms_whole_nor_an_axis(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...], said: str
) -> None:
    monkeypatch.setattr("featune.bench.imagenet.command.published_of", lambda *_: {"top1": 0.5})
    folder = images(tmp_path / "val", list(PLACES))
    (found,) = records(net, folder, "--backend", "torch", *arguments)
    assert found["published"] == {}
    with pytest.raises(BadInput, match=said):
        accuracies_of_file([found], found["model"], Path("measured.json"))


def test_a_limit_that_leaves_nothing_out_and_a_mask_of_its_own_classes_are_the_whole(
    net: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featune.bench.imagenet.command.published_of", lambda *_: {"top1": 0.5})
    folder = images(tmp_path / "val", list(PLACES))
    (found,) = records(net, folder, "--backend", "torch", "--limit", "6", "--masks", "a", "--kind", "a")
    assert found["published"] == {"top1": 0.5}
    assert accuracies_of_file([found], found["model"], Path("measured.json"))["a"][1] == 6
