"""The Runner contract (uint8 images in, float32 feature rows out) and its runners in torch and ONNX Runtime."""

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .batch_limit import BatchLimit
    from .contract import Runner, aligned, check_images, device_kind, require_device
    from .gpu_faults import fault_of_gpu, free_cached_memory, out_of_memory
    from .onnx_runtime import installed_onnxruntimes, onnxruntime_runner, placement, switch_off_tf32
    from .pytorch import TORCH_PRECISIONS, torch_runner, true_fp32
    from .pytorch_compiled import compiled_runner, require_compiler
else:
    from ..doors import lazy_exports

    __getattr__, __dir__ = lazy_exports(__name__)

__all__ = [
    "TORCH_PRECISIONS",
    "BatchLimit",
    "Runner",
    "aligned",
    "check_images",
    "compiled_runner",
    "device_kind",
    "fault_of_gpu",
    "free_cached_memory",
    "installed_onnxruntimes",
    "onnxruntime_runner",
    "out_of_memory",
    "placement",
    "require_compiler",
    "require_device",
    "switch_off_tf32",
    "torch_runner",
    "true_fp32",
]
