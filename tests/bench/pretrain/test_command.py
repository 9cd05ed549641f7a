"""`featune pretrain`, as a user runs it, and what other commands make of the folder that it leaves."""

import json
from pathlib import Path

import numpy as np
import pytest
from commands import run
from PIL import Image


@pytest.fixture(scope="module")
def colours(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root, rng = tmp_path_factory.mktemp("tasks") / "colours", np.random.default_rng(0)
    for split, count in (("train", 8), ("val", 4), ("test", 4)):
        for channel, name in enumerate(("red", "green", "blue")):
            (root / split / name).mkdir(parents=True)
            for number in range(count):
                pixels = rng.integers(0, 120, (40, 40, 3))
                pixels[..., channel] += 100
                Image.fromarray(pixels.astype(np.uint8)).save(root / split / name / f"{number}.png")
    return root


def test_it_leaves_a_model_that_probe_takes(colours: Path, tmp_path: Path) -> None:
    out = tmp_path / "run"
    code, stdout, stderr = run(
        "pretrain", colours, "test_resnet", "--img-size", 32, "--images-per-class", 6, "--steps", 3, "--batch-size", 6,
        "--set", "warmup=0.0", "--smoothing", 0.1, "--no-bn-scale", "-o", out, "-q", "--json",
    )  # fmt: skip
    assert code == 0, stderr
    result = json.loads(stdout)
    assert (result["train_images"], result["steps"]) == (18, 3)
    assert result["choices"]["batch_norm_scale"] is False
    assert result["recipe"]["warmup"] == 0
    assert result["recipe"]["label_smoothing"] == 0.1
    assert result["test"]["low"] <= result["test"]["top1"] <= result["test"]["high"]
    code, stdout, stderr = run("probe", out, colours, "--backend", "torch", "-q", "--json")
    assert code == 0, stderr
    assert json.loads(stdout)["n"] == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ((), "how long? --steps N, equal for subsets of all sizes, or --epochs N"),
        (("--steps", 3, "--epochs", 3), "give one of them"),
        (("--steps", 3, "--classes", 9), "9 asked for, 3 are there"),
        (("--steps", 3, "--coarse", "leaf-to-root:2"), "needs a hierarchy"),
        (("--steps", 3, "--model-kwargs", "no_such=1"), "timm refuses"),
        (("--steps", 3, "--near", 2), "without --away-from"),
        (("--steps", 3, "--choose", "best", "--classes", 2), "random or minimal"),
    ],
)
def test_what_it_cannot_do_is_said_before_any_training(colours: Path, options: tuple[object, ...], said: str) -> None:
    code, _, stderr = run("pretrain", colours, "test_resnet", "--img-size", 32, "-q", *options)
    assert code == 2
    assert said in stderr
