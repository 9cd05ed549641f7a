"""The whole of `featune choose` on tiny images and tiny networks without pre-training."""

import dataclasses
import json
import math
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from page_numbers import leaves, sections, template_numbers, tokens, unknown
from torch import Tensor

from featune.bench.choose import Asked, choose, summary_lines
from featune.bench.choose import command as command_module
from featune.bench.choose.candidates import DEFAULTS, Backbone, backbones
from featune.bench.choose.journal import Journal
from featune.bench.choose.page import rules, short_names
from featune.bench.choose.probing import _drawn, images_within, room
from featune.bench.choose.screening import Opened, Place, open_all, speed_of
from featune.bench.data import Request, prepare
from featune.bench.study import source_of
from featune.engine.errors import BadInput, Missing
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec

SPEED = {"ms": 2.0, "images_per_second": 1000.0, "batch": 8}
MODELS = ("test_resnet.r160_in1k", "test_efficientnet.r160_in1k")


@pytest.fixture
def tiny(monkeypatch: pytest.MonkeyPatch, spec: ModelSpec) -> None:
    """Candidates of 32 x 32 pixels: `test_resnet` of two draws, whose speed is given."""
    other = dataclasses.replace(spec.with_random_weights(1), name="other")
    both = [Backbone(spec, "the first"), Backbone(other)]
    monkeypatch.setattr(command_module, "backbones", lambda names, *_: (both[: len(names)], {}))
    monkeypatch.setattr("featune.bench.choose.screening.speed_of", lambda *_: SPEED)


def asked(out: Path, **options: Any) -> Asked:
    usual = {
        "models": MODELS,
        "untrained": True,
        "out": out,
        "minutes": 60.0,
        "regimes": ("frozen",),
        "backend": "torch",
    }
    return Asked(**{**usual, **options})


def chosen_in(folder: Path, out: Path, **options: Any) -> tuple[Path, dict[str, Any]]:
    return choose(source_of(Request(str(folder)), "top1", 0, {}), asked(out, **options))


@pytest.mark.usefixtures("tiny")
def test_the_winner_is_scored_exported_with_class_names_and_reported(
    image_folder: Callable[..., Path], tmp_path: Path
) -> None:
    import onnxruntime

    out, said = chosen_in(image_folder(), tmp_path / "out")
    assert said["chosen"]["model"] in ("test_resnet.r160_in1k", "other")
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
    prose = template_numbers("featune.bench.choose", ["choose.html.j2"]) | tokens(" ".join(rules(told)))
    for name, text in sections(page).items():
        assert unknown(text, list(leaves(told)), prose | {"1"}) == set(), name


@pytest.mark.usefixtures("tiny")
def test_fine_tuning_takes_part_and_a_run_that_has_ended_is_given_again(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, options = image_folder(), {"models": MODELS[:1], "regimes": ("frozen", "finetune")}
    out, said = chosen_in(folder, tmp_path / "out", **options)
    compared = [line for line in said["candidates"] if line["comparable"]]
    assert {line["regime"] for line in compared} == {"frozen", "fine-tuned"}
    assert max(line["good"] for line in compared) == compared[0]["good"]
    assert compared[0]["fate"] == "chosen"
    assert not list((out / "work").rglob("*.pt")), "checkpoints of a run that has ended are not needed"

    def never(*arguments: object) -> None:
        raise AssertionError

    for slow in ("command.files", "command.timed", "screening.speed_of", "probing.probe", "finishing.measured"):
        monkeypatch.setattr(f"featune.bench.choose.{slow}", never)
    _, again = chosen_in(folder, tmp_path / "out", **options)
    assert {**again, "made": ""} == {**said, "made": ""}
    with pytest.raises(BadInput, match="other minutes"):
        chosen_in(folder, tmp_path / "out", **options, minutes=5.0)


def test_a_factorys_model_leaves_a_folder_and_logits_wherever_its_code_is(
    image_folder: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import onnxruntime

    code = tmp_path / "mine.py"
    code.write_text(
        "import timm\n\n\ndef net():\n    model = timm.create_model('test_resnet', pretrained=False)\n"
        "    model.pretrained_cfg['input_size'] = (3, 32, 32)\n    return model\n"
    )
    monkeypatch.setattr("featune.bench.choose.screening.speed_of", lambda *_: SPEED)
    out, said = chosen_in(image_folder(), tmp_path / "out", models=(f"{code}:net",), untrained=False)
    assert (said["files"]["gives"], said["files"]["head"]) == ("logits", None)
    session = onnxruntime.InferenceSession(str(out / "model.onnx"))
    images = np.stack([np.full((3, 32, 32), value, np.uint8) for value in (10, 200)])
    (logits,) = session.run(["logits"], {"images": images})
    assert logits.shape == (2, 3)
    config = json.loads((out / "model" / "config.json").read_text())
    assert config["label_names"] == ["blue", "green", "red"]


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


def test_a_draw_of_the_images_has_every_class_and_lies_within_a_larger_draw() -> None:
    labels = [(0,)] * 900 + [(1,)] * 90 + [(2,)] * 10
    items = Labelled("", tuple(f"{at}.png" for at in range(1000)), tuple(labels))
    small, large = (_drawn(items, count, seed=3) for count in (20, 100))
    assert set(small.paths) < set(large.paths)
    counts = [large.labels.count((each,)) for each in range(3)]
    assert counts[2] >= 1
    assert counts[0] == pytest.approx(90, abs=3)
    assert [int(path[:-4]) for path in small.paths] == sorted(int(path[:-4]) for path in small.paths)


def test_a_picture_names_models_without_their_tags_unless_two_would_be_alike() -> None:
    names = ["resnet50.a1_in1k", "resnet50.tv_in1k", "vit_tiny.augreg", "a/mine.py:net"]
    assert list(short_names(names).values()) == ["resnet50.a1_in1k", "resnet50.tv_in1k", "vit_tiny", "net"]


def test_a_short_run_times_models_by_torch_and_a_longer_one_by_their_files(tmp_path: Path) -> None:
    assert asked(tmp_path, minutes=5.0, backend="auto").runs_on == "torch"
    assert asked(tmp_path, minutes=30.0, backend="auto").runs_on == "onnxruntime"
    assert asked(tmp_path, minutes=5.0, backend="onnxruntime").runs_on == "onnxruntime"


def test_speed_is_of_one_image_and_of_a_batch_and_a_disturbed_measurement_is_made_again(
    image_folder: Callable[..., Path], tmp_path: Path, spec: ModelSpec, monkeypatch: pytest.MonkeyPatch
) -> None:
    disturbed = [True]

    def measured(runner: object, images: Tensor, **_: object) -> list[float]:
        if disturbed.pop() if disturbed else False:
            raise BadInput("the clock did not wait for the device")
        return [0.002 * len(images)]

    monkeypatch.setattr("featune.bench.choose.screening.measure", measured)
    items = source_of(Request(str(image_folder())), "top1", 0, {})
    train = prepare(items, tmp_path).load("train")
    found = speed_of(Backbone(spec), train, Place("torch", "cpu", tmp_path))
    assert (found["ms"], found["images_per_second"], found["batch"]) == (2.0, pytest.approx(500), 8)


def test_probes_leave_half_of_the_time_to_fine_tuning_unless_that_would_not_do() -> None:
    assert room(100, tuning=10) == 50
    assert room(100, tuning=50) == pytest.approx(35), "a tuning of 65 with all that belongs to it"
    assert room(100, tuning=60) == 100, "25 would be too little for probes"
    assert room(100, tuning=math.inf) == 100


def test_a_round_of_probes_takes_as_many_images_as_fit_its_seconds() -> None:
    sizes = (1000, 300)
    assert images_within(1300, 1000, sizes, each=1.0, fit=0.0) == 1000
    assert images_within(900, 1000, sizes, each=1.0, fit=0.0) == 600, "and 300 of val"
    assert images_within(100, 1000, sizes, each=1.0, fit=0.0) == 50, "and 50 of val"
    assert images_within(100, 1000, sizes, each=1.0, fit=2.0) == 25
    assert images_within(-5, 1000, sizes, each=1.0, fit=0.0) == 0
