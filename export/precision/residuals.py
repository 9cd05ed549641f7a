"""Shortcuts of residual networks in int8, so that TensorRT adds them inside the convolution before the sum.

TensorRT merges `Conv, Add, Relu` into one int8 kernel where the sum's other side is int8 too; left in a wider type, the
sum is a kernel of its own that reads and writes that type. Source: TensorRT developer guide, "Working with Quantized
Types", Q/DQ layer-placement recommendations ("quantize the residual input of skip connections").
"""

import graphlib
from collections.abc import Mapping
from typing import Any

import numpy as np


def quantise_residuals(proto: Any, largest: Mapping[str, float]) -> int:
    """Round to int8, in place, the shortcut of every sum whose other side a quantised convolution makes.

    largest: by value, the largest magnitude that was seen when the graph was calibrated. A value that is in int8
    already is taken as it is. Returns how many sums it changed. Of two convolutions the one that takes fewer layers
    from the input is the shortcut.
    """
    graph = proto.graph
    makers = {name: node for node in graph.node for name in node.output}
    constants = {tensor.name for tensor in graph.initializer}
    twins = {
        node.input[0]: dequantiser.output[0]
        for node in graph.node
        if node.op_type == "QuantizeLinear"
        for dequantiser in graph.node
        if dequantiser.op_type == "DequantizeLinear" and dequantiser.input[0] == node.output[0]
    }
    depth = _depths(graph)
    added: dict[str, list[Any]] = {}  # nodes to put after the maker of a value
    changed = 0
    for node in graph.node:
        if node.op_type != "Add" or constants & set(node.input):
            continue
        sides = sorted(range(2), key=lambda side: depth.get(node.input[side], 0))
        shortcut, branch = node.input[sides[0]], node.input[sides[1]]
        if shortcut == branch or not _is_quantised_convolution(branch, makers):
            continue
        if shortcut not in twins:
            if shortcut not in makers or not 0 < largest.get(shortcut, 0.0) < np.inf:
                continue
            added[shortcut] = _pair(graph, shortcut, largest[shortcut])
            twins[shortcut] = added[shortcut][1].output[0]
        node.input[sides[0]] = twins[shortcut]
        changed += 1
    nodes = []
    for node in graph.node:
        nodes += [node, *(each for name in node.output for each in added.get(name, []))]
    # The twin of a value may stand behind the sum that takes it now.
    makers = {name: node for node in nodes for name in node.output}
    order: graphlib.TopologicalSorter[int] = graphlib.TopologicalSorter()
    places = {id(node): place for place, node in enumerate(nodes)}
    for place, node in enumerate(nodes):
        order.add(place, *(places[id(makers[name])] for name in node.input if name in makers))
    del graph.node[:]
    graph.node.extend(nodes[place] for place in order.static_order())
    return changed


def _is_quantised_convolution(value: str, makers: Mapping[str, Any]) -> bool:
    """Whether a convolution of int8 values and weights makes the value."""
    node = makers.get(value)
    if node is None or node.op_type != "Conv":
        return False
    return all(name in makers and makers[name].op_type == "DequantizeLinear" for name in node.input[:2])


def _depths(graph: Any) -> dict[str, int]:
    """The number of nodes on the longest way from the graph's inputs to each value."""
    depth: dict[str, int] = {}
    for node in graph.node:
        below = max((depth.get(name, 0) for name in node.input), default=0)
        depth.update(dict.fromkeys(node.output, below + 1))
    return depth


def _pair(graph: Any, value: str, largest: float) -> list[Any]:
    """Symmetric int8: zero is 0, the largest magnitude is 127."""
    import onnx

    scale, zero = f"{value}/residual_scale", f"{value}/residual_zero"
    graph.initializer.append(onnx.numpy_helper.from_array(np.float32(largest / 127), scale))
    graph.initializer.append(onnx.numpy_helper.from_array(np.int8(0), zero))
    rounded, twin = f"{value}/residual_int8", f"{value}/residual"
    return [
        onnx.helper.make_node("QuantizeLinear", [value, scale, zero], [rounded], name=f"{value}/residual_quantise"),
        onnx.helper.make_node("DequantizeLinear", [rounded, scale, zero], [twin], name=f"{value}/residual_dequantise"),
    ]
