"""Work as tasks of a Ray cluster: Ray places them and says who died; rows go to the run store, which all nodes share.

Ray Core alone, since Ray Data gives no order by default. Nothing is kept here that a restart would miss: a row is a
file as soon as it is measured, by whoever measured it.
"""

import collections
import contextlib
import dataclasses
import functools
import math
import os
import platform
import sys
import time
import uuid
from collections.abc import Callable, Iterable, Iterator
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any, TypeVar

from featune.engine.errors import BadInput, Missing, first_line
from featune.engine.store import written_whole

from .. import Executor, Killed, limit_threads

Item = TypeVar("Item")
Result = TypeVar("Result")
TRIES = 4
LOOKED = 2.0  # seconds between two looks at what the cluster has
# That numbers depend on: nodes with other versions than the driver would measure another study.
COMPARED = ("featune", "torch", "timm", "onnxruntime-gpu", "numpy", "scikit-learn")
PASSED = ("FEATUNE_CACHE_DIR", "HF_HOME", "HF_HUB_OFFLINE", "TORCH_HOME")


@dataclasses.dataclass(frozen=True)
class Needs:
    """What one task takes of a node, as Ray counts it. gpus: may be a part of one."""

    cpus: float = 1
    gpus: float = 0


@dataclasses.dataclass(frozen=True)
class Place:
    """What a node must share with the driver. mark: a file of the output folder. versions: of COMPARED.

    folder: the driver's own, from which relative paths of a study are seen; a worker starts in another one.
    """

    mark: str
    folder: str
    versions: tuple[tuple[str, str], ...]
    environment: tuple[tuple[str, str], ...]
    threads: int


def ray_library() -> Any:
    """Raises Missing where Ray cannot be imported."""
    try:
        import ray
    except ImportError as error:
        raise Missing(f"ray cannot be imported ({first_line(error)}); pip install 'featune[ray]'") from error
    return ray


@contextlib.contextmanager
def ray_tasks(
    out: Path, address: str | None = None, needs: Needs | None = None, *, threads: int = 1, tries: int = TRIES,
    jobs: int | None = None, ray: Any = None,
) -> Iterator[Executor]:  # fmt: skip
    """An executor on a Ray cluster, for the time of the block.

    out: a folder that all nodes share, where the work writes its results. address: `auto` for the cluster of this
    machine, ray://HOST:PORT, or None for one of this machine's own, of `jobs` processors. tries: how often an item is
    begun whose worker or node dies; it then counts as killed. Raises Missing without Ray or a cluster at the address,
    BadInput where no node has what one task needs: Ray would wait for such a node without end.
    """
    ray = ray or ray_library()
    needs = needs or Needs()
    connected = not ray.is_initialized()
    if connected:
        _connect(ray, address, jobs)
    mark = out / f".{uuid.uuid4().hex[:12]}.ray"
    try:
        _require_room(ray, needs)
        with written_whole(mark) as temporary:
            temporary.write_text(platform.node(), encoding="utf-8")
        here = Place(str(mark.absolute()), os.getcwd(), _versions(), _passed(), threads)
        with contextlib.redirect_stdout(sys.stderr):  # where Ray tells of deaths; results alone are for stdout
            yield _executor(ray, here, needs, tries)
    finally:
        mark.unlink(missing_ok=True)
        if connected:
            with contextlib.redirect_stdout(sys.stderr):  # it also tells then what it has not told yet
                ray.shutdown()


def _connect(ray: Any, address: str | None, jobs: int | None) -> None:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    options: dict[str, Any] = {"log_to_driver": False}
    if address:
        options["address"] = address
    else:
        options |= {"num_cpus": jobs, "include_dashboard": False}
    try:
        ray.init(**options)
    except Exception as error:  # what Ray raises where there is no cluster has no class of its own
        where = address or "this machine"
        raise Missing(f"no Ray cluster at {where} ({first_line(error)}); `ray start --head` starts one") from error


def _require_room(ray: Any, needs: Needs) -> None:
    nodes = [node["Resources"] for node in ray.nodes() if node["Alive"]]
    if not any(node.get("CPU", 0) >= needs.cpus and node.get("GPU", 0) >= needs.gpus for node in nodes):
        found = "; ".join(sorted({f"{node.get('CPU', 0):g} CPUs, {node.get('GPU', 0):g} GPUs" for node in nodes}))
        raise BadInput(
            f"no node of the Ray cluster has {needs.cpus:g} CPUs and {needs.gpus:g} GPUs, which a cell needs (found: "
            f"{found or 'no node'}); start a node that has them, or change --device or --gpus-per-cell"
        )


def _executor(ray: Any, here: Place, needs: Needs, tries: int) -> Executor:
    task = ray.remote(num_cpus=needs.cpus, num_gpus=needs.gpus, max_retries=0)(worked)

    asked, known = -math.inf, 1

    def at_once() -> int:
        """Tasks that the cluster has room for; nodes come and go, and asking takes milliseconds."""
        nonlocal asked, known
        if time.monotonic() - asked >= LOOKED:
            room = ray.cluster_resources()
            parts = [(room.get("CPU", 0.0), needs.cpus), (room.get("GPU", 0.0), needs.gpus)]
            known, asked = max(1, min(int(has / each + 1e-9) for has, each in parts if each)), time.monotonic()
        return known

    def execute(function: Callable[[Item], Result], items: Iterable[Item], /) -> Iterator[tuple[Item, Result | Killed]]:
        waiting = collections.deque((item, 1) for item in items)
        if not waiting:
            return
        given = ray.put(function)  # once: a study has its models and tasks in it
        running: dict[Any, tuple[Item, int]] = {}
        try:
            while waiting or running:
                while waiting and len(running) < 2 * at_once():  # the next ones are at hand when one ends
                    item, number = waiting.popleft()
                    running[task.remote(given, item, here)] = (item, number)
                for done in ray.wait(list(running), num_returns=1)[0]:
                    item, number = running.pop(done)
                    try:
                        yield item, ray.get(done)
                    except ray.exceptions.RayTaskError as error:
                        raise error.cause if isinstance(getattr(error, "cause", None), Exception) else error from None
                    except ray.exceptions.RayError as error:  # not of the work: its worker, memory or node is gone
                        if number < tries:
                            waiting.append((item, number + 1))
                        else:
                            yield item, Killed(_lost(error, tries))
        except (KeyboardInterrupt, GeneratorExit):
            for each in running:
                ray.cancel(each)  # an interrupt, at which the work saves what it has
            raise

    execute.jobs = at_once()  # type: ignore[attr-defined]
    return execute


def _lost(error: Exception, tries: int) -> str:
    return (
        f"its worker or node died {tries} times, at the last {type(error).__name__}: {first_line(error)}; give it "
        "more memory, or take a smaller model, batch or view"
    )


def worked(function: Callable[[Item], Result], item: Item, here: Place) -> Result:
    """What a node does: it must see the driver's folder and have the driver's versions."""
    _ready(here)
    return function(item)


@functools.cache
def _ready(here: Place) -> None:
    """Once a process. Raises BadInput on a node where results would be lost or be others."""
    node = platform.node()
    if not Path(here.mark).exists():
        folder = Path(here.mark).parent
        raise BadInput(f"node {node} does not see {folder}; put --out on a disk that all nodes share, by the same path")
    try:
        os.chdir(here.folder)
    except OSError as error:
        raise BadInput(
            f"node {node} has no folder {here.folder} ({error.strerror}), where the command was started; start it in "
            "one that all nodes share"
        ) from error
    for (name, wanted), (_, found) in zip(here.versions, _versions(), strict=True):
        if wanted != found:
            raise BadInput(f"node {node} has {name} {found}, {wanted} expected; install the same versions on all nodes")
    os.environ.update(here.environment)
    limit_threads(here.threads)


def _versions() -> tuple[tuple[str, str], ...]:
    found = []
    for name in COMPARED:
        try:
            found.append((name, version(name)))
        except PackageNotFoundError:
            found.append((name, "not installed"))
    return tuple(found)


def _passed() -> tuple[tuple[str, str], ...]:
    return tuple((name, os.environ[name]) for name in PASSED if os.environ.get(name))
