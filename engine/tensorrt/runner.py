"""A loaded TensorRT plan as a Runner: on the caller's stream, for any number of images, from CUDA graphs if asked."""

import collections
import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInput
from ..runners import Runner, check_images, require_device
from .engine import Engine

GRAPHS = 8  # batch sizes whose graphs are kept; the context of each holds GPU memory of its own


@contextlib.contextmanager
def tensorrt_runner(
    engine: Engine, device: str = "cuda", *, output: str | None = None, cuda_graph: bool = False
) -> Iterator[Runner]:
    """Runs a loaded plan on torch tensors of the GPU that it was loaded on, on the caller's current stream.

    Batches outside those of the plan are filled up or split, see `within`. cuda_graph: capture each batch size once
    and replay it, which saves launch time on small batches.
    """
    require_device(device)
    if torch.device(device).type != "cuda":
        raise BadInput(f"TensorRT runs on NVIDIA GPUs, found --device {device}; choose cuda")
    with torch.cuda.device(device):
        own = torch.cuda.Stream()
    graphs = Graphs(engine, own, output)

    def queued(images: Tensor) -> Tensor:
        current = torch.cuda.current_stream(images.device)
        if current.cuda_stream != torch.cuda.default_stream(images.device).cuda_stream:
            return engine(images, current.cuda_stream, output)
        # On the default stream TensorRT would synchronise the whole device; a stream of our own waits for it instead.
        own.wait_stream(current)
        with torch.cuda.stream(own):
            rows = engine(images, own.cuda_stream, output)
        current.wait_stream(own)
        images.record_stream(own)
        rows.record_stream(current)
        return rows

    def run(images: Tensor, /) -> Tensor:
        check_images(images)
        with torch.cuda.device(device):  # TensorRT and captures take the current GPU, whatever the addresses are of
            return within(engine.batches, graphs if cuda_graph else queued, images)

    yield run


def within(batches: tuple[int, int], run: Callable[[Tensor], Tensor], images: Tensor) -> Tensor:
    """Rows of any number of images from what takes `batches`, least and most, at a time.

    Too many are split; too few are filled up with the same images again, whose rows are dropped.
    """
    least, most = batches
    parts = []
    for part in images.split(most):
        filled = torch.arange(max(len(part), least), device=part.device) % len(part)
        parts.append(run(part if len(part) >= least else part[filled])[: len(part)])
    return parts[0] if len(parts) == 1 else torch.cat(parts)


@dataclasses.dataclass(frozen=True)
class Captured:
    """One batch size's graph with all that it has addresses of: its context, the tensors that it reads and fills."""

    context: Any
    graph: torch.cuda.CUDAGraph
    images: Tensor
    rows: Tensor


class Graphs:
    """CUDA graphs of an engine, one for each batch size, the `GRAPHS` that were used last.

    Each has an execution context of its own: one that has been given another shape since voids what was captured of it.
    """

    def __init__(self, engine: Engine, stream: torch.cuda.Stream, output: str | None):
        self.engine, self.stream, self.output = engine, stream, output
        self.kept: collections.OrderedDict[int, Captured] = collections.OrderedDict()

    def __call__(self, images: Tensor) -> Tensor:
        found = self.kept.pop(len(images), None) or self._captured(images)
        self.kept[len(images)] = found
        found.images.copy_(images)
        found.graph.replay()
        return found.rows.clone()

    def _captured(self, images: Tensor) -> Captured:
        if len(self.kept) == GRAPHS:
            torch.cuda.synchronize()  # the graph that goes may still be running
            self.kept.popitem(last=False)
        context = self.engine.new_context()
        fixed = images.clone(memory_format=torch.contiguous_format)
        torch.cuda.synchronize()
        # Once with the final shape before the capture, in which TensorRT may allocate nothing.
        self.engine(fixed, self.stream.cuda_stream, self.output, context)
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        # Only this thread's calls count: others may be copying images meanwhile.
        with torch.cuda.graph(graph, stream=self.stream, capture_error_mode="thread_local"):
            rows = self.engine(fixed, self.stream.cuda_stream, self.output, context)
        return Captured(context, graph, fixed, rows)
