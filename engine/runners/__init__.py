"""The Runner contract (uint8 images to float32 rows) and the runners: torch, compiled torch, ONNX Runtime, TensorRT."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch_limit import BatchLimit
    from .contract import Runner, device_kind, require_device
    from .onnx_runtime import onnxruntime_runner
    from .pytorch import torch_runner
    from .pytorch_compiled import compiled_runner
    from .tensorrt_engine import BuildSettings, Engine, build, check_settings, library
    from .tensorrt_plan import tensorrt_runner, within
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "BatchLimit",
    "BuildSettings",
    "Engine",
    "Runner",
    "build",
    "check_settings",
    "compiled_runner",
    "device_kind",
    "library",
    "onnxruntime_runner",
    "require_device",
    "tensorrt_runner",
    "torch_runner",
    "within",
]
