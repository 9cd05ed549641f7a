"""What a worker process does: open its configuration, warm it up, measure blocks, say what memory it took."""

import contextlib
import dataclasses
import functools
import gc
import itertools
import resource
import time
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any

import torch

from featune.engine.features import Options, extract
from featune.engine.images import Labelled, folder_items
from featune.engine.models import with_channels
from featune.engine.store import plain

from .. import (
    Configuration,
    EnergyMeter,
    EventWatch,
    HostWatch,
    LoadWatch,
    Rotation,
    WarmUp,
    Watch,
    call_of,
    check_places,
    megahertz,
    peak,
    synchronizer,
    timed_block,
    warm_up,
)
from .opening import Opened, Source, opened

PASS_SECONDS, PASS_LEAST = 0.5, 32  # of one pass over files that scope (c) times; images of it at least
CHECKED = 4  # of so many blocks one ends with a check of its inputs and rows, which costs calls; the last one too
STATUS = Path("/proc/self/status")


def serve(source: Source, configuration: Configuration, cache: Path) -> "Bench":
    """For ProcessWorker, with `functools.partial` over the source."""
    return Bench(source, configuration, cache)


class Bench:
    """One configuration in this process. Methods are requests; their values are in JSON's types."""

    def __init__(self, source: Source, configuration: Configuration, cache: Path):
        self.source, self.configuration, self.cache = source, configuration, cache
        self.stack = contextlib.ExitStack()
        self.found: Opened | None = None
        self.energy = EnergyMeter(configuration.setup.device)
        self.wait = synchronizer(configuration.setup.device)
        self.at_start = resident()
        self.blocks = 0

    def open(self, most: float) -> dict[str, Any]:
        """Opens, warms up and says what it found."""
        setup = self.configuration.setup
        torch.set_num_threads(setup.threads)
        in_files = self.configuration.scope == "c"
        # On a CPU the passes' workers are the parallelism, as in `featune extract`.
        threads = 1 if in_files and torch.device(setup.device).type == "cpu" else setup.threads
        self.found = self.stack.enter_context(opened(setup, self.source, self.cache, threads))
        warm = self.files(most) if in_files else self.batch(self.configuration.batch, most)
        return {
            "seconds": dict(self.found.seconds),
            "bytes": self.found.bytes,
            "gate": plain(self.found.gate) if self.found.gate else None,
            "side": self.found.spec.view.side,
            "architecture": self.found.spec.architecture,
            "ran": dict(getattr(self.found.runner, "ran", {})),
            "no_energy": self.energy.absent,
            "warm": warm,
        }

    def batch(self, batch: int, most: float) -> dict[str, Any]:
        """Takes a batch size, and warms up with it."""
        assert self.found is not None
        scope, device = self.configuration.scope, self.configuration.setup.device
        self.rotation = Rotation(
            self.found.images, batch, device if scope == "a" else "cpu", pinned=scope == "b" and device != "cpu"
        )
        self.call = call_of(scope, self.found.runner, device)
        self.inputs: Iterable[Any] = self.rotation
        self.images = batch
        first = self.rotation.batches[0]
        check_places(scope, first, self.call(first), device)
        return self.warmed(warm_up(self.call, self.inputs, most=most, synchronize=self.wait))

    def warmed(self, found: WarmUp) -> dict[str, Any]:
        """A collection before each block then passes over what was made meanwhile, not over all that the libraries
        hold: that took 0.18 s, more than a block."""
        gc.collect()
        gc.freeze()
        return plain(found)

    def files(self, most: float) -> dict[str, Any]:
        """Takes passes over files, through the path that extraction takes."""
        assert self.found is not None
        assert self.source.data is not None
        items = folder_items(self.source.data)
        setup, spec = self.configuration.setup, with_channels(self.found.spec, items.channels)
        options = Options(batch=self.configuration.batch, workers=setup.threads, device=setup.device)
        self.free: list[float] = []

        def one_pass(part: Labelled) -> Any:
            found = extract(self.found.runner, part, spec.view, options=options)  # type: ignore[union-attr]
            verdict = found.verdict
            sharing = verdict.setting.workers if verdict.device == "cpu" else 1
            self.free.append(verdict.seconds.compute / sharing / len(part))
            return found.rows

        size = min(len(items), PASS_LEAST)
        began = time.perf_counter()
        one_pass(_part(items, 0, size))
        rate = size / (time.perf_counter() - began)
        self.images = min(len(items), max(size, int(rate * PASS_SECONDS)))
        starts = range(0, max(1, len(items) - self.images + 1), max(1, (len(items) - self.images) // 4 or 1))
        self.call = one_pass
        self.inputs = [_part(items, start, self.images) for start in starts]
        return self.warmed(warm_up(self.call, itertools.cycle(self.inputs), most=most, window=1, synchronize=self.wait))

    def block(self, seconds: float, calls: int) -> dict[str, Any]:
        """One turn: the fields of a Block."""
        on_cpu = torch.device(self.configuration.setup.device).type == "cpu"
        in_files = self.configuration.scope == "c"
        watch: Watch = HostWatch(self.wait)
        if not on_cpu and self.configuration.scope == "a":
            watch = EventWatch()
        self.free = []
        timed = []

        def work() -> None:
            timed.append(
                timed_block(
                    self.call, itertools.cycle(self.inputs), seconds=seconds, least=2 if in_files else calls,
                    watch=watch, synchronize=self.wait,
                )
            )  # fmt: skip

        gc.collect()
        gc.disable()
        try:
            with LoadWatch() as load:
                joules = self.energy.joules(work)
        finally:
            gc.enable()
        if not in_files and self.blocks % CHECKED == 0:
            self.rotation.check(self.call)
        self.blocks += 1
        samples = timed[0].samples
        if joules is not None:  # of the call before the clock too
            joules *= len(samples) / (len(samples) + 1)
        return {
            "samples": samples,
            "images": self.images,
            "wall": timed[0].wall,
            "others": round(load.others, 3),
            "loaded": load.loaded(on_cpu and not in_files),
            "megahertz": megahertz(),
            "joules": joules,
            "free": sorted(self.free)[len(self.free) // 2] if in_files else None,
        }

    def memory(self) -> dict[str, Any]:
        """Bytes: the most that this process ever held, what it held before it opened the model, and of the device.

        Asked after the last block, so the inputs are checked once more. Raises BadInput as `Rotation.check`.
        """
        if self.configuration.scope != "c":
            self.rotation.check(self.call)
        found: dict[str, Any] = {"peak_resident": resident("VmHWM"), "resident_at_start": self.at_start}
        device = self.configuration.setup.device
        if torch.device(device).type == "cuda":
            free, total = torch.cuda.mem_get_info(device)
            found |= {"device_by_torch": torch.cuda.max_memory_allocated(device), "device_by_all": total - free}
        return found

    def peak(self) -> dict[str, Any]:
        """Of this machine, with the configuration's threads; opens nothing."""
        setup = self.configuration.setup
        return peak(setup.threads, setup.device)

    def close(self) -> None:
        gc.unfreeze()
        self.stack.close()


def resident(field: str = "VmRSS", status: Path = STATUS) -> int:
    """Bytes that this process holds, or held at most (VmHWM); by getrusage where the kernel has no such file."""
    try:
        line = next(line for line in status.read_text().splitlines() if line.startswith(field))
        return int(line.split()[1]) * 1024
    except (OSError, StopIteration, ValueError, IndexError):
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024


def _part(items: Labelled, start: int, count: int) -> Labelled:
    stop = start + count
    return dataclasses.replace(items, paths=items.paths[start:stop], labels=items.labels[start:stop])


def make_of(source: Source) -> Callable[[Configuration, Path], Bench]:
    return functools.partial(serve, source)
