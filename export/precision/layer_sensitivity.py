"""Which layers int8 hurts: each one alone in int8, the others in fp32, measured at the model's output.

Rounding in an early layer goes through all that follow, so its error where it arises says little. One graph tells it
for all layers: beside every value that int8 rounds stands its rounded twin, and an input says which of the two goes on.
"""

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from ..contract import parity

CHOICE = "featune.rounded"  # the input that chooses, float32 [values]: 1 for the rounded twin, 0 for the value itself
QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"


def sensitivity_of_layers(exact: Path, rounded: Path, images: NDArray[np.uint8]) -> dict[str, float]:
    """Each quantised layer's noise at the first output with this layer alone in int8, by the name of its node.

    rounded: the Q/DQ graph that was made of the fp32 graph `exact`, with its names of nodes and values.
    images: uint8 [n, channels, side, side], run as one batch.
    """
    import onnx

    graph, quantised = onnx.load(exact), onnx.load(rounded)
    layers, twins = _rounded_values(graph, quantised)
    _add_twins(graph, twins, {tensor.name: tensor for tensor in quantised.graph.initializer})
    run = _runner(graph, images)
    numbers = {value: number for number, value in enumerate(twins)}
    wanted = run(np.zeros(len(twins), np.float32))
    noises = {}
    for layer, values in layers.items():
        chosen = np.zeros(len(twins), np.float32)
        chosen[[numbers[value] for value in values]] = 1.0
        noises[layer] = parity(wanted, run(chosen)).noise
    return noises


def _rounded_values(graph: Any, quantised: Any) -> tuple[dict[str, list[str]], dict[str, list[Any]]]:
    """The values that each layer rounds (input, weight, output), and the nodes that make each value's twin.

    A weight that is stored in int8 has no QuantizeLinear, and an activation function that was merged into the layer
    before it gives the layer's output its name. Of a value that the graph gives out, the quantiser leaves the name to
    the twin, and the layer before it writes another one.
    """
    makers = {name: node for node in quantised.graph.node for name in node.output}
    quantisers = {node.input[0]: node for node in quantised.graph.node if node.op_type == QUANTISE}
    dequantisers = {node.input[0]: node for node in quantised.graph.node if node.op_type == DEQUANTISE}
    originals = {node.name: node for node in graph.graph.node}
    values = {name for node in graph.graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.graph.initializer}
    layers: dict[str, list[str]] = {}
    twins: dict[str, list[Any]] = {}
    for node in quantised.graph.node:
        sides = [makers[name] for name in node.input[:2] if name in makers and makers[name].op_type == DEQUANTISE]
        if node.name not in originals or len(sides) < 2 or originals[node.name].input[1] not in constants:
            continue  # not quantised, or a sum of quantised values, which has no weight
        found = {}
        for value, side in zip(originals[node.name].input, sides, strict=False):
            found[value] = [makers[side.input[0]], side] if side.input[0] in makers else [side]
        after = quantisers.get(node.output[0])
        if after is not None:
            twin = dequantisers[after.output[0]]
            value = node.output[0] if node.output[0] in values else twin.output[0]
            found |= {value: [after, twin]} if value in values else {}
        layers[node.name] = list(found)
        twins |= found
    return layers, twins


def _add_twins(graph: Any, twins: dict[str, list[Any]], constants: dict[str, Any]) -> None:
    """Let every reader of a value, and the graph where it gives the value out, get value + choice * (twin - value)."""
    import onnx

    given_out = {each.name for each in graph.graph.output}
    # A value that is given out keeps its name for what was chosen; what is computed gets another.
    exact = {value: f"{value}/exact" if value in given_out else value for value in twins}
    chosen = {value: value if value in given_out else f"{value}/chosen" for value in twins}
    for node in graph.graph.node:
        node.input[:] = [chosen.get(name, name) for name in node.input]
        node.output[:] = [exact.get(name, name) for name in node.output]
    known = {tensor.name for tensor in graph.graph.initializer}
    for number, (value, pair) in enumerate(twins.items()):
        needed = [name for node in pair for name in node.input if name in constants and name not in known]
        graph.graph.initializer.extend(constants[name] for name in dict.fromkeys(needed))
        known |= set(needed)
        place = onnx.numpy_helper.from_array(np.array([number]), f"{value}/number")
        graph.graph.initializer.append(place)
        graph.graph.node.extend(_renamed(pair, value, exact[value]))
        for kind, inputs, output in (
            ("Gather", [CHOICE, place.name], f"{value}/choice"),
            ("Sub", [f"{value}/rounded", exact[value]], f"{value}/error"),
            ("Mul", [f"{value}/error", f"{value}/choice"], f"{value}/added"),
            ("Add", [exact[value], f"{value}/added"], chosen[value]),
        ):
            graph.graph.node.append(onnx.helper.make_node(kind, inputs, [output]))
    graph.graph.input.append(onnx.helper.make_tensor_value_info(CHOICE, onnx.TensorProto.FLOAT, [len(twins)]))


def _renamed(pair: list[Any], value: str, exact: str) -> list[Any]:
    """Copies of the nodes that round a value, from `exact` to `VALUE/rounded`, whatever the quantiser called both."""
    made = []
    for number, node in enumerate(pair):
        copy = type(node)()
        copy.CopyFrom(node)
        if number or copy.op_type == QUANTISE:
            copy.input[0] = f"{value}/step" if number else exact
        copy.output[0] = f"{value}/rounded" if number == len(pair) - 1 else f"{value}/step"
        made.append(copy)
    return made


def _runner(graph: Any, images: NDArray[np.uint8]) -> Any:
    import onnxruntime

    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # The roundings must stay where the graph has them: what is optimised has others.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    session = onnxruntime.InferenceSession(
        graph.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    name, output = session.get_inputs()[0].name, session.get_outputs()[0].name

    def run(chosen: NDArray[np.float32]) -> NDArray[np.float64]:
        return np.asarray(session.run([output], {name: images, CHOICE: chosen})[0], dtype=np.float64)

    return run
