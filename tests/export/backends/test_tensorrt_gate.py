"""A plan is held to its graph's gate: in its own batches, with logits, on images that nothing was calibrated on."""

import ctypes
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from fake_tensorrt import Fake
from typer.testing import CliRunner

from featune.bench.cli.app import app
from featune.engine.errors import BadInput, FeatuneError, ParityFailed
from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, feature_model, source_model
from featune.engine.runners import torch_runner
from featune.engine.tensorrt import BuildSettings
from featune.export.backends import faster_plan, gate_of_plan, plan_down, plan_from_graph, read_plan
from featune.export.backends.tensorrt_backends import checked_plan
from featune.export.backends.tensorrt_plan import Running
from featune.export.commands import Product, RunSettings, export_model, request_of_plan, request_of_spec, verify
from featune.export.gate import Sample, halves, held_out


def computing(spec: ModelSpec) -> Callable[[Any, int], bool]:
    """What a right plan does: the model's rows of the bytes at one address, written to the other."""
    model = feature_model(spec)

    def execute(context: Any, stream: int) -> bool:
        batch, addresses = context._batch, context._addresses
        seen = np.ctypeslib.as_array((ctypes.c_uint8 * (batch * 3 * 32 * 32)).from_address(addresses["images"]))
        rows = np.ctypeslib.as_array((ctypes.c_float * (batch * 96)).from_address(addresses["features"]))
        with torch.inference_mode():
            found = model(torch.from_numpy(seen.reshape(batch, 3, 32, 32).copy()))
        rows[:] = found.numpy().ravel()
        return True

    return execute


@pytest.fixture
def made(trt: Callable[..., Fake], graph: Path, lively: ModelSpec, sample: Sample, tmp_path: Path) -> Path:
    """A right plan with its verdict."""
    trt(IExecutionContext__execute_async_v3=computing(lively))
    settings = BuildSettings(batches=(1, 4, 8))
    return plan_from_graph(graph, tmp_path, settings, gate_of_plan(lively, lambda: sample, "cpu"), device="cpu")


@pytest.mark.parametrize("batches", [(1, 4, 8), (4, 6, 8), (8, 8, 8), (1, 2, 2)])
def test_a_plan_is_judged_in_batches_that_it_was_built_for(
    trt: Callable[..., Fake], graph: Path, lively: ModelSpec, sample: Sample, tmp_path: Path, batches: Any
) -> None:
    least, _, most = batches

    def shape(context: Any, name: str, shape: tuple[int, ...]) -> bool:
        context._batch = shape[0]
        return bool(least <= shape[0] <= most)

    trt(
        IExecutionContext__execute_async_v3=computing(lively),
        IExecutionContext__set_input_shape=shape,
        ICudaEngine__get_tensor_profile_shape=lambda engine, name, profile: [(b, 3, 32, 32) for b in batches],
    )
    gate = gate_of_plan(lively, lambda: sample, "cpu")
    path = plan_from_graph(graph, tmp_path, BuildSettings(batches=batches), gate, device="cpu")
    assert read_plan(path)[0].verdict["parity"]["n"] == len(sample.images)


def test_wrong_logits_beside_right_features_are_refused(lively: ModelSpec, sample: Sample) -> None:
    gate = gate_of_plan(lively, lambda: sample, "cpu")
    with torch_runner(feature_model(lively)) as features, torch_runner(source_model(lively)) as logits:
        right = gate(Running(features, logits, (1, 8), "fp32"))
        wrong = gate(Running(features, lambda images: 1.05 * logits(images), (1, 8), "fp32"))
    assert right["passed"], right["reasons"]
    assert not wrong["passed"]
    assert wrong["reasons"][0].startswith("logits: noise is")


def test_labels_measure_what_a_plan_costs_a_probe(lively: ModelSpec, sample: Sample) -> None:
    images = sample.images.repeat(5, 1, 1, 1)
    labelled = Sample(images, "labelled", np.arange(len(images)) % 2)
    with torch_runner(feature_model(lively)) as features:
        verdict = gate_of_plan(lively, lambda: labelled, "cpu")(Running(features, None, (1, 8), "fp32"))
    assert verdict["probe"]["difference"] == 0


def test_what_was_calibrated_on_is_not_judged_on(sample: Sample) -> None:
    calibration, judged_on = halves(sample)
    assert len(calibration.images) + len(judged_on.images) == len(sample.images)
    assert held_out(sample, "fp32") is sample
    assert torch.equal(held_out(sample, "int8").images, judged_on.images)
    assert not any((image == judged_on.images).flatten(1).all(1).any() for image in calibration.images)


def test_export_and_backend_hand_the_gate_the_images_held_out(
    trt: Callable[..., Fake], lively: ModelSpec, sample: Sample, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    trt()
    seen: list[int] = []

    def gate(spec: ModelSpec, sample: Callable[[], Sample], device: str) -> Any:
        def judged(plan: Running) -> dict[str, Any]:
            seen.append(len(sample().images))
            return {"passed": True, "reasons": []}

        return judged

    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    monkeypatch.setattr("featune.export.commands.export_command.sample_of", lambda spec, data: sample)
    for place in ("commands.export_command", "backends.tensorrt_backends"):
        monkeypatch.setattr(f"featune.export.{place}.gate_of_plan", gate)
    export_model(lively, Product(to="tensorrt", precision="fp16", batches=(1, 4, 8)), out=tmp_path / "x.plan")
    checked_plan(lively, tmp_path / "cache", lambda: sample.images, precision="fp16")
    assert seen == [len(sample.images) // 2] * 2


def test_auto_steps_down_where_the_plan_is_not_the_model_though_its_graph_is() -> None:
    tried: list[tuple[str, str]] = []

    def graph(asked: str) -> str:
        tried.append(("graph", asked))
        return "int8" if asked == "auto" else asked

    def plan(made: str) -> Path:
        tried.append(("plan", made))
        if made in ("int8", "fp16"):
            raise ParityFailed(f"{made} is not its model")
        return Path(made)

    assert plan_down("auto", graph, plan) == Path("bf16")
    assert tried == [
        ("graph", "auto"), ("plan", "int8"), ("graph", "fp16"), ("plan", "fp16"), ("graph", "bf16"), ("plan", "bf16"),
    ]  # fmt: skip
    with pytest.raises(ParityFailed, match="fp16 is not its model"):
        plan_down("fp16", graph, plan)


@pytest.mark.parametrize(("quicker", "chosen"), [("int8", "int8"), ("fp16", "fp16")])
def test_auto_takes_the_faster_of_int8_and_fp16(quicker: str, chosen: str) -> None:
    def graph(asked: str) -> str:
        return "int8" if asked == "auto" else asked

    found = plan_down("auto", graph, Path, lambda first, second: first if first.name == quicker else second)
    assert found == Path(chosen)
    assert plan_down("int8", graph, Path, lambda first, second: second) == Path("int8")


@pytest.mark.parametrize("error", [ParityFailed("fp16 is not its model"), FeatuneError("TensorRT could not build it")])
def test_auto_keeps_int8_where_fp16_is_not_to_be_had(error: FeatuneError) -> None:
    def plan(made: str) -> Path:
        if made == "fp16":
            raise error
        return Path(made)

    def graph(asked: str) -> str:
        return "int8" if asked == "auto" else asked

    assert plan_down("auto", graph, plan, lambda first, second: second) == Path("int8")


def test_which_plan_is_faster_is_measured_once(
    trt: Callable[..., Fake], graph: Path, lively: ModelSpec, sample: Sample, tmp_path: Path
) -> None:
    calls: list[int] = []
    right = computing(lively)

    def execute(context: Any, stream: int) -> bool:
        calls.append(context._batch)
        return right(context, stream)

    trt(IExecutionContext__execute_async_v3=execute)
    made = [
        plan_from_graph(
            graph, tmp_path, BuildSettings(batches=(1, 4, 8), level=level), gate_of_plan(lively, lambda: sample, "cpu"),
            device="cpu",
        )
        for level in (3, 4)
    ]  # fmt: skip
    first = faster_plan(made[0], made[1], tmp_path, "cpu")
    assert first in made
    before = len(calls)
    assert faster_plan(made[0], made[1], tmp_path, "cpu") == first
    assert len(calls) == before


def test_verify_rebuilds_the_model_that_the_plan_was_made_of(made: Path, lively: ModelSpec) -> None:
    with pytest.raises(BadInput, match="give --checkpoint"):
        verify(made, device="cpu")
    assert verify(made, checkpoint=Path(str(lively.checkpoint)), device="cpu")["parity"]["n"] == 64


def test_verify_as_another_model_leaves_the_plans_verdict_as_it_was(made: Path, lively: ModelSpec) -> None:
    before = made.read_bytes()
    with pytest.raises(ParityFailed, match=r"side is 32 in the artefact, 160 in the model.*left as it was"):
        verify(made, model="test_resnet", checkpoint=Path(str(lively.checkpoint)), device="cpu")
    assert made.read_bytes() == before


def test_verify_of_another_gpus_plan_says_so(made: Path, trt: Callable[..., Fake]) -> None:
    trt(gpu="T4")
    with pytest.raises(BadInput, match=r"was built by TensorRT .* for H200"):
        verify(made, model="test_resnet")


def test_features_of_auto_are_named_by_the_graph_whose_plan_runs(
    made: Path, lively: ModelSpec, items: Labelled, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The plan may have come to a safer precision than `auto` made of the graph."""
    place = "featune.export.backends.tensorrt_backends"
    for name, fake in {
        "checked_plan": lambda *_, **__: made,
        "require_device": lambda _: None,
        "library": lambda _: None,
    }.items():
        monkeypatch.setattr(f"{place}.{name}", fake)
    how = RunSettings("tensorrt", "cuda", "auto")
    assert request_of_spec(lively, items, how, made.parent).key.artefact == read_plan(made)[0].key.graph


def test_a_plans_features_are_named_by_its_content_and_need_its_verdict_and_a_gpu(
    made: Path, trt: Callable[..., Fake], lively: ModelSpec, items: Labelled
) -> None:
    found = request_of_plan(made, items, RunSettings(device="cuda"))
    assert found.key.view == lively.view
    assert (found.key.backend, found.key.artefact) == ("tensorrt:cuda", read_plan(made)[0].verdict["content"])
    with found.open(1) as run:
        assert run(torch.zeros(2, 3, 32, 32, dtype=torch.uint8)).shape == (2, 96)
    with pytest.raises(BadInput, match="is a plan for H200, found --device cpu; give --device cuda"):
        request_of_plan(made, items, RunSettings())
    trt(gpu="T4")
    with pytest.raises(BadInput, match=r"was built by TensorRT .* for H200"), found.open(1):
        pass


def test_extract_takes_a_plan_by_its_name(tmp_path: Path) -> None:
    from PIL import Image

    for number in range(2):
        Image.new("RGB", (40, 40), (number * 90, 0, 0)).save(tmp_path / f"{number}.png")
    result = CliRunner().invoke(app, ["extract", str(tmp_path / "r.plan"), str(tmp_path)])
    assert result.exit_code == 2
    assert "r.plan: no such plan; make it with `featune export --to tensorrt`" in " ".join(result.stderr.split())
