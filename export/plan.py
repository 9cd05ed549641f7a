"""A checked ONNX artefact as a TensorRT plan for this GPU: built once, named by all it depends on, judged, opened.

A plan file is one JSON line and TensorRT's bytes. The line says for which TensorRT, GPU and graph it was built
and carries its verdict: a plan of another machine, or without a passing verdict, is an error that says so.

TensorRT and ONNX Runtime: the wheel of onnxruntime-gpu links TensorRT 10, so its TensorRT provider works beside
`tensorrt` 10.16 only; with 11 installed, plans made here are the way. One environment cannot hold both majors.
"""

import contextlib
import dataclasses
import hashlib
import json
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from engine.errors import BadInput, ParityFailed
from engine.runners import Runner, require_device
from engine.store import added, digest, locked, plain, written_whole
from engine.tensorrt_runner import BuildSettings, Engine, build, library, tensorrt_runner
from export.contract import CONTRACT, channels_of, check_versions, content_digest, entry_of, read_graph

MAGIC = "featune-plan-1"
Gate = Callable[[Runner], dict[str, Any]]  # judges a runner; the verdict, with `passed` and `reasons`


@dataclasses.dataclass(frozen=True)
class PlanKey:
    """All that a plan depends on. graph: `content_digest` of the artefact. capability: such as `9.0`."""

    graph: str
    tensorrt: str
    gpu: str
    capability: str
    settings: BuildSettings

    @property
    def name(self) -> str:
        return digest(self)


@dataclasses.dataclass(frozen=True)
class Plan:
    """A plan file's header. sha256: of TensorRT's bytes. verdict: empty until the plan was judged.

    channels: of the images that it takes.
    """

    key: PlanKey
    sha256: str
    model: str
    precision: str
    verdict: dict[str, Any] = dataclasses.field(default_factory=dict)
    channels: int = added(3)


def key_of(graph: str | os.PathLike[str], settings: BuildSettings, device: str = "cuda") -> PlanKey:
    """The name of the graph's plan on this machine's GPU and TensorRT."""
    gpu, capability = machine(device)
    return PlanKey(content_digest(graph), library().__version__, gpu, capability, settings)


def machine(device: str = "cuda") -> tuple[str, str]:
    """The GPU's name and compute capability."""
    require_device(device)
    major, minor = torch.cuda.get_device_capability(device)
    return torch.cuda.get_device_name(device), f"{major}.{minor}"


def plan_from_graph(
    graph: Path,
    folder: Path,
    settings: BuildSettings,
    gate: Gate,
    *,
    device: str = "cuda",
    progress: Callable[[str, int, int], bool] | None = None,
) -> Path:
    """The graph's plan in `folder`, built and judged where absent. Raises ParityFailed where it is not its model.

    The graph must have passed its own gate; TensorRT's kernels are others, so the plan is judged again.
    """
    contract = _for_tensorrt(graph)
    key = key_of(graph, settings, device)
    path = folder / f"{key.name}.plan"
    with locked(path):
        if not _usable(path, key):
            cache = folder / f"timing-{digest([key.tensorrt, key.gpu, key.capability])}.cache"
            blob, timings = build(graph, settings, cache.read_bytes() if cache.exists() else b"", progress)
            with written_whole(cache) as temporary:
                temporary.write_bytes(timings)
            sha256, channels = hashlib.sha256(blob).hexdigest(), channels_of(contract)
            header = Plan(key, sha256, contract["model"], contract["precision"], channels=channels)
            write_plan(path, judged(header, blob, gate, device), blob)
    require_plan(read_plan(path)[0], path)
    return path


def judged(header: Plan, blob: bytes, gate: Gate, device: str = "cuda") -> Plan:
    """The header with the verdict on what the bytes compute on this GPU."""
    engine = Engine(blob, header.model, header.key.settings.version_compatible)
    with tensorrt_runner(engine, device) as runner:
        return dataclasses.replace(header, verdict=gate(runner))


def refitted(path: Path, graph: Path, out: Path, gate: Gate, device: str = "cuda") -> Path:
    """The plan with the weights of another artefact of the same architecture, such as a fine-tuned one.

    Seconds instead of a rebuild of minutes. Raises BadInput where the plan was not built refittable or the
    weights are other ones, ParityFailed where the result is not its model.
    """
    header, blob = read_plan(path)
    _check_machine(header.key, path, device)
    if not header.key.settings.refittable:
        raise BadInput(f"{path} was not built refittable; build it with --refittable, or leave --refit out")
    contract = _for_tensorrt(graph)
    if contract["precision"] != header.precision:
        raise BadInput(f"{graph} is {contract['precision']}, the plan is {header.precision}; build another plan")
    engine = Engine(blob, str(path), header.key.settings.version_compatible)
    engine.refit(graph)
    new = engine.serialized()
    key = dataclasses.replace(header.key, graph=content_digest(graph))
    sha256, channels = hashlib.sha256(new).hexdigest(), channels_of(contract)
    header = Plan(key, sha256, contract["model"], header.precision, channels=channels)
    write_plan(out, judged(header, new, gate, device), new)
    require_plan(read_plan(out)[0], out)
    return out


@contextlib.contextmanager
def open_plan(
    path: Path, device: str = "cuda", *, output: str | None = None, cuda_graph: bool = False
) -> Iterator[Runner]:
    """A runner of a plan file. Raises BadInput for another machine's plan, ParityFailed without a passing verdict."""
    header, blob = read_plan(path)
    _check_machine(header.key, path, device)
    require_plan(header, path)
    engine = Engine(blob, str(path), header.key.settings.version_compatible)
    with tensorrt_runner(engine, device, output=output, cuda_graph=cuda_graph) as runner:
        yield runner


def write_plan(path: Path, header: Plan, blob: bytes) -> None:
    line = json.dumps({"format": MAGIC, **plain(header)}, sort_keys=True).encode()
    with written_whole(path) as temporary:
        temporary.write_bytes(line + b"\n" + blob)


def read_plan(path: Path) -> tuple[Plan, bytes]:
    """A plan file's header and TensorRT's bytes. Raises BadInput for another file, or a damaged one."""
    try:
        line, _, blob = path.read_bytes().partition(b"\n")
        value = json.loads(line)
        if value.pop("format") != MAGIC:
            raise ValueError("another format")
        settings = value["key"].pop("settings")
        settings["batches"] = tuple(settings["batches"])
        value["key"] = PlanKey(**value["key"], settings=BuildSettings(**settings))
        header = Plan(**value)
    except FileNotFoundError as error:
        raise BadInput(f"{path}: no such plan; make it with `featune export --to tensorrt`") from error
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadInput(f"{path} is not a plan that Featune wrote; make it with `featune export`") from error
    if hashlib.sha256(blob).hexdigest() != header.sha256:
        raise BadInput(f"{path} is damaged: its bytes are not those that were written; build it again")
    return header, blob


def require_plan(header: Plan, path: Path) -> None:
    """Raises ParityFailed for a plan that was not judged, or judged not to be its model."""
    if not header.verdict:
        raise ParityFailed(f"{path} has no verdict; build it again with `featune export --to tensorrt`")
    if not header.verdict["passed"]:
        raise ParityFailed(f"{path} is not its model: {'; '.join(header.verdict['reasons'])}; try --precision fp32")


def _check_machine(key: PlanKey, path: Path, device: str) -> None:
    gpu, capability = machine(device)
    here = library().__version__
    version_fits = key.tensorrt == here or key.settings.version_compatible
    gpu_fits = (
        key.gpu == gpu
        or (key.settings.hardware == "same_compute_capability" and key.capability == capability)
        or (key.settings.hardware == "ampere_plus" and float(capability) >= 8.0)
    )
    if not version_fits or not gpu_fits:
        raise BadInput(
            f"{path} was built by TensorRT {key.tensorrt} for {key.gpu} ({key.capability}); here are TensorRT {here} "
            f"and {gpu} ({capability}); build it again here with `featune export --to tensorrt`"
        )


def _for_tensorrt(graph: Path) -> dict[str, Any]:
    """The contract of an artefact that TensorRT can take."""
    proto = read_graph(graph)
    check_versions(proto, graph, "tensorrt")
    contract = entry_of(proto, CONTRACT)
    if contract is None:
        raise BadInput(f"{graph} carries no preprocessing contract; use a file that `featune export` wrote")
    if contract["precision"] == "int8" and contract["target"] != "tensorrt":
        raise BadInput(f"{graph} is quantised for CPUs, TensorRT needs symmetric int8; export it with --to tensorrt")
    return contract


def _usable(path: Path, key: PlanKey) -> bool:
    if not path.exists():
        return False
    try:
        header, _ = read_plan(path)
    except BadInput:
        return False
    return header.key == key and bool(header.verdict)
