"""The whole of `featune choose` on tiny images and tiny networks without pre-training."""

import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from featune.bench.choose import Asked, choose, summary_lines
from featune.bench.choose import command as command_module
from featune.bench.choose.candidates import DEFAULTS, backbones
from featune.bench.choose.journal import Journal
from featune.bench.choose.screening import Opened, Place, open_all
from featune.bench.data import Request
from featune.bench.study import source_of
from featune.engine.errors import BadInput, Missing
from featune.engine.images import Labelled

MODELS = ("test_resnet.r160_in1k", "test_efficientnet.r160_in1k")


@pytest.fixture(autouse=True)
def no_warm_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("featune.bench.choose.screening.SECONDS", 0.01)


def asked(out: Path, **options: Any) -> Asked:
    usual = {"models": MODELS, "untrained": True, "out": out, "minutes": 60.0, "regimes": ("frozen",)}
    return Asked(**{**usual, **options})


def chosen_in(folder: Path, out: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    return choose(source_of(Request(str(folder)), "top1", 0, {}), asked(out, **options))


def test_the_winner_is_scored_exported_with_class_names_and_reported(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    import onnxruntime

    out, said = chosen_in(image_folder(), tmp_path / "out")
    assert said["chosen"]["model"] in MODELS
    assert said["test"]["n"] == 15
    assert said["test"]["low"] <= said["test"]["value"] <= said["test"]["high"]
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    contract = json.loads(session.get_modelmeta().custom_metadata_map["featune"])
    assert list(contract["class_names"]) == ["blue", "green", "red"]
    side = session.get_inputs()[0].shape[-1]
    (logits,) = session.run(["logits"], {"images": np.zeros((2, 3, side, side), np.uint8)})
    assert logits.shape == (2, 3)
    page = (out / "report.html").read_text()
    assert not re.search(r"(src|href)=.http", page)
    assert "RANDOM WEIGHTS" in page
    told = json.loads((out / "choose.json").read_text())
    for sentence in told["sentences"]:
        assert sentence.split(" (")[0].replace("'", "&#39;") in page
    assert summary_lines(told)[: len(told["sentences"])] == told["sentences"]


def test_a_run_that_has_ended_is_given_again_and_one_of_other_options_refused(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = image_folder()
    _, said = chosen_in(folder, tmp_path / "out", models=MODELS[:1])

    def never(*arguments: object) -> None:
        raise AssertionError

    monkeypatch.setattr(command_module, "files", never)
    monkeypatch.setattr("featune.bench.choose.screening.speed_of", never)
    _, again = chosen_in(folder, tmp_path / "out", models=MODELS[:1])
    assert {**again, "made": ""} == {**said, "made": ""}
    with pytest.raises(BadInput, match="another minutes"):
        chosen_in(folder, tmp_path / "out", models=MODELS[:1], minutes=5.0)


def test_fine_tuning_takes_part_and_the_better_one_on_val_is_chosen(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    out, said = chosen_in(image_folder(), tmp_path / "out", models=MODELS[:1], regimes=("frozen", "finetune"))
    compared = [line for line in said["candidates"] if line["comparable"]]
    assert {line["regime"] for line in compared} == {"frozen", "fine-tuned"}
    assert max(line["good"] for line in compared) == compared[0]["good"]
    assert compared[0]["fate"] == "chosen"
    assert said["files"]["gives"] == "logits"
    assert not list((out / "work").rglob("*.pt")), "checkpoints of a run that has ended are not needed"


def test_a_factorys_model_leaves_features_and_a_head_that_gives_the_same_scores(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    import onnxruntime

    code = tmp_path / "mine.py"
    code.write_text("import timm\n\n\ndef net():\n    return timm.create_model('test_resnet', pretrained=False)\n")
    out, said = chosen_in(image_folder(), tmp_path / "out", models=(f"{code}:net",), untrained=False)
    assert (said["files"]["gives"], said["files"]["head"]) == ("features", "head.npz")
    with np.load(out / "head.npz") as head:
        weights, classes = head["weights"], head["classes"].tolist()
    assert classes == ["blue", "green", "red"]
    (width,) = {shape.shape[1] for shape in onnxruntime.InferenceSession(str(out / "model.onnx")).get_outputs()}
    assert weights.shape == (3, width)


def screened(
    names: tuple[str, ...], speed: Callable[..., dict[str, Any]], journal: Journal, **options: Any
) -> tuple[list[Opened], dict[str, str], dict[str, Opened]]:
    """The screening of models whose speed is a function's."""
    found, _ = backbones(names, untrained=True)
    items = Labelled("", (), ())
    return open_all(found, items, Place("onnxruntime", "cpu", journal.folder), journal, speed=speed, **options)


def test_a_model_that_is_too_slow_is_dropped_with_its_number(tmp_path: Path) -> None:
    def speed(backbone: Any, *_: object) -> dict[str, Any]:
        return {"ms": 3.0 if "resnet" in backbone.name else 30.0, "images_per_second": 300.0, "batch": 8}

    opened, out, slow = screened(MODELS, speed, Journal(tmp_path), seconds=60, max_ms=20)
    assert [one.name for one in opened] == [MODELS[0]]
    assert out == {MODELS[1]: "dropped: 30 ms an image, at most 20 allowed"}
    assert list(slow) == [MODELS[1]]


def test_with_a_small_budget_the_first_models_are_tried_and_the_others_named(tmp_path: Path) -> None:
    now = [0.0]

    def speed(*_: object) -> dict[str, Any]:
        now[0] += 20
        return {"ms": 3.0, "images_per_second": 300.0, "batch": 8}

    names = (*MODELS, "test_vit.r160_in1k", "test_convnext.r160_in1k")
    opened, out, _ = screened(names, speed, Journal(tmp_path, clock=lambda: now[0]), seconds=100)
    assert [one.name for one in opened] == list(MODELS)
    assert all("not tried" in reason for reason in out.values())


def test_without_weights_the_error_says_what_to_do() -> None:
    with pytest.raises(Missing, match="--untrained"):
        backbones(())  # HF_HUB_OFFLINE, and the cache of the tests has none


def test_every_model_of_the_default_list_is_timms_with_a_licence_for_any_use() -> None:
    import timm

    for name in DEFAULTS:
        config = timm.get_pretrained_cfg(name, allow_unregistered=False)
        assert config.license in ("apache-2.0", "mit", "bsd-3-clause"), name
        assert config.hf_hub_id
    assert len(DEFAULTS) == 12


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"regimes": ("frozen", "tuned")}, "frozen, finetune or both"),
        ({"minutes": 0.0}, "more than 0"),
        ({"max_latency_ms": -1.0}, "more than 0"),
    ],
)
def test_wrong_options_are_refused_before_any_work(tmp_path: Path, options: dict[str, Any], said: str) -> None:
    with pytest.raises(BadInput, match=said):
        asked(tmp_path, **options)


def test_names_patterns_and_files_are_candidates(tmp_path: Path) -> None:
    import timm
    import torch

    torch.save(timm.create_model("test_resnet", pretrained=False).state_dict(), tmp_path / "own.pth")
    found, absent = backbones((f"test_resnet={tmp_path / 'own.pth'}",))
    assert (found[0].name, absent) == ("test_resnet=own", {})
    named, _ = backbones(("test_vit*",), untrained=True)
    assert len(named) > 1
    assert all(each.name.startswith("test_vit") for each in named)
    with pytest.raises(BadInput, match="NAME=FILE"):
        backbones(("test_resnet=own.txt",))
