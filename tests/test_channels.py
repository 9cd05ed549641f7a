"""Images of other than three channels, from their files to the features and scores of every regime."""

import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch
from make_layouts import hpa
from numpy.typing import NDArray
from PIL import Image
from timm.data.loader import adapt_to_chs
from typer.testing import CliRunner, Result

from featune.bench.cli.app import app
from featune.bench.data import Source, prepare
from featune.bench.datasets import prepare_official
from featune.bench.progress import Silent
from featune.bench.study import prepared, read_study, run_whole
from featune.bench.study.executors import in_process
from featune.engine.errors import BadImages, BadInput
from featune.engine.features import FeatureKey, extract
from featune.engine.finetune import Recipe, TrainVal, finetune
from featune.engine.images import MODES, Augmentation, Labelled, eval_view, fast_view, pixels_of, read_image, train_view
from featune.engine.models import ModelSpec, View, classifier, feature_model, spec_from_entry, with_channels
from featune.engine.models.spec import IMAGENET_MEAN, IMAGENET_STD
from featune.engine.store import plain
from featune.export.contract import channels_of, contract_of
from tests.conftest import unpacked

MODEL = "test_resnet"  # 0.4 million weights, 160 x 160 pixels; here at 32 where Python can say so
Pixels = NDArray[np.uint8]


@pytest.fixture
def own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache"


@pytest.fixture
def stained(tmp_path: Path) -> Path:
    """`<split>/<class>/<i>.png` in RGBA: the classes' images differ in the fourth channel only."""
    for split, count in (("train", 6), ("val", 3), ("test", 4)):
        for kind, level in (("faint", 40), ("strong", 200)):
            for i in range(count):
                write(tmp_path / "stained" / split / kind / f"{i}.png", cells(f"{split}{i}", level), "RGBA")
    return tmp_path / "stained"


def cells(seed: str, level: int, channels: int = 4) -> Pixels:
    """uint8 [40, 48, channels]: random red, green, blue by the seed, and noise about a level as the last."""
    rng = np.random.default_rng(list(seed.encode()))
    pixels = rng.integers(0, 256, (40, 48, channels), dtype=np.uint8)
    pixels[..., -1] = np.clip(level + rng.normal(0, 10, (40, 48)), 0, 255)
    return pixels


def write(path: Path, pixels: Pixels, mode: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = Image.fromarray(pixels)
    assert image.mode == mode
    image.save(path)
    return path


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def done(*arguments: object) -> Result:
    result = run(*arguments)
    assert result.exit_code == 0, result.output
    return result


def items_of(folder: Path, channels: int) -> Labelled:
    paths = sorted(path.relative_to(folder).as_posix() for path in folder.rglob("*.png"))
    return Labelled(str(folder), tuple(paths), tuple((int("strong" in path),) for path in paths), channels=channels)


def cosine(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    return float(torch.nn.functional.cosine_similarity(torch.tensor(one), torch.tensor(other)).min())


# --- Reading


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (4, "RGBA")])
def test_the_last_channel_is_data_where_it_is_declared(tmp_path: Path, channels: int, mode: str) -> None:
    pixels = cells("x", 0, channels)  # where alpha is 0 a viewer would see nothing
    image = read_image(write(tmp_path / "x.png", pixels, mode), channels)
    assert np.array_equal(np.asarray(image), pixels)


@pytest.mark.parametrize(("channels", "mode"), [(2, "LA"), (4, "RGBA")])
def test_a_file_that_lacks_declared_channels_is_named_with_what_it_holds(
    tmp_path: Path, channels: int, mode: str
) -> None:
    path = write(tmp_path / "x.png", cells("x", 9, 3), "RGB")
    with pytest.raises(BadImages, match=rf"x\.png: mode RGB found, {mode} expected for {channels} channels"):
        read_image(path, channels)


def test_one_channel_is_grey_as_pillow_weighs_the_colours(tmp_path: Path) -> None:
    path = write(tmp_path / "x.png", cells("x", 9, 3), "RGB")
    red, green, blue = cells("x", 9, 3).astype(float).transpose(2, 0, 1)
    wanted = 0.299 * red + 0.587 * green + 0.114 * blue  # ITU-R 601-2
    assert np.abs(np.asarray(read_image(path, 1)) - wanted).max() <= 1


def test_sixteen_bits_of_grey_keep_their_upper_eight(tmp_path: Path) -> None:
    deep = np.arange(40 * 48, dtype=np.uint16).reshape(40, 48) * 34
    Image.fromarray(deep).save(tmp_path / "x.png")
    assert np.array_equal(np.asarray(read_image(tmp_path / "x.png", 1)), deep >> 8)


@pytest.mark.parametrize("channels", [0, 5])
def test_channels_that_no_file_is_read_as_are_refused(channels: int) -> None:
    with pytest.raises(BadInput, match=rf"{channels} channels asked for; expected 1 \(grey\), 2"):
        Labelled("", (), (), channels=channels)


def test_the_channels_stay_with_parts_and_sums_and_do_not_mix() -> None:
    four = Labelled("/a", ("x", "y"), ((0,), (1,)), channels=4)
    assert (four.take([1]).channels, (four + four).channels) == (4, 4)
    assert (four + Labelled("/b", ("z",), ((1,),), channels=4)).channels == 4
    with pytest.raises(BadInput, match="images of 4 and of 3 channels"):
        _ = four + Labelled("/a", ("z",), ((1,),))


# --- Views

WAYS: dict[str, Callable[[Image.Image, View], Pixels]] = {
    "exact": lambda image, view: eval_view(view)(image),
    "fast": lambda image, view: fast_view(view)(pixels_of(image)),  # type: ignore[misc]
    "train": lambda image, view: train_view(image, view, Augmentation(vflip=0.5), np.random.default_rng(3)),
}


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("channels", [1, 2, 4])
@pytest.mark.parametrize("side", [24, 64])  # smaller and larger than the image
def test_a_channel_is_resized_as_if_it_were_alone(way: str, channels: int, side: int) -> None:
    """Pillow resizes RGBA weighted by alpha: where that is 0, the other three would be lost."""
    pixels = cells("x", 128, channels)
    pixels[:20, :, -1] = 0
    image = Image.fromarray(pixels[..., 0] if channels == 1 else pixels)
    assert image.mode == MODES[channels]
    square = WAYS[way](image, View(side, channels=channels))
    assert square.shape == (channels, side, side)
    for number in range(channels):
        threefold = Image.fromarray(pixels[..., [number] * 3])  # by the way that all images went before
        wanted = WAYS[way](threefold, View(side))[0].astype(int)
        assert np.abs(square[number] - wanted).max() == 0


# --- Models


@pytest.fixture(scope="module")
def pretrained(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a model of three channels."""
    path = tmp_path_factory.mktemp("weights") / "three.pth"
    torch.save(timm.create_model(MODEL, pretrained=False).state_dict(), path)
    return path


def spec_of(checkpoint: Path, **entry: object) -> ModelSpec:
    return spec_from_entry({"architecture": MODEL, "checkpoint": str(checkpoint), "side": 32, **entry})


@pytest.mark.parametrize("channels", [1, 2, 4])
def test_a_model_is_the_one_that_timm_makes_with_in_chans(pretrained: Path, channels: int) -> None:
    spec = with_channels(spec_of(pretrained, mean=list(IMAGENET_MEAN), std=list(IMAGENET_STD)), channels)
    overlay = {"file": str(pretrained), "hf_hub_id": None, "url": ""}
    theirs = timm.create_model(MODEL, pretrained=True, in_chans=channels, pretrained_cfg_overlay=overlay).state_dict()
    ours = classifier(spec).state_dict()
    assert ours.keys() == theirs.keys()
    assert all(torch.equal(ours[name], theirs[name]) for name in ours)
    assert spec.mean == pytest.approx(adapt_to_chs(IMAGENET_MEAN, channels))
    assert spec.std == pytest.approx(adapt_to_chs(IMAGENET_STD, channels))


def test_a_model_of_one_channel_sees_grey_as_the_one_of_three_does(pretrained: Path) -> None:
    spec = spec_of(pretrained, mean=[0.5] * 3, std=[0.25] * 3)
    grey = torch.randint(0, 256, (4, 1, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        one, three = feature_model(with_channels(spec, 1))(grey), feature_model(spec)(grey.expand(-1, 3, -1, -1))
    torch.testing.assert_close(one, three, rtol=1e-4, atol=1e-5)


def test_weights_of_four_channels_are_taken_as_they_are(tmp_path: Path) -> None:
    model = timm.create_model(MODEL, pretrained=False, in_chans=4)
    torch.save(model.state_dict(), tmp_path / "four.pth")
    made = classifier(with_channels(spec_of(tmp_path / "four.pth"), 4))
    assert all(torch.equal(value, made.state_dict()[name]) for name, value in model.state_dict().items())
    with pytest.raises(BadInput, match=r"is \(\d+, 4, 3, 3\), expected \(\d+, 3, 3, 3\)"):
        classifier(spec_of(tmp_path / "four.pth"))


def test_in_chans_of_an_entry_is_kept_against_images_of_others(pretrained: Path) -> None:
    spec = spec_of(pretrained, in_chans=4, mean=[0.1, 0.2, 0.3, 0.4])
    assert with_channels(spec, 4) == spec
    assert spec.mean == (0.1, 0.2, 0.3, 0.4)
    assert spec == spec_of(pretrained, kwargs={"in_chans": 4}, mean=[0.1, 0.2, 0.3, 0.4])
    assert spec_of(pretrained, in_chans=4).digest == with_channels(spec_of(pretrained), 4).digest
    with pytest.raises(BadInput, match=r"has in_chans 4, images of 3 channel\(s\) found; leave in_chans out"):
        with_channels(spec, 3)
    with pytest.raises(BadInput, match="mean and std need 4 numbers, as many as in_chans, found 3"):
        spec_of(pretrained, in_chans=4, mean=[0.5] * 3)


FACTORY = """
import torch
def build({argument}):
    torch.manual_seed(0)
    return torch.nn.Sequential(torch.nn.Conv2d({channels}, 5, 3), torch.nn.AdaptiveAvgPool2d(1),
                               torch.nn.Flatten(), torch.nn.Linear(5, 2))
"""


def test_a_factory_is_asked_for_the_channels_if_it_takes_them(tmp_path: Path) -> None:
    (tmp_path / "takes.py").write_text(FACTORY.format(argument="in_chans=3", channels="in_chans"))
    spec = spec_from_entry({"factory": "takes.py:build", "side": 16}, tmp_path)
    four = with_channels(spec, 4)
    assert classifier(four)(torch.zeros(1, 4, 16, 16)).shape == (1, 2)
    assert four.weights != spec.weights
    (tmp_path / "fixed.py").write_text(FACTORY.format(argument="", channels="3"))
    spec = spec_from_entry({"factory": "fixed.py:build", "side": 16}, tmp_path)
    with pytest.raises(BadInput, match=r"its factory takes no such argument.*in_chans"):
        with_channels(spec, 4)


# --- Names


def test_names_of_three_channels_are_those_from_before_there_were_others() -> None:
    assert plain(View(224)) == {"side": 224, "crop_pct": 0.875, "crop_mode": "center", "interpolation": "bilinear"}
    assert plain(View(224, channels=4))["channels"] == 4


def test_the_channels_are_part_of_the_features_key(spec: ModelSpec) -> None:
    specs = [spec, with_channels(spec, 4), with_channels(spec, 1)]
    assert len({each.digest for each in specs}) == 3
    assert len({FeatureKey("", each.view, "images", "torch:cpu").name for each in specs}) == 3


# --- Features and scores


def test_a_yellow_stain_alone_changes_the_features(tmp_path: Path, spec: ModelSpec) -> None:
    """Equal in red, green and blue: models of three channels cannot tell these images apart."""
    for name, level in (("faint", 40), ("strong", 200)):
        pixels = cells("same", level)
        write(tmp_path / "pair" / f"{name}.png", pixels, "RGBA")
    four = extract(spec, items_of(tmp_path / "pair", 4)).rows
    three = extract(spec, items_of(tmp_path / "pair", 3)).rows
    assert np.array_equal(three[0], three[1])
    assert cosine(four[:1], four[1:]) < 0.9999


@pytest.mark.parametrize("channels", [1, 4])
def test_both_backends_give_the_same_rows_of_every_channel(
    own_cache: Path, stained: Path, tmp_path: Path, channels: int
) -> None:
    rows = {}
    for backend in ("torch", "onnxruntime"):
        out = tmp_path / f"{backend}.npz"
        done("extract", MODEL, stained, "--split", "train", "--in-chans", channels, "--untrained", "-q",
             "--backend", backend, "--out", out)  # fmt: skip
        rows[backend] = unpacked(out)["rows"]
    assert rows["torch"].shape == (12, 96)
    assert cosine(rows["torch"], rows["onnxruntime"]) >= 0.99999


def test_stored_views_hold_every_channel(own_cache: Path, stained: Path, tmp_path: Path) -> None:
    asked = ["extract", MODEL, stained, "--split", "val", "--in-chans", 4, "--untrained", "-q"]
    done(*asked, "--keep-views", "--out", tmp_path / "one.npz")
    kept = {each["width"]: each["key"] for each in json.loads(done("features", "list", "--json").stdout)}
    assert set(kept) == {96, 4 * 160 * 160}
    done("features", "remove", kept[96])
    done(*asked, "--out", tmp_path / "other.npz")
    one, other = (unpacked(tmp_path / f"{name}.npz")["rows"] for name in ("one", "other"))
    np.testing.assert_array_equal(one, other)


def test_a_probe_sees_what_only_the_fourth_channel_tells(own_cache: Path, stained: Path) -> None:
    """The classes are equal in red, green and blue."""
    asked = ["probe", MODEL, stained, "--untrained", "--json"]
    assert json.loads(done(*asked, "--in-chans", 4).stdout)["value"] == 1.0
    assert json.loads(done(*asked).stdout)["value"] == 0.5


def test_fine_tuning_learns_from_the_fourth_channel(stained: Path, spec: ModelSpec) -> None:
    train, val, test = (items_of(stained / split, 4) for split in ("train", "val", "test"))
    recipe = Recipe(steps=20, batch=6, learning_rates=(0.05,), augmentation=Augmentation(scale=(0.5, 1.0), vflip=0.5))
    tuned = finetune(spec, TrainVal(train, val, 2), lambda scores: 0.0, recipe, 0)
    assert np.array_equal(tuned(test).argmax(1), test.truth(2))


def test_hpa_goes_from_its_download_to_a_score_with_four_stains(own_cache: Path, tmp_path: Path) -> None:
    counts = hpa(tmp_path / "raw")
    task = prepare_official("hpa", tmp_path / "raw", tmp_path / "data", counts=counts)
    assert (task.channels, task.load("train").channels) == (4, 4)
    found = json.loads(done("probe", MODEL, tmp_path / "data" / "hpa", "--untrained", "--json").stdout)
    assert (found["metric"], found["n"]) == ("f1_macro", 4)
    asked = ["hpa", "--root", tmp_path / "data", "--split", "test", "--untrained", "-q"]
    done("extract", MODEL, *asked, "--out", tmp_path / "four.npz")
    done("extract", MODEL, *asked, "--in-chans", 3, "--out", tmp_path / "three.npz")
    four, three = (unpacked(tmp_path / f"{name}.npz")["rows"] for name in ("four", "three"))
    assert four.shape == three.shape
    assert not np.allclose(four, three)
    for variant in ("mixed", "released"):
        made = prepare_official("hpa", tmp_path / "raw", tmp_path / "data", counts=counts, variant=variant)
        assert made.channels == 3


def test_a_task_says_its_channels_and_a_table_of_other_files_is_refused(stained: Path, tmp_path: Path) -> None:
    made = prepare(Source("stained", folder=stained, channels=4), tmp_path / "tasks")
    assert (made.channels, made.load("val").channels) == (4, 4)
    assert prepare(Source("grey", prepared=Path(made.folder), channels=1), tmp_path / "tasks").channels == 1
    write(stained / "train" / "faint" / "0.png", cells("x", 9, 3), "RGB")
    with pytest.raises(
        BadImages, match=r"with the channels that they have \(--in-chans(.|\n)*mode RGB found, RGBA expected"
    ):
        prepare(Source("stained", folder=stained, channels=4), tmp_path / "tasks")
    prepare(Source("stained", folder=stained), tmp_path / "tasks")


STUDY = """
name: stains
models:
  - {{architecture: test_resnet, pretrained: false, side: 32{more}}}
tasks:
  - {{name: four, folder: stained, in_chans: 4}}
  - {{name: three, folder: stained}}
regimes:
  probe: {{penalties: [0.001, 1.0]}}
  finetune: {{steps: 2, batch: 4}}
estimators: [logme]
"""


def test_one_study_has_tasks_of_several_channels(own_cache: Path, stained: Path) -> None:
    file = stained.parent / "study.yaml"
    file.write_text(STUDY.format(more=""))
    study = prepared(*read_study(file, stained.parent / "out"))
    rows, speeds = run_whole(study, in_process, Silent())
    assert [row.error for row in rows] == [None] * 4
    assert len(speeds) == 2
    value = {(row.cell.task, row.cell.regime): row.value for row in rows}
    assert (value["four", "probe"], value["three", "probe"]) == (1.0, 0.5)


def test_in_chans_of_a_studys_model_that_is_not_a_tasks_is_refused_before_the_work(stained: Path) -> None:
    file = stained.parent / "study.yaml"
    file.write_text(STUDY.format(more=", in_chans: 4"))
    with pytest.raises(BadInput, match=r"has in_chans 4, images of 3 channel\(s\) found"):
        prepared(*read_study(file, stained.parent / "out"))


# --- Artefacts


def test_an_artefact_of_four_channels_is_judged_on_such_images_and_refused_for_others(
    own_cache: Path, stained: Path, tmp_path: Path
) -> None:
    graph = tmp_path / "four.onnx"
    done("export", MODEL, "--untrained", "--in-chans", 4, "--data", stained / "train", "--out", graph)
    assert channels_of(contract_of(graph)) == 4
    assert contract_of(graph)["input"]["layout"] == "the file's RGB and alpha, [batch, 4, side, side]"
    done("verify", graph)  # on the project's own photographs
    done("verify", graph, "--data", stained / "val")
    done("extract", graph, stained, "--split", "val", "--in-chans", 4, "-q")
    refused = run("extract", graph, stained, "--split", "val", "-q")
    assert refused.exit_code == 2
    assert "the model takes images of 4 channel(s)" in refused.stderr
    assert "is of 3" in refused.stderr


def test_an_artefact_of_three_channels_is_refused_for_a_task_of_four(
    own_cache: Path, stained: Path, tmp_path: Path
) -> None:
    done("export", MODEL, "--untrained", "--out", tmp_path / "three.onnx")
    refused = run("extract", tmp_path / "three.onnx", stained, "--split", "val", "--in-chans", 4, "-q")
    assert refused.exit_code == 2
    assert "the model takes images of 3 channel(s)" in refused.stderr


@pytest.mark.parametrize("channels", [1, 2])
def test_the_projects_own_photographs_judge_models_of_any_channels(
    own_cache: Path, tmp_path: Path, channels: int
) -> None:
    made = json.loads(
        done("export", MODEL, "--untrained", "--in-chans", channels, "--out", tmp_path / "x.onnx", "--json").stdout
    )
    assert made["verdict"]["passed"]
    assert made["verdict"]["parity"]["worst_cosine"] >= 0.99999
