"""Which view a model gets, and from where: what the user gives, what the model says, or an assumption that is told."""

import logging
from pathlib import Path
from typing import Any

import pytest
import timm
import torch

from featune.engine.errors import BadInput
from featune.engine.models import classifier, feature_model, feature_width, spec_and_origin, spec_from_module
from featune.engine.models.from_entry import stated_view

NETS = """
import timm
import torch
from torch import nn
from timm.models import PretrainedCfg


def said(**said):
    net = nn.Sequential(nn.Conv2d(3, 4, 8, stride=8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
    return net, {"input_size": (3, 128, 128), "mean": (0.5,) * 3, "std": (0.25,) * 3, **said}


def silent():
    return said()[0]


def own():
    net, net.pretrained_cfg = said(crop_pct=0.9, interpolation="bilinear")
    return net


def older():
    net, net.default_cfg = said()
    return net


def as_object():
    net = silent()
    net.pretrained_cfg = PretrainedCfg(input_size=(3, 128, 128), mean=(0.5,) * 3, std=(0.25,) * 3)
    return net


def without_size():
    net = silent()
    net.pretrained_cfg = {"mean": (0.5,) * 3, "std": (0.25,) * 3}
    return net


def wrong_size():
    net = silent()
    net.pretrained_cfg = {"input_size": 128}
    return net


def around():
    return nn.Sequential(own(), nn.ReLU(), nn.Linear(5, 2))


def around_two():
    net = nn.Sequential(own(), nn.ReLU(), nn.Linear(5, 2))
    net[1].pretrained_cfg = {"input_size": (3, 64, 64)}
    return net


def resized():
    return timm.create_model("test_vit", img_size=64, in_chans=1, num_classes=5)


def unseeded():
    return nn.Sequential(nn.Conv2d(3, 4, 8), nn.AdaptiveAvgPool2d(1), nn.Flatten(), nn.Linear(4, 5))
"""


@pytest.fixture(scope="module")
def nets(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("nets")
    (folder / "view_nets.py").write_text(NETS)
    return folder


def made(nets: Path, name: str, **entry: Any) -> Any:
    return spec_and_origin({"factory": f"view_nets.py:{name}", **entry}, nets)


@pytest.mark.parametrize("name", ["own", "older", "as_object", "around"])
def test_a_factorys_model_says_its_view_itself(nets: Path, name: str) -> None:
    spec, origin = made(nets, name)
    assert (spec.view.side, spec.mean, spec.std) == (128, (0.5,) * 3, (0.25,) * 3)
    assert not origin.is_assumed
    source = "the pretrained_cfg of its part 0" if name == "around" else "the model's pretrained_cfg"
    assert origin.line().startswith("view: 128 px, mean 0.5, std 0.25, crop 0.")
    assert f"(from {source})" in origin.line()
    said, by = stated_view(spec, classifier(spec))
    assert (said["side"], said["mean"], by) == (128, (0.5,) * 3, source)


def test_what_the_user_gives_goes_before_what_the_model_says(nets: Path) -> None:
    spec, origin = made(nets, "own", side=96, mean=0.4)
    assert (spec.view.side, spec.mean, spec.std, spec.view.crop_pct) == (96, (0.4,) * 3, (0.25,) * 3, 0.9)
    assert "(from the model's pretrained_cfg; given: side, mean)" in origin.line()


@pytest.mark.parametrize("name", ["silent", "around_two"])
def test_a_view_that_nobody_says_is_told_as_an_assumption(
    nets: Path, name: str, caplog: pytest.LogCaptureFixture
) -> None:
    spec, origin = made(nets, name)
    assert (spec.view.side, spec.mean) == (224, (0.485, 0.456, 0.406))
    said: list[str] = []
    with caplog.at_level(logging.WARNING):
        origin.tell(said.append)
    assert not said
    assert "view: assumed: 224 px, ImageNet's mean and std" in caplog.text
    assert "the model does not say; give --img-size, --mean and --std" in caplog.text


def test_a_view_that_is_said_in_part_names_what_was_assumed(nets: Path) -> None:
    _, origin = made(nets, "without_size")
    assert "from the model's pretrained_cfg; assumed, since the model does not say: side" in origin.line()
    _, origin = made(nets, "silent", side=64)
    assert "(given: side; assumed, since the model does not say: mean, std" in origin.line()


def test_a_timm_model_has_timms_record() -> None:
    _, origin = spec_and_origin({"architecture": "test_vit", "pretrained": False})
    assert origin.line() == (
        "view: 160 px, mean 0.5, std 0.5, crop 0.95 center, bicubic (from timm's record of test_vit.r160_in1k)"
    )
    assert not origin.assumed


def test_a_model_made_for_another_size_and_other_channels_than_its_records_says_so(nets: Path) -> None:
    spec, _ = made(nets, "resized")
    assert (spec.view.side, spec.view.channels, spec.mean) == (64, 1, (0.5,))
    assert feature_width(feature_model(spec), 64, 1) == 64


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({"side": 12.5}, "expected one whole number"),
        ({"mean": 127.5, "std": 0.5}, "mean 127.5 found; numbers from 0 to 1 expected"),
        ({"mean": 0.5, "std": 127.5}, "std 127.5 found; numbers above 0 and up to 1 expected"),
        ({"kwargs": {"img_size": [96, 128]}}, "views are square"),
        ({"crop_pct": 87.5}, "a share above 0 and at most 1"),
        ({"crop_mode": "centre"}, "nearest: center; one of center, squash, border"),
        ({"interpolation": "cubic"}, "nearest: bicubic"),
        ({"mean": (0.5, 0.5)}, "mean and std need 3 numbers"),
        ({"std": 0.0}, "std 0 found; numbers above 0"),
        ({"mean": float("nan")}, "mean nan found"),
    ],
)
def test_a_view_that_cannot_be_is_refused(given: dict[str, Any], found: str) -> None:
    with pytest.raises(BadInput, match=found):
        spec_and_origin({"architecture": "test_vit", "pretrained": False, **given})


def test_a_size_of_two_equal_numbers_is_a_side() -> None:
    entry = {"architecture": "test_vit", "pretrained": False, "kwargs": {"img_size": [64, 64]}}
    assert spec_and_origin(entry)[0].view.side == 64


def test_a_record_that_is_none_is_refused(nets: Path) -> None:
    with pytest.raises(BadInput, match=r"input_size 128, \(channels, side, side\) expected"):
        made(nets, "wrong_size")


def test_resolving_a_factory_leaves_the_callers_generator_alone(nets: Path) -> None:
    torch.manual_seed(3)
    before = torch.get_rng_state()
    first = made(nets, "unseeded")[0]
    assert torch.equal(torch.get_rng_state(), before)
    torch.manual_seed(4)
    assert made(nets, "unseeded")[0].weights == first.weights


def test_a_module_at_hand_says_its_view_as_a_factorys_does() -> None:
    module = timm.create_model("test_vit", num_classes=5)
    spec = spec_from_module(module)
    assert (spec.view.side, spec.view.crop_pct, spec.mean) == (160, 0.95, (0.5,) * 3)
    part = spec_from_module(torch.nn.Sequential(module, torch.nn.ReLU(), torch.nn.Linear(5, 2)))
    assert part.view.side == 160
