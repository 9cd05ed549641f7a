"""Accuracies that nobody types: looked up by timm's tag and side."""

import dataclasses

import pytest

from featune.bench.study.axes import ACCURACIES, AXES, axis_title, facts_of, with_accuracy
from featune.bench.study.schema.entries import Axis
from featune.engine.models import ModelSpec, View


def timms(model: str = "resnet50.a1_in1k", side: int = 224, **facts) -> ModelSpec:
    usual = {"mean": (0.5,) * 3, "std": (0.5,) * 3, "weights": f"hub:timm/{model}#abc"}
    return ModelSpec(name="mine", architecture=model, view=View(side), **(usual | facts))


def test_a_timm_tag_gets_its_published_accuracy_at_its_side_and_the_reader_is_told() -> None:
    found, said = with_accuracy(timms())
    assert (found.source_top1, found.source_n) == (0.80382, 50_000)  # timm's results-imagenet.csv, at 224
    assert said == "mine: ImageNet accuracy 0.80382 at 224 pixels, by timm's published results"
    assert found.digest == timms().digest  # nothing is measured again


def test_the_same_weights_score_otherwise_at_another_side() -> None:
    at = {side: with_accuracy(timms("convnext_tiny.fb_in22k_ft_in1k", side))[0].source_top1 for side in (224, 288)}
    assert at == {224: 0.829, 288: 0.7895}
    none, said = with_accuracy(timms("convnext_tiny.fb_in22k_ft_in1k", 256))
    assert none.source_top1 is None
    assert said.endswith("is published at 256 pixels; timm tested it at 224, 288")


def test_a_given_number_stands_and_other_weights_have_none() -> None:
    assert with_accuracy(timms(source_top1=0.5))[0].source_top1 == 0.5
    for other in (
        {"weights": "random:0"},
        {"weights": "0" * 64, "checkpoint": "a.pth"},
        {"kwargs": (("drop_path_rate", 0.1),)},
        {"weights": "hub:someone/resnet50#abc"},
    ):
        assert with_accuracy(timms(**other)) == (timms(**other), "")
    assert with_accuracy(timms(kwargs=(("img_size", 224),)))[0].source_top1 == 0.80382


def test_another_axis_is_looked_up_with_its_own_images_and_title() -> None:
    found, said = with_accuracy(timms(source_top1=0.5, source_n=10), ["real", "imagenet_top1"])
    assert (found.source_top1, found.source_n) == (0.85732, 46_837) or found.source_n == 46_837
    assert "ImageNet ReaL accuracy" in said
    assert axis_title(["real"], "ImageNet") == "ImageNet ReaL"
    assert axis_title(["parameters"], "ImageNet") == "ImageNet"
    assert axis_title(["real"], "Places") == "Places"
    none, said = with_accuracy(timms(weights="random:0", source_top1=0.5), ["v2"])
    assert none.source_top1 is None
    assert said == "mine: no published ImageNet V2 accuracy is known"


def test_facts_are_those_that_are_asked_for_and_the_size_that_is_known() -> None:
    assert facts_of(timms()) == {"parameters": 25.56}
    asked = facts_of(timms(), ["imagenet_top1", "v2", "throughput"])
    assert set(asked) == {"v2", "parameters"}
    assert 0.6 < asked["v2"] < 0.8
    counted = facts_of(timms("resnet18.a1_in1k"), ["macs"])
    assert counted["macs"] == pytest.approx(1.82, abs=0.02)  # 1.8 in the paper, He et al. 2015, table 1
    assert facts_of(dataclasses.replace(timms(), weights="random:0"), ["macs"]) == {}


def test_the_study_file_takes_the_axes_that_there_are() -> None:
    assert set(Axis.__args__) == set(AXES)
    assert set(ACCURACIES) < set(AXES)


def test_a_measured_accuracy_goes_before_the_published_one_on_every_axis() -> None:
    measured = {"top1": (0.6, 1000), "real": (0.7, 900), "v2": (0.5, 100)}
    found, said = with_accuracy(timms(), measured=measured)
    assert (found.source_top1, found.source_n) == (0.6, 1000)
    assert said == "mine: ImageNet accuracy 0.6, measured on 1,000 images"
    assert with_accuracy(timms(weights="random:0"), ["real"], measured)[0].source_top1 == 0.7
    assert facts_of(timms(), ["imagenet_top1", "v2", "a"], measured)["v2"] == 0.5
    assert facts_of(timms(weights="random:0"), ["imagenet_top1", "real"], measured) == {"real": 0.7}
    none, said = with_accuracy(timms(), measured={"top1": (1.0, 10)})
    assert none.source_top1 is None
    assert "no log odds" in said


def torchvisions(side: int = 224, **kwargs: object) -> ModelSpec:
    given = tuple(sorted({"weights": "IMAGENET1K_V1", **kwargs}.items()))
    return dataclasses.replace(timms("torchvision.models:alexnet", side), weights="factory:abc", kwargs=given)


def test_a_torchvision_factory_gets_its_record_at_the_side_that_it_was_measured_at() -> None:
    found, said = with_accuracy(torchvisions())
    assert (found.source_top1, found.source_n) == (0.56522, 50_000)  # torchvision's table of weights
    assert said == "mine: ImageNet accuracy 0.56522 at 224 pixels, by torchvision's record"
    assert facts_of(torchvisions()) == {"parameters": 61.10084}
    none, said = with_accuracy(torchvisions(160))
    assert none.source_top1 is None
    assert said.endswith("at 160 pixels; torchvision measured it at 224")
    assert with_accuracy(torchvisions(dropout=0.1))[0].source_top1 is None
    with_own = dataclasses.replace(torchvisions(), weights="0" * 64, checkpoint="a.pth")
    assert with_accuracy(with_own) == (with_own, "")
    assert with_accuracy(dataclasses.replace(torchvisions(), source_top1=0.5))[0].source_top1 == 0.5
