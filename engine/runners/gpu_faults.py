"""What the GPU's libraries say when something is wrong, and what a user can do about it."""

import torch

from ..errors import FeatuneError, Missing

# In lower case: torch, ONNX Runtime's arenas and its CUDA, cuDNN and cuBLAS calls, TensorRT.
OUT_OF_MEMORY = (
    "failed to allocate memory", "bad_alloc", "bad allocation", "out of memory", "outofmemory", "_alloc_failed",
    "cudaerrormemoryallocation", "insufficient memory",
)  # fmt: skip
OLD_DRIVER = (
    "driver version is insufficient",
    "insufficientdriver",
    "error: 35",
    "error 35",
    "cuda_error_system_driver_mismatch",
)
BROKEN = ("cuda failure", "cudnn failure", "cublas failure", "cuda error", "cuda runtime", "cuda driver")


def out_of_memory(error: BaseException) -> bool:
    """Whether any of the libraries says so, in its own words."""
    if isinstance(error, MemoryError | torch.OutOfMemoryError):
        return True
    return _says(str(error), OUT_OF_MEMORY)


def fault_of_gpu(text: str) -> FeatuneError | None:
    """The error to raise where a library's message is about the GPU and not about the file; None where it is not."""
    if _says(text, OUT_OF_MEMORY):
        return FeatuneError(
            f"out of memory on the GPU ({text[:300]}); close what else uses it, or take a smaller batch (of a plan: "
            "most in --batches) or model"
        )
    if _says(text, OLD_DRIVER):
        return Missing(f"the NVIDIA driver is too old for this library ({text[:300]}); update the driver")
    if _says(text, BROKEN):
        return FeatuneError(f"the GPU failed ({text[:300]}); look at `nvidia-smi` and the kernel's log, then run again")
    return None


def free_cached_memory() -> None:
    """Torch gives back the GPU memory that it keeps for later, which other libraries would find taken."""
    if torch.cuda.is_initialized():
        torch.cuda.empty_cache()


def _says(text: str, words: tuple[str, ...]) -> bool:
    lower = text.lower()
    return any(each in lower for each in words)
