"""Where the cells of `featune study run` are measured: processes of this machine, or a Ray cluster."""

import contextlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

if TYPE_CHECKING:
    from ...study import Executor, Study

Kind = Annotated[str, typer.Option("--executor", help="local, or ray: the cells are tasks of a Ray cluster.")]
Address = Annotated[
    str | None, typer.Option("--address", help="Of Ray: auto, or ray://HOST:PORT. (default: a cluster of this machine)")
]
Gpus = Annotated[float, typer.Option("--gpus-per-cell", min=0.01, help="Of Ray, where the device is cuda.")]


def check_executor(kind: str, address: str | None, device: str | None, gpus: float = 1) -> None:
    """Raises BadInput for what does not go together, before any work; Missing without Ray."""
    from featune.engine.errors import BadInput, nearest

    if kind not in ("local", "ray"):
        raise BadInput(f"--executor {kind!r:.40} found{nearest(kind, ('local', 'ray'))}; local or ray expected")
    if kind == "local" and address:
        raise BadInput("--address is of --executor ray; leave it out, or add --executor ray")
    if kind == "ray":
        from ...study.cluster import ray_library

        if device and ":" in device:
            raise BadInput(f"--device {device} found; Ray chooses the GPU, so give --device cuda")
        if gpus > 1 and gpus != int(gpus):
            raise BadInput(f"--gpus-per-cell {gpus:g} found; above 1 Ray gives whole GPUs: a whole number expected")
        ray_library()


@contextlib.contextmanager
def opened_executor(
    kind: str, address: str | None, gpus: float, jobs: int | None, study: "Study", local: "Callable[[], Executor]"
) -> "Iterator[Executor]":
    """The executor that was asked for, for the time of the block."""
    if kind == "local":
        yield local()
        return
    from featune.engine.runners import device_kind

    from ...study import default_jobs
    from ...study.cluster import Needs, ray_tasks

    needs = Needs(cpus=1, gpus=gpus if device_kind(study.device) == "cuda" else 0)
    with ray_tasks(Path(study.out), address, needs, jobs=jobs or default_jobs()) as execute:
        yield execute
