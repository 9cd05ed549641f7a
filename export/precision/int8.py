"""int8 versions of a graph: static Q/DQ, calibrated on the user's own images, one artefact per target.

A CPU and TensorRT want different files. `cpu`: uint8 activations and int8 weights (U8S8), what x86 processors
multiply natively, with the outputs of convolutions quantised so that they fuse. `tensorrt`: symmetric int8
on both sides, Q/DQ on the inputs of Conv, Gemm and MatMul and on shortcuts, biases in fp32. Weights are per channel in
both.
"""

import contextlib
import dataclasses
import io
import logging
import os
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.machine import vector_int8

from .layer_sensitivity import sensitivity_of_layers
from .residuals import quantise_residuals

TARGETS = ("cpu", "tensorrt")
CALIBRATIONS = ("minmax", "percentile", "entropy")
QUANTISED = ("Conv", "MatMul", "Gemm")
# On a CPU a convolution writes these functions' values itself. Left between two roundings, they would make the first
# spend its 256 steps on what is cut off right after: mobilenetv1_100's noise is 0.46 so, 0.18 without.
MERGED = {"cpu": ("Relu", "Clip"), "tensorrt": ()}
SHARES = (0.1, 0.25, 0.5)  # of the quantised nodes that go back to fp32, one after the other, until the gate opens
BATCH = 8
LOOKED_AT = 4  # images by which the layers are ranked


@dataclasses.dataclass(frozen=True)
class Quantisation:
    """How an int8 graph was made. excluded: nodes that are not in int8. tried: noise of each way that was measured.

    residuals: sums whose shortcut is in int8 too.
    full_range: weights use all of int8, which only processors with VNNI sum without overflow.
    """

    target: str
    calibration: str
    excluded: tuple[str, ...]
    images: int
    full_range: bool
    tried: tuple[tuple[str, float], ...] = ()
    residuals: int = 0


def best_quantised(
    source: Path,
    path: Path,
    images: NDArray[np.uint8],
    target: str,
    judged: Callable[[Path], tuple[float, bool]],
    calibrations: Sequence[str] = CALIBRATIONS,
    shares: Sequence[float] = SHARES,
) -> Quantisation:
    """Write the best int8 version of an fp32 graph to `path`, and say how it was made.

    judged: a graph's noise and whether it passes, on the calibration images, so that the images of the verdict have
    no part in the choice. The calibrations are compared with all layers quantised but attention's products; where
    the best of them fails, its shortcuts leave int8 first, then its first and last layers, then the layers that alone
    cost most. What leaves it is fp32 on a CPU and fp16 for TensorRT, though the names in `tried` say fp32.
    """
    if target not in TARGETS:
        raise BadInput(f"no int8 target named {target!r}; one of {', '.join(TARGETS)}")
    with tempfile.TemporaryDirectory() as folder:
        prepared = _prepared(source, Path(folder, "prepared.onnx"), target)
        always = products_of_activations(prepared)
        tried: dict[str, _Tried] = {}

        def attempt(name: str, calibration: str, excluded: Iterable[str], shortcuts: bool = False) -> bool:
            made = Path(folder, f"{len(tried)}.onnx")
            ranges = Path(folder, f"{calibration}.json")
            if not ranges.exists():
                _calibrate(prepared, images, target, calibration, ranges)
            _quantise(prepared, made, target, calibration, [*always, *excluded], ranges)
            residuals = _with_residuals(made, ranges) if shortcuts else 0
            noise, passes = judged(made)
            tried[name] = _Tried(noise, passes, made, (*always, *excluded), calibration, residuals)
            return passes

        failed = []
        for calibration in calibrations:
            try:
                attempt(calibration, calibration, (), shortcuts=target == "tensorrt")
            except FeatuneError as error:  # a histogram of values that are all but equal has no bins
                failed.append(str(error))
        if not tried:
            raise FeatuneError("; ".join(failed))
        best = min(tried.values(), key=lambda found: found.noise)
        if not best.passes:
            calibration, ends = best.calibration, first_and_last(prepared)
            opened = best.residuals > 0 and attempt("shortcuts in fp32", calibration, ())
            if not opened and not attempt("first and last layer in fp32", calibration, ends):
                alone = sensitivity_of_layers(prepared, best.graph, images[:: -(-len(images) // LOOKED_AT)])
                ranking = sorted(alone, key=lambda layer: -alone[layer])
                for share in shares:
                    worst = ranking[: max(1, round(share * len(ranking)))]
                    if attempt(f"worst {share:.0%} of the layers in fp32", calibration, {*ends, *worst}):
                        break
            passing = [found for found in tried.values() if found.passes]
            best = passing[0] if passing else min(tried.values(), key=lambda found: found.noise)
        os.replace(best.graph, path)
        noises = tuple((name, round(found.noise, 6)) for name, found in tried.items())
        full_range = target == "tensorrt" or vector_int8()
        excluded = tuple(sorted(best.excluded))
        return Quantisation(
            target, best.calibration, excluded, len(images), full_range, noises, best.residuals
        )  # fmt: skip


@dataclasses.dataclass(frozen=True)
class _Tried:
    noise: float
    passes: bool
    graph: Path
    excluded: tuple[str, ...]
    calibration: str
    residuals: int


def _with_residuals(path: Path, ranges: Path) -> int:
    """Quantise the graph's shortcuts by the calibrated ranges; returns how many."""
    import onnx
    from onnxruntime.quantization.quantize import load_tensors_data

    largest = {
        name: float(max(abs(edge.item()) for edge in found.range_value))
        for name, found in load_tensors_data(ranges).items()
    }
    proto = onnx.load(path)
    changed = quantise_residuals(proto, largest)
    onnx.save(proto, path)
    return changed


def relative_speed(
    run: Callable[[], object],
    other: Callable[[], object],
    rounds: int = 5,
    clock: Callable[[], float] = time.perf_counter,
) -> float:
    """How many times as fast `run` is as `other`: the best of several turns each, taken in turn."""
    best = [float("inf"), float("inf")]
    for turn in range(rounds + 1):
        for number, call in enumerate((run, other)):
            began = clock()
            call()
            if turn:  # the first is for warming up
                best[number] = min(best[number], clock() - began)
    return best[1] / best[0]


def products_of_activations(graph: Path) -> list[str]:
    """The MatMuls whose sides are both computed: attention's scores and sums, which int8 ruins."""
    proto = _loaded(graph)
    constant = {tensor.name for tensor in proto.graph.initializer}
    nodes = [node for node in proto.graph.node if node.op_type == "MatMul"]
    return [node.name for node in nodes if not constant & set(node.input)]


def first_and_last(graph: Path) -> list[str]:
    """The first and the last layer with weights: raw pixels enter one, and nothing after the other averages."""
    proto = _loaded(graph)
    always = set(products_of_activations(graph))
    names = [node.name for node in proto.graph.node if node.op_type in QUANTISED and node.name not in always]
    return list(dict.fromkeys([*names[:1], *names[-1:]]))


class Batches:
    """The images in batches, as ONNX Runtime's calibrators ask for them: all of one size, or they cannot be joined."""

    def __init__(self, images: NDArray[np.uint8], name: str):
        size = max(size for size in range(1, BATCH + 1) if len(images) % size == 0)
        self.batches: Iterator[dict[str, NDArray[np.uint8]]] = iter(
            [{name: images[start : start + size]} for start in range(0, len(images), size)]
        )

    def get_next(self) -> dict[str, NDArray[np.uint8]] | None:
        return next(self.batches, None)


def _prepared(source: Path, path: Path, target: str) -> Path:
    """Shapes inferred, constants folded; for the CPU also fused as ONNX Runtime will fuse, for TensorRT plain ONNX."""
    from onnxruntime.quantization.shape_inference import quant_pre_process

    try:
        with _silent():
            quant_pre_process(source, path, skip_optimization=target == "tensorrt", skip_symbolic_shape=True)
    except Exception as error:  # of ONNX Runtime's tools, which raise many kinds
        raise FeatuneError(f"{source} cannot be prepared for int8: {str(error)[:300]}") from error
    _name_nodes(path)
    return path


def _name_nodes(path: Path) -> None:
    """Nodes are excluded by name, so every one needs its own."""
    import onnx

    proto = onnx.load(path)
    seen: set[str] = set()
    for number, node in enumerate(proto.graph.node):
        if not node.name or node.name in seen:
            node.name = f"{node.op_type}_{number}"
        seen.add(node.name)
    onnx.save(proto, path)


def _quantise(source: Path, path: Path, target: str, calibration: str, excluded: Sequence[str], ranges: Path) -> None:
    """Write the Q/DQ graph of an fp32 one by ranges that were calibrated before."""
    from onnxruntime.quantization import QuantFormat, QuantType, quantize_static

    if target == "cpu":
        # Q/DQ after MatMul and Gemm costs transformers accuracy and speed; after Conv it is what lets it fuse.
        extra: dict[str, Any] = {"OpTypesToExcludeOutputQuantization": ["MatMul", "Gemm"]}
        activation = QuantType.QUInt8
    else:
        extra = {
            "ActivationSymmetric": True,
            "WeightSymmetric": True,
            "QuantizeBias": False,
            "AddQDQPairToWeight": True,
            "OpTypesToExcludeOutputQuantization": list(QUANTISED),
            "QDQOpTypePerChannelSupportToAxis": {"MatMul": 1},
        }
        activation = QuantType.QInt8
    try:
        with _silent():
            quantize_static(
                source, path, quant_format=QuantFormat.QDQ, per_channel=True,
                reduce_range=target == "cpu" and not vector_int8(), activation_type=activation,
                weight_type=QuantType.QInt8, op_types_to_quantize=[*QUANTISED, *MERGED[target]],
                nodes_to_exclude=list(excluded), calibrate_method=_methods()[calibration], extra_options=extra,
                calibration_cache_path=ranges,
            )  # fmt: skip
    except Exception as error:
        raise FeatuneError(f"int8 by {calibration} calibration failed: {str(error)[:300]}") from error


def _calibrate(source: Path, images: NDArray[np.uint8], target: str, calibration: str, ranges: Path) -> None:
    """Write the range of every tensor that may be quantised, once per way of calibrating."""
    from onnxruntime.quantization import CalibrationDataReader
    from onnxruntime.quantization.calibrate import create_calibrator
    from onnxruntime.quantization.quantize import save_tensors_data

    reader = type("Reader", (Batches, CalibrationDataReader), {})(images, "images")
    options = {
        # ONNX Runtime's own 128 bins are as many as it quantises to, and so cut off nothing.
        "entropy": {"num_bins": 512, "num_quantized_bins": 128},
        "percentile": {"percentile": 99.99},
    }
    try:
        with _silent(), tempfile.TemporaryDirectory() as folder:
            calibrator = create_calibrator(
                source, [*QUANTISED, *MERGED[target]], Path(folder, "augmented.onnx").as_posix(),
                calibrate_method=_methods()[calibration], extra_options=options.get(calibration, {}),
            )  # fmt: skip
            calibrator.collect_data(reader)
            save_tensors_data(calibrator.compute_data(), ranges)
    except Exception as error:  # of ONNX Runtime's tools and of numpy's histograms
        raise FeatuneError(f"int8 ranges by {calibration} cannot be found: {str(error)[:300]}") from error


def _methods() -> dict[str, Any]:
    from onnxruntime.quantization import CalibrationMethod

    return {
        "minmax": CalibrationMethod.MinMax,
        "percentile": CalibrationMethod.Percentile,
        "entropy": CalibrationMethod.Entropy,
    }


@contextlib.contextmanager
def _silent() -> Iterator[None]:
    """ONNX Runtime's tools print to stdout, where only results belong, and warn through the root logger."""
    root = logging.getLogger()
    level = root.level
    root.setLevel(logging.ERROR)
    try:
        with contextlib.redirect_stdout(io.StringIO()):
            yield
    finally:
        root.setLevel(level)


def _loaded(path: Path) -> Any:
    import onnx

    return onnx.load(path, load_external_data=False)
