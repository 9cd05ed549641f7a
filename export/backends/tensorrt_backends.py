"""TensorRT and TensorRT for RTX as backends: a plan of this GPU, built and judged on it where absent."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path

from torch import Tensor

from featune.engine.errors import Missing
from featune.engine.models import ModelSpec, View
from featune.engine.runners import Runner, require_device
from featune.engine.store import digest, locked, read_json, write_json
from featune.engine.tensorrt import BuildSettings, library

from ..contract import contract_of
from ..gate import Sample, held_out, own_sample
from ..precision import AUTO, LADDER, relative_speed
from .artefacts import artefact
from .contract import Asked, Backend, Ready
from .judged_here import place_of
from .tensorrt_gate import gate_of_plan, plan_down
from .tensorrt_plan import TURING, machine, open_plan, plan_from_graph, read_plan

RTX_CAPABILITIES = (TURING, "8.6", "8.9")
PLAN_BATCHES = (1, 128, 256)  # least, usual (what extraction sends to a GPU), most


def checked_plan(
    spec: ModelSpec,
    cache: Path,
    sample: Callable[[], Tensor],
    *,
    precision: str = "fp32",
    device: str = "cuda",
    by: str = "tensorrt",
) -> Path:
    """The spec's plan for this GPU, made and judged where absent; `sample` as of `artefact`, by: of `LIBRARIES`."""
    library(by)
    made: dict[str, Path] = {}

    def graph(asked: str) -> str:
        path = artefact(spec, cache, sample, precision=asked, target="tensorrt").path
        came_to = str(contract_of(path)["precision"])
        made[came_to] = path
        return came_to

    def plan(came_to: str) -> Path:
        gate = gate_of_plan(spec, lambda: held_out(Sample(sample(), "the user's images"), came_to), device)
        settings = BuildSettings(batches=PLAN_BATCHES)
        return plan_from_graph(made[came_to], cache / "plans", settings, gate, device=device, by=by)

    return plan_down(precision, graph, plan, lambda first, second: faster_plan(first, second, cache / "plans", device))


def faster_plan(first: Path, second: Path, folder: Path, device: str) -> Path:
    """Which of two plans takes less time for its usual batch on this GPU. Measured once, so that later runs agree.

    folder: where the answer is kept.
    """
    record = folder / f"faster-{digest([first.stem, second.stem, place_of(device)])}.json"
    with locked(record):
        known = read_json(record)
        if known is None:
            with open_plan(first, device) as one, open_plan(second, device) as other:
                header, _ = read_plan(first)
                view, usual = View(**header.contract["spec"]["view"]), header.key.settings.batches[1]
                images = own_sample(view, usual).images.to(device)
                speed = relative_speed(lambda: one(images).cpu(), lambda: other(images).cpu(), rounds=20)
            known = {"first": first.stem, "second": second.stem, "speed_of_first": speed}
            write_json(record, known)
        return first if known["speed_of_first"] >= 1 else second


def tensorrt_backend(by: str, says: str) -> Backend:
    """The row of one of NVIDIA's builders. by: its name in `LIBRARIES`."""

    def ready(asked: Asked) -> Ready:
        if asked.precision == AUTO:
            # The plan may come to a safer precision than its graph: the features are named by what is run.
            header, _ = read_plan(_plan(asked, by))
            return Ready(header.key.graph, header.precision)
        library(by)
        found = artefact(asked.spec, asked.cache, asked.sample, precision=asked.precision, target="tensorrt")
        return Ready(found.digest, asked.precision, found.path)

    @contextlib.contextmanager
    def opened(asked: Asked, ready: Ready) -> Iterator[Runner]:
        with open_plan(_plan(asked, by), asked.device) as runner:
            yield runner

    def require(device: str) -> None:
        require_device(device)
        library(by)
        if by == "tensorrt-rtx":
            _require_rtx(device)

    # A plan is judged on its GPU when it is built.
    return Backend(
        says, {"cuda": LADDER["tensorrt"]}, ready, opened, require, lambda asked, ready: True,
        auto=True,
    )  # fmt: skip


def _plan(asked: Asked, by: str) -> Path:
    return checked_plan(asked.spec, asked.cache, asked.sample, precision=asked.precision, device=asked.device, by=by)


def _require_rtx(device: str) -> None:
    """Source: TensorRT for RTX 1.x, support matrix."""
    _, capability = machine(device)
    if capability not in RTX_CAPABILITIES and not capability.startswith("12."):
        raise Missing(
            f"TensorRT for RTX runs on compute capability {', '.join(RTX_CAPABILITIES)} and 12.x, this GPU has "
            f"{capability}; use --backend tensorrt"
        )
