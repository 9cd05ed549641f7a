"""Linear layers written for fewer passes over memory: the same rows, and nothing touched that is not to the letter."""

from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
from numpy.typing import NDArray

from featune.export.graph.linear_fusion import with_biases_inside, with_parts_apart

HEAD = """<ir_version: 10, opset_import: ["" : 20]> g (float[2,3,4] x) => ({outputs})
    <int64[3] flat = {{-1, 3, 4}}, int64[5] stack = {{-1, 3, 3, 2, 2}}, int64[1] c0 = {{0}}, int64[1] c1 = {{1}},
     int64[1] c2 = {{2}}, int64[1] c3 = {{3}}> {{ {body} }}"""
LINEAR = {
    "a product and its bias": ("p = MatMul(x, w) features = Add(p, b)", 1),
    "a bias that comes first": ("p = MatMul(x, w) features = Add(b, p)", 1),
    "a layer that others read": ("p = MatMul(x, w) y = Add(p, b) n = Neg(y) r = Relu(y) features = Add(n, r)", 1),
    "a product that others read": ("p = MatMul(x, w) y = Add(p, b) features = Mul(y, p)", 0),
    "a sum of two products": ("p = MatMul(x, w) q = MatMul(x, w) features = Add(p, q)", 0),
    "a bias for each token": ("p = MatMul(x, w) features = Add(p, t)", 0),
    "a product of activations": ("k = Transpose<perm=[0,2,1]>(x) p = MatMul(x, k) features = Add(p, three)", 0),
}
STACK = """p = MatMul(x, w12) y = Add(p, b12) s = Reshape(y, stack) t5 = Transpose<perm=[2,0,3,1,4]>(s)
    q1 = Slice(t5, c0, c1, c0) q = Squeeze(q1, c0) k1 = Slice(t5, c1, c2, c0) k = Squeeze(k1, c0)"""
VALUE = "v1 = Slice(t5, c2, c3, c0) v = Squeeze(v1, c0)"
PARTS = {
    "queries, keys and values": (f"{STACK} {VALUE} a = Mul(q, k) features = Add(a, v)", 1),
    "a part twice": (f"{STACK} {VALUE} a = Mul(q, q) e = Mul(a, k) features = Add(e, v)", 1),
    "two parts of three": (f"{STACK} features = Mul(q, k)", 0),
    "a stack that is read whole": (f"{STACK} {VALUE} z = Neg(t5) r = ReduceSum<keepdims=0>(z, c0) a = Mul(q, k) "
                                   "e = Add(a, v) features = Add(e, r)", 0),
    "a layer that others read": (f"{STACK} {VALUE} m = ReduceMax<keepdims=0>(y) a = Mul(q, k) e = Add(a, v) "
                                 "features = Add(e, m)", 0),
    "two parts in one cut": ("p = MatMul(x, w12) y = Add(p, b12) s = Reshape(y, stack) "
                             "t5 = Transpose<perm=[2,0,3,1,4]>(s) features = Slice(t5, c0, c2, c0)", 0),
    "a cut that names no axis": (STACK.replace("Slice(t5, c0, c1, c0)", "Slice(t5, c0, c1)") +
                                 f" {VALUE} a = Mul(q, k) features = Add(a, v)", 0),
    "a squeeze that names no axis": (STACK.replace("Squeeze(q1, c0)", "Squeeze(q1)") + f" {VALUE} a = Mul(q, k) "
                                     "features = Add(a, v)", 0),
    "another order": (STACK.replace("[2,0,3,1,4]", "[2,0,1,3,4]") + f" {VALUE} a = Mul(q, k) features = Add(a, v)", 0),
}  # fmt: skip


def graph(body: str) -> Any:
    proto = onnx.parser.parse_model(HEAD.format(body=body, outputs="float features"))
    del proto.graph.output[0].type.tensor_type.shape.dim[:]
    proto.graph.output[0].type.tensor_type.ClearField("shape")
    random = np.random.default_rng(0)
    for name, shape in {"w": (4, 4), "b": (4,), "t": (3, 4), "three": (3,), "w12": (4, 12), "b12": (12,)}.items():
        array = random.normal(size=shape).astype(np.float32)
        proto.graph.initializer.append(onnx.numpy_helper.from_array(array, name))
    return onnx.shape_inference.infer_shapes(proto, strict_mode=True, data_prop=True)


def rows(proto: Any) -> NDArray[np.float32]:
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(1).normal(size=(2, 3, 4)).astype(np.float32)
    return session.run(["features"], {"x": images})[0]


def rewritten(proto: Any, rewrite: Any) -> tuple[Any, int]:
    model = onnx_ir.from_proto(proto)
    count = rewrite(model)
    proto = onnx_ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto, count


@pytest.mark.parametrize("case", LINEAR)
def test_a_bias_goes_into_the_product_that_it_alone_is_added_to(case: str) -> None:
    body, layers = LINEAR[case]
    before = graph(body)
    after, count = rewritten(before, with_biases_inside)
    assert count == layers
    assert [node.op_type for node in after.graph.node].count("Gemm") == layers
    np.testing.assert_allclose(rows(after), rows(before), rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("case", PARTS)
def test_parts_are_cut_from_the_weights_in_place_of_the_product(case: str) -> None:
    body, stacks = PARTS[case]
    before = graph(body)
    after, count = rewritten(before, with_parts_apart)
    assert count == stacks
    assert [node.op_type for node in after.graph.node].count("Slice") == (
        0 if stacks else [node.op_type for node in before.graph.node].count("Slice")
    )
    np.testing.assert_allclose(rows(after), rows(before), rtol=1e-5, atol=1e-6)
