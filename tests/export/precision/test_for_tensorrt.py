"""What TensorRT's int8 and half graphs hold beyond the CPU's: int8 shortcuts, fp16 between, attention in one type."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from featune.engine.errors import Missing
from featune.engine.models import ModelSpec, spec_from_entry
from featune.engine.tensorrt import BuildSettings, build, library
from featune.export.backends import exported
from featune.export.contract import contract_of, read_graph
from featune.export.gate import Sample, own_sample
from featune.export.graph import graph_from_spec
from featune.export.precision import stand_in, variant
from featune.export.precision.half_precision import attention_softmaxes, halved
from featune.export.precision.residuals import quantise_residuals

HALF, FLOAT = onnx.TensorProto.FLOAT16, onnx.TensorProto.FLOAT


@pytest.fixture(autouse=True)
def _one_calibration(monkeypatch: pytest.MonkeyPatch) -> None:
    """Min-max alone: entropy takes seconds."""
    monkeypatch.setattr("featune.export.precision.variants.CALIBRATIONS", ("minmax",))


@pytest.fixture
def whole_in_int8(monkeypatch: pytest.MonkeyPatch) -> None:
    """The first attempt, whatever its noise: of random weights it may be too large."""
    monkeypatch.setattr("featune.export.precision.variants.failures", lambda *_: [])


def types(proto: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(proto).graph
    found = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input, *graph.output]}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


@pytest.mark.usefixtures("whole_in_int8")
def test_an_int8_graph_for_tensorrt_is_fp16_between_its_layers(right: Path, sample: Sample, tmp_path: Path) -> None:
    path = variant(right, tmp_path / "int8.onnx", "int8", "tensorrt", sample.images.numpy()[:8])
    proto = read_graph(path)
    kinds = types(proto)
    convs = [node for node in proto.graph.node if node.op_type == "Conv"]
    assert all({kinds[name] for name in [*node.input, *node.output]} == {HALF} for node in convs)
    assert contract_of(path)["between"] == "fp16"
    makers = {name: node for node in proto.graph.node for name in node.output}
    assert all(makers[name].op_type == "DequantizeLinear" for node in convs for name in node.input[:2])


@pytest.mark.usefixtures("whole_in_int8")
def test_the_shortcut_of_a_sum_is_int8_where_a_convolution_makes_its_other_side(
    right: Path, sample: Sample, tmp_path: Path
) -> None:
    path = variant(right, tmp_path / "int8.onnx", "int8", "tensorrt", sample.images.numpy()[:8])
    proto = read_graph(path)
    makers = {name: node for node in proto.graph.node for name in node.output}
    sums = [
        sorted(makers[name].op_type for name in node.input)
        for node in proto.graph.node
        if node.op_type == "Add" and all(name in makers for name in node.input)
    ]
    assert {other for first, other in sums if first == "Conv"} == {"DequantizeLinear"}
    assert contract_of(path)["quantisation"]["residuals"] > 0


def chain(*, other: str) -> onnx.ModelProto:
    """x -> Q -> DQ -> Conv -> + other, where `other` is x or the output of a layer on x."""
    value, node = onnx.helper.make_tensor_value_info, onnx.helper.make_node
    constants = {
        "scale": np.float32(0.1), "zero": np.int8(0), "weight": np.ones((3, 3, 1, 1), np.int8),
        "step": np.full(3, 0.01, np.float32), "zeros": np.zeros(3, np.int8),
    }  # fmt: skip
    nodes = [
        node("QuantizeLinear", ["x", "scale", "zero"], ["q"]),
        node("DequantizeLinear", ["q", "scale", "zero"], ["dq"]),
        node("DequantizeLinear", ["weight", "step", "zeros"], ["w"], axis=0),
        node("Conv", ["dq", "w"], ["conv"]),
        node("Relu", ["x"], ["relu"]),
        node("Add", ["conv", other], ["sum"]),
    ]
    shape = ["b", 3, 4, 4]
    tensors = [onnx.numpy_helper.from_array(np.asarray(held), name) for name, held in constants.items()]
    graph = onnx.helper.make_graph(nodes, "g", [value("x", 1, shape)], [value("sum", 1, shape)], tensors)
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)


def test_a_shortcut_that_is_int8_already_is_taken_as_it_is() -> None:
    proto = chain(other="x")
    before = len(proto.graph.node)
    assert quantise_residuals(proto, {}) == 1
    assert list(proto.graph.node[-1].input) == ["conv", "dq"]
    assert len(proto.graph.node) == before


def test_a_twin_that_stands_behind_the_sum_comes_before_it() -> None:
    """ONNX Runtime sorts breadth first, so that a later convolution's input may be rounded after the sum."""
    proto = chain(other="relu")
    node, names = onnx.helper.make_node, {each.name for each in proto.graph.initializer}
    assert {"scale", "zero"} <= names
    proto.graph.node.extend(
        [node("QuantizeLinear", ["relu", "scale", "zero"], ["late_q"]),
         node("DequantizeLinear", ["late_q", "scale", "zero"], ["late"])]
    )  # fmt: skip
    assert quantise_residuals(proto, {}) == 1
    onnx.checker.check_model(proto, full_check=True)


def test_another_shortcut_is_rounded_by_the_largest_value_that_was_seen() -> None:
    proto = chain(other="relu")
    assert quantise_residuals(proto, {"relu": 254.0}) == 1
    onnx.checker.check_model(proto, full_check=True)
    scale = next(held for held in proto.graph.initializer if held.name.startswith("relu"))
    assert onnx.numpy_helper.to_array(scale) == 2.0
    assert quantise_residuals(chain(other="relu"), {}) == 0, "a value without a range stays as it is"


def test_scales_become_numbers_of_fp16_that_cut_nothing_off() -> None:
    """A scale that fp16 rounds down would cut off the largest values, and one below its range would be zero."""
    proto = chain(other="x")
    steps = np.array([0.0123456, 3e-9, 0.25], np.float32)
    held = next(tensor for tensor in proto.graph.initializer if tensor.name == "step")
    held.CopyFrom(onnx.numpy_helper.from_array(steps, "step"))
    made = halved(proto, "fp16", keep=["sum"])
    scales = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in made.graph.initializer}
    found = next(value for name, value in scales.items() if name.startswith("step"))
    assert found.dtype == np.float16
    assert (found.astype(np.float32) >= steps).all()
    assert np.allclose(found[[0, 2]], steps[[0, 2]], rtol=1e-3)
    assert found[2] == np.float16(0.25)


def test_attentions_softmax_is_half_for_tensorrt_and_another_one_is_not(tmp_path: Path) -> None:
    entry = {"architecture": "test_vit", "pretrained": False, "kwargs": {"img_size": 32, "patch_size": 8}}
    spec = spec_from_entry(entry)
    source = graph_from_spec(spec, tmp_path / "vit.onnx")
    weighing = attention_softmaxes(read_graph(source))
    assert weighing
    images = own_sample(spec.view, 4).images.numpy()
    for target, kind in (("tensorrt", HALF), ("cuda", FLOAT)):
        made = read_graph(variant(source, tmp_path / f"{target}.onnx", "fp16", target, images))
        assert {types(made)[name] for name in weighing} == {kind}


def test_what_is_judged_rounds_to_int8_and_to_fp16(lively: ModelSpec, tmp_path: Path) -> None:
    path = tmp_path / "int8.onnx"
    verdict = exported(lively, path, own_sample(lively.view, 16), precision="int8", target="tensorrt")
    assert "fp16" in verdict.stand_in
    with stand_in(path, "int8") as instead:
        assert instead is not None
        operators = {node.op_type for node in read_graph(instead[0]).graph.node}
        assert "QuantizeLinear" in operators
        assert HALF not in types(read_graph(instead[0])).values() or "Cast" in operators


def test_nvidias_builder_takes_the_whole(right: Path, sample: Sample, tmp_path: Path) -> None:
    try:
        library("tensorrt-rtx")
    except Missing as error:
        pytest.skip(str(error))
    path = variant(right, tmp_path / "int8.onnx", "int8", "tensorrt", sample.images.numpy()[:8])
    assert len(build(path, BuildSettings(batches=(1, 4, 8)), by="tensorrt-rtx")[0]) > 10_000
