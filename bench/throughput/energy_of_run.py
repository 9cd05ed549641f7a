"""The energy of a run, of all its processes, by the machine's own counters."""

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch

from featune.engine.store import read_json, write_json

from .hardware import EnergyMeter

SECONDS = 10.0  # between readings; a processor's counter wraps after some minutes at full power


class EnergyOfRun:
    """path: where the joules are kept, for the process that goes on after a kill."""

    def __init__(
        self, path: Path, device: str, meter: EnergyMeter | None = None, clock: Callable[[], float] = time.monotonic
    ):  # fmt: skip
        self.meter = meter or EnergyMeter(device)
        self.path, self.clock, self.due = path, clock, clock() + SECONDS
        self.of = "the GPU alone" if torch.device(device).type == "cuda" else "the processors, all work of the machine"
        self.since = self.meter.running()
        known = read_json(path)
        self.joules = float(known["joules"]) if isinstance(known, dict) and "joules" in known else 0.0

    def note(self) -> None:
        """To be called often; it reads the counters when that is due."""
        if self.since is not None and self.clock() >= self.due:
            self._read()
            self.due = self.clock() + SECONDS

    def account(self) -> dict[str, Any]:
        """kwh: None without counters, and why in `kwh_said`."""
        if self.since is None:
            return {"kwh": None, "kwh_said": f"not measured: {self.meter.absent}"}
        self._read()
        return {"kwh": self.joules / 3.6e6, "kwh_said": f"of {self.of}"}

    def _read(self) -> None:
        assert self.since is not None
        self.joules += self.since()
        write_json(self.path, {"joules": self.joules})
