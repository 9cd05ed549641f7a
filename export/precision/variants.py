"""Other precisions of a checked fp32 artefact: which, made how, and which one `auto` settles on."""

import contextlib
import dataclasses
import hashlib
import os
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from featune.engine.errors import BadInput, nearest
from featune.engine.runners import onnxruntime_runner
from featune.engine.store import plain, written_whole

from ..contract import CONTRACT, PRECISIONS, compare, entry_of, external_files, failures, read_graph, set_entry, values
from .half_precision import HEADROOM, LARGEST_HALF, emulated, halved
from .int8 import CALIBRATIONS, best_quantised, relative_speed

AUTO = "auto"
# What `auto` tries, the fastest first. fp16 and bf16 have no kernels in ONNX Runtime on a CPU: they gain nothing.
LADDER = {"cpu": ("int8", "fp32"), "cuda": ("fp16", "fp32"), "tensorrt": ("int8", "fp16", "bf16", "fp32")}
# Source: onnxruntime, docs/OperatorKernels.md.
REFUSED = {
    ("cpu", "bf16"): "ONNX Runtime has no bf16 convolutions on a CPU; use --precision fp32, or --backend torch",
    ("cuda", "bf16"): "ONNX Runtime has no bf16 convolutions on CUDA; use --precision fp16, or another backend",
    ("cuda", "int8"): "ONNX Runtime has no int8 convolutions (QLinearConv) on CUDA, it would go to the CPU and back; "
    "use --precision fp16, or --backend tensorrt",
}  # fmt: skip
# Why another graph is judged in a half artefact's place: on a CPU fp16 would lose its rounding, and what overflows.
STAND_INS = {
    "fp16": "computed in fp32 on values rounded to fp16: ONNX Runtime computes fp16 graphs in fp32 on a CPU",
    "bf16": "computed in fp32 on values rounded to bf16: ONNX Runtime has no bf16 kernels on a CPU",
}
BETWEEN = "fp16"  # what TensorRT computes between the int8 layers
STAND_IN_BETWEEN = "computed in fp32 on values rounded to int8 and fp16, as TensorRT rounds them"
SPEED_BATCH = 8


def check_precision(name: str, target: str = "cpu") -> None:
    known = (*PRECISIONS, AUTO)
    if name not in known:
        raise BadInput(f"no precision named {name!r}{nearest(name, known)}; one of {', '.join(known)}")
    if target not in LADDER:
        raise BadInput(f"no target named {target!r}{nearest(target, LADDER)}; one of {', '.join(LADDER)}")
    if (target, name) in REFUSED:
        raise BadInput(REFUSED[target, name])


def variant(source: Path, path: Path, precision: str, target: str, images: NDArray[np.uint8]) -> Path:
    """Write a precision of the fp32 artefact to `path`, with its own contract and no verdict yet.

    images: uint8 [n, channels, side, side] to calibrate on; not those of the verdict. target: one of `LADDER`; int8
    needs other graphs for cpu than for tensorrt. Raises BadInput for a precision that the target has no use for.
    """
    check_precision(precision, target)
    graph = read_graph(source)
    contract = entry_of(graph, CONTRACT)
    if contract is None or contract["precision"] != "fp32":
        raise BadInput(f"{source} is not an fp32 artefact; other precisions are made from one")
    if external_files(graph, source):
        raise BadInput(f"{source}: other precisions of models above 2 GB are not made; use --precision fp32")
    contract |= {"precision": precision, "target": "any" if precision == "fp32" else target}
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "made.onnx")
        if precision == "int8":
            contract |= _quantised(source, made, target, images)
        else:
            contract |= _halved(source, made, precision, target, images)
        _save_with(made, path, contract)
    return path


def image_digests(images: NDArray[np.uint8]) -> list[str]:
    """Each image's pixels by sixteen hexadecimal digits: a file that was calibrated on some is not judged on them."""
    return [hashlib.sha256(np.ascontiguousarray(image).tobytes()).hexdigest()[:16] for image in images]


@contextlib.contextmanager
def stand_in(path: Path, precision: str) -> Iterator[tuple[Path, str] | None]:
    """A graph that shows on this machine what a half artefact computes, and why; None where the file itself does."""
    proto = read_graph(path) if precision in STAND_INS or precision == "int8" else None
    between = precision == "int8" and (entry_of(proto, CONTRACT) or {}).get("between")
    if precision not in STAND_INS and not between:
        yield None
        return
    with tempfile.TemporaryDirectory() as folder:
        made = Path(folder, "emulated.onnx")
        made.write_bytes(emulated(proto, between or precision).SerializeToString())
        yield made, STAND_IN_BETWEEN if between else STAND_INS[precision]


def speed_against(path: Path, source: Path, images: torch.Tensor, threads: int = 1) -> float:
    """How many times as fast as the fp32 artefact this one is, on this CPU, one batch of eight, one thread."""
    batch = images[:SPEED_BATCH]
    with onnxruntime_runner(path, threads=threads) as fast, onnxruntime_runner(source, threads=threads) as plain_run:
        return relative_speed(lambda: fast(batch), lambda: plain_run(batch))


def _quantised(source: Path, made: Path, target: str, images: NDArray[np.uint8]) -> dict[str, Any]:
    """Write the int8 graph to `made`; what the contract says of it. For TensorRT its other operations are fp16."""
    tensor = torch.from_numpy(images)
    between = target == "tensorrt"

    def judged(graph: Path) -> tuple[float, bool]:
        # Against the fp32 artefact, which is checked already and faster than torch.
        shown = graph
        if between:
            shown = graph.with_suffix(".between.onnx")
            shown.write_bytes(emulated(_half_between(graph, images), BETWEEN).SerializeToString())
        with onnxruntime_runner(source) as reference, onnxruntime_runner(shown) as candidate:
            found = compare(reference, candidate, tensor)
        return found.noise, not failures(found, "int8")

    found = best_quantised(source, made, images, target, judged, CALIBRATIONS)
    if between:
        made.write_bytes(_half_between(made, images).SerializeToString())
    return {
        "quantisation": plain(dataclasses.asdict(found)),
        "calibrated_on": image_digests(images),
        **({"between": BETWEEN} if between else {}),
    }


def _half_between(graph: Path, images: NDArray[np.uint8]) -> Any:
    return halved(read_graph(graph), BETWEEN, keep=_loud(graph, images), attention=True)


def _halved(source: Path, made: Path, precision: str, target: str, images: NDArray[np.uint8]) -> dict[str, Any]:
    proto = read_graph(source)
    loud = _loud(source, images) if precision == "fp16" else []
    half = halved(proto, precision, keep=loud, attention=target == "tensorrt")
    made.write_bytes(half.SerializeToString())
    return {"kept_in_fp32": loud, "opset": 22 if precision == "bf16" else proto.opset_import[0].version}


def _loud(source: Path, images: NDArray[np.uint8]) -> list[str]:
    """The values, and what is made of them, that come near fp16's largest number on any of these images."""
    proto = read_graph(source)
    loud = {
        name for name, largest in _largest(read_graph(source), images).items() if not largest <= LARGEST_HALF / HEADROOM
    }
    made_of_them = {name for node in proto.graph.node if loud & set(node.input) for name in node.output}
    return sorted(loud | made_of_them)


def _largest(proto: Any, images: NDArray[np.uint8]) -> dict[str, float]:
    """The largest magnitude of every float value of the graph on the images; not a number where one is none."""
    import onnx

    listed = onnx.shape_inference.infer_shapes(proto).graph
    kinds = {value.name: value.type.tensor_type.elem_type for value in [*listed.value_info, *listed.output]}
    made = [name for node in proto.graph.node for name in node.output if kinds.get(name) == onnx.TensorProto.FLOAT]
    largest = [f"{name}/largest" for name in made]
    for name, most in zip(made, largest, strict=True):
        proto.graph.node.append(onnx.helper.make_node("Abs", [name], [f"{name}/magnitude"]))
        proto.graph.node.append(onnx.helper.make_node("ReduceMax", [f"{name}/magnitude"], [most], keepdims=0))
    with tempfile.TemporaryDirectory() as folder:
        measuring = Path(folder, "largest.onnx")
        measuring.write_bytes(proto.SerializeToString())
        parts = [
            values(measuring, largest, images[start : start + SPEED_BATCH])
            for start in range(0, len(images), SPEED_BATCH)
        ]
    return {name: float(np.max([part[most] for part in parts])) for name, most in zip(made, largest, strict=True)}


def _save_with(made: Path, path: Path, contract: dict[str, Any]) -> None:
    """The graph with its contract as its only metadata: tools leave notes of their own."""
    import onnx

    proto = onnx.load(os.fspath(made))
    proto.ir_version = min(proto.ir_version, 10)
    del proto.metadata_props[:]
    set_entry(proto, CONTRACT, contract)
    with written_whole(path) as temporary:
        temporary.write_bytes(proto.SerializeToString(deterministic=True))
