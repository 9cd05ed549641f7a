"""Leaves out what no output reads: where only the class token is pooled, the last block's work on the other tokens.

A vision transformer's features are one token of its last layer, yet the last block computes every token's query,
attention, projection and feed-forward network. Choosing the token before these instead of after them gives the same
row, since each of them treats tokens apart; only keys and values need them all. With 12 blocks that is 7 % of the
multiplications. Exporters leave them, and ONNX Runtime's optimiser stops at the first normalisation.
"""

import dataclasses
from collections.abc import Callable
from typing import Any

import numpy as np

from .nodes import constant, put_before, remove_unused

# Each value of the output depends on the values at the same place of the inputs, which broadcast.
ELEMENTWISE = {
    "Add", "Sub", "Mul", "Div", "Pow", "Min", "Max", "Where", "Cast", "Identity", "Neg", "Abs", "Sqrt", "Reciprocal",
    "Exp", "Log", "Erf", "Tanh", "Sigmoid", "Relu", "LeakyRelu", "Elu", "Selu", "Softplus", "HardSigmoid",
    "HardSwish", "Mish", "Gelu",
}  # fmt: skip


@dataclasses.dataclass(frozen=True)
class Place:
    """One index on one axis of a value. The axis stays, with length one."""

    axis: int
    index: int


Needs = list[Place | None]  # of each input of a node: one place of it, or all


def without_unused_tokens(model: Any) -> int:
    """Change the graph of an `onnx_ir.Model` in place; gives the number of nodes that now work at one place.

    From the outputs back: a value of which every reader wants the same place is computed at that place only.
    Where a shape or an operation is not known, all stays as it is.
    """
    graph = model.graph
    wanted: dict[Any, Place | None] = dict.fromkeys([*graph.outputs, *_read_inside(graph)])  # by all of its readers
    needs: dict[Any, Needs] = {}
    for node in reversed(list(graph)):
        place = wanted.setdefault(node.outputs[0], None)
        found = _place_taken(node) if place is None else _needs(node, place)
        if found is None:
            wanted.update(dict.fromkeys(node.outputs))
            found = [None] * len(node.inputs)
        needs[node] = found
        for value, need in zip(node.inputs, found, strict=True):
            if value is not None:
                computed = value.producer() is not None
                wanted[value] = need if computed and wanted.get(value, need) == need else None
    narrow = [(node, place) for node in graph if (place := wanted[node.outputs[0]]) is not None]
    takers = [node for node in graph if (found := _place_taken(node)) and wanted[node.inputs[0]] == found[0]]
    for node, place in narrow:
        _narrow(node, place, needs[node], wanted)
    for node in takers:  # found before: afterwards the axis has one place
        index = np.zeros_like(node.inputs[1].const_value.numpy())
        node.replace_input_with(1, constant(graph, f"{node.outputs[0].name}/index", index))
    remove_unused(model)
    return len(narrow)


def _read_inside(graph: Any) -> list[Any]:
    """The values that the branches of an If or the body of a Loop read, which are no inputs of its node."""
    values = [value for node in graph for value in node.outputs]
    return [value for value in values if any(use.node.graph is not graph for use in value.uses())]


def _place_taken(node: Any) -> Needs | None:
    """Of a Gather with one constant index: the place that it takes."""
    if node.op_type != "Gather" or (index := _number(node.inputs[1])) is None or node.inputs[0].shape is None:
        return None
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else 0
    shape = node.inputs[0].shape
    length = shape[axis]
    if not isinstance(length, int):
        return None
    return [Place(axis % len(shape), index % length), None]


def _needs(node: Any, place: Place) -> Needs | None:
    """What a node needs of its inputs to give one place of its output; None where that is not known."""
    rule = RULES.get(node.op_type, _elementwise if node.op_type in ELEMENTWISE else None)
    if rule is None or node.domain not in ("", "ai.onnx") or any(map(_is_read, node.outputs[1:])):
        return None
    if any(value is not None and value.shape is None for value in (*node.inputs, *node.outputs[:1])):
        return None
    return rule(node, place)


def _is_read(value: Any) -> bool:
    return bool(value.uses()) or value.is_graph_output()


def _elementwise(node: Any, place: Place) -> Needs | None:
    return [_aligned(value, node.outputs[0], place) for value in node.inputs]


def _aligned(value: Any, output: Any, place: Place) -> Place | None:
    """The same place of an input that broadcasts to the output: all of it where the axis is absent or of length 1."""
    if value is None:
        return None
    axis = place.axis - (len(output.shape) - len(value.shape))
    return None if axis < 0 or value.shape[axis] == 1 else Place(axis, place.index)


def _normalisation(node: Any, place: Place) -> Needs | None:
    """Of one axis and all after it."""
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    if place.axis >= axis % len(node.outputs[0].shape):
        return None
    return [place] + [None] * (len(node.inputs) - 1)


def _softmax(node: Any, place: Place) -> Needs | None:
    axis = node.attributes["axis"].as_int() if "axis" in node.attributes else -1
    return None if place.axis == axis % len(node.outputs[0].shape) else [place]


def _matmul(node: Any, place: Place) -> Needs | None:
    left, right = node.inputs
    last = len(node.outputs[0].shape) - 1
    if place.axis == last or min(len(left.shape), len(right.shape)) < 2:
        return None
    if place.axis == last - 1:
        return [Place(len(left.shape) - 2, place.index), None]
    return _elementwise(node, place)


def _transpose(node: Any, place: Place) -> Needs | None:
    return [Place(node.attributes["perm"].as_ints()[place.axis], place.index)] if "perm" in node.attributes else None


def _reshape(node: Any, place: Place) -> Needs | None:
    """Where the axis and all before it are the same on both sides, and the target says its length."""
    before, after = (tuple(value.shape)[: place.axis + 1] for value in (node.inputs[0], node.outputs[0]))
    target = node.inputs[1].const_value
    if before != after or target is None or target.numpy()[place.axis] != after[-1]:
        return None
    return [place, None]


def _concat(node: Any, place: Place) -> Needs | None:
    axis = node.attributes["axis"].as_int() % len(node.outputs[0].shape)
    return None if axis == place.axis else [place] * len(node.inputs)


RULES: dict[str, Callable[[Any, Place], Needs | None]] = {
    "LayerNormalization": _normalisation,
    "RMSNormalization": _normalisation,
    "Softmax": _softmax,
    "LogSoftmax": _softmax,
    "MatMul": _matmul,
    "Transpose": _transpose,
    "Reshape": _reshape,
    "Concat": _concat,
}


def _narrow(node: Any, place: Place, needs: Needs, wanted: dict[Any, Place | None]) -> None:
    """Make the node give one place: its whole inputs are sliced, its output is one long on that axis."""
    graph, output = node.graph, node.outputs[0]
    if node.op_type == "Reshape":
        target = node.inputs[1].const_value.numpy().copy()
        target[place.axis] = 1
        node.replace_input_with(1, constant(graph, f"{output.name}/shape", target))
    for number, (value, need) in enumerate(zip(node.inputs, needs, strict=True)):
        if need is None or wanted[value] is not None:
            continue
        name = f"{output.name}/place{number}"
        bounds = (need.index, need.index + 1, need.axis)
        cut = [value, *(constant(graph, f"{name}/{i}", [bound]) for i, bound in enumerate(bounds))]
        made = put_before(node, "Slice", cut, name, _one_long(value.shape, need.axis))
        made.type = value.type
        node.replace_input_with(number, made)
    output.name, output.shape = f"{output.name}/at{place.index}", _one_long(output.shape, place.axis)


def _one_long(shape: Any, axis: int) -> Any:
    import onnx_ir

    return onnx_ir.Shape([1 if number == axis else length for number, length in enumerate(shape)])


def _number(value: Any) -> int | None:
    held = value.const_value
    return int(held.numpy().item()) if held is not None and held.size == 1 else None
