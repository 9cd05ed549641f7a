"""What a layer costs alone in int8: the same as a graph in which the quantiser leaves all others in fp32."""

from pathlib import Path

import numpy as np
import onnx
import pytest

from featune.engine.runners import onnxruntime_runner
from featune.export.contract import parity, values
from featune.export.gate import Sample
from featune.export.precision import int8
from featune.export.precision.layer_sensitivity import sensitivity_of_layers

OUTPUT = "features"


@pytest.fixture(scope="module", params=int8.TARGETS)
def made(
    request: pytest.FixtureRequest, right: Path, sample: Sample, tmp_path_factory: pytest.TempPathFactory
) -> tuple[str, Path, Path]:
    """A target, the prepared fp32 graph, and its int8 version with min-max ranges in `ranges.json` beside it."""
    folder = tmp_path_factory.mktemp(request.param)
    prepared = int8._prepared(right, folder / "prepared.onnx", request.param)
    int8._calibrate(prepared, sample.images.numpy(), request.param, "minmax", folder / "ranges.json")
    int8._quantise(prepared, folder / "int8.onnx", request.param, "minmax", [], folder / "ranges.json")
    return request.param, prepared, folder / "int8.onnx"


def layers_of(graph: Path) -> list[str]:
    return [node.name for node in onnx.load(graph).graph.node if node.op_type in int8.QUANTISED]


def test_a_layers_noise_is_that_of_a_graph_with_this_layer_alone_in_int8(
    made: tuple[str, Path, Path], sample: Sample, tmp_path: Path
) -> None:
    target, prepared, quantised = made
    images = sample.images[:8].numpy()
    found = sensitivity_of_layers(prepared, quantised, images)
    layers = layers_of(prepared)
    assert set(found) == set(layers)
    wanted = values(prepared, [OUTPUT], images)[OUTPUT].astype(np.float64)
    for layer in (layers[0], layers[5], layers[-1]):
        others = [each for each in layers if each != layer]
        int8._quantise(prepared, tmp_path / "one.onnx", target, "minmax", others, prepared.with_name("ranges.json"))
        rows = values(tmp_path / "one.onnx", [OUTPUT], images)[OUTPUT].astype(np.float64)
        # On a CPU the quantiser rounds biases to int32 too, which hardly shows.
        assert found[layer] == pytest.approx(parity(wanted, rows).noise, rel=1e-2 if target == "cpu" else 1e-4)
        assert found[layer] > 1e-4


def test_a_layer_whose_weight_lost_its_precision_costs_most(
    made: tuple[str, Path, Path], sample: Sample, tmp_path: Path
) -> None:
    """One layer in the middle gets a weight's step 64 times as large."""
    _, prepared, quantised = made
    proto = onnx.load(quantised)
    spoilt = layers_of(prepared)[4]
    node = next(each for each in proto.graph.node if each.name == spoilt)
    dequantise = next(each for each in proto.graph.node if node.input[1] in each.output)
    scale = next(each for each in proto.graph.initializer if each.name == dequantise.input[1])
    scale.CopyFrom(onnx.numpy_helper.from_array(onnx.numpy_helper.to_array(scale) * np.float32(64), scale.name))
    onnx.save(proto, tmp_path / "spoilt.onnx")
    found = sensitivity_of_layers(prepared, tmp_path / "spoilt.onnx", sample.images[:8].numpy())
    assert max(found, key=lambda layer: found[layer]) == spoilt
    assert sensitivity_of_layers(prepared, quantised, sample.images[:8].numpy())[spoilt] < 0.1 * found[spoilt]


def test_on_a_cpu_no_activation_function_stands_between_two_roundings(made: tuple[str, Path, Path]) -> None:
    """A convolution's rounding before its ReLU spends steps on values that the ReLU cuts off."""
    target, prepared, quantised = made
    proto = onnx.load(quantised)
    makers = {name: node.op_type for node in proto.graph.node for name in node.output}
    after = [node for node in proto.graph.node if node.op_type in ("Relu", "Clip")]
    before = [node for node in onnx.load(prepared).graph.node if node.op_type in ("Relu", "Clip")]
    assert not [node for node in after if makers[node.input[0]] == "DequantizeLinear"]
    assert (target == "cpu") == (len(after) < len(before))


def test_the_features_of_an_int8_graph_without_its_activation_functions_are_the_same_function(
    made: tuple[str, Path, Path], sample: Sample
) -> None:
    _, prepared, quantised = made
    with onnxruntime_runner(prepared) as exact, onnxruntime_runner(quantised) as rounded:
        found = parity(exact(sample.images).double().numpy(), rounded(sample.images).double().numpy())
    assert found.noise < 0.2
