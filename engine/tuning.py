"""A short measured search for how many images a runner shall see at a time, and how many workers there shall be."""

import dataclasses
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from engine.images import Labelled, processors
from engine.passes import Setting, Squares, Stream, chunks
from engine.store import digest, read_json, write_json

# The usual one first: another must beat it. ONNX Runtime keeps the memory of the largest batch that it has seen, and
# beyond 8 images no model gets faster on one thread: larger ones would cost memory for nothing.
CPU_BATCHES = (8, 4)
GPU_BATCHES = (128, 256, 512, 64)
GAIN = 1.03  # less is noise
TRIAL = 3  # batches for each worker
LEAST = 20_000  # images; the trials see some 500, and below this they would cost more than they find


def tuned(
    items: Labelled, streams: Sequence[Stream], squares: Squares, device: str, remembered: Path, usual: Setting
) -> Setting:
    """The fastest of a few settings on the first images, remembered in the file for this machine's next pass.

    The trials' rows are thrown away, so that which setting won leaves no trace in the file but rounding. Where
    there are few images, or every one of the first is bad, it is the usual setting.
    """
    if len(items) < LEAST:
        return usual
    known = read_json(remembered)
    if known is not None:
        return Setting(known["batch"], known["workers"])
    best, fastest = usual, 0.0
    for setting in _candidates(device, usual):
        rate = _rate(items, streams, squares, device, setting)
        if rate > fastest * GAIN:
            best, fastest = setting, rate
    write_json(remembered, dataclasses.asdict(best) | {"images_per_second": round(fastest, 1)})
    return best


def setting_file(folder: Path, models: Sequence[str], device: str) -> Path:
    """Where the choice for these models on this machine is remembered."""
    name = torch.cuda.get_device_name(device) if torch.device(device).type == "cuda" else "cpu"
    return folder / f"{digest([sorted(models), name, processors()])}.json"


def _candidates(device: str, usual: Setting) -> Iterator[Setting]:
    batches = CPU_BATCHES if torch.device(device).type == "cpu" else GPU_BATCHES
    yield from (Setting(batch, usual.workers) for batch in batches)
    if usual.workers >= 4:  # two threads of one core may be no faster than one
        yield Setting(usual.batch, usual.workers // 2)


def _rate(items: Labelled, streams: Sequence[Stream], squares: Squares, device: str, setting: Setting) -> float:
    """Images per second of a trial; its first round is not counted."""
    count = min(len(items), setting.batch * setting.workers * (TRIAL + 1))
    fresh = [dataclasses.replace(stream, start=0) for stream in streams]
    began, counted = time.perf_counter(), 0
    for number, chunk in enumerate(chunks(items.take(range(count)), fresh, setting, squares, device), 1):
        if number == setting.workers:
            began, counted = time.perf_counter(), 0
        else:
            counted += chunk.stop - chunk.start
    return counted / max(time.perf_counter() - began, 1e-9)
