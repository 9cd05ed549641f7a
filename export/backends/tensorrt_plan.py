"""A checked ONNX artefact as a TensorRT plan for this GPU: built once, named by all it depends on, judged, opened.

A plan file is one JSON line and TensorRT's bytes. The line says for which TensorRT, GPU and graph it was built,
and carries the graph's contract and its own verdict: a plan of another machine, without a passing verdict, or
changed since it was judged, is an error that says so.

TensorRT and ONNX Runtime: the wheel of onnxruntime-gpu links TensorRT 10, so its TensorRT provider works beside
`tensorrt` 10.16 only; with 11 installed, plans made here are the way. One environment cannot hold both majors.
"""

import contextlib
import dataclasses
import hashlib
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import torch

from featune.engine.errors import BadInput, ParityFailed
from featune.engine.runners import Runner, require_device
from featune.engine.store import digest, locked, note_use, written_whole
from featune.engine.tensorrt import BuildSettings, Engine, build, library, tensorrt_runner

from ..contract import CONTRACT, check_versions, content_digest, entry_of, read_graph
from .judged_here import place_of
from .plan_file import Plan, PlanKey, read_plan, write_plan

TURING = "7.5"  # TensorRT for RTX builds for this compute capability alone


@dataclasses.dataclass(frozen=True)
class Running:
    """A plan that runs on this GPU, to be judged. logits: None where it has none. batches: least and most it takes."""

    features: Runner
    logits: Runner | None
    batches: tuple[int, int]
    precision: str


Gate = Callable[[Running], dict[str, Any]]  # the verdict, with `passed` and `reasons`


def key_of(
    graph: str | os.PathLike[str], settings: BuildSettings, device: str = "cuda", by: str = "tensorrt"
) -> PlanKey:
    """The name of the graph's plan on this machine's GPU and TensorRT. by: one of `LIBRARIES`."""
    gpu, capability = machine(device)
    settings = dataclasses.replace(settings, turing=by == "tensorrt-rtx" and capability == TURING)
    return PlanKey(content_digest(graph), version_of(by), gpu, capability, settings)


def version_of(by: str) -> str:
    """The library's version as a plan's key has it."""
    version = str(library(by).__version__)
    return version if by == "tensorrt" else f"{by} {version}"


def library_of(key: PlanKey) -> str:
    """Which of `LIBRARIES` runs the plan."""
    return key.tensorrt.partition(" ")[0] if " " in key.tensorrt else "tensorrt"


def machine(device: str = "cuda") -> tuple[str, str]:
    """The GPU's name and compute capability."""
    require_device(device)
    if torch.device(device).type != "cuda":
        raise BadInput(f"TensorRT runs on NVIDIA GPUs, found --device {device}; choose cuda")
    major, minor = torch.cuda.get_device_capability(device)
    return torch.cuda.get_device_name(device), f"{major}.{minor}"


def plan_from_graph(
    graph: Path,
    folder: Path,
    settings: BuildSettings,
    gate: Gate,
    *,
    device: str = "cuda",
    by: str = "tensorrt",
    progress: Callable[[str, int, int], bool] | None = None,
) -> Path:
    """The graph's plan in `folder`, built and judged where absent. Raises ParityFailed where it is not its model.

    The graph must have passed its own gate; TensorRT's kernels are others, so the plan is judged again. A build takes
    minutes, so its result is kept before it is judged, and also where it fails: it is then judged again each time.
    """
    contract = _for_tensorrt(graph)
    key = key_of(graph, settings, device, by)
    path = folder / f"{key.name}.plan"
    with locked(path):
        found = _kept(path, key)
        if found is None:
            blob = _built(graph, folder, key, by, device, progress)
            found = Plan(key, hashlib.sha256(blob).hexdigest(), contract), blob
            write_plan(path, *found)
        header, blob = found
        if not _passed(header) or header.verdict.get("place") != place_of(device):
            header = judged(header, blob, gate, device)
            write_plan(path, header, blob)
    require_plan(header, path, f"to have it built again, remove {path}; or ")
    note_use(path)
    return path


def _built(
    graph: Path, folder: Path, key: PlanKey, by: str, device: str, progress: Callable[[str, int, int], bool] | None
) -> bytes:
    """The plan's bytes. One build at a time on a GPU: two would spoil each other's timings, and lose one's cache."""
    cache = folder / f"timing-{digest([key.tensorrt, key.gpu, key.capability])}.cache"
    with locked(cache):
        with torch.cuda.device(device):
            kept = cache.read_bytes() if cache.exists() else b""
            blob, timings = build(graph, key.settings, kept, progress, by=by)
        with written_whole(cache) as temporary:
            temporary.write_bytes(timings)
    return blob


def judged(header: Plan, blob: bytes, gate: Gate, device: str = "cuda") -> Plan:
    """The header with the verdict on what the bytes compute on this GPU."""
    engine = _loaded(header, blob, header.model, device)
    with contextlib.ExitStack() as stack:
        features = stack.enter_context(tensorrt_runner(engine, device))
        has_logits = bool(header.contract.get("classes"))
        logits = stack.enter_context(tensorrt_runner(engine, device, output="logits")) if has_logits else None
        verdict = gate(Running(features, logits, engine.batches, header.precision))
    return dataclasses.replace(header, verdict=verdict | {"content": header.content, "place": place_of(device)})


def refitted(path: Path, graph: Path, out: Path, gate: Gate, device: str = "cuda") -> Path:
    """The plan with the weights of another artefact of the same architecture, such as a fine-tuned one.

    Seconds instead of a rebuild of minutes. Raises BadInput where the plan was not built refittable or the
    weights are other ones, ParityFailed where the result is not its model.
    """
    header, blob = read_plan(path)
    check_machine(header.key, path, device)
    if not header.key.settings.refittable:
        raise BadInput(f"{path} was not built refittable; build it with --refittable, or leave --refit out")
    contract = _for_tensorrt(graph)
    if contract["precision"] != header.precision:
        raise BadInput(f"{graph} is {contract['precision']}, the plan is {header.precision}; build another plan")
    engine = _loaded(header, blob, str(path), device)
    with torch.cuda.device(device):
        engine.refit(graph)
        new = engine.serialized()
    key = dataclasses.replace(header.key, graph=content_digest(graph))
    header = judged(Plan(key, hashlib.sha256(new).hexdigest(), contract), new, gate, device)
    write_plan(out, header, new)
    require_plan(header, out)
    return out


@contextlib.contextmanager
def open_plan(
    path: Path, device: str = "cuda", *, output: str | None = None, cuda_graph: bool = False
) -> Iterator[Runner]:
    """A runner of a plan file. Raises BadInput for another machine's plan, ParityFailed without a passing verdict."""
    header, blob = read_plan(path)
    check_machine(header.key, path, device)
    require_plan(header, path)
    _require_judged_here(header, path, device)
    engine = _loaded(header, blob, str(path), device)
    with tensorrt_runner(engine, device, output=output, cuda_graph=cuda_graph) as runner:
        yield runner


def _require_judged_here(header: Plan, path: Path, device: str) -> None:
    """Raises ParityFailed for a plan that was judged on another GPU, driver or version, where it may run as well."""
    if header.verdict.get("place") != (here := place_of(device)):
        raise ParityFailed(
            f"{path} was judged on {', '.join(header.verdict.get('place') or ['an unknown machine'])}; here is "
            f"{', '.join(here)}; judge it here with `featune verify {path} --data FOLDER`"
        )


def require_plan(header: Plan, path: Path, remedy: str = "") -> None:
    """Raises ParityFailed for a plan that was not judged, was changed since, or was judged not to be its model."""
    if not header.verdict:
        raise ParityFailed(f"{path} has no verdict; judge it with `featune verify {path} --data FOLDER`")
    if header.verdict.get("content") != header.content:
        raise ParityFailed(f"{path} was changed after its verdict; judge it again with `featune verify`")
    if not header.verdict["passed"]:
        reasons = "; ".join(header.verdict["reasons"])
        raise ParityFailed(f"{path} is not its model: {reasons}; {remedy}try --precision fp32")


def _loaded(header: Plan, blob: bytes, name: str, device: str) -> Engine:
    with torch.cuda.device(device):  # TensorRT loads onto the current GPU
        return Engine(blob, name, header.key.settings.version_compatible, library_of(header.key))


def check_machine(key: PlanKey, path: Path, device: str) -> None:
    """Raises BadInput for a plan that TensorRT here, or this GPU, does not run."""
    gpu, capability = machine(device)
    here = version_of(library_of(key))
    version_fits = key.tensorrt == here or key.settings.version_compatible
    gpu_fits = (
        key.gpu == gpu
        or (key.settings.hardware == "same_compute_capability" and key.capability == capability)
        or (key.settings.hardware == "ampere_plus" and float(capability) >= 8.0)
    )
    if not version_fits or not gpu_fits:
        raise BadInput(
            f"{path} was built by TensorRT {key.tensorrt} for {key.gpu} ({key.capability}); here are TensorRT {here} "
            f"and {gpu} ({capability}); build it again here with `featune export --to {library_of(key)}`"
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


def _kept(path: Path, key: PlanKey) -> tuple[Plan, bytes] | None:
    """The file's plan, judged or not; None where it must be built."""
    if not path.exists():
        return None
    try:
        header, blob = read_plan(path)
    except BadInput:
        return None
    return (header, blob) if header.key == key else None


def _passed(header: Plan) -> bool:
    return bool(header.verdict) and header.verdict["passed"] and header.verdict.get("content") == header.content
