"""NVIDIA's own parser and builder, those of TensorRT for RTX: they work without a GPU or driver, loading does not."""

import dataclasses
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import torch

from featune.engine.errors import BadInput, FeatuneError, Missing
from featune.engine.models import spec_from_entry
from featune.engine.tensorrt import BuildSettings, Engine, build, library
from featune.engine.tensorrt.callbacks import Callbacks, logger_of
from featune.export.gate import own_sample
from featune.export.graph import graph_from_spec
from featune.export.precision import variant

SETTINGS = BuildSettings(batches=(1, 4, 8))
ARCHITECTURES = ("test_resnet", "test_efficientnet", "test_vit")
MORE = (
    "test_convnext", "test_byobnet", "test_nfnet", "test_mambaout", "mobilenetv3_small_050", "mobilenetv2_050",
    "regnetx_002", "repvit_m0_9",
)  # fmt: skip


@pytest.fixture(scope="module", autouse=True)
def rtx() -> None:
    try:
        library("tensorrt-rtx")
    except Missing as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def graphs(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str, str], Path]:
    """A model's graph in a precision, each made once."""
    folder = tmp_path_factory.mktemp("graphs")

    def graph(architecture: str, precision: str) -> Path:
        path = folder / f"{architecture}.{precision}.onnx"
        if path.exists():
            return path
        kwargs = {"img_size": 32} if architecture == "test_vit" else {}
        spec = spec_from_entry({"architecture": architecture, "pretrained": False, "side": 32, "kwargs": kwargs})
        if precision == "fp32":
            return graph_from_spec(spec, path)
        images = own_sample(spec.view, 4).images.numpy()
        return variant(graph(architecture, "fp32"), path, precision, "tensorrt", images)

    return graph


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16"])
def test_nvidias_parser_and_builder_take_our_graphs(
    graphs: Callable[[str, str], Path], architecture: str, precision: str
) -> None:
    plan, _ = build(graphs(architecture, precision), SETTINGS, by="tensorrt-rtx")
    assert len(plan) > 100_000


@pytest.mark.wide
@pytest.mark.parametrize("architecture", MORE)
@pytest.mark.parametrize("precision", ["fp32", "fp16", "bf16", "int8"])
def test_nvidias_parser_and_builder_take_more_of_our_graphs(
    graphs: Callable[[str, str], Path], architecture: str, precision: str
) -> None:
    plan, _ = build(graphs(architecture, precision), SETTINGS, by="tensorrt-rtx")
    assert len(plan) > 100_000


def test_nvidias_builder_takes_our_int8_graph(graphs: Callable[[str, str], Path]) -> None:
    plan, _ = build(graphs("test_resnet", "int8"), SETTINGS, by="tensorrt-rtx")
    assert len(plan) > 100_000


def test_a_graph_that_the_parser_refuses_is_an_error_that_names_the_file(tmp_path: Path) -> None:
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no graph")
    with pytest.raises(FeatuneError, match=r"TensorRT cannot parse .*wrong\.onnx"):
        build(wrong, SETTINGS, by="tensorrt-rtx")


def test_an_operator_that_the_parser_does_not_know_is_named(tmp_path: Path) -> None:
    import onnx

    value = onnx.helper.make_tensor_value_info
    node = onnx.helper.make_node("Det", ["images"], ["features"], name="the determinant")
    shape, out = ["b", 3, 4, 4], ["b", 3]
    graph = onnx.helper.make_graph([node], "g", [value("images", 1, shape)], [value("features", 1, out)])
    path = tmp_path / "det.onnx"
    onnx.save(onnx.helper.make_model(graph, opset_imports=[onnx.helper.make_opsetid("", 18)], ir_version=10), path)
    with pytest.raises(FeatuneError, match=r"cannot parse .*Det"):
        build(path, SETTINGS, by="tensorrt-rtx")


def test_a_build_that_is_stopped_says_so_and_ctrl_c_comes_through(graphs: Callable[[str, str], Path]) -> None:
    graph = graphs("test_resnet", "fp32")
    with pytest.raises(FeatuneError, match="was stopped, nothing is kept"):
        build(graph, SETTINGS, progress=lambda *_: False, by="tensorrt-rtx")

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        build(graph, SETTINGS, progress=interrupted, by="tensorrt-rtx")


def test_every_builder_of_a_process_tells_its_own_errors(tmp_path: Path) -> None:
    """TensorRT keeps the first logger that a process gives it, and ignores all later ones."""
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no graph")
    trt = library("tensorrt-rtx")
    for _ in range(2):
        with Callbacks() as callbacks:
            builder = trt.Builder(logger_of(trt))
            parser = trt.OnnxParser(builder.create_network(0), logger_of(trt))
            assert not parser.parse_from_file(str(wrong))
        assert callbacks.errors


def test_a_plan_does_not_load_without_a_gpu_and_the_remedy_is_not_another_build(
    graphs: Callable[[str, str], Path],
) -> None:
    if torch.cuda.is_available():
        pytest.skip("this machine has a GPU")
    plan, _ = build(graphs("test_resnet", "fp32"), SETTINGS, by="tensorrt-rtx")
    with pytest.raises((Missing, FeatuneError), match=r"driver|GPU failed") as caught:
        Engine(plan, by="tensorrt-rtx")
    assert not isinstance(caught.value, BadInput), caught.value


def test_a_plan_for_turing_is_another_one(graphs: Callable[[str, str], Path]) -> None:
    """TensorRT for RTX builds for compute capability 7.5 alone, or for 8.0 and later."""
    graph = graphs("test_resnet", "fp16")
    usual, _ = build(graph, SETTINGS, by="tensorrt-rtx")
    turing, _ = build(graph, dataclasses.replace(SETTINGS, turing=True), by="tensorrt-rtx")
    assert len(turing) > 100_000
    assert turing != usual


def test_an_error_reaches_the_build_of_its_own_thread(tmp_path: Path) -> None:
    """Two builds at once: the one that fails is told why, the other is not."""
    wrong = tmp_path / "wrong.onnx"
    wrong.write_bytes(b"no graph")
    trt = library("tensorrt-rtx")

    def fails() -> list[str]:
        with Callbacks() as callbacks:
            builder = trt.Builder(logger_of(trt))
            parser = trt.OnnxParser(builder.create_network(0), logger_of(trt))
            parser.parse_from_file(str(wrong))
            return list(callbacks.errors)

    with ThreadPoolExecutor(1) as other:
        with Callbacks() as waiting:
            assert other.submit(fails).result()
        assert not waiting.errors
