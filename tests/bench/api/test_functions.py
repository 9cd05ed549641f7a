"""`import featune`: a model and images as a notebook has them at hand, to features, a score, a file, a classifier."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import timm
import torch

import featune
from featune.engine.errors import BadInput
from featune.engine.features import extract as extract_in_memory
from featune.engine.images import fast_view, pixels_of, read_image
from featune.engine.models import ModelSpec, is_in_memory

ROOT = Path(__file__).parents[3]


@pytest.fixture
def module() -> torch.nn.Module:
    torch.manual_seed(0)
    return timm.create_model("test_resnet", pretrained=False, num_classes=5, exportable=True).eval()


def test_features_of_a_spec_come_with_their_labels_paths_and_classes(
    image_folder: Callable[..., Path], spec: ModelSpec
) -> None:
    folder = image_folder()
    table = featune.extract(spec, folder, split="train")
    assert table.classes == ("blue", "green", "red")
    assert table.paths[0] == "train/blue/0.png"
    assert table.labels.tolist() == [0] * 8 + [1] * 8 + [2] * 8
    assert table.rows.shape == (24, 96)
    items = featune.open_data(featune.bench.data.Request(str(folder), "train")).items
    np.testing.assert_allclose(table.rows, extract_in_memory(spec, items).rows, rtol=1e-4, atol=1e-5)
    again = featune.extract(spec, folder, split="train")
    assert again.verdict is not None
    assert again.verdict.images == 0, "kept in the cache"


def test_a_module_gives_the_features_of_its_own_weights_and_is_not_changed(
    image_folder: Callable[..., Path], module: torch.nn.Module
) -> None:
    folder = image_folder(train=4, val=2, test=2)
    before = {name: value.clone() for name, value in module.state_dict().items()}
    table = featune.extract(module, folder, split="train", view={"side": 32})
    spec = featune.spec_from_module(module, {"side": 32})
    assert is_in_memory(spec)
    assert spec.mean == tuple(module.pretrained_cfg["mean"])
    images = featune.open_data(featune.bench.data.Request(str(folder), "train")).items
    fast = fast_view(spec.view)  # as an extraction resizes; the exact way differs by a grey level here and there
    assert fast is not None
    squares = torch.stack(
        [torch.from_numpy(fast(pixels_of(read_image(images.file(at), images.channels)))) for at in range(len(images))]
    )
    mean, std = (torch.tensor(each).view(1, 3, 1, 1) for each in (spec.mean, spec.std))
    with torch.inference_mode():
        expected = module.forward_head(module.forward_features((squares / 255 - mean) / std), pre_logits=True)
    np.testing.assert_allclose(table.rows, expected.numpy(), rtol=1e-4, atol=1e-5)
    assert module.num_classes == 5
    assert all(torch.equal(before[name], value) for name, value in module.state_dict().items())


def test_a_module_with_other_weights_has_other_features(image_folder: Callable[..., Path]) -> None:
    folder = image_folder(train=2, val=1, test=1)
    one, other = (timm.create_model("test_vit", pretrained=False, img_size=32) for _ in range(2))
    rows = [featune.extract(each, folder, split="train", view={"side": 32}).rows for each in (one, other, one)]
    assert np.array_equal(rows[0], rows[2])
    assert not np.allclose(rows[0], rows[1])


def test_extract_and_probe_are_two_lines(image_folder: Callable[..., Path], spec: ModelSpec) -> None:
    table = featune.extract(spec, image_folder(train=10, val=5, test=5), split="all")
    score = featune.probe(table)
    assert (score.n, score.details["n_train"], score.details["n_val"]) == (12, 36, 12)
    assert score.value == 1.0  # plain colours are easy
    assert str(score).startswith("test_resnet.r160_in1k on features: top1 1.0000")


def test_a_cache_with_a_limit_is_looked_after(
    image_folder: Callable[..., Path], spec: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setenv("FEATUNE_CACHE_LIMIT", "1")
    old = tmp_path / "cache" / "graphs" / f"{'a' * 16}.onnx"
    old.parent.mkdir(parents=True)
    old.write_bytes(b"x" * 10)
    os.utime(old, (1.0, 1.0))
    table = featune.extract(spec, image_folder(), split="train")
    assert not old.exists()
    assert len(list((tmp_path / "cache" / "features").glob("*.npy"))) == 1  # used a moment ago
    assert len(table.rows)


def test_a_table_of_its_own_is_the_test_split(image_folder: Callable[..., Path], spec: ModelSpec) -> None:
    folder = image_folder()
    train, test = (featune.extract(spec, folder, split=split) for split in ("train", "test"))
    score = featune.probe(train, test=test, regime="knn")
    assert (score.n, score.regime) == (15, "knn")
    assert score.details["n_train"] + score.details["n_val"] == 24


def test_a_model_and_a_folder_score_as_the_command_scores_them(
    image_folder: Callable[..., Path], spec: ModelSpec
) -> None:
    score = featune.probe(spec, image_folder())
    assert (score.n, score.value, score.task) == (15, 1.0, "colours")


def test_a_module_is_exported_and_judged(
    image_folder: Callable[..., Path], module: torch.nn.Module, tmp_path: Path
) -> None:
    made = featune.export(module, tmp_path / "m.onnx", data=image_folder() / "train", view={"side": 32})
    assert made.verdict["passed"]
    table = featune.extract(tmp_path / "m.onnx", image_folder() / "train" / "blue")
    own = featune.extract(module, image_folder() / "train" / "blue", view={"side": 32})
    np.testing.assert_allclose(table.rows, own.rows, rtol=1e-3, atol=1e-4)


def test_an_exported_file_is_probed_as_its_model_is(
    image_folder: Callable[..., Path], spec: ModelSpec, tmp_path: Path
) -> None:
    folder = image_folder()
    featune.export(spec, tmp_path / "net.onnx", data=folder / "train")
    assert featune.probe(tmp_path / "net.onnx", folder).value == featune.probe(spec, folder).value


def test_fine_tuning_gives_a_classifier(image_folder: Callable[..., Path], spec: ModelSpec) -> None:
    folder = image_folder()
    recipe = featune.Recipe(epochs=1, batch=8, learning_rates=(0.01,))
    tuned = featune.finetune(spec, folder, recipe)
    items = featune.open_data(featune.bench.data.Request(str(folder), "test")).items
    assert tuned(items).shape == (15, 3)


def test_finetune_by_a_name_leaves_the_commands_folder_and_gives_the_same_classifier_again(
    image_folder: Callable[..., Path], spec: ModelSpec, tmp_path: Path
) -> None:
    folder, asked = image_folder(), {"recipe": "default", "out": tmp_path / "run"}
    tuned = featune.finetune(spec, folder, **asked)
    items = featune.open_data(featune.bench.data.Request(str(folder), "test")).items
    right = float((tuned(items).argmax(axis=1) == items.truth(3)).mean())
    assert right == pytest.approx(tuned.details["test"]["value"])
    again = featune.finetune(spec, folder, **asked)
    np.testing.assert_allclose(again(items), tuned(items), atol=1e-4)
    with pytest.raises(BadInput, match="keeps checkpoints too"):
        featune.finetune(spec, folder, work=tmp_path, **asked)


def test_a_module_that_does_not_say_what_it_sees_is_refused_with_the_remedy(
    image_folder: Callable[..., Path],
) -> None:
    plain = torch.nn.Sequential(torch.nn.Conv2d(3, 4, 3), torch.nn.AdaptiveAvgPool2d(1), torch.nn.Flatten())
    with pytest.raises(BadInput, match="does not say which images it takes; give view="):
        featune.extract(plain, image_folder() / "train")


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda spec, table: featune.probe(spec), "a model and no data found"),
        (lambda spec, table: featune.probe(table, "photos"), "leave data out"),
        (lambda spec, table: featune.probe(table, regime="knn", shots=2), "of the regime probe, knn chosen"),
        (lambda spec, table: featune.export(spec, precison="int8"), "no option 'precison'"),
        (lambda spec, table: featune.extract(spec, ".", view={"side": 32}), "a ModelSpec has its view, side given"),
        (lambda spec, table: featune.probe(spec, ".", img_size=32), "a ModelSpec has its view, side given"),
        (lambda spec, table: featune.probe(table, mean=0.5), "features: were taken already, mean given"),
        (lambda spec, table: featune.export("test_vit", img_size=32, view={"side": 64}), "found; give it once"),
        (lambda spec, table: featune.extract("test_vit", ".", imgsize=32), "no option 'imgsize'; nearest: img_size"),
        (lambda spec, table: featune.extract("test_vit", ".", tap="x"), "tap is of file.py:function"),
    ],
)
def test_what_does_not_fit_is_refused(
    call: Callable[..., object], message: str, image_folder: Callable[..., Path], spec: ModelSpec
) -> None:
    table = featune.extract(spec, image_folder(train=4, val=2, test=2), split="train")
    with pytest.raises(BadInput, match=message):
        call(spec, table)


def test_the_view_of_a_named_model_is_given_by_keywords_in_timms_spelling(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    (tmp_path / "keyword_net.py").write_text(
        "import torch\n"
        "def net(width=4):\n"
        "    return torch.nn.Sequential(torch.nn.Conv2d(3, width, 8), torch.nn.AdaptiveAvgPool2d(1),\n"
        "        torch.nn.Flatten(), torch.nn.Linear(width, 2))\n"
    )
    name, folder = f"{tmp_path}/keyword_net.py:net", image_folder() / "train"
    given = {"img_size": 32, "mean": 0.4, "std": (0.2, 0.2, 0.2), "crop_pct": 1.0, "model_kwargs": {"width": 6}}
    made = featune.export(name, tmp_path / "net.onnx", data=folder, **given)
    contract = featune.export.contract.contract_of(tmp_path / "net.onnx")
    assert (contract["width"], contract["spec"]["mean"], contract["spec"]["view"]["side"]) == (6, [0.4] * 3, 32)
    assert contract["spec"]["view"]["crop_pct"] == 1.0
    assert made.verdict["not_judged"]["view"] == "nothing but whoever asked says which images the model takes"
    table = featune.extract(name, folder, backend="torch", **given)
    of_file = featune.extract(tmp_path / "net.onnx", folder)
    np.testing.assert_allclose(table.rows, of_file.rows, rtol=1e-3, atol=1e-5)
    tapped = featune.extract(name, folder, backend="torch", img_size=32, tap="0")
    assert tapped.rows.shape == (24, 4)


def test_features_without_labels_are_refused(image_folder: Callable[..., Path], spec: ModelSpec) -> None:
    table = featune.extract(spec, image_folder() / "train" / "blue")
    with pytest.raises(BadInput, match="no image has a label"):
        featune.probe(table)


def test_import_works_beside_a_users_engine_export_and_bench(tmp_path: Path) -> None:
    for name in ("engine", "export", "bench"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('the user`s own module was imported')\n")
    script = (
        "import featune, sys; featune.extract, featune.probe, featune.finetune, featune.Study; "
        "assert callable(featune.export); from featune.export.gate import judge; "
        "assert not {'engine', 'export', 'bench'} & set(sys.modules)"
    )
    (tmp_path / "script.py").write_text(script)
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    for command in (["script.py"], ["-c", script], ["-m", "featune", "--version"]):
        subprocess.run([sys.executable, *command], cwd=tmp_path, check=True, env=environment)


def test_importing_featune_imports_nothing_heavy() -> None:
    script = "import featune, sys; assert not {'torch', 'numpy', 'timm', 'onnx'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", script], check=True, env=os.environ | {"PYTHONPATH": str(ROOT)})
