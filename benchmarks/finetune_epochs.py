"""How fast epochs of fine-tuning from JPEG files are, against timm's loader and step, and SPDL feeding our own step.

    python benchmarks/finetune_epochs.py [--model resnet18 ...] [--side 112] [--batch 16] [--amp]
        [--pixels 500x375] [--images 96] [--different 96] [--epochs 3] [--turns 2] [--workers 1 2 3] [--spdl FOLDER]

Whole trainings of some epochs, one after the other, and then again in reversed order: random crops and flips, SGD.
ours: by `featune.engine.finetune.train` with `shrink_on_load` and decoded images kept (`shrunk`); the same without
`shrink_on_load` (`whole`); decoded in each epoch (`anew`); and with images that are there (`ready`). timm:
`create_loader` and the step of finetune_speed.py, with each number of workers and its prefetcher on and off; the best
counts. SPDL: decodes, crops, scales and flips in the same order, in place of our images. The first epoch is told apart:
of ours it decodes and shrinks, of timm's it starts the workers. Both sides lay numbers in the order in which timm's
steps are faster. `--different`: files that are different, the others are copies, since large ones take long to make.
"""

import argparse
import contextlib
import dataclasses
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import torch
from finetune_speed import CLASSES, RECIPE, entry, images_ready, jpegs, timms, timms_step, versions
from PIL import Image
from torch import Tensor

from featune.engine.finetune import Decoded, Recipe, Run, train
from featune.engine.finetune.decoded import Steps
from featune.engine.images import Augmentation, Labelled
from featune.engine.models import fresh_classifier, spec_from_entry

SCALE = (0.35, 1.0)  # of the default recipe's crops
Way = Callable[[], list[float]]  # a training; seconds of its epochs


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", nargs="+", default=["mobilenetv3_small_100", "resnet18", "vit_tiny_patch16_224"])
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast, in both")
    parser.add_argument("--pixels", default="500x375", help="of the files")
    parser.add_argument("--images", type=int, default=96)
    parser.add_argument("--different", type=int, default=96)
    parser.add_argument("--epochs", type=int, default=3)
    parser.add_argument("--turns", type=int, default=2)
    parser.add_argument("--workers", type=int, nargs="*", default=[1, 2, 3], help="of timm's loader")
    parser.add_argument("--ours", nargs="+", default=["shrunk", "anew", "ready"], help="of shrunk, whole, anew, ready")
    parser.add_argument("--spdl", help="the site-packages of an environment with spdl and spdl-io")
    given = parser.parse_args()
    print(versions(given))
    with tempfile.TemporaryDirectory() as folder:
        width, height = map(int, given.pixels.split("x"))
        items = jpegs(Path(folder), given.images, (width, height), given.different)
        size = statistics.mean(items.file(i).stat().st_size for i in range(len(items)))
        print(f"{len(items)} files of {given.pixels}, {size / 1e6:.2f} MB; side {given.side}, batch {given.batch}")
        for name in given.model:
            compared(name, items, given)
    return 0


def compared(name: str, items: Labelled, given: argparse.Namespace) -> None:
    last = laid_last(name, given)
    recipe = dataclasses.replace(
        RECIPE, epochs=given.epochs, batch=given.batch, amp=given.amp, channels_last=last, shrink_on_load=True,
        augmentation=Augmentation(scale=SCALE),
    )  # fmt: skip
    ways: dict[str, Way] = {f"ours, {kind}": of_ours(name, items, recipe, kind, given) for kind in given.ours}
    for workers in given.workers:
        for ahead in (False, True):
            ways[f"timm, {workers} workers{', prefetcher' * ahead}"] = of_timm(name, items, workers, ahead, last, given)
    for threads in (1, 2) if given.spdl else ():
        ways[f"spdl, {threads} threads"] = of_spdl(name, items, recipe, threads, given)
    first: dict[str, list[float]] = {way: [] for way in ways}
    later: dict[str, list[float]] = {way: [] for way in ways}
    others: dict[str, float] = {}
    for turn in range(given.turns):
        for way in reversed(ways) if turn % 2 else ways:
            began, busy = time.perf_counter(), of_others()
            seconds = ways[way]()
            others[way] = max(others.get(way, 0), (of_others() - busy) / (time.perf_counter() - began))
            first[way].append(seconds[0])
            later[way] += seconds[1:]
    middle = {way: statistics.median(values) for way, values in later.items()}
    order = "channels last" if last else "contiguous"
    print(f"{name}, {order}: seconds of the first epoch; of later ones, their median; processors that others used")
    for way in ways:
        print(
            f"  {way:28} {said(first[way])}; {said(later[way])}, {middle[way]:.3f}; others {others[way]:.2f}",
            flush=True,
        )
    for rival in ("timm", "spdl"):
        if theirs := [way for way in ways if way.startswith(rival)]:
            best = min(theirs, key=middle.__getitem__)
            for own in (way for way in ways if way.startswith("ours") and not way.endswith("ready")):
                start = statistics.median(first[best]) / statistics.median(first[own])
                print(f"  {best} / {own}: {middle[best] / middle[own]:.2f}, first epoch {start:.2f}", flush=True)
    if "ours, ready" in ways and "ours, shrunk" in ways:
        print(f"  headspace {middle['ours, shrunk'] / middle['ours, ready']:.3f}", flush=True)


def of_others() -> float:
    """Seconds that processors worked for others (Linux); of children those that have ended are known."""
    busy = [int(each) for each in Path("/proc/stat").read_text().split("\n")[0].split()[1:9]]
    return (sum(busy) - busy[3] - busy[4]) / os.sysconf("SC_CLK_TCK") - sum(os.times()[:4])


def said(seconds: list[float]) -> str:
    return " ".join(f"{each:.3f}" for each in seconds)


def laid_last(name: str, given: argparse.Namespace) -> bool:
    """Whether timm's steps are faster with images and weights in the order channels last."""
    images, labels = torch.randn(given.batch, 3, given.side, given.side), torch.arange(given.batch) % CLASSES
    took = {}
    for last in (False, True):
        order = torch.channels_last if last else torch.contiguous_format
        made = timms(name, given.side, 9)
        made[0].to(memory_format=order)
        marks = []
        for step in range(6):
            timms_step(made, images.contiguous(memory_format=order), labels, step, given.amp)
            marks.append(time.perf_counter())
        took[last] = statistics.median(np.diff(marks[1:]))
    print(f"  {name}: timm's step {1000 * took[False]:.1f} ms contiguous, {1000 * took[True]:.1f} ms channels last")
    return bool(took[True] < took[False])


def of_timm(name: str, items: Labelled, workers: int, ahead: bool, last: bool, given: argparse.Namespace) -> Way:
    order = torch.channels_last if last else torch.contiguous_format

    def run() -> list[float]:
        batches = loader(items, given, workers, ahead)
        made = timms(name, given.side, given.epochs * (len(items) // given.batch))
        made[0].to(memory_format=order)
        marks, step = [time.perf_counter()], 0
        for _ in range(given.epochs):
            for images, labels in batches:
                timms_step(made, images.contiguous(memory_format=order), labels, step, given.amp)
                step += 1
            marks.append(time.perf_counter())
        return list(np.diff(marks))

    return run


def of_ours(name: str, items: Labelled, recipe: Recipe, kind: str, given: argparse.Namespace) -> Way:
    """kind: `shrunk` and kept, kept `whole`, `anew` in each epoch, or `ready`."""
    recipe = dataclasses.replace(recipe, shrink_on_load=kind != "whole")
    draws = torch.Generator().manual_seed(0)
    some = torch.randint(0, 256, (given.batch, given.side, given.side, 3), dtype=torch.uint8, generator=draws)
    some = some.permute(0, 3, 1, 2) if recipe.channels_last else some.permute(0, 3, 1, 2).contiguous()

    def run() -> list[float]:
        with images_ready(some) if kind == "ready" else contextlib.nullcontext():
            return trained(name, items, recipe, Decoded(0) if kind == "anew" else Decoded(), given)

    return run


def of_spdl(name: str, items: Labelled, recipe: Recipe, threads: int, given: argparse.Namespace) -> Way:
    def run() -> list[float]:
        with spdl_feeds(given.spdl, items, given.side, threads, bool(recipe.channels_last)):
            return trained(name, items, recipe, Decoded(0), given)

    return run


def trained(name: str, items: Labelled, recipe: Recipe, decoded: Decoded, given: argparse.Namespace) -> list[float]:
    spec = spec_from_entry(entry(name, given.side))
    model, truth = fresh_classifier(spec, CLASSES, 0), torch.from_numpy(items.truth(CLASSES))
    marks = [time.perf_counter()]

    def note(done: int, _: int) -> None:
        if done % (len(items) // given.batch) == 0:
            marks.append(time.perf_counter())

    train(model, items, truth, spec.view, recipe, 0, Run(progress=note, decoded=decoded))
    return list(np.diff(marks))


def loader(items: Labelled, given: argparse.Namespace, workers: int, ahead: bool):  # type: ignore[no-untyped-def]
    from timm.data import create_loader

    class Files(torch.utils.data.Dataset):  # type: ignore[type-arg]
        transform = None

        def __len__(self) -> int:
            return len(items)

        def __getitem__(self, index: int) -> tuple[Tensor, int]:
            return self.transform(Image.open(items.file(index)).convert("RGB")), items.labels[index][0]  # type: ignore[misc]

    return create_loader(
        Files(), (3, given.side, given.side), given.batch, is_training=True, use_prefetcher=ahead, no_aug=False,
        scale=SCALE, hflip=0.5, color_jitter=0.0, num_workers=workers, persistent_workers=workers > 0,
        device=torch.device("cpu"), pin_memory=False,
    )  # fmt: skip


@contextlib.contextmanager
def spdl_feeds(packages: str, items: Labelled, side: int, threads: int, last: bool) -> Iterator[None]:
    """SPDL decodes, crops, scales and flips (libavfilter) and makes batches, in place of the training's own images."""
    sys.path.append(packages)  # behind ours, so that numpy and torch stay
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    def load(drawn: tuple[int, int]) -> np.ndarray:
        index, number = drawn
        rng = np.random.default_rng((index, number))
        packets = spdl.io.demux_image(str(items.file(index)))
        width, height = packets.width, packets.height
        share = np.sqrt(rng.uniform(*SCALE))
        w, h = max(1, int(width * share)), max(1, int(height * share))
        x, y = int(rng.integers(width - w + 1)), int(rng.integers(height - h + 1))
        crop = f"crop={w}:{h}:{x}:{y}" + (",hflip" if rng.random() < 0.5 else "")
        scaled = f"{crop},scale={side}:{side}:flags=bicubic,format=pix_fmts=rgb24"
        frames = spdl.io.decode_packets(packets, filter_desc=scaled)
        return np.array(spdl.io.to_numpy(spdl.io.convert_frames(frames)))

    def images(self: Steps, first: int, last: int) -> Iterator[Tensor]:
        drawn = ((int(index), step) for step in range(first, last) for index in self.indices(step))
        made = (
            PipelineBuilder().add_source(drawn).pipe(load, concurrency=threads, output_order="input")
            .aggregate(self.size).pipe(np.stack).add_sink(2).build(num_threads=threads)
        )  # fmt: skip
        with made.auto_stop():
            batches = made.get_iterator()
            for _ in range(first, last):  # a batch that is missing is one that SPDL could not make
                made_images = torch.from_numpy(next(batches)).permute(0, 3, 1, 2)
                yield made_images if last else made_images.contiguous()

    usual = Steps.images
    Steps.images = images  # type: ignore[method-assign]
    try:
        yield
    finally:
        Steps.images = usual  # type: ignore[method-assign]


if __name__ == "__main__":
    sys.exit(main())
