"""Everything that Featune says to TensorRT: build a plan, load it, refit it, run it. No other module imports it.

What TensorRT does, it does on torch's current GPU: callers choose it with `torch.cuda.device`.

Written against TensorRT 10.16 and 11.4 in one way that holds for both: networks are strongly typed (in 11
always; in 10 by a flag that 11 ignores), so the types in the ONNX graph decide, and TF32 is set explicitly.
TensorRT reports failures by what it returns (None, False, -1); each is turned into an error here.
It has not been executed on the machines where Featune was developed: they have no TensorRT library. Every name
used is checked by a test against the names of both versions.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..errors import BadInput, FeatuneError, Missing
from .tensorrt_callbacks import Callbacks, logger_of, monitor_of

MAJORS = (10, 11)
HARDWARE = ("same_gpu", "same_compute_capability", "ampere_plus")
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class BuildSettings:
    """How a plan is built; part of its name. batches: least, usual, most. workspace: bytes; None for all there is.

    level: optimisation effort 0 to 5. refittable: weights can be replaced without a rebuild. hardware: which GPUs
    besides this model can run it, at some cost in speed. version_compatible: later TensorRT versions can run it,
    and its code is trusted when it is loaded.
    """

    batches: tuple[int, int, int] = (1, 64, 256)
    workspace: int | None = 4 * GIB
    tf32: bool = False
    level: int = 3
    refittable: bool = False
    version_compatible: bool = False
    hardware: str = "same_gpu"


def library() -> Any:
    """The tensorrt module. Raises Missing where it or its libraries cannot be loaded, or are of another major."""
    try:
        import tensorrt
    except ImportError as error:  # not only ModuleNotFoundError: the bindings need libnvinfer, from NVIDIA's index
        raise Missing(
            f"tensorrt is not installed ({error}); pip install 'featune[tensorrt]' on the GPU machine"
        ) from error
    if int(tensorrt.__version__.split(".")[0]) not in MAJORS:
        raise Missing(f"TensorRT {tensorrt.__version__} found, 10.16 to 11 expected; install one of these")
    return tensorrt


def build(
    graph: str | os.PathLike[str],
    settings: BuildSettings,
    timing_cache: bytes = b"",
    progress: Callable[[str, int, int], bool] | None = None,
) -> tuple[bytes, bytes]:
    """A plan for this GPU from an ONNX file, and the timing cache that the next build can use.

    progress: called with the phase's name, its step and its steps; returns whether to go on. The graph is parsed
    by path, so that external data is found. Raises FeatuneError with every one of the parser's errors.
    """
    check_settings(settings)
    trt = library()
    with Callbacks() as callbacks:
        logger = logger_of(trt, callbacks)
        builder = _made(trt.Builder, logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(os.fspath(graph)):
            raise FeatuneError(f"TensorRT cannot parse {graph}: {_parser_errors(parser)}")
        config = builder.create_builder_config()
        _configure(trt, config, settings)
        # Always, since it alone can stop a build.
        config.progress_monitor = monitor_of(trt, progress or (lambda *_: True), callbacks)
        _add_profile(builder, config, network, settings.batches)
        cache = _timing_cache(config, timing_cache)
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            said = "; ".join(callbacks.errors) or "no reason given"
            raise FeatuneError(
                f"TensorRT could not build {graph}: {said}; try --precision fp32, a smaller most in --batches, "
                "or a GPU with more free memory"
            )
    return bytes(plan), bytes(cache.serialize())


class Engine:
    """A loaded plan on the GPU that was current then: one caller at a time, of its own context or of a new one.

    The logger and runtime live as long as it does.
    """

    def __init__(self, plan: bytes, name: str = "the plan", trust: bool = False):
        trt = library()
        self.trt, self.name = trt, name
        self.callbacks = Callbacks()
        self.logger = logger_of(trt, self.callbacks)
        self.runtime = _made(trt.Runtime, self.logger)
        if trust:
            self.runtime.engine_host_code_allowed = True  # what a version-compatible plan needs: it carries code
        with self.callbacks:
            engine = self.runtime.deserialize_cuda_engine(plan)
        if engine is None:
            raise BadInput(f"{name}: TensorRT {trt.__version__} refuses it on this GPU; build it again here")
        self.engine = engine
        self.context = self.new_context()
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
            raise FeatuneError(f"{self.name}: no execution context; the GPU is short of memory")
        return context

    def __call__(self, images: Tensor, stream: int, output: str | None = None, context: Any = None) -> Tensor:
        """Queue one batch on a CUDA stream, given by its handle; the float32 rows of one output, first unless named.

        context: from `new_context`, the engine's own unless given.
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
        context = context or self.context
        images = images.to(self._dtype(self.input)).contiguous()  # an address says nothing of strides
        self._require(context.set_input_shape(self.input, tuple(images.shape)), "set_input_shape")
        self._require(context.set_tensor_address(self.input, images.data_ptr()), "set_tensor_address")
        unknown = context.infer_shapes()
        if unknown:
            raise FeatuneError(f"{self.name}: the shapes of {', '.join(unknown)} are not known")
        found = {}
        for name in self.outputs:
            shape = tuple(context.get_tensor_shape(name))
            found[name] = torch.empty(shape, dtype=self._dtype(name), device=images.device)
            self._require(context.set_tensor_address(name, found[name].data_ptr()), "set_tensor_address")
        with self.callbacks:
            self._require(context.execute_async_v3(stream), "execute_async_v3")
        self.kept = images, found  # the addresses that are in use until the next call
        return found[wanted].float()

    def refit(self, graph: str | os.PathLike[str]) -> None:
        """Replace the weights by those of another export of the same architecture, without a rebuild."""
        with self.callbacks:
            refitter = _made(self.trt.Refitter, self.engine, self.logger)
            parser = self.trt.OnnxParserRefitter(refitter, self.logger)
            if not parser.refit_from_file(os.fspath(graph)):
                raise BadInput(f"{graph} does not fit {self.name}: {_parser_errors(parser)}; build it again")
            missing = refitter.get_missing_weights()
            if missing:
                raise BadInput(
                    f"{graph} lacks {len(missing)} weights of {self.name}, first {missing[0]}; build it again"
                )
            if not refitter.refit_cuda_engine():
                raise BadInput(f"{self.name} cannot be refitted; build it with --refittable")

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
            raise FeatuneError(f"{self.name}: {what} failed in TensorRT; its messages are in the log")


def check_settings(settings: BuildSettings) -> None:
    """Raises BadInput for settings that no plan can have."""
    least, usual, most = settings.batches
    if not 1 <= least <= usual <= most:
        raise BadInput(f"batches {settings.batches} found, expected 1 <= least <= usual <= most")
    if settings.hardware not in HARDWARE:
        raise BadInput(f"no hardware level named {settings.hardware!r}; one of {', '.join(HARDWARE)}")
    if not 0 <= settings.level <= 5:
        raise BadInput(f"level {settings.level} found, 0 to 5 expected")


def _configure(trt: Any, config: Any, settings: BuildSettings) -> None:
    if settings.workspace is not None:
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, settings.workspace)
    config.builder_optimization_level = settings.level
    config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED  # so that `layers` can tell the types as built
    flags = {
        trt.BuilderFlag.TF32: settings.tf32,  # on by default, which is not fp32
        trt.BuilderFlag.REFIT: settings.refittable,
        trt.BuilderFlag.VERSION_COMPATIBLE: settings.version_compatible,
    }
    for flag, wanted in flags.items():
        if wanted:
            config.set_flag(flag)
        else:
            config.clear_flag(flag)
    if settings.hardware == "same_compute_capability":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.SAME_COMPUTE_CAPABILITY
    elif settings.hardware == "ampere_plus":
        config.hardware_compatibility_level = trt.HardwareCompatibilityLevel.AMPERE_PLUS


def _add_profile(builder: Any, config: Any, network: Any, batches: Sequence[int]) -> None:
    profile = builder.create_optimization_profile()
    for number in range(network.num_inputs):
        tensor = network.get_input(number)
        shape = tuple(tensor.shape)
        shapes = [tuple(batch if size == -1 else size for size in shape) for batch in batches]
        try:
            profile.set_shape(tensor.name, *shapes)
        except ValueError as error:
            raise FeatuneError(f"TensorRT refuses batches {tuple(batches)} for {tensor.name} {shape}") from error
    if config.add_optimization_profile(profile) < 0:
        raise FeatuneError(f"TensorRT refuses the optimisation profile of batches {tuple(batches)}")


def _timing_cache(config: Any, kept: bytes) -> Any:
    """The kept cache where it is of this version and GPU, else an empty one; a kept one makes rebuilds quick."""
    for blob in dict.fromkeys((kept, b"")):
        cache = config.create_timing_cache(blob)
        if cache is not None and config.set_timing_cache(cache, False):
            return cache
    raise FeatuneError("TensorRT takes no timing cache, not even an empty one; its messages are in the log")


def _parser_errors(parser: Any) -> str:
    """Every error of the parser, with the node that it is about."""
    found = [parser.get_error(number) for number in range(parser.num_errors)]
    texts = [f"{error.desc()} (node {error.node_name() or '?'}, {error.node_operator() or '?'})" for error in found]
    return "; ".join(texts) or "no reason given"


def _made(make: Callable[..., Any], *arguments: Any) -> Any:
    """Constructors raise TypeError or return nothing where there is no usable driver."""
    try:
        made = make(*arguments)
    except TypeError as error:
        raise Missing(f"TensorRT cannot start ({error}); check the NVIDIA driver") from error
    if made is None:
        raise Missing("TensorRT cannot start; check the NVIDIA driver")
    return made
