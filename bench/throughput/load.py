"""Whether other work took the machine's time while a speed was measured."""

import dataclasses
import os
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType

QUIET = 0.1  # of all processors, or a quarter of one, that others may take
WAITED = 0.85  # of the wall time that a process on a CPU computes for, when it waits for no processor


@dataclasses.dataclass
class LoadWatch:
    """A context that watches the machine while its body runs.

    others: processors that other processes kept busy, in the mean, by the kernel's counts of all processors; by the
    load average of the last minute, less one, where the kernel counts none. own: processor seconds of this process per
    second of wall time.
    """

    processors: int = dataclasses.field(default_factory=lambda: os.cpu_count() or 1)
    busy: Callable[[], float | None] = lambda: busy_seconds()
    own_seconds: Callable[[], float] = time.process_time
    clock: Callable[[], float] = time.perf_counter
    others: float = 0.0
    own: float = 1.0

    def __enter__(self) -> "LoadWatch":
        self._began = (self.clock(), self.own_seconds(), self.busy())
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        (start, own, before), after = self._began, self.busy()
        seconds = max(1e-9, self.clock() - start)
        used = self.own_seconds() - own
        self.own = used / seconds
        if before is not None and after is not None and after > before:
            self.others = max(0.0, (after - before - used) / seconds)
        else:
            self.others = max(0.0, load_average() - 1)

    def loaded(self, on_cpu: bool) -> bool:
        """Whether a speed that was measured meanwhile is to be believed no more than as a lower bound.

        on_cpu: the work was this process's own, so that a share of the time without computing was waiting.
        """
        return self.others > max(0.25, QUIET * self.processors) or (on_cpu and self.own < WAITED)


def busy_seconds(path: Path = Path("/proc/stat")) -> float | None:
    """Seconds that all processors together were busy since the start, time that a hypervisor took among them; None
    where the kernel does not tell (other systems, sandboxes)."""
    try:
        counts = [float(word) for word in path.read_text().split("\n", 1)[0].split()[1:9]]
    except (OSError, ValueError):
        return None
    if len(counts) < 8 or not any(counts):
        return None
    idle, waiting = counts[3], counts[4]
    return (sum(counts) - idle - waiting) / os.sysconf("SC_CLK_TCK")


def load_average() -> float:
    try:
        return os.getloadavg()[0]
    except (OSError, AttributeError):
        return 0.0
