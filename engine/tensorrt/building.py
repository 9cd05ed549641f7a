"""Builds a TensorRT plan from an ONNX graph.

Written against TensorRT 10.16 and 11.4 in one way that holds for both: networks are strongly typed (in 11
always; in 10 by a flag that 11 ignores), so the types in the ONNX graph decide, and TF32 is set explicitly.
TensorRT reports failures by what it returns (None, False, -1); each is turned into an error here.
Where Featune is developed there is no GPU: TensorRT for RTX parses and builds there, in tests; nothing loads or runs a
plan. Every name used is checked by a test against the names of 10.16, of 11 and of TensorRT for RTX.
"""

import dataclasses
import os
from collections.abc import Callable, Sequence
from typing import Any

from ..errors import BadInput, FeatuneError, Missing
from ..runners import fault_of_gpu, free_cached_memory
from .callbacks import Callbacks, logger_of, monitor_of
from .libraries import LIBRARIES, library, made_by, parser_errors

HARDWARE = ("same_gpu", "same_compute_capability", "ampere_plus")
GIB = 1 << 30


@dataclasses.dataclass(frozen=True)
class BuildSettings:
    """How a plan is built; part of its name. batches: least, usual, most. workspace: bytes; None for all there is.

    level: optimisation effort 0 to 5. refittable: weights can be replaced without a rebuild. hardware: which GPUs
    besides this model can run it, at some cost in speed. version_compatible: later TensorRT versions can run it,
    and its code is trusted when it is loaded. turing: TensorRT for RTX builds for compute capability 7.5, and for it
    alone; without, for 8.0 and later.
    """

    batches: tuple[int, int, int] = (1, 64, 256)
    workspace: int | None = 4 * GIB
    tf32: bool = False
    level: int = 3
    refittable: bool = False
    version_compatible: bool = False
    hardware: str = "same_gpu"
    turing: bool = False


def build(
    graph: str | os.PathLike[str],
    settings: BuildSettings,
    timing_cache: bytes = b"",
    progress: Callable[[str, int, int], bool] | None = None,
    *,
    by: str = "tensorrt",
) -> tuple[bytes, bytes]:
    """A plan for this GPU from an ONNX file, and the timing cache that the next build can use, empty where it has none.

    by: one of `LIBRARIES`. progress: called with the phase's name, its step and its steps; returns whether to go on.
    The graph is parsed by path, so that external data is found. Raises FeatuneError with all of the parser's
    errors.
    """
    check_settings(settings)
    trt = library(by)
    free_cached_memory()
    with Callbacks() as callbacks:
        logger = logger_of(trt)
        builder = made_by(trt.Builder, logger)
        network = builder.create_network(1 << int(trt.NetworkDefinitionCreationFlag.STRONGLY_TYPED))
        parser = trt.OnnxParser(network, logger)
        if not parser.parse_from_file(os.fspath(graph)):
            raise FeatuneError(f"TensorRT cannot parse {graph}: {parser_errors(parser)}")
        config = builder.create_builder_config()
        _configure(trt, config, settings)
        # Always, since it alone can stop a build.
        going = _Going(progress)
        config.progress_monitor = monitor_of(trt, going, callbacks)
        _add_profile(builder, config, network, settings.batches)
        cache = _timing_cache(config, timing_cache) if LIBRARIES[by].timings else None
        plan = builder.build_serialized_network(network, config)
        if plan is None:
            raise _not_built(os.fspath(graph), settings, going, callbacks)
    return bytes(plan), b"" if cache is None else bytes(cache.serialize())


class _Going:
    """A progress that remembers whether it asked for the build to stop."""

    def __init__(self, progress: Callable[[str, int, int], bool] | None):
        self.progress, self.stopped = progress, False

    def __call__(self, phase: str, step: int, steps: int) -> bool:
        self.stopped = self.stopped or not (self.progress is None or self.progress(phase, step, steps))
        return not self.stopped


def _not_built(graph: str, settings: BuildSettings, going: _Going, callbacks: Callbacks) -> FeatuneError:
    """Why there is no plan, from what TensorRT said."""
    said = "; ".join(callbacks.errors) or "no reason given"
    if going.stopped:
        return FeatuneError(f"the build of {graph} was stopped, nothing is kept; run it again")
    if (fault := fault_of_gpu(said)) is not None:
        return fault
    if settings.version_compatible and "lean" in said.lower():
        return Missing(
            f"a version-compatible plan holds TensorRT's lean runtime, which is not installed ({said}); "
            "pip install tensorrt-lean-cu13-libs of TensorRT's version, or leave --version-compatible out"
        )
    return FeatuneError(
        f"TensorRT could not build {graph}: {said}; try --precision fp32, a smaller most in --batches, "
        "or a GPU with more free memory"
    )


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
    if settings.turing:
        config.num_compute_capabilities = 1
        config.set_compute_capability(trt.ComputeCapability.SM75, 0)


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
