import json
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from typer.testing import CliRunner, Result

from featune.bench.cli.app import app
from featune.bench.features import FeatureTable
from featune.bench.regimes import REGIMES
from featune.bench.study.probe_command import Probed, probe_tables
from featune.engine.errors import BadInput
from featune.engine.metrics import METRICS
from featune.engine.probe import probe
from tests.conftest import unpacked

MODEL = "test_resnet"


def run(*arguments: object) -> Result:
    return CliRunner().invoke(app, [*map(str, arguments)], catch_exceptions=False)


def probed(*arguments: object) -> dict[str, object]:
    result = run("probe", *arguments, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture
def stored(image_folder: Callable[..., Path], tmp_path: Path) -> Path:
    """Features of train, val and test as featune extract writes them."""
    folder = tmp_path / "features"
    folder.mkdir()
    for split in ("train", "val", "test"):
        result = run("extract", MODEL, image_folder(), "--split", split, "--untrained", "-q", "--out",
                     folder / f"{split}.npz")  # fmt: skip
        assert result.exit_code == 0, result.output
    return folder


def test_a_model_is_probed_on_a_folder_and_says_that_it_converged(image_folder: Callable[..., Path]) -> None:
    result = run("probe", MODEL, image_folder(), "--untrained")
    assert result.exit_code == 0, result.output
    assert "top1 1.0000" in result.stdout  # plain colours are easy
    assert "n = 15" in result.stdout
    assert "converged; every penalty did" in result.stdout
    assert "24 images of train and 12 of val" in result.stdout


def test_stored_features_give_the_same_score_as_their_model(stored: Path, image_folder: Callable[..., Path]) -> None:
    by_model, by_files = probed(MODEL, image_folder(), "--untrained"), probed(stored)
    for field in ("value", "low", "high", "n"):
        assert by_model[field] == by_files[field]
    assert by_model["details"]["penalty"] == by_files["details"]["penalty"]  # type: ignore[index]


def test_the_penalty_is_the_one_that_the_engine_chooses(stored: Path) -> None:
    held = {split: unpacked(stored / f"{split}.npz") for split in ("train", "val")}
    arrays = [array for part in held.values() for array in (part["rows"], part["label"].astype(int))]
    expected = probe(*arrays, METRICS["top1"], classes=3)
    assert probed(stored)["details"]["penalty"] == pytest.approx(expected.penalty)  # type: ignore[index]


@pytest.mark.parametrize("regime", ["knn", "ridge", "means"])
def test_other_heads_are_fitted_the_same_way(stored: Path, regime: str) -> None:
    assert probed(stored, "--regime", regime)["value"] > 0.6  # type: ignore[operator]


def test_without_val_a_fifth_of_train_is_cut_off_by_the_seed(stored: Path) -> None:
    (stored / "val.npz").unlink()
    found = probed(stored)
    assert found["details"]["n_train"] + found["details"]["n_val"] == 24  # type: ignore[index]
    assert found == {**probed(stored), "seconds": found["seconds"], "details": found["details"]}


def test_few_shots_are_drawn_by_the_seed(stored: Path) -> None:
    first, again = (probed(stored, "--shots", 1, "--seed", 1) for _ in range(2))
    assert first["value"] == again["value"]
    assert first["details"]["penalty"] == again["details"]["penalty"]  # type: ignore[index]


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ([MODEL], "no task given"),
        ([MODEL, "nowhere", "--untrained"], "nowhere: no such folder"),
        (["STORED", "--metric", "aucc"], "no metric named 'aucc'"),
        (["STORED", "--regime", "finetune"], "finetune trains the network; `featune probe` fits heads"),
        (
            ["STORED", "--regime", "lp"],
            "no regime named 'lp'; `featune probe` fits heads on frozen features: probe, knn, ",
        ),
        (["STORED", "--regime", "scrach"], "no regime named 'scrach'; `featune probe` fits heads"),
        (["STORED", "--seed", "-1"], "greater than or equal to 0"),
        ([MODEL, "nowhere", "--untrained", "--device", "cuda:99"], "no CUDA device is usable"),
        (["gone.onnx", "nowhere", "--untrained"], "has its own weights, --untrained given; leave --untrained out"),
        (
            ["gone.onnx", "nowhere", "--backend", "torch"],
            "its backend is onnxruntime, --backend torch asked for; leave",
        ),
        (["gone.onnx", "nowhere"], "gone.onnx"),
        ([MODEL + ".py:net", "nowhere"], "no such file"),
        (["STORED", "--regime", "knn", "--shots", "2"], "regime probe"),
        (["STORED", "--regime", "prob"], "no regime named 'prob'"),
    ],
)
def test_a_wrong_word_is_named_with_the_remedy(stored: Path, arguments: list[str], words: str) -> None:
    result = run("probe", *[str(stored) if text == "STORED" else text for text in arguments])
    assert result.exit_code == (4 if "CUDA" in words else 2)
    assert words in " ".join(result.stderr.split())
    if "fits heads" in words:  # only what is not refused is offered
        assert result.stderr.rstrip().endswith("probe, knn, ridge, means")


@pytest.mark.parametrize("name", ["accuracy", "Top-1", "acc@1"])
def test_another_librarys_name_of_a_metric_is_taken_and_the_own_one_said(
    stored: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    assert probed(stored, "--metric", name)["metric"] == "top1"
    assert caplog.messages == [f"metric {name} is called top1 here"]


def test_an_exported_file_gives_its_models_score(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    folder, file = image_folder(), tmp_path / "net.onnx"
    assert run("export", MODEL, "--untrained", "--data", folder, "--out", file, "-q").exit_code == 0
    by_model, by_file = (probed(*words) for words in ((MODEL, folder, "--untrained"), (file, folder)))
    for field in ("model", "value", "low", "high", "n"):
        assert by_model[field] == by_file[field]
    result = run("probe", file, folder, "--in-chans", "1")
    assert (result.exit_code, "has in_chans 3, images of 1 channel" in result.stderr) == (2, True)


def test_the_list_of_features_names_the_split(image_folder: Callable[..., Path], tmp_path: Path) -> None:
    run("probe", MODEL, image_folder("shades"), "--untrained", "-q")
    listed = json.loads(run("features", "list", "--json").stdout)
    assert {each["data"] for each in listed} >= {"shades/train", "shades/val", "shades/test"}


@pytest.mark.parametrize("name", ["test", "train"])
def test_files_that_are_no_features_are_refused(stored: Path, name: str) -> None:
    (stored / f"{name}.npz").write_bytes(b"no archive")
    result = run("probe", stored)
    assert result.exit_code == 2
    assert "expected what `featune extract --out` writes" in result.stderr


def test_unlabelled_features_are_refused(stored: Path) -> None:
    held = unpacked(stored / "train.npz")
    np.savez(stored / "train.npz", **held | {"label": np.array([""] * 24)})
    result = run("probe", stored)
    assert (result.exit_code, "no image has a label" in result.stderr) == (2, True)


def table(classes: tuple[str, ...], labels: list[int]) -> FeatureTable:
    rows = np.random.default_rng(0).normal(size=(len(labels), 4)).astype(np.float32)
    return FeatureTable(rows, tuple((label,) for label in labels), tuple(map(str, range(len(labels)))), classes)


def probed_tables(train: FeatureTable, test: FeatureTable, metric: str = "top1") -> Probed:
    return probe_tables(train, train, lambda: test, metric, "means", REGIMES["means"].default, 0)


def test_features_whose_splits_number_other_classes_are_refused() -> None:
    train = table(("ant", "bee", "cow"), [0, 1, 2] * 4)
    assert probed_tables(train, table(("ant", "bee"), [0, 1])).n == 2
    assert probed_tables(train, table((), [0, 1])).n == 2
    with pytest.raises(BadInput, match="features of classes ant, bee, cow and of bee, cow found"):
        probed_tables(train, table(("bee", "cow"), [0, 1]))


def test_features_of_classes_without_an_order_have_no_quadratic_kappa() -> None:
    labels = [0, 1, 2] * 4
    with pytest.raises(
        BadInput, match="takes the order of the classes for the order of grades; mild, none, severe found"
    ):
        probed_tables(*[table(("mild", "none", "severe"), labels)] * 2, "quadratic_kappa")
    assert probed_tables(*[table(("0", "1", "2"), labels)] * 2, "quadratic_kappa").n == 12
