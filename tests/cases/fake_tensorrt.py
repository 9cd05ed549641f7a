"""A tensorrt module made of our table of its names: it refuses every name and number of arguments not listed there."""

import ctypes
import json
import types
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from featune.engine.runners import Runner
from featune.engine.tensorrt import Engine

NAMES = json.loads((Path(__file__).parents[1] / "assets" / "tensorrt_names.json").read_text())["classes"]
SHAPES = {"images": (-1, 3, 32, 32), "features": (-1, 96)}


class Value(str):
    """A member of one of TensorRT's enumerations."""

    def __int__(self) -> int:
        return 0


class Fake:
    """A tensorrt module that records its calls and gives the answers that a test asks for."""

    def __init__(self, **answers: Any) -> None:
        self.answers = DEFAULTS | {name.replace("__", ".", 1): answer for name, answer in answers.items()}
        self.calls: list[tuple[str, tuple[Any, ...]]] = []
        self.gpus: list[str] = []  # of which each is current inside the one before
        self.module: Any = types.ModuleType("tensorrt")
        self.module.__version__ = "11.4.0.106"
        for name, members in NAMES.items():
            setattr(self.module, name, self._class(name, members))

    @contextmanager
    def current(self, device: str) -> Iterator[None]:
        """In the place of torch.cuda.device."""
        self.gpus.append(device)
        yield
        self.gpus.pop()

    def called(self, name: str) -> list[tuple[Any, ...]]:
        return [arguments for called, arguments in self.calls if called == name]

    def _class(self, name: str, members: dict[str, Any]) -> type:
        space: dict[str, Any] = {"fake": self}
        for member, kind in members.items():
            if kind == "value":
                space[member] = Value(f"{name}.{member}")
            elif kind == "property":
                space[member] = self._property(f"{name}.{member}")
            else:
                space[member] = self._method(f"{name}.{member}", kind)

        def refuse(instance: Any, member: str, value: Any) -> None:
            own = type(instance).__name__ == name
            assert not own or member in members or member.startswith("_"), f"{name} has no {member}"
            object.__setattr__(instance, member, value)

        space["__setattr__"] = refuse
        return type(name, (), space)

    def _property(self, name: str) -> property:
        def get(instance: Any) -> Any:
            return instance.__dict__.get(f"_{name}", self.answers.get(name))

        def put(instance: Any, value: Any) -> None:
            self.calls.append((name, (value,)))
            instance.__dict__[f"_{name}"] = value

        return property(get, put)

    def _method(self, name: str, signatures: list[list[str]]) -> Callable[..., Any]:
        allowed = {n for s in signatures for n in range(sum(not a.endswith("?") for a in s), len(s) + 1)}

        def call(instance: Any, *arguments: Any) -> Any:
            assert len(arguments) in allowed, f"{name} takes {signatures}, called with {arguments}"
            self.calls.append((name, arguments))
            answer = self.answers.get(name)
            if isinstance(answer, Exception):
                raise answer
            if isinstance(answer, str) and answer in NAMES:
                made = getattr(self.module, answer)
                return made.__new__(made)
            return answer(instance, *arguments) if callable(answer) else answer

        return call


def set_shape(context: Any, name: str, shape: tuple[int, ...]) -> bool:
    context._batch = shape[0]
    return bool(1 <= shape[0] <= 8)


def set_address(context: Any, name: str, address: int) -> bool:
    context.__dict__.setdefault("_addresses", {})[name] = address
    return True


def execute(context: Any, stream: int) -> bool:
    """Each row becomes the mean of its image: what a test can check through raw addresses."""
    size = 3 * 32 * 32
    pixels = (ctypes.c_uint8 * (context._batch * size)).from_address(context._addresses["images"])
    rows = (ctypes.c_float * (context._batch * 96)).from_address(context._addresses["features"])
    for number in range(context._batch):
        mean = sum(pixels[number * size : (number + 1) * size]) / size
        rows[number * 96 : (number + 1) * 96] = [mean] * 96
    return True


DEFAULTS: dict[str, Any] = {
    "Builder.create_network": "INetworkDefinition",
    "Builder.create_builder_config": "IBuilderConfig",
    "Builder.create_optimization_profile": "IOptimizationProfile",
    "Builder.build_serialized_network": b"plan",
    "INetworkDefinition.num_inputs": 1,
    "INetworkDefinition.get_input": "ITensor",
    "ITensor.name": "images",
    "ITensor.shape": SHAPES["images"],
    "OnnxParser.parse_from_file": True,
    "OnnxParser.num_errors": 2,
    "OnnxParser.get_error": "ParserError",
    "OnnxParserRefitter.num_errors": 1,
    "OnnxParserRefitter.get_error": "ParserError",
    "OnnxParserRefitter.refit_from_file": True,
    "ParserError.desc": "no importer",
    "ParserError.node_name": "node_7",
    "ParserError.node_operator": "Col2Im",
    "IBuilderConfig.add_optimization_profile": 0,
    "IBuilderConfig.create_timing_cache": "ITimingCache",
    "IBuilderConfig.set_timing_cache": True,
    "ITimingCache.serialize": b"timings",
    "Runtime.deserialize_cuda_engine": "ICudaEngine",
    "ICudaEngine.num_io_tensors": 2,
    "ICudaEngine.refittable": True,
    "ICudaEngine.get_tensor_name": lambda engine, index: list(SHAPES)[index],
    "ICudaEngine.get_tensor_mode": lambda engine, name: Value(
        "TensorIOMode.INPUT" if name == "images" else "TensorIOMode.OUTPUT"
    ),
    "ICudaEngine.get_tensor_profile_shape": lambda engine, name, profile: [(b, 3, 32, 32) for b in (1, 4, 8)],
    "ICudaEngine.get_tensor_dtype": lambda engine, name: Value(
        "DataType.UINT8" if name == "images" else "DataType.FLOAT"
    ),
    "ICudaEngine.create_execution_context": "IExecutionContext",
    "ICudaEngine.create_engine_inspector": "EngineInspector",
    "ICudaEngine.serialize": b"refitted plan",
    "EngineInspector.get_engine_information": '{"Layers": []}',
    "IExecutionContext.set_input_shape": set_shape,
    "IExecutionContext.set_tensor_address": set_address,
    "IExecutionContext.infer_shapes": [],
    "IExecutionContext.get_tensor_shape": lambda context, name: (context._batch, 96),
    "IExecutionContext.execute_async_v3": execute,
    "Refitter.get_missing_weights": [],
    "Refitter.refit_cuda_engine": True,
}


@contextmanager
def on_this_machine(
    engine: Engine, device: str = "cuda", output: str | None = None, cuda_graph: bool = False
) -> Iterator[Runner]:
    """The engine without CUDA streams."""
    yield lambda images: engine(images, 0, output)


def installed(
    monkeypatch: pytest.MonkeyPatch,
    gpu: str = "H200",
    version: str = "11.4.0.106",
    capability: str = "9.0",
    **answers: Any,
) -> Fake:
    """Puts a fake TensorRT and a fake GPU where the code finds the real ones."""
    fake = Fake(**answers)
    fake.module.__version__ = version
    for place in (
        "engine.tensorrt.building",
        "engine.tensorrt.engine",
        "export.backends.tensorrt_plan",
        "export.backends.tensorrt_backends",
        "export.commands.export_command",
        "export.backends.onnx_backends",
    ):
        monkeypatch.setattr(f"featune.{place}.library", lambda by="tensorrt": fake.module)
    monkeypatch.setattr("featune.export.backends.tensorrt_plan.machine", lambda device: (gpu, capability))
    monkeypatch.setattr("featune.export.backends.tensorrt_plan.place_of", lambda device: [gpu, version])
    monkeypatch.setattr("featune.export.backends.tensorrt_plan.tensorrt_runner", on_this_machine)
    monkeypatch.setattr("torch.cuda.device", fake.current)
    return fake
