"""TensorRT, and TensorRT for RTX: builds plans from ONNX graphs, loads, refits and runs them."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .building import BuildSettings, build, check_settings
    from .engine import Engine
    from .libraries import LIBRARIES, library
    from .runner import tensorrt_runner, within
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "LIBRARIES",
    "BuildSettings",
    "Engine",
    "build",
    "check_settings",
    "library",
    "tensorrt_runner",
    "within",
]
