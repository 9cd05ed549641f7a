"""Deliberately wrong artefacts: each must be refused, and the report must name the first layer whose output differs."""

import dataclasses
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import pytest
import torch

from featune.engine.errors import BadInput, ParityFailed
from featune.engine.models import ModelSpec, Normalise
from featune.export.backends import artefact, open_artefact, open_runner
from featune.export.contract import CONTRACT, VERDICT, entry_of, read_graph, set_entry
from featune.export.contract.metadata import verdict_of
from featune.export.contract.thresholds import REQUIRED
from featune.export.gate import Sample, judge, require_passing
from featune.export.graph import contract_differences, graph_from_spec

pytestmark = pytest.mark.usefixtures("quick")


@pytest.fixture
def spec(lively: ModelSpec) -> ModelSpec:
    return lively


@pytest.fixture
def copy(right: Path, tmp_path: Path) -> Path:
    return Path(shutil.copy(right, tmp_path / "model.onnx"))


def edited(path: Path, change: Callable[[Any], None]) -> Path:
    proto = onnx.load(path)
    change(proto)
    onnx.save(proto, path)
    return path


def scaled(proto: Any, name: str, factor: float) -> None:
    weight = next(tensor for tensor in proto.graph.initializer if tensor.name == name)
    weight.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(weight) * np.float32(factor), name))


def bgr(proto: Any) -> None:
    """Reverse the channels before anything else."""
    proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array([2, 1, 0]), "reversed"))
    for node in proto.graph.node:
        node.input[:] = ["bgr" if name == "images" else name for name in node.input]
    proto.graph.node.insert(0, onnx.helper.make_node("Gather", ["images", "reversed"], ["bgr"], axis=1))


def test_a_right_artefact_carries_its_passing_verdict_wherever_it_is_copied(
    spec: ModelSpec, copy: Path, sample: Sample, tmp_path: Path
) -> None:
    verdict = judge(spec, copy, sample)
    assert verdict.passed
    assert verdict.parity["worst_cosine"] > 0.99999
    elsewhere = Path(shutil.copy(copy, tmp_path / "copied.onnx"))
    assert require_passing(elsewhere, spec)["content"] == verdict.content
    assert (tmp_path / "model.verdict.json").exists()
    with open_artefact(elsewhere, spec=spec) as run:
        assert run(sample.images[:3]).shape == (3, 96)


def test_mean_and_std_swapped_are_refused(spec: ModelSpec, copy: Path, sample: Sample) -> None:
    wrong = Normalise(mean=spec.std, std=spec.mean)

    def swapped(proto: Any) -> None:
        for tensor in proto.graph.initializer:
            if tensor.name in ("0.scale", "0.shift"):
                value = getattr(wrong, tensor.name[2:]).numpy()
                tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))

    verdict = judge(spec, edited(copy, swapped), sample)
    assert not verdict.passed
    assert "the first layer whose output differs is normalise" in verdict.departure


def test_channels_in_the_order_of_opencv_are_refused(spec: ModelSpec, copy: Path, sample: Sample) -> None:
    verdict = judge(spec, edited(copy, bgr), sample)
    assert not verdict.passed
    assert "the first layer whose output differs is normalise" in verdict.departure


def test_another_crop_is_refused_though_its_numbers_agree(spec: ModelSpec, copy: Path, sample: Sample) -> None:
    other = dataclasses.replace(spec, view=dataclasses.replace(spec.view, crop_pct=0.5))
    verdict = judge(other, copy, sample)
    assert not verdict.passed
    assert verdict.reasons == (f"crop_pct is {spec.view.crop_pct} in the artefact, 0.5 in the model",)
    assert judge(spec, copy, sample).passed
    with pytest.raises(ParityFailed, match="of another model: crop_pct"), open_artefact(copy, spec=other):
        pass


def test_rounding_is_told_from_a_wrong_layer_by_float64(
    spec: ModelSpec, copy: Path, sample: Sample, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A model that magnifies rounding, as a threshold that no rounding meets makes of any."""
    monkeypatch.setitem(REQUIRED, "fp32", dataclasses.replace(REQUIRED["fp32"], noise=1e-12))
    verdict = judge(spec, copy, sample)
    assert not verdict.passed
    assert "this model magnifies rounding" in verdict.departure
    wrong = judge(spec, edited(copy, lambda p: scaled(p, "1.layer3.0.conv1.weight", 1.001)), sample)
    assert "rounding" not in wrong.departure


def test_a_layer_scaled_by_five_percent_is_refused_by_its_name(spec: ModelSpec, copy: Path, sample: Sample) -> None:
    verdict = judge(spec, edited(copy, lambda p: scaled(p, "1.layer3.0.conv1.weight", 1.05)), sample)
    assert not verdict.passed
    assert "the first layer whose output differs is layer3.0." in verdict.departure


def test_features_scaled_as_a_whole_are_refused_though_their_cosine_is_one(
    spec: ModelSpec, copy: Path, sample: Sample
) -> None:
    def scale_output(proto: Any) -> None:
        proto.graph.initializer.append(onnx.numpy_helper.from_array(np.array(1.05, np.float32), "gain"))
        proto.graph.node.append(onnx.helper.make_node("Mul", ["features", "gain"], ["scaled"]))
        proto.graph.output[0].name = "scaled"

    verdict = judge(spec, edited(copy, scale_output), sample)
    assert verdict.parity["worst_cosine"] > 0.99999
    assert not verdict.passed
    assert "noise" in verdict.reasons[0]


def test_logits_in_the_place_of_features_are_refused(spec: ModelSpec, sample: Sample, tmp_path: Path) -> None:
    graph = graph_from_spec(spec, tmp_path / "both.onnx", logits=True)

    def only_logits(proto: Any) -> None:
        contract = entry_of(proto, CONTRACT)
        assert contract is not None
        set_entry(proto, CONTRACT, contract | {"classes": None})
        del proto.graph.output[0]

    verdict = judge(spec, edited(graph, only_logits), sample)
    assert not verdict.passed
    assert "its rows have shape (1000,), (96,) expected" in verdict.reasons[0]
    assert "the output itself is another value" in verdict.departure


def test_a_frozen_batch_size_is_refused(spec: ModelSpec, copy: Path, sample: Sample) -> None:
    def frozen(proto: Any) -> None:
        proto.graph.input[0].type.tensor_type.shape.dim[0].dim_value = 2

    verdict = judge(spec, edited(copy, frozen), sample)
    assert not verdict.passed
    assert "does not run on batches of 1, 3 and 8" in verdict.reasons[0]


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_opencvs_order_is_refused_on_images_that_have_no_colour(
    precision: str, spec: ModelSpec, copy: Path, sample: Sample
) -> None:
    grey = Sample(sample.images.float().mean(1, keepdim=True).to(torch.uint8).expand(-1, 3, -1, -1), "grey scans")
    judged_as(copy, precision)
    assert judge(spec, copy, grey).passed
    verdict = judge(spec, edited(copy, bgr), grey)
    assert not verdict.passed
    assert "photographs" in verdict.reasons[0]
    assert judge(spec, copy, dataclasses.replace(grey, images=grey.images[:2])).passed is False


def judged_as(path: Path, precision: str) -> None:
    proto = onnx.load(path)
    contract = entry_of(proto, CONTRACT)
    assert contract is not None
    set_entry(proto, CONTRACT, contract | {"precision": precision})
    onnx.save(proto, path)


@pytest.mark.parametrize(
    ("said", "value"),
    [("width", 95), ("weights", "0" * 64), ("tap", "layer3"), ("resize", "to 32 pixels"), ("opset", 19), ("classes", 9),
     ("input", {"name": "images", "type": "uint8", "layout": "BGR, [batch, 3, side, side]", "side": 32})],
)  # fmt: skip
def test_a_contract_that_says_what_is_not_so_is_refused(
    said: str, value: object, spec: ModelSpec, copy: Path, sample: Sample
) -> None:
    def changed(proto: Any) -> None:
        set_entry(proto, CONTRACT, (entry_of(proto, CONTRACT) or {}) | {said: value})

    (reason,) = judge(spec, edited(copy, changed), sample).reasons
    assert reason.startswith(f"its contract says {said} is ")


def test_logits_are_judged_wherever_the_graph_gives_them(spec: ModelSpec, sample: Sample, tmp_path: Path) -> None:
    def wrong(proto: Any) -> None:
        set_entry(proto, CONTRACT, (entry_of(proto, CONTRACT) or {}) | {"classes": None})
        scaled(proto, next(name for name in names(proto) if name.endswith("fc.weight")), -1.0)

    graph = graph_from_spec(spec, tmp_path / "both.onnx", logits=True)
    verdict = judge(spec, edited(graph, wrong), sample)
    assert verdict.reasons[0].startswith("logits: worst row")
    assert verdict.departure == "the features agree, but the logits differ: the classifier is wrong"
    assert "says classes is None, 1000 is right" in verdict.reasons[-1]


def names(proto: Any) -> list[str]:
    return [tensor.name for tensor in proto.graph.initializer]


@pytest.mark.parametrize("change", [lambda p: scaled(p, "1.conv1.0.weight", 2.0), lambda p: set_entry(p, CONTRACT, {})])
def test_an_edit_after_the_verdict_voids_it(
    spec: ModelSpec, copy: Path, sample: Sample, change: Callable[[Any], None]
) -> None:
    judge(spec, copy, sample)
    with pytest.raises(ParityFailed, match="changed after its verdict"), open_artefact(edited(copy, change)):
        pass


def test_an_artefact_without_a_verdict_or_with_a_failed_one_does_not_open(
    spec: ModelSpec, copy: Path, sample: Sample
) -> None:
    with pytest.raises(ParityFailed, match="has no verdict") as caught, open_artefact(copy):
        pass
    assert caught.value.exit_code == 3
    with pytest.raises(ParityFailed, match="has no verdict"), open_artefact(edited(copy, hollow)):
        pass
    judge(spec, edited(copy, bgr), sample)
    assert verdict_of(copy) is not None
    with pytest.raises(ParityFailed, match="is not its model"), open_artefact(copy):
        pass


def hollow(proto: Any) -> None:
    set_entry(proto, VERDICT, {"passed": True})


def test_a_wrong_export_is_neither_kept_nor_used(
    spec: ModelSpec, right: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def wrong(spec: ModelSpec, path: Path, **options: Any) -> Path:
        return edited(Path(shutil.copy(right, path)), bgr)

    monkeypatch.setattr("featune.export.backends.artefacts.graph_from_spec", wrong)
    with (
        pytest.raises(ParityFailed, match="the first layer whose output differs is normalise"),
        open_runner(spec, "onnxruntime", cache=tmp_path, sample=lambda: sample.images),
    ):
        pass
    assert not list(tmp_path.rglob("*.onnx"))


def test_a_checked_artefact_is_made_once(spec: ModelSpec, sample: Sample, tmp_path: Path) -> None:
    first = artefact(spec, tmp_path, lambda: sample.images)

    def never() -> torch.Tensor:
        raise AssertionError("the verdict is in the file")

    assert artefact(spec, tmp_path, never) == first


def test_the_contract_names_every_field_that_differs(spec: ModelSpec, copy: Path) -> None:
    contract = entry_of(read_graph(copy), CONTRACT)
    assert contract is not None
    assert contract_differences(contract, spec) == []
    assert contract_differences(contract, dataclasses.replace(spec, name="x", source_top1=0.5, source_n=50)) == []
    assert contract_differences(contract, dataclasses.replace(spec, weights="random:7")) == [
        f"weights is {spec.weights} in the artefact, random:7 in the model"
    ]


def test_what_is_no_artefact_is_bad_input(tmp_path: Path, copy: Path) -> None:
    (tmp_path / "truncated.onnx").write_bytes(copy.read_bytes()[:3000])
    (tmp_path / "empty.onnx").write_bytes(b"")
    for name, message in (("truncated", "not an ONNX file"), ("absent", "no such artefact")):
        with pytest.raises(BadInput, match=message), open_artefact(tmp_path / f"{name}.onnx"):
            pass
    with pytest.raises(ParityFailed, match="no verdict"), open_artefact(tmp_path / "empty.onnx"):
        pass


def test_an_opset_or_ir_that_no_runtime_takes_is_bad_input(copy: Path) -> None:
    def later(proto: Any) -> None:
        proto.opset_import[0].version = 27

    with pytest.raises(BadInput, match="opset 27, onnxruntime takes at most 26"), open_artefact(edited(copy, later)):
        pass

    def newer(proto: Any) -> None:
        proto.ir_version = 14

    with pytest.raises(BadInput, match="IR version 14, at most 13"), open_artefact(edited(copy, newer)):
        pass
