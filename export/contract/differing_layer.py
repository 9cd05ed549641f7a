"""The first layer of an artefact whose output differs from the model's."""

import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .metadata import read_graph

LAYER = "featune.layer"  # a node's metadata entry: the torch module that it came from
AT_ONCE = 96  # values fetched per session; each is a tensor of a few images
# How far a layer may be from the fp32 graph, relative to its spread over images, before it counts as different.
TOLERANCE = {"fp32": 1e-3, "fp16": 2e-2, "bf16": 1e-1, "int8": 5e-1}


@dataclasses.dataclass(frozen=True)
class DifferingLayer:
    """layer: the torch module's name, or the node's. error: relative to the layer's spread over images."""

    layer: str
    value: str
    operator: str
    error: float

    def __str__(self) -> str:
        where = f"{self.layer} ({self.operator} -> {self.value})"
        return f"the first layer whose output differs is {where}, relative error {self.error:.3g}"


def first_differing_layer(
    reference: str | os.PathLike[str],
    candidate: str | os.PathLike[str],
    images: NDArray[np.uint8],
    precision: str = "fp32",
) -> DifferingLayer | None:
    """Walk both graphs from the input on and name the first layer whose output differs.

    Outputs are matched by name, which precisions of one export share. None where every shared one agrees: then
    the artefact differs in what it calls its features, or has no layer of this export.
    """
    for found in errors(reference, candidate, images):
        if not found.error <= TOLERANCE[precision]:
            return found
    return None


def errors(
    reference: str | os.PathLike[str], candidate: str | os.PathLike[str], images: NDArray[np.uint8]
) -> Iterator[DifferingLayer]:
    """Every layer that both graphs have, in order of execution, with its error."""
    ours, theirs = read_graph(reference), read_graph(candidate)
    nodes = {name: node for node in theirs.graph.node for name in node.output if name}
    shared = [name for node in ours.graph.node for name in node.output if name and name in nodes]
    wanted_layer = {name: _layer(node) for node in ours.graph.node for name in node.output}
    for start in range(0, len(shared), AT_ONCE):
        names = shared[start : start + AT_ONCE]
        wanted = values(reference, names, images)
        rows = values(candidate, names, images)
        for name in names:
            if name not in wanted or name not in rows:
                continue
            error = _relative(wanted[name], rows[name])
            if error is not None:
                yield DifferingLayer(wanted_layer[name], name, nodes[name].op_type, error)


def values(
    graph: str | os.PathLike[str], names: list[str], images: NDArray[np.uint8]
) -> dict[str, NDArray[np.float32]]:
    """The named values of a graph for a batch of images, those of float type only, as float32."""
    import onnx
    import onnxruntime

    proto = read_graph(graph)
    types = _float_values(proto)
    wanted = [name for name in names if name in types]
    del proto.graph.output[:]
    for name in wanted:
        # Cast so that half types come back as numbers, and so that the value survives as an output of its own.
        proto.graph.node.append(onnx.helper.make_node("Cast", [name], [f"{name}/seen"], to=onnx.TensorProto.FLOAT))
        proto.graph.output.append(onnx.helper.make_tensor_value_info(f"{name}/seen", onnx.TensorProto.FLOAT, None))
    if not wanted:
        return {}
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    options.intra_op_num_threads = 1
    # What is looked at must be what the file says, not what an optimisation made of it.
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    folder = str(Path(graph).resolve().parent)
    options.add_session_config_entry("session.model_external_initializers_file_folder_path", folder)
    session = onnxruntime.InferenceSession(
        proto.SerializeToString(), options, providers=["CPUExecutionProvider"], enable_fallback=0
    )
    found = session.run(None, {session.get_inputs()[0].name: images})
    return dict(zip(wanted, found, strict=True))


def _float_values(proto: Any) -> set[str]:
    """The values that shape inference knows to be floating point."""
    import onnx

    inferred = onnx.shape_inference.infer_shapes(proto)
    floats = {onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16, onnx.TensorProto.DOUBLE}
    listed = [*inferred.graph.value_info, *inferred.graph.output]
    return {value.name for value in listed if value.type.tensor_type.elem_type in floats}


def _layer(node: Any) -> str:
    for entry in node.metadata_props:
        if entry.key == LAYER and entry.value:
            return entry.value
    return node.name or node.op_type


def _relative(wanted: NDArray[np.float32], rows: NDArray[np.float32]) -> float | None:
    """Norm of the difference over that of what tells the images apart; None for a layer without a value to compare."""
    if wanted.shape != rows.shape or not np.isfinite(rows).all():
        return float("inf")
    exact = wanted.astype(np.float64)
    spread = float(np.linalg.norm(exact - exact.mean(axis=0))) if exact.ndim else 0.0
    norm = spread or float(np.linalg.norm(exact))
    return float(np.linalg.norm(exact - rows)) / norm if norm else None
