"""Every rewrite of a graph, with one, two and all of its values given out: each output must stay what it was."""

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import onnxruntime
import pytest
import torch
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from featune.engine.models import feature_model, spec_from_entry
from featune.export.contract import parity, values
from featune.export.graph.linear_fusion import with_biases_inside, with_parts_apart
from featune.export.graph.onnx_export import OPSET, _WithLogits
from featune.export.graph.unused_tokens import without_unused_tokens
from featune.export.precision import int8
from featune.export.precision.half_precision import emulated, halved
from featune.export.precision.layer_sensitivity import sensitivity_of_layers
from featune.export.precision.variants import _largest

OUTPUTS = {"one": ["features"], "two": ["features", "logits"], "all": None}


@pytest.fixture(scope="module")
def transformer() -> bytes:
    """test_vit with its logits, as the exporter leaves it."""
    spec = spec_from_entry({"architecture": "test_vit", "pretrained": False, "kwargs": {"img_size": 32}})
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        program = torch.onnx.export(
            _WithLogits(spec, feature_model(spec)), (torch.zeros(2, 3, 32, 32, dtype=torch.uint8),),
            input_names=["images"], output_names=["features", "logits"], opset_version=OPSET,
            dynamic_shapes=({0: "batch"},), optimize=True, verbose=False,
        )  # fmt: skip
    assert program is not None
    proto = program.model_proto
    proto.ir_version = 10
    return bytes(proto.SerializeToString())


def network() -> Any:
    """Two convolutions, features that a classifier reads on, its logits."""
    rng = np.random.default_rng(0)

    def weight(name: str, *shape: int) -> Any:
        return numpy_helper.from_array(rng.normal(0, 0.3, shape).astype(np.float32), name)

    nodes = [
        helper.make_node("Cast", ["images"], ["x"], to=TensorProto.FLOAT, name="cast"),
        helper.make_node("Mul", ["x", "scale"], ["y"], name="scaled"),
        helper.make_node("Conv", ["y", "w1"], ["c1"], name="conv1"),
        helper.make_node("Relu", ["c1"], ["r1"], name="relu1"),
        helper.make_node("Conv", ["r1", "w2"], ["c2"], name="conv2"),
        helper.make_node("GlobalAveragePool", ["c2"], ["g"], name="pool"),
        helper.make_node("Flatten", ["g"], ["features"], name="flat"),
        helper.make_node("Gemm", ["features", "w3", "b3"], ["logits"], name="fc"),
    ]
    images = helper.make_tensor_value_info("images", TensorProto.UINT8, ["b", 3, 8, 8])
    outputs = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["b", n]) for name, n in (("features", 5), ("logits", 3))
    ]
    weights = [weight("w1", 4, 3, 3, 3), weight("w2", 5, 4, 3, 3), weight("w3", 5, 3), weight("b3", 3)]
    weights.append(numpy_helper.from_array(np.array(1 / 255, np.float32), "scale"))
    graph = helper.make_graph(nodes, "network", [images], outputs, weights)
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 20)], ir_version=10)


def giving(proto: Any, names: list[str] | None) -> Any:
    """The graph with these outputs; with all of its float values after the features and the logits where None."""
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    known = {value.name: value for value in [*inferred.value_info, *inferred.output]}
    made = [name for node in proto.graph.node for name in node.output if name in known]
    floats = [name for name in made if known[name].type.tensor_type.elem_type == TensorProto.FLOAT]
    wanted = names or [*OUTPUTS["two"], *(name for name in floats if name not in OUTPUTS["two"])]  # type: ignore[list-item, misc]
    del proto.graph.output[:]
    proto.graph.output.extend(known[name] for name in wanted)
    return proto


def run(proto: Any, images: NDArray[np.uint8]) -> dict[str, NDArray[Any]]:
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(proto.SerializeToString(), options, providers=["CPUExecutionProvider"])
    names = [each.name for each in session.get_outputs()]
    return dict(zip(names, session.run(names, {"images": images}), strict=True))


def pixels(side: int, n: int = 6) -> NDArray[np.uint8]:
    return np.random.default_rng(1).integers(0, 256, (n, 3, side, side), dtype=np.uint8)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("rewrites", [(with_parts_apart,), (without_unused_tokens,), (with_biases_inside,),
                                      (with_parts_apart, without_unused_tokens, with_biases_inside)])  # fmt: skip
def test_a_rewrite_changes_no_output(
    transformer: bytes, outputs: str, rewrites: tuple[Callable[[Any], int], ...]
) -> None:
    proto = giving(onnx.load_from_string(transformer), OUTPUTS[outputs])
    model = onnx_ir.serde.deserialize_model(onnx.shape_inference.infer_shapes(proto))
    for rewrite in rewrites:
        rewrite(model)
    made = onnx_ir.serde.serialize_model(model)
    onnx.checker.check_model(made, full_check=True)
    wanted, found = run(proto, pixels(32)), run(made, pixels(32))
    assert list(found) == list(wanted)
    for name, value in wanted.items():
        np.testing.assert_allclose(found[name], value, rtol=1e-3, atol=1e-5, err_msg=name)


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("precision", ["fp16", "bf16"])
def test_a_half_precision_keeps_every_output_and_its_type(transformer: bytes, outputs: str, precision: str) -> None:
    proto = giving(onnx.load_from_string(transformer), OUTPUTS[outputs])
    half = halved(proto, precision)
    stand_in = emulated(half, precision)
    onnx.checker.check_model(half, full_check=True)
    wanted, found = run(proto, pixels(32)), run(stand_in, pixels(32))
    assert [(each.name, each.type) for each in half.graph.output] == [
        (each.name, each.type) for each in proto.graph.output
    ]
    for name, value in wanted.items():
        assert np.linalg.norm(found[name] - value) <= 0.05 * np.linalg.norm(value), name
    assert set(_largest(giving(network(), OUTPUTS[outputs]), pixels(8))) == {
        "x",
        "y",
        "c1",
        "r1",
        "c2",
        "g",
        "features",
        "logits",
    }


@pytest.mark.parametrize("outputs", OUTPUTS)
@pytest.mark.parametrize("target", int8.TARGETS)
def test_each_layers_cost_in_int8_is_that_of_the_graph_with_it_alone_in_int8(
    target: str, outputs: str, tmp_path: Path
) -> None:
    onnx.save(giving(network(), OUTPUTS[outputs]), tmp_path / "exact.onnx")
    prepared, images, ranges = tmp_path / "prepared.onnx", pixels(8), tmp_path / "ranges.json"
    int8._prepared(tmp_path / "exact.onnx", prepared, target)
    int8._calibrate(prepared, images, target, "minmax", ranges)
    int8._quantise(prepared, tmp_path / "int8.onnx", target, "minmax", [], ranges)
    found = sensitivity_of_layers(prepared, tmp_path / "int8.onnx", images)
    assert set(found) == {"conv1", "conv2", "fc"}
    wanted = values(prepared, ["features"], images)["features"].astype(np.float64)
    for layer, cost in found.items():
        int8._quantise(
            prepared, tmp_path / "alone.onnx", target, "minmax", [each for each in found if each != layer], ranges
        )
        rows = values(tmp_path / "alone.onnx", ["features"], images)["features"].astype(np.float64)
        assert cost == pytest.approx(parity(wanted, rows).noise, rel=2e-2, abs=1e-6), layer


@pytest.mark.parametrize("outputs", OUTPUTS)
def test_int8_is_searched_to_its_end_with_any_outputs(outputs: str, tmp_path: Path) -> None:
    onnx.save(giving(network(), OUTPUTS[outputs]), tmp_path / "exact.onnx")
    made = tmp_path / "int8.onnx"
    found = int8.best_quantised(tmp_path / "exact.onnx", made, pixels(8), "cpu", lambda graph: (1.0, False), ["minmax"])
    assert [name for name, _ in found.tried][-1] == "worst 50% of the layers in fp32"
    assert [each.name for each in onnx.load(made).graph.output][: len(OUTPUTS[outputs] or [])] == (
        OUTPUTS[outputs] or []
    )
