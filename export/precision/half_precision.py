"""fp16 and bf16 versions of a graph, with the operations that a half type ruins kept in fp32.

Why our own pass and not a tool: ONNX Runtime's float16 converter leaves nodes unsorted and knows no bf16;
onnxconverter-common knows no bf16; NVIDIA's ModelOpt does both well, but pins older onnx and onnxruntime and
brings cupy, so it cannot share this environment (facts measured with modelopt 0.47, onnx 1.23, onnxruntime
1.31). What is needed is small: types are known, so every float input of a node is cast to the type in which
that node computes, and casts are shared. One pass then serves both types, ONNX Runtime and TensorRT, which
builds exactly the types that the graph says.
"""

import functools
from collections.abc import Iterable
from typing import Any

import numpy as np

from featune.engine.errors import BadInput

from ..contract import LAYER

# Reductions over many numbers, exponentials and divisions by small ones: a half type overflows or cancels here.
SENSITIVE = {
    "LayerNormalization", "Softmax", "LogSoftmax", "ReduceMean", "ReduceSum", "ReduceL2", "ReduceSumSquare",
    "ReduceMax", "Pow", "Exp", "Log", "Sqrt", "Reciprocal", "InstanceNormalization", "GroupNormalization",
    "RMSNormalization", "LpNormalization", "CumSum", "GlobalAveragePool", "AveragePool", "Erf", "LSTM", "GRU",
    "Sin", "Cos",
}  # fmt: skip
# Their float inputs or attributes say something of shapes and types, and stay as they are.
STRUCTURAL = {"Cast", "Constant", "ConstantOfShape", "Range", "Resize", "Shape", "EyeLike", "OneHot", "GridSample"}
# ONNX's schema has bf16 for these, TensorRT's parser (10.16 to 11.4, and 1.7 for RTX) does not.
NOT_IN_BF16 = {"HardSwish"}
QUANTISE, DEQUANTISE = "QuantizeLinear", "DequantizeLinear"
LARGEST_HALF = 65504.0
HEADROOM = 4.0  # other images than the sample's may be louder
SMALLEST_SCALE = 2.0**-20  # of int8, in fp16: sixteen of its smallest steps, so that the scale keeps its first digits


def halved(proto: Any, precision: str, keep: Iterable[str] = (), *, attention: bool = False) -> Any:
    """A copy of an fp32 graph that computes in fp16 or bf16, inputs and outputs as before.

    keep: outputs whose nodes stay in fp32, beside the sensitive operations, the normalisation of the input and
    whatever makes a graph output. attention: attention's Softmax is in the half type too, as TensorRT's fused attention
    wants it; that sums in fp32 inside. A graph with Q/DQ rounds and multiplies as before, by scales that are fp16
    numbers, and what lies between them is in the half type.
    """

    proto = _copied(proto)
    _representable_scales(proto)
    keep_low = attention_softmaxes(proto) if attention else set()
    if precision == "bf16":
        # Conv and the pools take bf16 from opset 22 on; 21 and 22 only widen the types of what is exported here.
        if any(node.op_type == "GroupNormalization" for node in proto.graph.node):
            raise BadInput("GroupNormalization changed its meaning between opsets 20 and 22; use --precision fp16")
        proto.opset_import[0].version = max(22, proto.opset_import[0].version)
    return _Pass(proto, _kind(precision), set(keep), keep_low).run()


def attention_softmaxes(proto: Any) -> set[str]:
    """The outputs of Softmax nodes that weigh values: what follows is a product with another computed value."""
    constant = {tensor.name for tensor in proto.graph.initializer}
    products = {
        name
        for node in proto.graph.node
        if node.op_type == "MatMul" and not constant & set(node.input)
        for name in node.input
    }
    return {node.output[0] for node in proto.graph.node if node.op_type == "Softmax" and node.output[0] in products}


def _representable_scales(proto: Any) -> None:
    """Make the scales of Q/DQ numbers of fp16, the next larger ones, so that both sides of a rounding have the same."""
    import onnx

    scales = {node.input[1] for node in proto.graph.node if node.op_type in (QUANTISE, DEQUANTISE)}
    for tensor in proto.graph.initializer:
        if tensor.name in scales and tensor.data_type == onnx.TensorProto.FLOAT:
            exact = np.maximum(onnx.numpy_helper.to_array(tensor), SMALLEST_SCALE)
            near = exact.astype(np.float16)
            above = np.where(near < exact, np.nextafter(near, np.float16(np.inf)), near)
            tensor.CopyFrom(onnx.numpy_helper.from_array(above.astype(np.float32), tensor.name))


def emulated(proto: Any, precision: str) -> Any:
    """What an fp16 or bf16 graph computes, in fp32: every half value rounded to its type and kept as fp32.

    Tensor cores do the same, products summed in fp32 and the result rounded; what is too large for fp16 becomes
    infinite. For machines that would compute in fp32 throughout, or not at all.
    """
    import onnx

    float_, half = onnx.TensorProto.FLOAT, _kind(precision)
    proto = _copied(proto)
    inferred = onnx.shape_inference.infer_shapes(proto).graph
    low = {value.name for value in inferred.value_info if value.type.tensor_type.elem_type == half}
    for tensor in proto.graph.initializer:
        if tensor.data_type == half:
            value = onnx.numpy_helper.to_array(tensor).astype(np.float32)
            tensor.CopyFrom(onnx.numpy_helper.from_array(value, tensor.name))
    nodes = []
    for node in proto.graph.node:
        if node.op_type == "Cast":
            kind = next(attribute for attribute in node.attribute if attribute.name == "to")
            kind.i = float_ if kind.i == half else kind.i
        rounded = [name for name in node.output if name in low]
        node.output[:] = [f"{name}/exact" if name in low else name for name in node.output]
        nodes.append(node)
        for name in rounded:
            nodes.append(onnx.helper.make_node("Cast", [f"{name}/exact"], [f"{name}/half"], to=half))
            nodes.append(onnx.helper.make_node("Cast", [f"{name}/half"], [name], to=float_))
    del proto.graph.node[:]
    proto.graph.node.extend(nodes)
    del proto.graph.value_info[:]
    return proto


def _kind(precision: str) -> int:
    import onnx

    return int({"fp16": onnx.TensorProto.FLOAT16, "bf16": onnx.TensorProto.BFLOAT16}[precision])


class _Pass:
    """One walk over a sorted graph. low: the values that are in the half type so far."""

    def __init__(self, proto: Any, kind: int, keep: set[str], keep_low: set[str]):
        import onnx

        self.onnx, self.proto, self.kind = onnx, proto, kind
        self.suffix = "fp16" if kind == onnx.TensorProto.FLOAT16 else "bf16"
        self.floats = _float_names(proto)
        self.initializers = {tensor.name: tensor for tensor in proto.graph.initializer}
        self.keep = keep | {value.name for value in proto.graph.output}
        self.keep_low = keep_low
        self.opset = proto.opset_import[0].version
        self.low: set[str] = set()
        self.made: dict[tuple[str, bool], str] = {}
        self.nodes: list[Any] = []

    def run(self) -> Any:
        graph = self.proto.graph
        for node in list(graph.node):
            low = self._computes_low(node)
            node.input[:] = [self._as(name, low) if name in self.floats else name for name in node.input]
            outputs = [name for name in node.output if name in self.floats]
            if low:
                self.low.update(outputs)
            self.nodes.append(node)
        del graph.node[:]
        graph.node.extend(self.nodes)
        used = {name for node in graph.node for name in node.input}
        kept = [tensor for name, tensor in self.initializers.items() if name in used]
        del graph.initializer[:]
        graph.initializer.extend(kept)
        del graph.value_info[:]  # their types are no longer true
        self.onnx.checker.check_model(self.proto, full_check=True)
        return self.proto

    def _computes_low(self, node: Any) -> bool:
        if node.op_type == QUANTISE:
            return node.input[0] in self.low
        sensitive = node.op_type in SENSITIVE and not self.keep_low & set(node.output)
        if (
            sensitive
            or node.op_type in STRUCTURAL
            or self.keep & set(node.output)
            or node.domain not in ("", "ai.onnx")
        ):
            return False
        if any(entry.key == LAYER and entry.value == "normalise" for entry in node.metadata_props):
            return False
        if any(attribute.HasField("g") or attribute.graphs for attribute in node.attribute):
            return False
        if not any(name in self.floats for name in node.output):
            return False
        if any(self._overflows(name) for name in node.input):
            return False
        if self.suffix == "bf16" and node.op_type in NOT_IN_BF16:
            return False
        return _takes(node.op_type, self.opset, self.suffix)

    def _overflows(self, name: str) -> bool:
        """A weight that fp16 would turn into infinity."""
        if self.suffix != "fp16" or name not in self.initializers or name not in self.floats:
            return False
        value = self.onnx.numpy_helper.to_array(self.initializers[name])
        return bool(value.size and np.abs(value).max() > LARGEST_HALF)

    def _as(self, name: str, low: bool) -> str:
        """The value in the type asked for, cast once for all who ask."""
        if (name in self.low) == low:
            return name
        if (name, low) not in self.made:
            self.made[name, low] = self._converted(name, low)
        return self.made[name, low]

    def _converted(self, name: str, low: bool) -> str:
        new = f"{name}/{self.suffix if low else 'fp32'}"
        if name in self.initializers:
            value = self.onnx.numpy_helper.to_array(self.initializers[name])
            self.initializers[new] = self._half_tensor(value, new)
            return new
        self.nodes.append(self._cast(name, new, low))
        return new

    def _cast(self, name: str, new: str, low: bool) -> Any:
        kind = self.kind if low else self.onnx.TensorProto.FLOAT
        return self.onnx.helper.make_node("Cast", [name], [new], name=f"{new}/cast", to=kind)

    def _half_tensor(self, value: np.ndarray[Any, Any], name: str) -> Any:
        dtype = self.onnx.helper.tensor_dtype_to_np_dtype(self.kind)
        return self.onnx.numpy_helper.from_array(value.astype(dtype), name)


@functools.cache
def _takes(operator: str, opset: int, suffix: str) -> bool:
    """Whether the operator's first output may be of the half type at this opset."""
    import onnx

    schema = onnx.defs.get_schema(operator, opset)
    wanted = {"fp16": "tensor(float16)", "bf16": "tensor(bfloat16)"}[suffix]
    kinds = {constraint.type_param_str: constraint.allowed_type_strs for constraint in schema.type_constraints}
    output = schema.outputs[0].type_str
    return wanted in kinds.get(output, [output])


def _copied(proto: Any) -> Any:
    copy = type(proto)()
    copy.CopyFrom(proto)
    return copy


def _float_names(proto: Any) -> set[str]:
    import onnx

    graph = onnx.shape_inference.infer_shapes(proto).graph
    values = [*graph.value_info, *graph.input, *graph.output]
    found = {value.name for value in values if value.type.tensor_type.elem_type == onnx.TensorProto.FLOAT}
    return found | {tensor.name for tensor in proto.graph.initializer if tensor.data_type == onnx.TensorProto.FLOAT}
