"""A loaded TensorRT plan: its tensors, its execution contexts, a refit of its weights.

TensorRT reports failures by what it returns (None, False, -1); each is turned into an error here.
"""

import collections
import dataclasses
import os
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInput, FeatuneError
from ..runners import aligned, fault_of_gpu, free_cached_memory
from .callbacks import Callbacks, logger_of
from .libraries import library, made_by, parser_errors

CONTEXTS = 4  # streams whose execution contexts are kept; each holds GPU memory of its own


class Engine:
    """A loaded plan on the GPU that was current then: one caller at a time, of its own context or of a new one.

    The logger and runtime live as long as it does.
    """

    def __init__(self, plan: bytes, name: str = "the plan", trust: bool = False, by: str = "tensorrt"):
        trt = library(by)
        self.trt, self.name = trt, name
        self.callbacks = Callbacks()
        self.logger = logger_of(trt)
        self.runtime = made_by(trt.Runtime, self.logger)
        if trust:
            self.runtime.engine_host_code_allowed = True  # what a version-compatible plan needs: it carries code
        free_cached_memory()
        with self.callbacks:
            engine = self.runtime.deserialize_cuda_engine(plan)
        if engine is None:
            said = "; ".join(self.callbacks.errors)
            raise fault_of_gpu(said) or BadInput(
                f"{name}: TensorRT {trt.__version__} refuses it on this GPU ({said or 'no reason given'}); build it "
                "again here"
            )
        self.engine = engine
        # A stream's context, with the tensors whose addresses its last call was given.
        self.of_stream: collections.OrderedDict[int, _Bound] = collections.OrderedDict()
        names = [engine.get_tensor_name(i) for i in range(engine.num_io_tensors)]
        inputs = [n for n in names if engine.get_tensor_mode(n) == trt.TensorIOMode.INPUT]
        self.outputs = [n for n in names if n not in inputs]
        if len(inputs) != 1 or not self.outputs:
            raise BadInput(f"{name}: inputs {inputs} and outputs {self.outputs} found, one input expected")
        self.input = inputs[0]
        least, _, most = engine.get_tensor_profile_shape(self.input, 0)
        self.batches = (int(least[0]), int(most[0]))
        self.image = tuple(int(size) for size in most[1:])

    def new_context(self) -> Any:
        """An execution context, with GPU memory of its own. Raises FeatuneError where there is none left."""
        with self.callbacks:
            context = self.engine.create_execution_context()
        if context is None:
            said = "; ".join(self.callbacks.errors) or "no reason given"
            raise FeatuneError(
                f"{self.name}: no execution context, out of memory on the GPU ({said}); take a smaller model"
            )
        return context

    def __call__(self, images: Tensor, stream: int, output: str | None = None, context: Any = None) -> Tensor:
        """Queue one batch on a CUDA stream, given by its handle; the float32 rows of one output, first unless named.

        context: from `new_context`; unless given the stream's own, since two batches at once may not share one.
        Both tensors must live until the stream has passed this call. Raises BadInput outside the plan's batches.
        """
        low, high = self.batches
        if not low <= len(images) <= high:
            raise BadInput(f"{self.name} takes batches of {low} to {high}, found {len(images)}; use --batch {high}")
        if tuple(images.shape[1:]) != self.image:
            raise BadInput(f"{self.name} takes images [channels, side, side] of {self.image}, found {images.shape[1:]}")
        wanted = output or self.outputs[0]
        if wanted not in self.outputs:
            raise BadInput(f"{self.name} has no output {wanted!r}, only {', '.join(self.outputs)}")
        bound = self._bound(stream) if context is None else _Bound(context)
        images = aligned(images.to(self._dtype(self.input)))
        with self.callbacks:
            found = self._queued(bound.context, images, stream)
        bound.kept = (images, *found.values())  # the addresses that are in use until the stream's next call
        return found[wanted].float()

    def _queued(self, context: Any, images: Tensor, stream: int) -> dict[str, Tensor]:
        """Every output of the batch, float or half, once the stream has passed this call."""
        self._require(context.set_input_shape(self.input, tuple(images.shape)), "set_input_shape")
        self._require(context.set_tensor_address(self.input, images.data_ptr()), "set_tensor_address")
        unknown = context.infer_shapes()
        if unknown:
            raise FeatuneError(f"{self.name}: the shapes of {', '.join(unknown)} are not known; build it again")
        found = {}
        for name in self.outputs:
            shape = tuple(context.get_tensor_shape(name))
            found[name] = torch.empty(shape, dtype=self._dtype(name), device=images.device)
            self._require(context.set_tensor_address(name, found[name].data_ptr()), "set_tensor_address")
        self._require(context.execute_async_v3(stream), "execute_async_v3")
        return found

    def _bound(self, stream: int) -> "_Bound":
        """The context of a stream; of the `CONTEXTS` streams that were used last."""
        bound = self.of_stream.pop(stream, None)
        if bound is None:
            if len(self.of_stream) == CONTEXTS:
                torch.cuda.synchronize()  # the one that goes may still be running
                self.of_stream.popitem(last=False)
            bound = _Bound(self.new_context())
        self.of_stream[stream] = bound
        return bound

    def refit(self, graph: str | os.PathLike[str]) -> None:
        """Replace the weights by those of another export of the same architecture, without a rebuild."""
        if not self.engine.refittable:
            raise BadInput(f"{self.name} cannot be refitted; build it with --refittable")
        with self.callbacks:
            refitter = made_by(self.trt.Refitter, self.engine, self.logger)
            parser = self.trt.OnnxParserRefitter(refitter, self.logger)
            if not parser.refit_from_file(os.fspath(graph)):
                raise BadInput(f"{graph} does not fit {self.name}: {parser_errors(parser)}; build it again")
            missing = refitter.get_missing_weights()
            if missing:
                raise BadInput(
                    f"{graph} lacks {len(missing)} weights of {self.name}, first {missing[0]}; build it again"
                )
            if not refitter.refit_cuda_engine():
                said = "; ".join(self.callbacks.errors) or "no reason given"
                raise fault_of_gpu(said) or BadInput(
                    f"{self.name}: the weights of {graph} are refused ({said}); build it again"
                )

    def serialized(self) -> bytes:
        with self.callbacks:
            plan = self.engine.serialize()
        if plan is None:
            raise FeatuneError(f"{self.name} cannot be written; its messages are in the log")
        return bytes(plan)

    def layers(self) -> str:
        """TensorRT's JSON of the layers as built: the one sure answer to "is it really fp16?"."""
        inspector = self.engine.create_engine_inspector()
        return str(inspector.get_engine_information(self.trt.LayerInformationFormat.JSON))

    def _dtype(self, name: str) -> torch.dtype:
        kinds = {
            self.trt.DataType.FLOAT: torch.float32, self.trt.DataType.HALF: torch.float16,
            self.trt.DataType.BF16: torch.bfloat16, self.trt.DataType.UINT8: torch.uint8,
            self.trt.DataType.INT32: torch.int32, self.trt.DataType.INT64: torch.int64,
        }  # fmt: skip
        kind = self.engine.get_tensor_dtype(name)
        if kind not in kinds:
            raise BadInput(f"{self.name}: {name} is of type {kind}, which torch does not have")
        return kinds[kind]

    def _require(self, done: bool, what: str) -> None:
        if not done:
            said = "; ".join(self.callbacks.errors) or "no reason given"
            raise fault_of_gpu(said) or FeatuneError(f"{self.name}: {what} failed in TensorRT ({said}); build it again")


@dataclasses.dataclass
class _Bound:
    """An execution context and the tensors that its last call reads and fills."""

    context: Any
    kept: tuple[Tensor, ...] = ()
