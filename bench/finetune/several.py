"""One fine-tuning in several processes, as torchrun starts them: the first one has the folder and tells, all compute.

Every process goes through the same steps on the same numbers, so none has to be told what to do. What it would write
and read again on the way (checkpoints, trials, logs) lies in a copy of the folder that is its own, and goes with it.
"""

import contextlib
import dataclasses
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import torch

from featune.engine.errors import BadInput
from featune.engine.finetune import any_of, place, summed, wait
from featune.engine.store import locked_if_free

from ..results import Row
from ..throughput import WHOLE, EnergyOfWork
from .folder import WORK, Folder


def check_device(device: str) -> None:
    """Raises BadInput where each process is to have a GPU of its own and one is named for all."""
    if place()[1] > 1 and ":" in device:
        raise BadInput(f"--device {device} with several processes found; give --device cuda, each takes its own GPU")


@contextlib.contextmanager
def first_alone() -> Iterator[None]:
    """The block in the first process, and then in the others, which find what it left."""
    first = place()[0] == 0
    if not first:
        wait()
    yield
    if first:
        wait()


@contextlib.contextmanager
def claimed(folder: Folder) -> Iterator[tuple[Folder, bool]]:
    """(the folder, claimed, False) in the first process; (a copy for the time of the block, True) in the others.

    Raises BadInput as `Folder.claim` does.
    """
    rank = place()[0]
    if rank == 0:
        folder.require_own()  # before a file of ours lies there
        # The lock's file stays: who removes it may take it from one who has just opened it, and two would have locks.
        with locked_if_free(folder.path / ".run") as alone:
            folder.claim(alone)
            wait()
            wait()  # until the others have their copies
            yield folder, False
        return
    wait()
    with tempfile.TemporaryDirectory(prefix="featune-") as own:
        copy = Path(own, "run")
        shutil.copytree(folder.path, copy)
        wait()
        yield dataclasses.replace(folder, path=copy), True


def energy_of_run(folder: Path, device: str) -> EnergyOfWork:
    """Of this process, and of those that had its place in the run before a kill. folder: that of the first process."""
    return EnergyOfWork(device, path=folder / WORK / f"energy{place()[0] or ''}.json")


def with_energy_of_all(row: Row) -> Row:
    """The row with the kWh of all processes; None where those of one are not known, or are all work of its machine."""
    if place()[1] == 1:
        return row
    unknown = row.kwh is None or row.kwh_said == WHOLE
    if any_of(unknown):
        said = row.kwh_said if row.kwh is None else "not told: one of the processes does not know its energy"
        return dataclasses.replace(row, kwh=None, kwh_said=said)
    kwh = float(summed(torch.tensor(row.kwh, dtype=torch.float64)))
    return dataclasses.replace(row, kwh=kwh, kwh_said=f"{row.kwh_said}; the sum over {place()[1]} processes")
