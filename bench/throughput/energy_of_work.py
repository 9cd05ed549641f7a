"""The energy of one piece of work, by the machine's own counters, over all processes that went on with it."""

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

import torch

from featune.engine.errors import BadInput
from featune.engine.store import read_json, write_json

from .hardware import EnergyMeter
from .load import busy_seconds

SECONDS = 10.0  # between readings; a processor's counter wraps after some minutes at full power
SHARED = "the processors, by this process's part of the processor time that was used"
WHOLE = "the processors, all work of the machine"
GPU = "the GPU, all work on it"
EARLIER = "its energy counters could not be read in an earlier process of this run"


def own_seconds() -> float:
    """Processor seconds of this process and of the children that it waited for."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class EnergyOfWork:
    """A context in whose body the work is done; `kwh` and `said` after it.

    kwh: None without counters, and why in `said`, which otherwise tells whose energy it is. The counters of
    processors count all work of the machine: of that the work has the part that it took of the processor time, idling
    shared alike, where the kernel tells that time. A GPU's count all work on it.

    path: where what was counted is kept, for the process that goes on with the work after a kill. kwh then is that of
    all these processes, less what a killed one did after its last reading.
    """

    def __init__(
        self,
        device: str,
        meter: EnergyMeter | None = None,
        own: Callable[[], float] = own_seconds,
        busy: Callable[[], float | None] = busy_seconds,
        path: Path | None = None,
    ):
        self.meter = meter or EnergyMeter(device)
        self.on_gpu = torch.device(device).type == "cuda"
        self.own, self.busy, self.path = own, busy, path
        self.kwh: float | None = None
        self.said = ""

    def __enter__(self) -> "EnergyOfWork":
        known = read_json(self.path) if self.path else None
        kept = known if isinstance(known, dict) else {}
        self._earlier, self._whole = float(kept.get("joules", 0.0)), bool(kept.get("whole", True))
        self._began = self.own(), self.busy()
        self._joules, self._since = 0.0, self.meter.running()
        self._keep()
        self._ended = threading.Event()
        self._reader = threading.Thread(target=self._watch, daemon=True)
        self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        self._reader.join()
        self._read()
        share, self.said = self._share()
        self._keep(share)
        if self._since is None or not self._whole:
            self.said = f"not told by this machine: {self.meter.absent or EARLIER}"
        else:
            self.kwh = (self._earlier + self._joules * share) / 3.6e6

    def _share(self) -> tuple[float, str]:
        """(the work's part of what was counted, whose energy that is)."""
        if self.on_gpu:
            return 1.0, GPU
        (own, before), after = self._began, self.busy()
        used = self.own() - own
        if before is None or after is None or after <= before:
            return 1.0, WHOLE
        return min(1.0, used / (after - before)), SHARED

    def _watch(self) -> None:
        while self._since is not None and not self._ended.wait(SECONDS):
            self._read()
            if self.path:
                self._keep(self._share()[0])

    def _read(self) -> None:
        spent = self._since() if self._since else None
        if spent is None:
            self._since = None
        else:
            self._joules += spent

    def _keep(self, share: float = 1.0) -> None:
        """Whole: all of the work so far is in the joules."""
        if self.path:
            joules = self._earlier + self._joules * share
            with contextlib.suppress(OSError, BadInput):  # a full disk costs the energy at most
                write_json(self.path, {"joules": joules, "whole": self._whole and self._since is not None})
