"""Open a spec on a backend: make the artefact that is missing, check it against torch, open it."""

import contextlib
import dataclasses
import functools
import logging
import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError, ParityFailed, nearest
from featune.engine.models import ModelSpec, feature_model
from featune.engine.runners import BuildSettings, Runner, library, onnxruntime_runner, torch_runner, within
from featune.engine.store import digest, locked, made_beside

from ..contract import Parity, check_versions, contract_of, parity_of, read_graph
from ..gate import Sample, Verdict, halves, held_out, judge, require_passing, varied
from ..graph import graph_from_spec, graph_key
from ..precision import AUTO, LADDER, check_precision, image_digests, speed_against, stand_in, variant
from .tensorrt_gate import gate_of_plan, plan_down
from .tensorrt_plan import machine, open_plan, plan_from_graph

PLAN_BATCHES = (1, 64, 256)  # least, usual, most
log = logging.getLogger("featune")


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A graph file with its passing verdict. digest: SHA-256 of its content, verdict aside."""

    path: Path
    digest: str
    parity: Parity


@dataclasses.dataclass(frozen=True)
class Asked:
    """What a backend is asked to open; the fields are the arguments of `open_runner`."""

    spec: ModelSpec
    device: str
    cache: Path
    sample: Callable[[], Tensor]
    threads: int | None
    precision: str
    allow_fallback: bool


@dataclasses.dataclass(frozen=True)
class Backend:
    """open: gives the runner. target: what its graph is made for, None where it runs the torch module itself."""

    open: Callable[[Asked], contextlib.AbstractContextManager[Runner]]
    target: str | None


def artefact(
    spec: ModelSpec, cache: Path, sample: Callable[[], Tensor], *, precision: str = "fp32", target: str = "cpu"
) -> Artefact:
    """The spec's checked graph file in a precision, exported where absent.

    sample: gives uint8 images [n, channels, side, side] of the user's data, the model's eval view; called only
    when a verdict is needed, and for int8, whose ranges are those of the images: other images get another file.
    Raises ParityFailed where the graph is not the model; it is then not kept.
    """
    check_precision(precision, target)
    sample = functools.cache(sample)
    suffix = "" if precision == "fp32" else f".{precision}-{target}"
    if precision in ("int8", AUTO):
        suffix += f"-{digest(image_digests(sample().numpy()))}"
    path = cache / "graphs" / f"{graph_key(spec)}{suffix}.onnx"
    found = _passing(path, spec)
    if found is None:  # a cache that cannot be written serves what it has
        with locked(path):
            found = _passing(path, spec) or _added(spec, path, sample(), precision, target)
    return Artefact(path, found["content"], parity_of(found["parity"]))


def _added(spec: ModelSpec, path: Path, images: Tensor, precision: str, target: str) -> dict[str, Any]:
    verdict = exported(spec, path, Sample(images, "the user's images"), precision=precision, target=target)
    if not verdict.passed:
        path.unlink()
        raise ParityFailed(f"{spec.name} {verdict.precision}: {verdict.report}; do not use this artefact")
    return require_passing(path, spec)


def exported(
    spec: ModelSpec,
    path: Path,
    sample: Sample,
    *,
    precision: str = "fp32",
    target: str = "cpu",
    logits: bool = False,
) -> Verdict:
    """Make one artefact at `path` and judge it; the verdict is in the file, whether it passed or not.

    What was at `path` before is replaced by a judged file alone, so that a kill leaves the old one with its verdict.

    `auto` goes from the fastest precision of the target to the next safer one, until one passes and is no
    slower than fp32. int8 is calibrated on some of the images and judged on the others.
    Raises ParityFailed where the fp32 graph that they are made from fails itself.
    """
    check_precision(precision, target)
    sample = varied(sample, spec.view, precision)  # also for what int8 is calibrated on
    with made_beside(path) as made:
        return _made(spec, made, sample, precision, target, logits)


def _made(spec: ModelSpec, path: Path, sample: Sample, precision: str, target: str, logits: bool) -> Verdict:
    if precision == "fp32":
        graph_from_spec(spec, path, logits=logits)
        return judge(spec, path, sample)
    with tempfile.TemporaryDirectory() as folder:
        source = Path(folder, "fp32.onnx")
        graph_from_spec(spec, source, logits=logits)
        first = judge(spec, source, sample)
        if not first.passed:
            raise ParityFailed(f"{spec.name} fp32: {first.report}; no other precision is made of a wrong graph")
        for name in LADDER[target] if precision == AUTO else (precision,):
            if name == "fp32":
                graph_from_spec(spec, path, logits=logits)
                return judge(spec, path, sample)
            verdict = _variant_judged(spec, source, path, sample, name, target)
            slower = target == "cpu" and verdict.speed is not None and verdict.speed < 1
            if precision != AUTO or (verdict.passed and not slower):
                return verdict
            reason = f"{verdict.speed:.2f} times as fast as fp32" if verdict.passed else verdict.report
            log.warning("%s %s: %s; the next safer precision is tried", spec.name, name, reason)
    raise AssertionError("every ladder ends with fp32")


def _variant_judged(spec: ModelSpec, source: Path, path: Path, sample: Sample, precision: str, target: str) -> Verdict:
    if len(sample.images) < 4:
        raise BadInput(f"{len(sample.images)} images found; {precision} needs at least 4, half of them to calibrate on")
    calibration, judged_on = halves(sample)
    variant(source, path, precision, target, calibration.images.numpy())
    speed = speed_against(path, source, judged_on.images) if (precision, target) == ("int8", "cpu") else None
    with stand_in(path, precision) as instead:
        return judge(spec, path, judged_on, stand_in=instead, speed=speed)


@contextlib.contextmanager
def open_runner(
    spec: ModelSpec,
    backend: str,
    *,
    device: str = "cpu",
    cache: Path,
    sample: Callable[[], Tensor],
    threads: int | None = None,
    precision: str = "fp32",
    allow_fallback: bool = False,
) -> Iterator[Runner]:
    """A runner of the spec's features on a backend, checked before it is opened.

    Raises BadInput for an unknown backend, ParityFailed for a wrong export, Missing for an absent device.
    """
    check_backend(backend)
    asked = Asked(spec, device, cache, sample, threads, precision, allow_fallback)
    with BACKENDS[backend].open(asked) as runner:
        yield runner


def checked_plan(
    spec: ModelSpec, cache: Path, sample: Callable[[], Tensor], *, precision: str = "fp32", device: str = "cuda"
) -> Path:
    """The spec's plan for this GPU, made and judged where absent; `sample` as of `artefact`."""
    library()
    made: dict[str, Path] = {}

    def graph(asked: str) -> str:
        path = artefact(spec, cache, sample, precision=asked, target="tensorrt").path
        came_to = str(contract_of(path)["precision"])
        made[came_to] = path
        return came_to

    def plan(came_to: str) -> Path:
        gate = gate_of_plan(spec, lambda: held_out(Sample(sample(), "the user's images"), came_to), device)
        settings = BuildSettings(batches=PLAN_BATCHES)
        return plan_from_graph(made[came_to], cache / "plans", settings, gate, device=device)

    return plan_down(precision, graph, plan)


@contextlib.contextmanager
def open_artefact(
    path: str | os.PathLike[str],
    device: str = "cpu",
    *,
    spec: ModelSpec | None = None,
    threads: int | None = None,
    output: str | None = None,
    allow_fallback: bool = False,
) -> Iterator[Runner]:
    """A runner of an artefact file, refused without a passing verdict that is its own.

    spec: the model as which it is used; its contract must be that model's. Raises ParityFailed, exit code 3.
    """
    check_versions(read_graph(path), path)
    require_passing(path, spec)
    with onnxruntime_runner(path, device, threads=threads, output=output, allow_fallback=allow_fallback) as runner:
        yield runner


@contextlib.contextmanager
def _torch(asked: Asked) -> Iterator[Runner]:
    with torch_runner(feature_model(asked.spec), asked.device) as runner:
        yield runner


@contextlib.contextmanager
def _onnxruntime(asked: Asked) -> Iterator[Runner]:
    path = artefact(asked.spec, asked.cache, asked.sample, precision=asked.precision).path
    with open_artefact(
        path, asked.device, spec=asked.spec, threads=asked.threads, allow_fallback=asked.allow_fallback
    ) as runner:
        yield runner


@contextlib.contextmanager
def _onnxruntime_tensorrt(asked: Asked) -> Iterator[Runner]:
    library()
    found = artefact(asked.spec, asked.cache, asked.sample, precision=asked.precision, target="tensorrt")
    with onnxruntime_runner(
        found.path, asked.device, threads=asked.threads, provider="tensorrt", allow_fallback=asked.allow_fallback,
        settings=_provider_settings(asked.spec, found, asked.cache, asked.device),
    ) as runner:  # fmt: skip
        # Its engine takes no more images at a time than its profile says.
        yield functools.update_wrapper(functools.partial(within, (1, PLAN_BATCHES[2]), runner), runner)


@contextlib.contextmanager
def _tensorrt(asked: Asked) -> Iterator[Runner]:
    plan = checked_plan(asked.spec, asked.cache, asked.sample, precision=asked.precision, device=asked.device)
    with open_plan(plan, asked.device) as runner:
        yield runner


def _provider_settings(spec: ModelSpec, found: Artefact, cache: Path, device: str) -> dict[str, str]:
    """Of ONNX Runtime's TensorRT provider. Its cache does not notice another graph or version: the path must."""
    side, channels = spec.view.side, spec.view.channels
    shapes = {
        f"trt_profile_{name}_shapes": f"images:{batch}x{channels}x{side}x{side}"
        for name, batch in zip(("min", "opt", "max"), PLAN_BATCHES, strict=True)
    }
    key = digest([found.digest, library().__version__, *machine(device)])
    engines = cache / "provider" / key
    engines.mkdir(parents=True, exist_ok=True)  # ONNX Runtime makes the last folder of a path, not those above it
    return shapes | {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(engines),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache / "provider"),
    }


# A backend is one module of engine/runners/ and one row here.
BACKENDS: dict[str, Backend] = {
    "torch": Backend(_torch, None),
    "onnxruntime": Backend(_onnxruntime, "cpu"),
    "onnxruntime-tensorrt": Backend(_onnxruntime_tensorrt, "tensorrt"),
    "tensorrt": Backend(_tensorrt, "tensorrt"),
}


def check_backend(name: str) -> None:
    if name not in BACKENDS:
        raise BadInput(f"no backend named {name!r}{nearest(name, BACKENDS)}; one of {', '.join(BACKENDS)}")


def graph_target(backend: str) -> str | None:
    """What the graph of a backend is made for, cpu or tensorrt; None where it runs the torch module itself."""
    check_backend(backend)
    return BACKENDS[backend].target


def _passing(path: Path, spec: ModelSpec) -> dict[str, Any] | None:
    """The verdict of a file that may be used, or None where it must be made."""
    if not path.exists():
        return None
    try:
        return require_passing(path, spec)
    except FeatuneError:
        return None
