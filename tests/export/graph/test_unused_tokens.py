"""Choosing the token early: the same rows with less work, and nothing touched where that is not sure."""

from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx_ir
import pytest
import torch
from numpy.typing import NDArray

from featune.engine.models import feature_model, spec_from_entry
from featune.engine.runners import onnxruntime_runner, torch_runner
from featune.export.contract import compare, failures
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec
from featune.export.graph.unused_tokens import without_unused_tokens

WEIGHTS = """
    float[4,4] w = {1.,2.,0.,1., 0.,1.,3.,0., 2.,0.,1.,1., 1.,1.,0.,2.}, float[4] s = {1.,2.,0.5,1.},
    float[4] t = {0.,1.,0.,-1.}, int64 first = {0}, int64 second = {1}, int64 last = {-1}, bool yes = {1},
    int64[3] flat = {2, 3, 4}, int64[4] heads = {2, 3, 2, 2}, int64[3] mixed = {2, 6, 2},
    float[3,4] p = {1.,2.,3.,4.,5.,6.,7.,8.,9.,10.,11.,12.}, float[1,1,4] q = {4.,3.,2.,1.}
"""
# What is done to x [b, 3, 4] before a token is taken, and how many operations can be left to that token alone.
CASES = {
    "feed-forward with a residual branch": (
        "n = LayerNormalization<axis=-1>(x1, s, t) h = MatMul(n, w) g = Relu(h) m = MatMul(g, w) y = Add(x1, m)", 6,
    ),
    "a constant of one row per token": ("y = Mul(x1, p)", 2),
    "a constant for all tokens": ("y = Mul(x1, q)", 2),
    "attention: keys and values need every token, its own query does not": (
        """n = LayerNormalization<axis=-1>(x1, s, t) u = MatMul(n, w) uh = Reshape(u, heads)
           qh = Transpose<perm=[0,2,1,3]>(uh) v = MatMul(n, w) vh0 = Reshape(v, heads)
           vh = Transpose<perm=[0,2,1,3]>(vh0) k = Transpose<perm=[0,2,3,1]>(vh0) a0 = MatMul(qh, k)
           a = Softmax<axis=-1>(a0) o = MatMul(a, vh) oh = Transpose<perm=[0,2,1,3]>(o) of = Reshape(oh, flat)
           y = Add(x1, of)""", 9,
    ),
    "parts of a token side by side": ("c = Concat<axis=-1>(x1, x1) d = Relu(c) y = Slice(d, c0, c4, c2)", 0),
    "a softmax over tokens": ("y = Softmax<axis=1>(x1)", 0),
    "a norm over tokens and channels": ("y = LayerNormalization<axis=1>(x1, p)", 0),
    "a reshape that mixes tokens": ("m = Reshape(x1, mixed) r = Relu(m) y = Reshape(r, flat)", 0),
    "tokens joined to tokens": ("y = Concat<axis=1>(x1, x1)", 0),
    "an operation that it does not know": ("r = Relu(x1) y = CumSum(r, c1)", 0),
}  # fmt: skip


def graph(body: str, taken: str = "features = Gather<axis=1>(y, first)", outputs: str = "float[2,4] features") -> Any:
    text = f"""<ir_version: 10, opset_import: ["" : 20]>
        g (float[2,3,4] x) => ({outputs})
        <{WEIGHTS}, int64[1] c0 = {{0}}, int64[1] c1 = {{1}}, int64[1] c2 = {{2}}, int64[1] c4 = {{4}}>
        {{ x1 = Tanh(x) {body} {taken} }}"""
    return onnx.shape_inference.infer_shapes(onnx.parser.parse_model(text), strict_mode=True, data_prop=True)


def rewritten(proto: Any) -> tuple[Any, int]:
    model = onnx_ir.from_proto(proto)
    count = without_unused_tokens(model)
    proto = onnx_ir.to_proto(model)
    onnx.checker.check_model(proto, full_check=True)
    return proto, count


def outputs(proto: Any) -> list[NDArray[np.float32]]:
    import onnxruntime

    session = onnxruntime.InferenceSession(proto.SerializeToString(), providers=["CPUExecutionProvider"])
    images = np.random.default_rng(0).normal(size=(2, 3, 4)).astype(np.float32)
    return list(session.run(None, {"x": images}))


@pytest.mark.parametrize("taken", ["first", "second", "last"])
@pytest.mark.parametrize("case", CASES)
def test_the_rows_stay_and_only_what_treats_tokens_apart_is_narrowed(case: str, taken: str) -> None:
    body, operations = CASES[case]
    before = graph(body, f"features = Gather<axis=1>(y, {taken})")
    after, count = rewritten(before)
    assert count == operations
    np.testing.assert_allclose(outputs(after)[0], outputs(before)[0], rtol=1e-6, atol=1e-7)


def test_what_another_output_reads_is_computed_whole() -> None:
    before = graph("r = Relu(x1) y = Neg(r)", outputs="float[2,4] features, float[2,3,4] r")
    after, count = rewritten(before)
    assert count == 1
    for found, expected in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_two_tokens_of_one_value_leave_it_whole() -> None:
    both = "a = Gather<axis=1>(y, first) z = Gather<axis=1>(y, last) features = Add(a, z)"
    before = graph("y = Relu(x1)", both)
    after, count = rewritten(before)
    assert count == 0
    np.testing.assert_array_equal(outputs(after)[0], outputs(before)[0])


def test_a_token_taken_twice_is_narrowed_once() -> None:
    both = "a = Gather<axis=1>(y, last) z = Gather<axis=1>(y, last) features = Add(a, z)"
    before = graph("y = Relu(x1)", both)
    after, count = rewritten(before)
    assert count == 2
    np.testing.assert_array_equal(outputs(after)[0], outputs(before)[0])


def test_a_token_taken_by_a_list_of_one_keeps_its_axis() -> None:
    before = graph("y = Relu(x1)", "features = Gather<axis=1>(y, c1)", "float[2,1,4] features")
    after, count = rewritten(before)
    assert count == 2
    np.testing.assert_array_equal(outputs(after)[0], outputs(before)[0])


def test_a_token_that_nothing_reads_changes_nothing() -> None:
    before = graph("y = Relu(x1)", "idle = Gather<axis=1>(y, last) features = Gather<axis=1>(y, first)")
    after, _ = rewritten(before)
    np.testing.assert_array_equal(outputs(after)[0], outputs(before)[0])


def test_what_a_branch_reads_is_computed_whole() -> None:
    inside = """z = If (yes) <then_branch = a () => (float[2,3,4] n) { n = Neg(y) },
                              else_branch = b () => (float[2,3,4] m) { m = Abs(y) }>"""
    taken = "features = Gather<axis=1>(y, second)"
    before = graph("y = Relu(x1)", f"{inside} {taken}", "float[2,4] features, float[2,3,4] z")
    after, count = rewritten(before)
    assert count == 0
    for found, expected in zip(outputs(after), outputs(before), strict=True):
        np.testing.assert_array_equal(found, expected)


def test_the_last_block_of_a_transformer_works_on_its_class_token_alone(tmp_path: Path) -> None:
    spec = spec_from_entry({"architecture": "test_vit", "pretrained": False})
    path = graph_from_spec(spec, tmp_path / "model.onnx")
    made = onnx.load(path).graph
    lengths = {value.name: value.type.tensor_type.shape.dim for value in made.value_info}
    flat = {node.output[0]: node.input[0] for node in made.node if node.op_type == "Reshape"}
    tokens = [lengths[flat[node.input[0]]][1].dim_value for node in made.node if node.op_type == "Gemm"]
    assert tokens[-3:] == [1, 1, 1]  # projection and both layers of the feed-forward network
    assert tokens.count(1) == 4  # and the last block's query
    images = own_sample(spec.view, 12).images
    with torch_runner(feature_model(spec)) as reference, onnxruntime_runner(path) as run, torch.no_grad():
        assert not failures(compare(reference, run, images))
