"""Nodes and constants for a graph that is rewritten (`onnx_ir`), which later passes can read: with shapes and types."""

from collections.abc import Sequence
from typing import Any

import numpy as np


def constant(graph: Any, name: str, value: Any) -> Any:
    """An initializer of the graph: whole numbers become int64, arrays of floats stay as they are."""
    import onnx_ir

    array = np.array(value, order="C")
    array = array if array.dtype.kind == "f" else array.astype(np.int64)
    tensor = onnx_ir.tensor(array, name=name)
    made = onnx_ir.Value(
        name=name, shape=onnx_ir.Shape(array.shape), type=onnx_ir.TensorType(tensor.dtype), const_value=tensor
    )
    graph.register_initializer(made)
    return made


def put_before(place: Any, kind: str, inputs: Sequence[Any], name: str, shape: Sequence[Any], **attributes: Any) -> Any:
    """The output of a new node before `place`, whose layer it is of, and of its type."""
    import onnx_ir

    node = onnx_ir.node(kind, inputs, attributes, metadata_props=dict(place.metadata_props))
    node.outputs[0].name, node.outputs[0].type = name, place.outputs[0].type
    node.outputs[0].shape = onnx_ir.Shape(shape)
    place.graph.insert_before(place, node)
    return node.outputs[0]


def only_reader(value: Any, kind: str) -> Any:
    """The node that alone reads a value, if it is of this kind, else None."""
    uses = list(value.uses())
    alone = len(uses) == 1 and not value.is_graph_output() and uses[0].node.op_type == kind
    return uses[0].node if alone else None


def weights(value: Any, rank: int) -> Any:
    """The array of a constant of so many dimensions, else None."""
    held = None if value is None else value.const_value
    return held.numpy() if held is not None and len(held.shape) == rank else None


def remove_unused(model: Any) -> None:
    """Remove the nodes and constants that no output needs."""
    from onnx_ir.passes.common import RemoveUnusedNodesPass

    RemoveUnusedNodesPass()(model)
