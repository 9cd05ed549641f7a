"""The view of a model on the command line, in timm's spelling."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.engine.errors import BadInput
from featune.export.commands import entry_of, parsed_kwargs, parsed_numbers

NET = """
import torch
from torch import nn

def net(width=8, depth=1):
    torch.manual_seed(0)
    made = nn.Sequential(nn.Conv2d(3, width, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(width, 5))
    made.pretrained_cfg = {"input_size": (3, 32, 32), "mean": (0.5,) * 3, "std": (0.5,) * 3}
    return made

def silent():
    made = net()
    del made.pretrained_cfg
    return made

def needs(width):
    return net(width)
"""


@pytest.fixture
def nets(tmp_path: Path) -> Path:
    (tmp_path / "option_net.py").write_text(NET)
    return tmp_path / "option_net.py"


def run(*arguments: object) -> tuple[int, str, str]:
    result = CliRunner().invoke(app, [str(each) for each in arguments])
    return result.exit_code, result.stdout, " ".join(result.stderr.split())


def test_extract_and_probe_say_the_view_and_take_it_from_the_flags(
    nets: Path, image_folder: Callable[..., Path], caplog: pytest.LogCaptureFixture
) -> None:
    folder, torch = image_folder(), ("--backend", "torch")
    code, _, said = run("extract", f"{nets}:net", folder, "--split", "train", *torch, "--batch-size", 4)
    assert code == 0, said
    assert "view: 32 px, mean 0.5, std 0.5, crop 0.875 center, bicubic (from the model's pretrained_cfg)" in said
    flags = ("--img-size", 40, "--mean", "0.4,0.4,0.4", "--std", 0.2, "--crop-pct", 1, "--interpolation", "bilinear",
             "--crop-mode", "squash", "--model-kwargs", "width=6 depth=2")  # fmt: skip
    for command in (("extract", f"{nets}:net", folder, "--split", "train"), ("probe", f"{nets}:net", folder)):
        code, out, said = run(*command, *torch, *flags)
        assert code == 0, said
        assert "view: 40 px, mean 0.4, std 0.2, crop 1 squash, bilinear (given: side, mean, std, " in said
        assert command[0] == "probe" or " 24 x 6, " in f" {out}"
    with caplog.at_level(logging.WARNING):
        code, _, _ = run("extract", f"{nets}:silent", folder, "--split", "train", *torch, "-q")
    assert code == 0
    assert "view: assumed: 224 px, ImageNet's mean and std" in caplog.text


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (
            ("extract", "made.onnx", ".", "--img-size", "64"),
            "made.onnx: a file has its own view, side given; leave it out",
        ),
        (("extract", "NETS:needs", "FOLDER/train"), "missing a required argument: 'width'"),
        (("export", "NETS:needs", "--out", "x.onnx"), "give the others with --model-kwargs NAME=VALUE"),
        (("export", "NETS:net", "--out", "x.onnx", "--model-kwargs", "wide=3"), "its factory takes no such argument"),
        (("export", "NETS:net", "--out", "x.onnx", "--tap", "9"), "no node '9'"),
        (("export", "test_vit", "--out", "x.onnx", "--tap", "norm"), "tap is of file.py:function"),
        (("probe", "NETS:net", "FOLDER", "--mean", "0.5,0.5"), "mean and std need 3 numbers"),
        (("probe", "NETS:net", "FOLDER", "--std", "a"), "--std 'a' found; numbers expected"),
        (("probe", "NETS:net", "FOLDER", "--model-kwargs", "7"), "NAME=VALUE expected"),
        (("verify", "x.onnx", "--img-size", "32"), "without --model the file's own view is judged, side given"),
    ],
)
def test_what_does_not_fit_is_refused_in_one_line(
    nets: Path, image_folder: Callable[..., Path], arguments: tuple[str, ...], message: str
) -> None:
    folder = str(image_folder())
    code, _, said = run(*(each.replace("NETS", str(nets)).replace("FOLDER", folder) for each in arguments))
    assert code == 2
    assert message in said


@pytest.mark.parametrize(
    ("texts", "found"),
    [
        (["width=8", "name=wide"], {"width": 8, "name": "wide"}),
        (["size=(64,64) flag=True"], {"size": (64, 64), "flag": True}),
        (["act='a b' rate=1e-4"], {"act": "a b", "rate": 1e-4}),
        (["url=http://x/?a=b"], {"url": "http://x/?a=b"}),
        ([], None),
    ],
)
def test_arguments_of_a_model_are_read_as_timm_reads_them(texts: list[str], found: dict[str, Any] | None) -> None:
    assert parsed_kwargs(texts) == found


def test_an_argument_that_is_given_twice_is_refused() -> None:
    with pytest.raises(BadInput, match="width is given twice"):
        parsed_kwargs(["width=8", "width=9"])
    with pytest.raises(BadInput, match="give it once"):
        entry_of({"img_size": 32}, {"side": 64})


def test_numbers_are_separated_by_commas_or_spaces() -> None:
    assert parsed_numbers("--mean", "0.5") == (0.5,)
    assert parsed_numbers("--mean", "0.1, 0.2 0.3") == (0.1, 0.2, 0.3)
    assert parsed_numbers("--mean", None) is None
