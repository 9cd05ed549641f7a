"""fp16, bf16 and int8 graphs: what they compute in, and that the gate judges them by their own thresholds."""

import dataclasses
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from featune.engine.errors import BadInput, FeatuneError, Missing, ParityFailed
from featune.engine.models import ModelSpec, feature_model, spec_from_entry
from featune.engine.runners import onnxruntime_runner
from featune.engine.tensorrt import BuildSettings, build, library
from featune.export.backends import artefact, exported, open_artefact
from featune.export.contract import content_digest, contract_of, parity, read_graph, write_verdict
from featune.export.contract.thresholds import REQUIRED
from featune.export.gate import Sample, judge, own_sample, require_passing
from featune.export.graph import graph_from_spec
from featune.export.precision import stand_in, variant
from featune.export.precision.half_precision import SENSITIVE, emulated, halved
from featune.export.precision.int8 import Batches, first_and_last, products_of_activations, relative_speed
from featune.export.precision.variants import _loud

pytestmark = pytest.mark.usefixtures("quick")
FLOAT, HALF, BF16 = onnx.TensorProto.FLOAT, onnx.TensorProto.FLOAT16, onnx.TensorProto.BFLOAT16


@pytest.fixture(autouse=True)
def _one_calibration(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> None:
    """Min-max alone, where the comparison of calibrations is not what is tested: entropy takes seconds."""
    if not request.node.get_closest_marker("slow") and "calibrated" not in request.node.name:
        monkeypatch.setattr("featune.export.precision.variants.CALIBRATIONS", ("minmax",))


@pytest.fixture(scope="module")
def transformer(tmp_path_factory: pytest.TempPathFactory) -> Path:
    entry = {"architecture": "test_vit", "pretrained": False, "kwargs": {"img_size": 32, "patch_size": 8}}
    return graph_from_spec(spec_from_entry(entry), tmp_path_factory.mktemp("vit") / "vit.onnx")


def types(proto: onnx.ModelProto) -> dict[str, int]:
    graph = onnx.shape_inference.infer_shapes(proto).graph
    found = {value.name: value.type.tensor_type.elem_type for value in [*graph.value_info, *graph.input, *graph.output]}
    return found | {tensor.name: tensor.data_type for tensor in graph.initializer}


def layer(node: onnx.NodeProto) -> str:
    return next((entry.value for entry in node.metadata_props), "")


def rows(graph: Path, sample: Sample) -> np.ndarray:
    with onnxruntime_runner(graph) as run:
        return run(sample.images).double().numpy()


@pytest.mark.parametrize(("precision", "kind"), [("fp16", HALF), ("bf16", BF16)])
def test_products_are_in_the_half_type_and_sensitive_operations_in_fp32(
    transformer: Path, precision: str, kind: int
) -> None:
    proto = halved(read_graph(transformer), precision)
    found = types(proto)
    products = [node for node in proto.graph.node if node.op_type in ("Conv", "MatMul", "Gemm")]
    assert products
    assert all(found[node.input[1]] == found[node.output[0]] == kind for node in products)
    sensitive = [node for node in proto.graph.node if node.op_type in SENSITIVE]
    assert {node.op_type for node in sensitive} >= {"LayerNormalization", "Softmax"}
    assert all(found[node.output[0]] == FLOAT for node in sensitive)
    assert found["images"] == onnx.TensorProto.UINT8
    assert found["features"] == FLOAT
    assert proto.opset_import[0].version == (22 if precision == "bf16" else 20)


def test_fp16_is_closer_than_bf16_and_both_pass(right: Path, lively: ModelSpec, sample: Sample, tmp_path: Path) -> None:
    noises = {}
    for precision in ("fp16", "bf16"):
        path = variant(right, tmp_path / f"{precision}.onnx", precision, "tensorrt", sample.images.numpy())
        with stand_in(path, precision) as instead:
            verdict = judge(lively, path, sample, stand_in=instead)
        assert verdict.passed, verdict.reasons
        assert f"rounded to {precision}" in verdict.stand_in
        require_passing(path, lively)
        noises[precision] = verdict.parity["noise"]
        assert contract_of(path)["precision"] == precision
    # Eleven bits against eight: an eighth of the error, give or take what stays in fp32.
    assert 2 < noises["bf16"] / noises["fp16"] < 32
    assert noises["fp16"] > 1e-5
    half = tmp_path / "fp16.onnx"
    write_verdict(half, dataclasses.replace(verdict, content=content_digest(half), stand_in=""))
    with pytest.raises(ParityFailed, match="without fp16's rounding"):
        require_passing(half, lively)


@pytest.mark.parametrize(("precision", "kind", "noise"), [("bf16", BF16, 1e-3), ("fp16", HALF, 1e-4)])
def test_the_stand_in_rounds_as_the_half_type_does(
    precision: str, kind: int, noise: float, right: Path, sample: Sample, tmp_path: Path
) -> None:
    proto = emulated(halved(read_graph(right), precision), precision)
    onnx.save(proto, tmp_path / "emulated.onnx")
    assert kind not in {found for name, found in types(proto).items() if not name.endswith("/half")}
    assert parity(rows(right, sample), rows(tmp_path / "emulated.onnx", sample)).noise > noise


def test_what_is_too_large_for_fp16_stays_in_fp32(right: Path, sample: Sample, tmp_path: Path) -> None:
    """A convolution made 1e6 times as loud, and its consumer as much softer: the same model, but for overflow."""
    proto = onnx.load(right)
    convolutions = [node for node in proto.graph.node if node.op_type == "Conv" and layer(node).startswith("layer2.0.")]
    loud, soft = convolutions[:2]  # with a ReLU between them; the third is the block's shortcut
    for node, factor in ((loud, 1e6), (soft, 1e-6)):
        for name in node.input[1:] if factor > 1 else node.input[1:2]:
            tensor = next(each for each in proto.graph.initializer if each.name == name)
            scaled = onnx.numpy_helper.to_array(tensor) * np.float32(factor)
            tensor.CopyFrom(onnx.numpy_helper.from_array(scaled.astype(np.float32), name))
    onnx.save(proto, tmp_path / "loud.onnx")
    naive = halved(read_graph(tmp_path / "loud.onnx"), "fp16")
    onnx.save(naive, tmp_path / "naive.onnx")
    careful = variant(tmp_path / "loud.onnx", tmp_path / "careful.onnx", "fp16", "tensorrt", sample.images.numpy())
    wanted = rows(right, sample)
    assert parity(wanted, rows(careful, sample)).noise < 0.01
    assert loud.output[0] in contract_of(careful)["kept_in_fp32"]
    assert not parity(wanted, rows(tmp_path / "naive.onnx", sample)).noise < 0.03


def test_products_that_overflow_fp16_show_in_the_stand_in_and_are_found_on_whichever_image(tmp_path: Path) -> None:
    """200 x 600 / 600: right in fp32 throughout, as ONNX Runtime on a CPU computes fp16, infinite in fp16."""
    ones = np.ones((1, 1, 1, 1), np.float32)
    nodes = [
        onnx.helper.make_node("Cast", ["images"], ["pixels"], to=FLOAT),
        onnx.helper.make_node("Conv", ["pixels", "up"], ["loud"]),
        onnx.helper.make_node("Conv", ["loud", "down"], ["soft"]),
        onnx.helper.make_node("Flatten", ["soft"], ["features"]),
    ]
    weights = [onnx.numpy_helper.from_array(ones * scale, name) for scale, name in ((600, "up"), (1 / 600, "down"))]
    graph = onnx.helper.make_graph(
        nodes, "loud",
        [onnx.helper.make_tensor_value_info("images", onnx.TensorProto.UINT8, ["batch", 1, 1, 1])],
        [onnx.helper.make_tensor_value_info("features", FLOAT, ["batch", 1])],
        weights,
    )  # fmt: skip
    proto = onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 20)], ir_version=10)
    images = np.zeros((20, 1, 1, 1), np.uint8)
    images[17] = 200
    onnx.save(emulated(halved(proto, "fp16"), "fp16"), tmp_path / "half.onnx")
    with onnxruntime_runner(tmp_path / "half.onnx") as run:
        assert not torch.isfinite(run(torch.from_numpy(images))[17]).any()
    onnx.save(proto, tmp_path / "loud.onnx")
    assert _loud(tmp_path / "loud.onnx", images) == ["loud", "soft"]
    assert _loud(tmp_path / "loud.onnx", images[:17]) == []


@pytest.mark.parametrize("target", ["cpu", "tensorrt"])
def test_int8_is_calibrated_and_judged_on_different_images(lively: ModelSpec, tmp_path: Path, target: str) -> None:
    path = tmp_path / "int8.onnx"
    verdict = exported(lively, path, own_sample(lively.view, 48), precision="int8", target=target)
    assert verdict.passed, verdict.reasons
    assert verdict.parity["n"] == 24
    made = contract_of(path)["quantisation"]
    assert (made["images"], made["target"]) == (24, target)
    assert {name for name, _ in made["tried"]} >= {"minmax", "percentile", "entropy"}
    assert (verdict.speed is None) == (target == "tensorrt")
    assert set(contract_of(path)) >= {"spec", "width", "makers"}


def test_int8_is_made_anew_for_other_images_and_kept_for_the_same(lively: ModelSpec, tmp_path: Path) -> None:
    images = own_sample(lively.view, 48).images
    first = artefact(lively, tmp_path, lambda: images, precision="int8")
    made = first.path.stat().st_mtime_ns
    other = artefact(lively, tmp_path, lambda: images.flip(3), precision="int8")
    assert (other.path, other.digest) != (first.path, first.digest)
    again = artefact(lively, tmp_path, lambda: images, precision="int8")
    assert again == first
    assert again.path.stat().st_mtime_ns == made


def test_each_target_gets_the_quantisation_that_it_computes(right: Path, sample: Sample, tmp_path: Path) -> None:
    images = sample.images.numpy()
    zero_types = {}
    for target in ("cpu", "tensorrt"):
        proto = onnx.load(variant(right, tmp_path / f"{target}.onnx", "int8", target, images))
        constants = {tensor.name: onnx.numpy_helper.to_array(tensor) for tensor in proto.graph.initializer}
        makers = {node.output[0]: node for node in proto.graph.node}
        activations = [n for n in proto.graph.node if n.op_type == "QuantizeLinear" and n.input[0] not in constants]
        zero_types[target] = {constants[node.input[2]].dtype.name for node in activations}
        convs = [node for node in proto.graph.node if node.op_type == "Conv"]
        assert convs
        assert all(makers[name].op_type == "DequantizeLinear" for node in convs for name in node.input[:2])
        if target == "tensorrt":
            zeros = [constants[n.input[2]] for n in proto.graph.node if n.op_type.endswith("QuantizeLinear")]
            assert not any(zero.any() for zero in zeros)
            biases = [node.input[2] for node in convs if len(node.input) > 2]
            assert all(constants[name].dtype == np.float16 for name in biases), "no int32: TensorRT adds them in fp16"
            assert not proto.graph.node[-1].domain
    assert zero_types == {"cpu": {"uint8"}, "tensorrt": {"int8"}}


@pytest.mark.parametrize("count", [1, 8, 12, 13, 64])
def test_calibration_sees_every_image_once_in_batches_of_one_size(count: int) -> None:
    """ONNX Runtime joins the batches of a calibration; of two sizes, most networks' cannot be joined."""
    images = np.arange(count, dtype=np.uint8).reshape(count, 1, 1, 1)
    reader = Batches(images, "images")
    batches = []
    while (found := reader.get_next()) is not None:
        batches.append(found["images"])
    assert len({len(batch) for batch in batches}) == 1
    assert np.array_equal(np.concatenate(batches), images)


def test_attentions_products_stay_out_of_int8(transformer: Path) -> None:
    proto = onnx.load(transformer)
    products = products_of_activations(transformer)
    depth = sum(node.op_type == "Softmax" for node in proto.graph.node)
    assert len(products) == 2 * depth > 0
    first, last = first_and_last(transformer)
    kinds = {node.name: node.op_type for node in proto.graph.node}
    assert kinds[first] == "Conv"
    assert kinds[last] in ("Gemm", "MatMul")


def test_auto_ends_with_a_precision_that_passes(
    lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    strict = dataclasses.replace(REQUIRED["int8"], noise=1e-6)
    monkeypatch.setitem(REQUIRED, "int8", strict)
    verdict = exported(lively, tmp_path / "auto.onnx", own_sample(lively.view, 16), precision="auto", target="tensorrt")
    assert verdict.passed
    assert verdict.precision == "fp16"
    assert require_passing(tmp_path / "auto.onnx", lively)["precision"] == "fp16"


def test_auto_on_a_cpu_keeps_fp32_where_int8_is_slower(
    lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("featune.export.backends.artefacts.speed_against", lambda *_: 0.5)
    verdict = exported(lively, tmp_path / "auto.onnx", own_sample(lively.view, 16), precision="auto")
    assert (verdict.passed, verdict.precision) == (True, "fp32")


def test_an_int8_that_misses_its_threshold_is_refused_after_all_ways_were_tried(
    lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REQUIRED, "int8", dataclasses.replace(REQUIRED["int8"], noise=1e-6))
    path = tmp_path / "int8.onnx"
    verdict = exported(lively, path, own_sample(lively.view, 16), precision="int8")
    assert not verdict.passed
    assert "noise is" in verdict.reasons[0]
    tried = [name for name, _ in contract_of(path)["quantisation"]["tried"]]
    assert tried[1:] == [
        "first and last layer in fp32",
        "worst 10% of the layers in fp32",
        "worst 25% of the layers in fp32",
        "worst 50% of the layers in fp32",
    ]
    with pytest.raises(ParityFailed, match="is not its model"), open_artefact(path):
        pass


def test_speed_is_the_best_of_several_turns_each() -> None:
    now = [0.0]
    costs = {"fast": iter([9, 1, 2, 1, 3, 1]), "slow": iter([9, 4, 3, 5, 3, 4])}

    def call(name: str) -> None:
        now[0] += next(costs[name])

    assert relative_speed(lambda: call("fast"), lambda: call("slow"), clock=lambda: now[0]) == 3.0


def test_an_int8_file_of_a_vnni_machine_is_refused_without_vnni(
    lively: ModelSpec, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(REQUIRED, "int8", dataclasses.replace(REQUIRED["int8"], noise=1.0))
    monkeypatch.setattr("featune.export.precision.int8.vector_int8", lambda: True)
    monkeypatch.setattr("featune.export.gate.verdicts.vector_int8", lambda: True)
    exported(lively, tmp_path / "int8.onnx", own_sample(lively.view, 16), precision="int8")
    monkeypatch.setattr("featune.export.gate.verdicts.vector_int8", lambda: False)
    with pytest.raises(ParityFailed, match="8-bit dot products"), open_artefact(tmp_path / "int8.onnx"):
        pass


@pytest.mark.parametrize(
    ("precision", "target", "message"),
    [
        ("fp8", "cpu", "no precision named 'fp8'; nearest: fp32, fp16"),
        ("int8", "gpu", "no target named 'gpu'"),
        ("bf16", "cpu", "no bf16 convolutions on a CPU"),
    ],
)
def test_a_precision_that_is_not_made_is_bad_input(
    right: Path, tmp_path: Path, precision: str, target: str, message: str
) -> None:
    with pytest.raises(BadInput, match=message):
        variant(right, tmp_path / "x.onnx", precision, target, np.zeros((4, 3, 32, 32), np.uint8))


def test_other_precisions_are_made_of_fp32_only_and_need_four_images(
    right: Path, lively: ModelSpec, sample: Sample, tmp_path: Path
) -> None:
    half = variant(right, tmp_path / "half.onnx", "fp16", "cpu", sample.images.numpy())
    with pytest.raises(BadInput, match="is not an fp32 artefact"):
        variant(half, tmp_path / "x.onnx", "int8", "cpu", sample.images.numpy())
    with pytest.raises(BadInput, match="3 images found; int8 needs at least 4"):
        exported(lively, tmp_path / "x.onnx", Sample(sample.images[:3], "three"), precision="int8")


def test_torch_and_a_half_precision_file_agree_on_any_batch(
    right: Path, lively: ModelSpec, sample: Sample, tmp_path: Path
) -> None:
    path = variant(right, tmp_path / "half.onnx", "fp16", "cpu", sample.images.numpy())
    with torch.no_grad():
        wanted = feature_model(lively)(sample.images[:8])
    with onnxruntime_runner(path) as run:
        for b in (1, 3, 8):
            torch.testing.assert_close(run(sample.images[:b]), wanted[:b], rtol=0.02, atol=0.02)


def convolution_with(operator: str) -> onnx.ModelProto:
    """uint8 images of 4 x 4 through a cast, a convolution and an operator of one input."""
    make = onnx.helper.make_node
    nodes = [
        make("Cast", ["images"], ["floats"], to=FLOAT),
        make("Conv", ["floats", "w"], ["conv"]),
        make(operator, ["conv"], ["act"]),
        make("Conv", ["act", "v"], ["features"]),
    ]
    value, tensor = onnx.helper.make_tensor_value_info, onnx.numpy_helper.from_array
    graph = onnx.helper.make_graph(
        nodes, "g", [value("images", onnx.TensorProto.UINT8, ["batch", 3, 4, 4])],
        [value("features", FLOAT, ["batch", 2, 4, 4])],
        [tensor(np.ones((2, 3, 1, 1), np.float32), "w"), tensor(np.ones((2, 2, 1, 1), np.float32), "v")],
    )  # fmt: skip
    return onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 22)], ir_version=10)


def test_what_tensorrt_does_not_take_in_bf16_stays_in_fp32(tmp_path: Path) -> None:
    """ONNX's schema has HardSwish in bf16, NVIDIA's parser refuses it: mobilenetv3 could not be built."""
    half, low = halved(convolution_with("HardSwish"), "bf16"), halved(convolution_with("HardSwish"), "fp16")
    assert (types(half)["act"], types(half)["conv"], types(low)["act"]) == (FLOAT, BF16, HALF)
    try:
        library("tensorrt-rtx")
    except Missing as error:
        pytest.skip(str(error))
    onnx.save(half, tmp_path / "half.onnx")
    assert build(tmp_path / "half.onnx", BuildSettings(batches=(1, 2, 4)), by="tensorrt-rtx")[0]


def test_a_calibration_that_cannot_be_made_leaves_the_choice_to_the_others(
    right: Path, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A histogram of values that are all but equal has no bins: numpy raises, and the whole of int8 failed."""
    monkeypatch.setattr("featune.export.precision.variants.CALIBRATIONS", ("minmax", "percentile"))
    create = "onnxruntime.quantization.calibrate.create_calibrator"
    real = pytest.importorskip("onnxruntime.quantization.calibrate").create_calibrator

    def without_percentile(*arguments: object, calibrate_method: object, **options: object) -> object:
        if "Percentile" in str(calibrate_method):
            raise ValueError("Too many bins for data range. Cannot create 2048 finite-sized bins.")
        return real(*arguments, calibrate_method=calibrate_method, **options)

    monkeypatch.setattr(create, without_percentile)
    images = sample.images.numpy()
    made = contract_of(variant(right, tmp_path / "int8.onnx", "int8", "cpu", images))["quantisation"]
    assert "percentile" not in dict(made["tried"])
    assert "minmax" in dict(made["tried"])
    monkeypatch.setattr("featune.export.precision.variants.CALIBRATIONS", ("percentile",))
    with pytest.raises(FeatuneError, match="int8 ranges by percentile cannot be found: Too many bins"):
        variant(right, tmp_path / "none.onnx", "int8", "cpu", images)
