"""ONNX Runtime as a backend, and TensorRT inside it."""

import contextlib
import functools
from collections.abc import Iterator
from pathlib import Path

from featune.engine.errors import Missing
from featune.engine.models import ModelSpec
from featune.engine.runners import Runner, device_kind, onnxruntime_runner, require_device, switch_off_tf32
from featune.engine.store import digest, locked, note_use
from featune.engine.tensorrt import library, within

from ..contract import check_versions, contract_of, read_graph
from ..gate import require_passing
from ..precision import LADDER
from .artefacts import artefact
from .contract import Asked, Backend, Ready
from .tensorrt_backends import PLAN_BATCHES
from .tensorrt_plan import machine


def _provider_settings(spec: ModelSpec, graph: str, cache: Path, device: str) -> dict[str, str]:
    """Of ONNX Runtime's TensorRT provider. graph: digest of the file.

    The provider's cache does not notice another graph or version: the path must.
    """
    side, channels = spec.view.side, spec.view.channels
    shapes = {
        f"trt_profile_{name}_shapes": f"images:{batch}x{channels}x{side}x{side}"
        for name, batch in zip(("min", "opt", "max"), PLAN_BATCHES, strict=True)
    }
    key = digest([graph, library().__version__, *machine(device), PLAN_BATCHES, "no TF32"])
    engines = cache / "provider" / key
    return shapes | {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache / "provider"),
    }


def _ready(asked: Asked) -> Ready:
    target = "cuda" if device_kind(asked.device) == "cuda" else "cpu"
    return _graph_for(asked, target)


def _ready_for_tensorrt(asked: Asked) -> Ready:
    library()
    return _graph_for(asked, "tensorrt")


def _graph_for(asked: Asked, target: str) -> Ready:
    found = artefact(asked.spec, asked.cache, asked.sample, precision=asked.precision, target=target)
    return Ready(found.digest, str(contract_of(found.path)["precision"]), found.path)


@contextlib.contextmanager
def _opened(asked: Asked, ready: Ready) -> Iterator[Runner]:
    assert ready.path is not None
    check_versions(read_graph(ready.path), ready.path)
    require_passing(ready.path, asked.spec)
    with onnxruntime_runner(
        ready.path, asked.device, threads=asked.threads, allow_fallback=asked.allow_fallback
    ) as runner:
        yield runner


@contextlib.contextmanager
def _kept_while_built(engines: Path) -> Iterator[None]:
    """The lock that `featune cache prune` asks for, unless the folder has its engine: a cache may be read only."""
    with contextlib.nullcontext() if any(engines.glob("*.engine")) else locked(engines):
        engines.mkdir(parents=True, exist_ok=True)  # ONNX Runtime makes the last folder of a path, not those above it
        for engine in engines.glob("*.engine"):
            note_use(engine)
        yield


@contextlib.contextmanager
def _opened_in_tensorrt(asked: Asked, ready: Ready) -> Iterator[Runner]:
    assert ready.path is not None
    switch_off_tf32()  # before anything below uses CUDA
    settings = _provider_settings(asked.spec, ready.artefact, asked.cache, asked.device)
    with contextlib.ExitStack() as stack:
        with _kept_while_built(Path(settings["trt_engine_cache_path"])):
            runner = stack.enter_context(
                onnxruntime_runner(
                    ready.path, asked.device, threads=asked.threads, provider="tensorrt",
                    allow_fallback=asked.allow_fallback, settings=settings,
                )
            )  # fmt: skip
        # Its engine takes no more images at a time than its profile says.
        yield functools.update_wrapper(functools.partial(within, (1, PLAN_BATCHES[2]), runner), runner)


def _require(device: str) -> None:
    require_device(device)
    if device_kind(device) == "cuda":
        _require_provider("CUDAExecutionProvider")


def _require_tensorrt(device: str) -> None:
    switch_off_tf32()
    require_device(device)
    library()
    _require_provider("TensorrtExecutionProvider")


def _require_provider(name: str) -> None:
    import onnxruntime

    found = onnxruntime.get_available_providers()
    if name not in found:
        raise Missing(
            f"{name} is not among ONNX Runtime's providers ({', '.join(found)}); pip install onnxruntime-gpu, or "
            "choose backend torch"
        )


ONNXRUNTIME = Backend(
    "the exported graph in ONNX Runtime, on its CPU or CUDA provider",
    {"cpu": ("int8", "fp16", "fp32"), "cuda": LADDER["cuda"]},
    _ready,
    _opened,
    _require,
    lambda asked, ready: device_kind(asked.device) == "cpu",  # the gate of a graph file runs there
    auto=True,
)
ONNXRUNTIME_TENSORRT = Backend(
    "the exported graph in ONNX Runtime, on its TensorRT provider",
    {"cuda": LADDER["tensorrt"]},
    _ready_for_tensorrt,
    _opened_in_tensorrt,
    _require_tensorrt,
    lambda asked, ready: False,
    auto=True,
)
