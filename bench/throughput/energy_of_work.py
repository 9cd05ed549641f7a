"""The energy of one piece of work of this process, by the machine's own counters."""

import os
import threading
import time
from collections.abc import Callable
from types import TracebackType

import torch

from .hardware import EnergyMeter
from .load import busy_seconds

SECONDS = 30.0  # between readings; a processor's counter wraps after some minutes at full power
SHARED = "the processors, by this process's part of the processor time that was used"
WHOLE = "the processors, all work of the machine"
GPU = "the GPU, all work on it"


def own_seconds() -> float:
    """Processor seconds of this process and of the children that it waited for."""
    children = os.times()
    return time.process_time() + children.children_user + children.children_system


class EnergyOfWork:
    """A context in whose body the work is done; `kwh` and `said` after it.

    kwh: None without counters, and why in `said`, which otherwise tells whose energy it is. The counters of
    processors count all work of the machine: of that the work has the part that it took of the processor time, idling
    shared alike, where the kernel tells that time.
    """

    def __init__(
        self,
        device: str,
        meter: EnergyMeter | None = None,
        own: Callable[[], float] = own_seconds,
        busy: Callable[[], float | None] = busy_seconds,
    ):
        self.meter = meter or EnergyMeter(device)
        self.on_gpu = torch.device(device).type == "cuda"
        self.own, self.busy = own, busy
        self.kwh: float | None = None
        self.said = f"not told by this machine: {self.meter.absent}"

    def __enter__(self) -> "EnergyOfWork":
        self._since, self._joules, self._lost = self.meter.running(), 0.0, False
        self._ended = threading.Event()
        self._began = self.own(), self.busy()
        self._reader: threading.Thread | None = None
        if self._since is not None:
            self._reader = threading.Thread(target=self._watch, daemon=True)
            self._reader.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._reader is None:
            return
        self._ended.set()
        self._reader.join()
        if not self._read():
            self.said = "not told by this machine: its energy counters could not be read to the end"
            return
        share, self.said = self._share()
        self.kwh = self._joules * share / 3.6e6

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
        while not self._ended.wait(SECONDS):
            if not self._read():
                return

    def _read(self) -> bool:
        """False where the counters cannot be read any more."""
        assert self._since is not None
        if not self._lost:
            try:
                self._joules += self._since()
            except (OSError, ValueError):
                self._lost = True
        return not self._lost
