"""Opens one model on one backend, and tells what that took: seconds, bytes, verdict."""

import contextlib
import dataclasses
import functools
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.models import ModelSpec
from featune.engine.runners import Runner
from featune.engine.tensorrt import LIBRARIES
from featune.export.backends import Asked, backend_named, checked_plan, open_runner, read_plan
from featune.export.commands import spec_of_model
from featune.export.contract import contract_of
from featune.export.gate import folder_sample, own_sample, require_passing

from .. import Setup

SAMPLE = 64  # images that take turns, and on which an artefact is judged
CALIBRATION = 160  # for int8, which is calibrated on some and judged on the others


@dataclasses.dataclass(frozen=True)
class Source:
    """Whose images and weights. data: a folder, or None for the project's sample set."""

    data: Path | None = None
    untrained: bool = False
    checkpoint: Path | None = None
    allow_fallback: bool = False


@dataclasses.dataclass(frozen=True)
class Opened:
    """An open runner. seconds: load (weights), export (making the artefact and judging it), open (session or engine;
    for torch-compile the compilation and its judgement), first_call. bytes: of the artefact's files, None without one.
    gate: its verdict in short, `passed` and how; None where there is none.
    """

    runner: Runner
    spec: ModelSpec
    images: Tensor
    seconds: Mapping[str, float]
    bytes: int | None
    gate: Mapping[str, Any] | None


@contextlib.contextmanager
def opened(
    setup: Setup,
    source: Source,
    cache: Path,
    threads: int | None = None,
    clock: Callable[[], float] = time.perf_counter,
) -> Iterator[Opened]:
    """The setup's runner, its artefact made in `cache` where it is absent. threads: of one call, the setup's unless
    given. Raises as `open_runner`."""
    import timm  # noqa: F401  # both torch and exports need it; its seconds would be the model's

    check_precision_of(setup)
    seconds: dict[str, float] = {}
    began = clock()
    spec = spec_of_model(setup.model, source.checkpoint, source.untrained)
    seconds["load"] = clock() - began

    @functools.cache
    def images() -> Tensor:
        count = CALIBRATION if setup.precision in ("int8", "auto") else SAMPLE
        return (folder_sample(source.data, spec.view, count) if source.data else own_sample(spec.view, count)).images

    images()
    began = clock()
    size, gate = _artefact(setup, spec, cache, images)
    seconds["export"] = clock() - began
    began = clock()
    with open_runner(
        spec, setup.backend, device=setup.device, cache=cache, sample=images, threads=threads or setup.threads,
        precision=setup.precision, allow_fallback=source.allow_fallback,
    ) as runner:  # fmt: skip
        seconds["open"] = clock() - began
        if verdict := getattr(runner, "judged_here", None):
            judged = {"passed": True, "parity": verdict["parity"], "told": verdict["told"], "stand_in": ""}
            gate = {**(gate or {}), **judged}
        began = clock()
        runner(images()[:1].to(setup.device)).cpu()
        seconds["first_call"] = clock() - began
        yield Opened(runner, spec, images()[:SAMPLE], seconds, size, gate)


def check_precision_of(setup: Setup) -> None:
    """Raises BadInput for a precision that the backend does not compute on the device."""
    backend_named(setup.backend).check(setup.backend, setup.device, setup.precision)


def _artefact(
    setup: Setup, spec: ModelSpec, cache: Path, images: Callable[[], Tensor]
) -> tuple[int | None, Mapping[str, Any] | None]:
    """(bytes, gate) of the file that the backend runs, made and judged where it is absent."""
    if (setup.backend, setup.precision) == ("torch", "fp32"):
        return None, {"passed": True, "reference": True}
    if setup.backend in LIBRARIES:
        plan = checked_plan(spec, cache, images, precision=setup.precision, device=setup.device, by=setup.backend)
        header, _ = read_plan(plan)
        return plan.stat().st_size, _gate(header.verdict, header.precision)
    asked = Asked(spec, setup.device, cache, images, precision=setup.precision)
    path = backend_named(setup.backend).ready(asked).path
    if path is None:
        return None, None
    beside = path.with_name(path.name + ".data")
    size = path.stat().st_size + (beside.stat().st_size if beside.exists() else 0)
    return size, _gate(require_passing(path, spec), str(contract_of(path)["precision"]))


def _gate(verdict: Mapping[str, Any], precision: str) -> dict[str, Any]:
    return {
        "passed": bool(verdict["passed"]),
        "precision": precision,
        "parity": verdict["parity"],
        "stand_in": verdict.get("stand_in", ""),
        "source": verdict.get("source", ""),
    }
