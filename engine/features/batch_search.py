"""How many images a runner sees at a time, and how many workers there are, found on a pass's first images."""

import dataclasses
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import torch

from ..images import Labelled
from ..machine import processors
from ..store import digest, read_json, write_json
from .passes import Chunk, Setting, Stream, chunks, loaded_together
from .squares import Squares

# Beside the usual one, which another must beat. ONNX Runtime keeps the memory of the largest batch that it has seen,
# and beyond 8 images none of three models got faster on one thread: larger ones would cost memory for nothing. With
# all processors at work small ones are faster still where what lies between two layers then stays in their own cache.
CPU_BATCHES = (4, 2, 1)
GPU_BATCHES = (256, 512, 64)
GAIN = 1.02  # less is noise
ROUNDS, CHUNKS = 6, 1  # batches and chunks that each worker makes in a trial, at least
LEAD = 2  # batches of each worker that a GPU's pass decodes ahead
SHARE = 0.25  # of the images may be spent on trials, or there is no search


class Search:
    """A pass that tries a few settings on its first images and takes the fastest for the others.

    The trials' rows are the pass's own, so the search costs what the slower settings cost, no more. `setting` is the
    one in use. The choice is remembered in a file, for the next pass of these models on this machine.
    """

    def __init__(self, usual: Setting, remembered: Path | None):
        self.setting, self.remembered = usual, remembered
        self._fastest = 0.0

    def chunks(
        self, items: Labelled, streams: Sequence[Stream], squares: Squares, device: str = "cpu"
    ) -> Iterator[Chunk]:
        """As `passes.chunks`."""
        first = min(stream.start for stream in streams)
        for setting in self._trials(first, len(items), device):
            stop = first + _images(setting, len(items), device)
            trial = _Trial(setting, device)
            for chunk in chunks(items, streams, setting, squares, device, first, stop):
                trial.count(chunk)
                yield chunk
            self._judge(setting, trial.rate())
            first = stop
        yield from chunks(items, streams, self.setting, squares, device, first)

    def _trials(self, first: int, count: int, device: str) -> Iterator[Setting]:
        """The settings to try: none where one is remembered, or where they would take too many of the images."""
        if self.remembered is None:
            return
        known = read_json(self.remembered)
        if known is not None:
            self.setting = Setting(known["batch"], known["workers"])
            return
        usual = self.setting
        batches = CPU_BATCHES if torch.device(device).type == "cpu" else GPU_BATCHES
        found = [usual, *(Setting(batch, usual.workers) for batch in batches)]
        if usual.workers >= 4:  # two threads of one core may be no faster than one
            found.append(Setting(usual.batch, usual.workers // 2))
        if sum(_images(each, count, device) for each in found) > SHARE * (count - first):
            return
        yield from found
        write_json(self.remembered, dataclasses.asdict(self.setting) | {"images_per_second": round(self._fastest, 1)})

    def _judge(self, setting: Setting, rate: float) -> None:
        if rate > self._fastest * GAIN:
            self.setting, self._fastest = setting, rate


class _Trial:
    """Images per second of a setting. clock: seconds.

    On a CPU by the workers' own time, which other processes and the reader of the chunks do not lengthen. On a GPU the
    workers only decode, so by the time between two chunks; the first ones were decoded ahead and come in a burst.
    """

    def __init__(self, setting: Setting, device: str, clock: Callable[[], float] = time.perf_counter):
        self.setting, self.on_cpu, self.clock = setting, torch.device(device).type == "cpu", clock
        self.spent, self.seen, self.skipped, self.began = 0.0, 0, 0, 0.0

    def count(self, chunk: Chunk) -> None:
        if self.on_cpu:
            self.spent += sum(dataclasses.asdict(chunk.seconds).values())
        elif self.skipped < LEAD * self.setting.workers:  # decoded while the first one was waited for
            self.skipped += 1
            self.began = self.clock()
            return
        else:
            self.spent = self.clock() - self.began
        self.seen += chunk.stop - chunk.start

    def rate(self) -> float:
        return (self.setting.workers if self.on_cpu else 1) * self.seen / self.spent if self.spent else 0.0


def _images(setting: Setting, count: int, device: str) -> int:
    """Of a trial: on a CPU whole chunks for each worker, on a GPU those that come in a burst and as many again."""
    chunk = loaded_together(setting, count, device)
    if torch.device(device).type != "cpu":
        return chunk * (LEAD * setting.workers + max(ROUNDS, setting.workers))
    return setting.workers * chunk * max(CHUNKS, ROUNDS * setting.batch // chunk)


def setting_file(folder: Path, models: Sequence[str], device: str) -> Path:
    """Where the choice for these models on this machine is remembered."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
    return folder / f"{digest([sorted(models), name, processors()])}.json"
