"""All that surrounds TensorRT, against a fake made of our table of its names: no TensorRT library is needed.

The fake refuses every name and every number of arguments that the table does not list for both 10.16 and 11.4.
"""

import ast
import dataclasses
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from fake_tensorrt import NAMES, Fake, Value

import featune.engine.tensorrt.building as building
import featune.engine.tensorrt.callbacks as callbacks
import featune.engine.tensorrt.engine as surface
import featune.engine.tensorrt.libraries as libraries
from featune.engine.errors import BadInput, FeatuneError, Missing, ParityFailed
from featune.engine.tensorrt import BuildSettings, Engine, build, library, tensorrt_runner
from featune.export.backends import gate_of_plan, judged, open_plan, plan_from_graph, read_plan, refitted, write_plan
from featune.export.backends.tensorrt_plan import Plan, PlanKey, Running, key_of, machine
from featune.export.commands import Product, checked_target, export_model
from featune.export.contract import CONTRACT, ESSENTIAL, contract_of, entry_of, read_graph, set_entry

SETTINGS = BuildSettings(batches=(1, 4, 8), refittable=True)


def passes(plan: Running) -> dict[str, Any]:
    return {"passed": True, "reasons": []}


def images(b: int) -> torch.Tensor:
    return torch.randint(0, 256, (b, 3, 32, 32), dtype=torch.uint8, generator=torch.Generator().manual_seed(b))


# What the code calls each of TensorRT's objects.
OBJECTS = {
    "builder": "Builder",
    "network": "INetworkDefinition",
    "tensor": "ITensor",
    "config": "IBuilderConfig",
    "cache": "ITimingCache",
    "profile": "IOptimizationProfile",
    "self.runtime": "Runtime",
    "engine": "ICudaEngine",
    "self.engine": "ICudaEngine",
    "context": "IExecutionContext",
    "self.context": "IExecutionContext",
    "inspector": "EngineInspector",
    "refitter": "Refitter",
    "error": "ParserError",
}


def parsed(module: types.ModuleType) -> ast.Module:
    return ast.parse(Path(str(module.__file__)).read_text())


def test_every_name_of_tensorrt_in_the_code_is_in_both_versions() -> None:
    used = set()
    for node in [each for module in (libraries, building, surface, callbacks) for each in ast.walk(parsed(module))]:
        if not isinstance(node, ast.Attribute):
            continue
        base = ast.unparse(node.value).removeprefix("self.trt").removeprefix("trt").removeprefix(".")
        module = ast.unparse(node.value) in ("trt", "self.trt", "tensorrt")
        if module:
            assert node.attr in NAMES or node.attr == "__version__", f"tensorrt has no {node.attr}"
            used.add(node.attr)
        elif ast.unparse(node.value).startswith(("trt.", "self.trt.")):
            assert node.attr in NAMES[base], f"{base} has no {node.attr}"
        elif ast.unparse(node.value) in OBJECTS:
            kind = OBJECTS[ast.unparse(node.value)]
            assert node.attr in NAMES[kind], f"{kind} has no {node.attr}"
            used.add(kind)
    assert used >= {"Builder", "IBuilderConfig", "IExecutionContext", "Refitter", "ParserError", "BuilderFlag"}


def test_no_name_that_tensorrt_11_removed_is_in_the_code() -> None:
    for file in Path(surface.__file__).parents[2].glob("e*/**/*.py"):
        code = {node.attr for node in ast.walk(ast.parse(file.read_text())) if isinstance(node, ast.Attribute)}
        gone = {"EXPLICIT_BATCH", "FP16", "execute_async_v2", "max_batch_size", "get_binding_shape", "set_output_type"}
        assert not code & gone, file


def test_a_build_is_strongly_typed_with_tf32_off_and_one_profile(trt: Callable[..., Fake], graph: Path) -> None:
    fake = trt()
    assert build(graph, SETTINGS, b"kept") == (b"plan", b"timings")
    assert fake.called("Builder.create_network") == [(1,)]
    assert fake.called("OnnxParser.parse_from_file") == [(str(graph),)]
    assert fake.called("IBuilderConfig.clear_flag") == [("BuilderFlag.TF32",), ("BuilderFlag.VERSION_COMPATIBLE",)]
    assert fake.called("IBuilderConfig.set_flag") == [("BuilderFlag.REFIT",)]
    assert fake.called("IBuilderConfig.set_memory_pool_limit") == [("MemoryPoolType.WORKSPACE", 4 << 30)]
    assert fake.called("IBuilderConfig.create_timing_cache") == [(b"kept",)]
    shapes = [(b, 3, 32, 32) for b in (1, 4, 8)]
    assert fake.called("IOptimizationProfile.set_shape") == [("images", *shapes)]


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        ({"OnnxParser__parse_from_file": False}, FeatuneError, r"no importer \(node node_7, Col2Im\); no importer"),
        ({"Builder__build_serialized_network": None}, FeatuneError, "could not build"),
        ({"IBuilderConfig__add_optimization_profile": -1}, FeatuneError, "refuses the optimisation profile"),
        ({"IOptimizationProfile__set_shape": ValueError("bad")}, FeatuneError, r"refuses batches \(1, 4, 8\)"),
        ({"IBuilderConfig__set_timing_cache": False}, FeatuneError, "takes no timing cache"),
        ({"Builder____init__": TypeError("nullptr")}, Missing, "check the NVIDIA driver"),
    ],
)
def test_every_failure_of_a_build_that_tensorrt_only_returns_is_an_error(
    trt: Callable[..., Fake], graph: Path, answers: dict[str, Any], error: type[Exception], message: str
) -> None:
    trt(**answers)
    with pytest.raises(error, match=message):
        build(graph, SETTINGS)


@pytest.mark.parametrize(
    ("answers", "error", "message"),
    [
        ({"Runtime____init__": TypeError("nullptr")}, Missing, "check the NVIDIA driver"),
        (
            {"Runtime__deserialize_cuda_engine": None},
            BadInput,
            r"refuses it on this GPU \(no reason given\); build it again",
        ),
        ({"ICudaEngine__create_execution_context": None}, FeatuneError, "no execution context"),
        ({"IExecutionContext__set_input_shape": False}, FeatuneError, "set_input_shape failed"),
        ({"IExecutionContext__set_tensor_address": False}, FeatuneError, "set_tensor_address failed"),
        ({"IExecutionContext__infer_shapes": ["x"]}, FeatuneError, "the shapes of x are not known"),
        ({"IExecutionContext__execute_async_v3": False}, FeatuneError, "execute_async_v3 failed"),
        ({"ICudaEngine__get_tensor_dtype": Value("DataType.FP8")}, BadInput, "which torch does not have"),
    ],
)
def test_every_failure_of_a_run_that_tensorrt_only_returns_is_an_error(
    trt: Callable[..., Fake], answers: dict[str, Any], error: type[Exception], message: str
) -> None:
    trt(**answers)
    with pytest.raises(error, match=message):
        Engine(b"plan")(images(2), 0)


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        ({"OnnxParserRefitter__refit_from_file": False}, r"does not fit .*no importer"),
        ({"Refitter__get_missing_weights": ["fc.weight"]}, "lacks 1 weights of the plan, first fc.weight"),
        ({"Refitter__refit_cuda_engine": False}, r"the weights of .* are refused \(no reason given\)"),
        ({"ICudaEngine__refittable": False}, "cannot be refitted; build it with --refittable"),
    ],
)
def test_every_failure_of_a_refit_that_tensorrt_only_returns_is_an_error(
    trt: Callable[..., Fake], answers: dict[str, Any], message: str
) -> None:
    trt(**answers)
    with pytest.raises(BadInput, match=message):
        Engine(b"plan").refit("other.onnx")


def test_rows_come_through_addresses_of_contiguous_tensors(trt: Callable[..., Fake]) -> None:
    trt()
    run = Engine(b"plan")
    for b in (1, 3, 8):
        batch = images(b).to(memory_format=torch.channels_last)
        means = batch.double().mean((1, 2, 3)).float()
        torch.testing.assert_close(run(batch, 0), means[:, None].expand(b, 96))


def test_a_batch_over_the_plans_most_is_bad_input_and_names_it(trt: Callable[..., Fake]) -> None:
    trt()
    with pytest.raises(BadInput, match="takes batches of 1 to 8, found 9; use --batch 8"):
        Engine(b"plan")(images(9), 0)
    with pytest.raises(BadInput, match="no output 'logits', only features"):
        Engine(b"plan")(images(2), 0, "logits")


def test_a_stale_timing_cache_is_replaced_by_an_empty_one(trt: Callable[..., Fake], graph: Path) -> None:
    answers = iter([False, True])
    fake = trt(IBuilderConfig__set_timing_cache=lambda *_: next(answers))
    assert build(graph, SETTINGS, b"of another version")[1] == b"timings"
    assert fake.called("IBuilderConfig.create_timing_cache") == [(b"of another version",), (b"",)]


def test_progress_is_reported_and_can_stop_a_build(trt: Callable[..., Fake], graph: Path) -> None:
    seen = []

    def building(builder: Any, network: Any, config: Any) -> bytes | None:
        monitor = config.progress_monitor
        monitor.phase_start("tactics", "", 2)
        going = monitor.step_complete("tactics", 1)
        monitor.phase_finish("tactics")
        return b"plan" if going else None

    def progress(phase: str, step: int, steps: int) -> bool:
        seen.append((phase, step, steps))
        return False

    trt(Builder__build_serialized_network=building)
    with pytest.raises(FeatuneError, match=r"the build of .* was stopped, nothing is kept; run it again"):
        build(graph, SETTINGS, progress=progress)
    assert seen == [("tactics", 1, 2)]


@pytest.mark.parametrize("where", ["monitor", "logger"])
def test_ctrl_c_during_a_build_stops_it_and_never_passes_through_tensorrt(
    trt: Callable[..., Fake], graph: Path, monkeypatch: pytest.MonkeyPatch, where: str
) -> None:
    """An exception in a function that C++ calls ends the process or is lost; it comes out after the build."""

    def interrupted(*_: Any) -> bool:
        raise KeyboardInterrupt

    def building(builder: Any, network: Any, config: Any) -> bytes | None:
        ((logger,),) = fake.called("Builder.__init__")
        config.progress_monitor.phase_start("tactics", "", 2)
        logger.log(Value("ILogger.INFO"), "begins")
        answers.append(config.progress_monitor.step_complete("tactics", 1))
        return None

    answers: list[bool] = []
    fake = trt(Builder__build_serialized_network=building)
    if where == "logger":
        monkeypatch.setattr(callbacks.log, "log", interrupted)
    with pytest.raises(KeyboardInterrupt):
        build(graph, SETTINGS, progress=interrupted if where == "monitor" else None)
    assert answers == [False]


# What the libraries say, in their own words, and what a user is told to do.
SAID = [
    ("no implementation for node Conv_3", FeatuneError, r"could not build .*: no implementation .*; try --precision"),
    ("Skipping tactic: out of memory", FeatuneError, r"out of memory on the GPU .*smaller batch \(of a plan: most"),
    ("CUDNN_STATUS_ALLOC_FAILED", FeatuneError, "out of memory on the GPU"),
    ("Error Code 1: OutOfMemory (Requested size was 98304 bytes.)", FeatuneError, "out of memory on the GPU"),
    ("CUDA initialization failure with error: 35", Missing, "driver is too old for this library .*; update the driver"),
    ("CUDA driver version is insufficient for CUDA runtime version", Missing, "update the driver"),
    ("Cuda Runtime (an illegal memory access was encountered)", FeatuneError, "the GPU failed .*nvidia-smi"),
]


@pytest.mark.parametrize(("said", "error", "told"), SAID)
def test_a_failed_build_says_what_tensorrt_said_with_the_remedy_for_that(
    trt: Callable[..., Fake], graph: Path, said: str, error: type[Exception], told: str
) -> None:
    def building(builder: Any, network: Any, config: Any) -> None:
        ((logger,),) = fake.called("Builder.__init__")
        logger.log(fake.module.ILogger.INFO, "begins")
        logger.log(fake.module.ILogger.ERROR, said)

    fake = trt(Builder__build_serialized_network=building)
    with pytest.raises(error, match=told):
        build(graph, SETTINGS)


@pytest.mark.parametrize(("said", "error", "told"), SAID[1:])
def test_a_plan_that_does_not_run_says_the_remedy_for_what_tensorrt_said(
    trt: Callable[..., Fake], said: str, error: type[Exception], told: str
) -> None:
    def execute(context: Any, stream: int) -> bool:
        ((logger,),) = fake.called("Runtime.__init__")
        logger.log(fake.module.ILogger.ERROR, said)
        return False

    fake = trt(IExecutionContext__execute_async_v3=execute)
    with pytest.raises(error, match=told):
        Engine(b"plan")(images(2), 0)


def test_a_version_compatible_plan_without_the_lean_runtime_names_its_package(
    trt: Callable[..., Fake], graph: Path
) -> None:
    def building(builder: Any, network: Any, config: Any) -> None:
        ((logger,),) = fake.called("Builder.__init__")
        logger.log(fake.module.ILogger.ERROR, "Unable to load library: libnvinfer_lean.so.11")

    fake = trt(Builder__build_serialized_network=building)
    with pytest.raises(Missing, match="pip install tensorrt-lean-cu13-libs"):
        build(graph, dataclasses.replace(SETTINGS, version_compatible=True))


def test_a_slice_of_a_batch_is_given_to_tensorrt_at_an_address_of_its_own(trt: Callable[..., Fake]) -> None:
    """TensorRT takes addresses at multiples of 256; the second half of a batch of odd images begins elsewhere."""
    fake = trt()
    batch = images(3).flatten()[64:].clone()  # somewhere
    start = next(n for n in range(1, 257) if batch[n:].data_ptr() % 256)
    odd = batch[start : start + 2 * 3 * 32 * 32].view(2, 3, 32, 32)
    rows = Engine(b"plan")(odd, 0)
    given = dict(fake.called("IExecutionContext.set_tensor_address"))["images"]
    assert given != odd.data_ptr()
    torch.testing.assert_close(rows, odd.double().mean((1, 2, 3)).float()[:, None].expand(2, 96))


def test_each_stream_has_a_context_of_its_own_and_the_oldest_go(
    trt: Callable[..., Fake], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Two batches that run at once on two streams may not share a context's addresses."""
    monkeypatch.setattr("torch.cuda.synchronize", lambda: None)
    fake = trt()
    ran: list[Any] = []
    execute = fake.answers["IExecutionContext.execute_async_v3"]
    fake.answers["IExecutionContext.execute_async_v3"] = lambda context, stream: (
        ran.append(context) or execute(context, stream)
    )
    engine = Engine(b"plan")
    for stream in (1, 2, 1, 2):
        engine(images(2), stream)
    assert (ran[0], ran[1]) == (ran[2], ran[3])
    assert ran[0] is not ran[1]
    for stream in range(3, 3 + surface.CONTEXTS):
        engine(images(2), stream)
    assert list(engine.of_stream) == list(range(3, 3 + surface.CONTEXTS))


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batches": (4, 2, 8)}, "1 <= least <= usual <= most"),
        ({"hardware": "any"}, "no hardware level named 'any'"),
        ({"level": 6}, "0 to 5 expected"),
    ],
)
def test_settings_that_make_no_sense_are_bad_input(graph: Path, wrong: dict[str, Any], message: str) -> None:
    with pytest.raises(BadInput, match=message):
        build(graph, dataclasses.replace(SETTINGS, **wrong))


def test_without_the_library_tensorrt_is_missing_with_its_remedy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", None)
    with pytest.raises(Missing, match=r"tensorrt is not installed .*pip install 'featune\[tensorrt\]'") as caught:
        library()
    assert caught.value.exit_code == 4
    old = types.ModuleType("tensorrt")
    old.__version__ = "8.6.1"  # type: ignore[attr-defined]
    monkeypatch.setitem(__import__("sys").modules, "tensorrt", old)
    with pytest.raises(Missing, match=r"tensorrt 8.6.1 found, version 10 or 11 expected"):
        library()


def test_tensorrt_on_a_cpu_is_bad_input(trt: Callable[..., Fake]) -> None:
    with pytest.raises(BadInput, match="TensorRT runs on NVIDIA GPUs"):
        machine("cpu")
    trt()
    with pytest.raises(BadInput, match="TensorRT runs on NVIDIA GPUs"), tensorrt_runner(Engine(b"plan"), "cpu"):
        pass


def test_a_plans_name_changes_with_graph_version_gpu_and_settings(trt: Callable[..., Fake], graph: Path) -> None:
    trt()
    key = key_of(graph, SETTINGS)
    others = [
        dataclasses.replace(key, graph="0"),
        dataclasses.replace(key, tensorrt="10.16.1.11"),
        dataclasses.replace(key, gpu="A100"),
        dataclasses.replace(key, capability="8.0"),
        dataclasses.replace(key, settings=BuildSettings()),
    ]
    assert len({key.name, *(other.name for other in others)}) == 6


def test_a_plan_is_built_once_judged_and_opened(trt: Callable[..., Fake], graph: Path, tmp_path: Path) -> None:
    fake = trt()
    path = plan_from_graph(graph, tmp_path / "plans", SETTINGS, passes)
    assert plan_from_graph(graph, tmp_path / "plans", SETTINGS, passes) == path
    assert len(fake.called("Builder.build_serialized_network")) == 1
    assert list((tmp_path / "plans").glob("timing-*.cache"))
    header, blob = read_plan(path)
    assert (header.precision, header.verdict["passed"], blob) == ("fp32", True, b"plan")
    with open_plan(path) as run:
        assert run(images(3)).shape == (3, 96)


def test_everything_happens_on_the_gpu_that_was_asked_for(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path
) -> None:
    """TensorRT builds and loads on the current GPU, whatever the tensors and the plan's name say."""
    seen: list[tuple[str, list[str]]] = []
    fake = trt(
        Builder__build_serialized_network=lambda *_: seen.append(("build", [*fake.gpus])) or b"plan",
        Runtime__deserialize_cuda_engine=lambda runtime, plan: (
            seen.append(("load", [*fake.gpus])) or fake.module.ICudaEngine.__new__(fake.module.ICudaEngine)
        ),
        Refitter__refit_cuda_engine=lambda refitter: seen.append(("refit", [*fake.gpus])) or True,
    )
    path = plan_from_graph(graph, tmp_path, SETTINGS, passes, device="cuda:1")
    with open_plan(path, "cuda:1"):
        pass
    refitted(path, graph, tmp_path / "again.plan", passes, "cuda:1")
    assert [what for what, _ in seen] == ["build", "load", "load", "load", "refit", "load"]
    assert all(gpus[-1:] == ["cuda:1"] for _, gpus in seen)


def test_a_plan_whose_gate_broke_off_is_judged_and_not_built_again(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path
) -> None:
    def breaks(plan: Running) -> dict[str, Any]:
        raise KeyboardInterrupt

    fake = trt()
    with pytest.raises(KeyboardInterrupt):
        plan_from_graph(graph, tmp_path, SETTINGS, breaks)
    (path,) = tmp_path.glob("*.plan")
    with pytest.raises(ParityFailed, match="has no verdict"), open_plan(path):
        pass
    assert plan_from_graph(graph, tmp_path, SETTINGS, passes) == path
    assert len(fake.called("Builder.build_serialized_network")) == 1


def test_the_next_build_of_this_gpu_starts_from_the_kept_timings(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path
) -> None:
    fake = trt()
    for level in (1, 2):
        plan_from_graph(graph, tmp_path, dataclasses.replace(SETTINGS, level=level), passes)
    assert fake.called("IBuilderConfig.create_timing_cache") == [(b"",), (b"timings",)]


def test_a_plan_that_is_not_its_model_is_refused_at_once_and_ever_after(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path
) -> None:
    trt()

    def fails(plan: Running) -> dict[str, Any]:
        return {"passed": False, "reasons": ["worst row has cosine 0.5"]}

    for _ in range(2):
        with pytest.raises(ParityFailed, match=r"is not its model: worst row has cosine 0\.5; to have it built again"):
            plan_from_graph(graph, tmp_path, SETTINGS, fails)
    (path,) = tmp_path.glob("*.plan")
    with pytest.raises(ParityFailed), open_plan(path):
        pass
    header, blob = read_plan(path)
    write_plan(path, dataclasses.replace(header, verdict={}), blob)
    with pytest.raises(ParityFailed, match="has no verdict"), open_plan(path):
        pass


def test_a_plan_whose_contract_was_changed_has_no_verdict_any_more(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path
) -> None:
    trt()
    path = plan_from_graph(graph, tmp_path, SETTINGS, passes)
    header, blob = read_plan(path)
    assert header.contract == contract_of(graph)
    spec = header.contract["spec"] | {"mean": [0.5, 0.5, 0.5]}
    write_plan(path, dataclasses.replace(header, contract=header.contract | {"spec": spec}), blob)
    with pytest.raises(ParityFailed, match="was changed after its verdict"), open_plan(path):
        pass


@pytest.mark.parametrize(
    "other", [{"gpu": "A100", "capability": "8.0"}, {"version": "10.16.1.11"}, {"version": "11.5.0"}]
)
def test_a_plan_of_another_gpu_or_version_says_so(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path, other: dict[str, str]
) -> None:
    trt()
    path = plan_from_graph(graph, tmp_path, SETTINGS, passes)
    trt(**other)
    message = r"was built by TensorRT 11.4.0.106 for H200 \(9.0\); here are TensorRT .*; build it again here"
    with pytest.raises(BadInput, match=message), open_plan(path):
        pass


def test_compatible_plans_open_where_they_were_built_for(trt: Callable[..., Fake], graph: Path, tmp_path: Path) -> None:
    trt()
    wide = dataclasses.replace(SETTINGS, hardware="ampere_plus", version_compatible=True)
    path = plan_from_graph(graph, tmp_path, wide, passes)
    fake = trt(gpu="A100", capability="8.0", version="11.5.0")
    with pytest.raises(ParityFailed, match=r"judged on H200.*; here is A100, 11\.5\.0; judge it here"), open_plan(path):
        pass  # its rows there were never compared with the model's
    write_plan(path, judged(*read_plan(path), passes), read_plan(path)[1])
    fake.calls.clear()
    with open_plan(path):
        assert fake.called("Runtime.engine_host_code_allowed") == [(True,)]
    trt(gpu="T4", capability="7.5")
    with pytest.raises(BadInput, match="build it again here"), open_plan(path):
        pass


def test_a_refit_takes_the_weights_of_another_checkpoint_without_a_build(
    trt: Callable[..., Fake], graph: Path, tmp_path: Path
) -> None:
    fake = trt()
    path = plan_from_graph(graph, tmp_path, SETTINGS, passes)
    tuned = tmp_path / "tuned.onnx"
    proto = read_graph(graph)
    contract = entry_of(proto, CONTRACT)
    assert contract is not None
    set_entry(proto, CONTRACT, contract | {"weights": "of the fine-tuned run"})
    tuned.write_bytes(proto.SerializeToString())
    out = refitted(path, tuned, tmp_path / "tuned.plan", passes)
    header, blob = read_plan(out)
    assert blob == b"refitted plan"
    assert header.key.graph != read_plan(path)[0].key.graph
    assert fake.called("OnnxParserRefitter.refit_from_file") == [(str(tuned),)]
    assert len(fake.called("Builder.build_serialized_network")) == 1


def test_export_refits_an_old_plan_with_the_new_weights_and_hands_settings_on(
    trt: Callable[..., Fake], lively: Any, quick: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake = trt()
    monkeypatch.setattr("featune.export.commands.export_command.gate_of_plan", lambda *_: passes)
    monkeypatch.setenv("FEATUNE_CACHE_DIR", str(tmp_path / "cache"))
    product = Product(to="tensorrt", batches=(1, 4, 8), refittable=True, hardware="ampere_plus")
    built = export_model(lively, product, out=tmp_path / "built.plan", progress=lambda *_: True)
    assert read_plan(Path(built.path))[0].key.settings.hardware == "ampere_plus"
    assert {path.name for path in tmp_path.glob("*.onnx")} == {"built.fp32-tensorrt.onnx"}
    assert fake.called("IBuilderConfig.progress_monitor")
    again = dataclasses.replace(product, refit=Path(built.path))
    made = export_model(lively, again, out=tmp_path / "tuned.plan")
    assert read_plan(Path(made.path))[1] == b"refitted plan"
    assert len(fake.called("Builder.build_serialized_network")) == 1


def test_settings_that_no_plan_can_have_are_refused_before_any_work(trt: Callable[..., Fake]) -> None:
    trt()
    for wrong, message in (({"hardware": "volta"}, "no hardware level"), ({"batches": (8, 4, 1)}, "least <= usual")):
        with pytest.raises(BadInput, match=message):
            checked_target(Product(to="tensorrt", **wrong))
    with pytest.raises(BadInput, match="no such plan"):
        checked_target(Product(to="tensorrt", refit=Path("absent.plan")))


def test_a_plan_that_was_not_built_refittable_is_refused(trt: Callable[..., Fake], graph: Path, tmp_path: Path) -> None:
    trt()
    path = plan_from_graph(graph, tmp_path, dataclasses.replace(SETTINGS, refittable=False), passes)
    with pytest.raises(BadInput, match="not built refittable"):
        refitted(path, graph, tmp_path / "out.plan", passes)


def test_an_int8_graph_for_cpus_is_no_graph_for_tensorrt(trt: Callable[..., Fake], graph: Path, tmp_path: Path) -> None:
    trt()
    proto = read_graph(graph)
    contract = entry_of(proto, CONTRACT)
    assert contract is not None
    set_entry(proto, CONTRACT, contract | {"precision": "int8", "target": "cpu"})
    graph.write_bytes(proto.SerializeToString())
    with pytest.raises(BadInput, match="quantised for CPUs"):
        plan_from_graph(graph, tmp_path, SETTINGS, passes)


def test_what_is_no_plan_or_a_damaged_one_is_bad_input(tmp_path: Path) -> None:
    key = PlanKey("g", "11.4.0.106", "H200", "9.0", SETTINGS)
    path = tmp_path / "x.plan"
    write_plan(path, Plan(key, "0" * 64, dict.fromkeys(ESSENTIAL)), b"bytes")
    with pytest.raises(BadInput, match="is damaged"):
        read_plan(path)
    path.write_bytes(b"\x00\x01\x02")
    with pytest.raises(BadInput, match="not a plan that Featune wrote"):
        read_plan(path)
    with pytest.raises(BadInput, match="no such plan"):
        read_plan(tmp_path / "absent.plan")


@pytest.mark.tensorrt
def test_a_real_plan_gives_torchs_features_on_this_gpu(right: Path, lively: Any, sample: Any, tmp_path: Path) -> None:
    """Runs on a machine with an NVIDIA GPU and TensorRT only: make test-tensorrt."""
    pytest.importorskip("tensorrt")
    if not torch.cuda.is_available():
        pytest.skip("no NVIDIA GPU here")
    gate = gate_of_plan(lively, lambda: sample, "cuda")
    path = plan_from_graph(right, tmp_path, BuildSettings(batches=(1, 8, 32), refittable=True), gate)
    for cuda_graph in (False, True):
        with open_plan(path, cuda_graph=cuda_graph) as run:
            for b in (1, 3, 8):
                assert run(sample.images[:b].cuda()).shape == (b, 96)
    assert refitted(path, right, tmp_path / "again.plan", gate).exists()
