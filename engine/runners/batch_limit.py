"""A runner that takes smaller batches once the memory does not hold the asked one, and says so."""

from collections.abc import Callable

import torch
from torch import Tensor

from .contract import Runner
from .gpu_faults import out_of_memory


class BatchLimit:
    """Runs `runner` on pieces of at most `most` images; out of memory halves `most` and goes on.

    say: told of each halving. What does not fit one image at a time is raised.
    """

    def __init__(self, runner: Runner, say: Callable[[str], None]):
        self.runner, self.say = runner, say
        self.most: int | None = None

    def __call__(self, images: Tensor, /) -> Tensor:
        size = min(len(images), self.most or len(images))
        try:
            parts = [self.runner(part) for part in images.split(size)]
            return parts[0] if len(parts) == 1 else torch.cat(parts)
        except Exception as error:  # torch, ONNX Runtime and TensorRT have no common class for it
            if not out_of_memory(error) or size == 1:
                raise
            self.most = min(self.most or size, size // 2)
        if images.is_cuda:
            torch.cuda.empty_cache()
        self.say(f"out of memory with {size} images at a time; going on with {self.most}")
        return self(images)
