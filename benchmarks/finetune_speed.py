"""How fast fine-tuning is, against a loop of timm's own parts: the same model, batch, optimizer, precision and threads.

    python benchmarks/finetune_speed.py step [--model resnet18 ...] [--side 112] [--batch 16] [--cpu] [--layout L]
    python benchmarks/finetune_speed.py epoch [--model mobilenetv3_small_050] [--side 112] [--batch 32] [--images 384]
    python benchmarks/finetune_speed.py feeds --spdl FOLDER [--model resnet18 ...]
    python benchmarks/finetune_speed.py frozen [--model resnet18] [--side 112] [--batch 16] [--images 128] [--blocks 1]

step: forward, backward, update and schedule with images that are there, some steps of each in turn; ours by
`featune.engine.finetune.train` with its checks, norm and account. epoch: from JPEG files of 500 x 375, random crops and
flips, epoch by epoch in turn; timm's `create_loader` with 0, 1 and 2 workers, with its prefetcher and without, of which
the best counts, and ours with decoded images kept (its usual way, from the second epoch on) and without. The first
epoch of each is not counted. feeds: our step on images that are there, kept, decoded in each epoch, and made by SPDL in
one and two threads (same order, crops of the same kind): trainings of some epochs, two of each in turn. headspace: an
epoch over one with images that are there.
frozen: the head and the last block(s) learn, on eval views; whole trainings of some epochs in turn, with what is frozen
computed once (the time for it is in the first epoch) and computed at each step.
"""

import argparse
import contextlib
import dataclasses
import itertools
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import timm
import torch
from PIL import Image
from timm.optim import create_optimizer_v2
from timm.scheduler import create_scheduler_v2
from torch import Tensor, nn

from featune.engine.finetune import Decoded, Recipe, Run, train
from featune.engine.finetune.decoded import Steps
from featune.engine.images import Augmentation, Labelled
from featune.engine.models import fresh_classifier, spec_from_entry

CLASSES = 10
clock = time.perf_counter
RECIPE = Recipe(learning_rates=(0.01,), weight_decay=1e-4, augmentation=Augmentation(scale=(0.08, 1.0)))


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=["step", "epoch", "feeds", "frozen"])
    parser.add_argument("--model", nargs="+", default=["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_100"])
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6, help="in a turn")
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument(
        "--cpu", action="store_true", help="steps in the processor's seconds, for a machine that is shared"
    )
    parser.add_argument("--spdl", help="the site-packages of an environment with spdl and spdl-io, for `feeds`")
    parser.add_argument("--blocks", type=int, default=1, help="that learn, of `frozen`")
    parser.add_argument("--layout", choices=["contiguous", "channels-last", "as-it-comes"], default="contiguous")
    given = parser.parse_args()
    global clock, RECIPE
    layout = {"contiguous": False, "channels-last": True, "as-it-comes": None}[given.layout]
    RECIPE = dataclasses.replace(RECIPE, channels_last=layout)
    clock = time.process_time if given.cpu else time.perf_counter
    print(f"torch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads, {given.layout}")
    print(f"side {given.side}, batch {given.batch}, {'processor' if given.cpu else 'wall'} seconds", flush=True)
    for name in given.model:
        {"step": steps, "epoch": epochs, "feeds": feeds, "frozen": frozen}[given.what](name, given)
    return 0


def entry(name: str, side: int) -> dict[str, object]:
    kwargs = {"img_size": side} if "vit" in name else {}
    return {"architecture": name, "pretrained": False, "side": side, "kwargs": kwargs}


def timms(name: str, side: int, total: int) -> tuple[nn.Module, torch.optim.Optimizer, object]:
    """The model, optimizer and schedule by step of timm's train.py with --opt sgd --sched cosine --sched-on-updates."""
    kwargs = {"img_size": side} if "vit" in name else {}
    model = timm.create_model(name, num_classes=CLASSES, **kwargs).train()
    optimizer = create_optimizer_v2(model, "sgd", lr=0.01, weight_decay=1e-4, momentum=0.9)
    schedule, _ = create_scheduler_v2(
        optimizer, "cosine", num_epochs=1, warmup_epochs=0, step_on_epochs=False, updates_per_epoch=total
    )
    return model, optimizer, schedule


def timms_step(made: tuple, images: Tensor, labels: Tensor, step: int) -> None:  # type: ignore[type-arg]
    model, optimizer, schedule = made
    loss = nn.functional.cross_entropy(model(images), labels)
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()
    schedule.step_update(step)


def steps(name: str, given: argparse.Namespace) -> None:
    draws = torch.Generator().manual_seed(0)
    ready = torch.randint(0, 256, (given.batch, given.side, given.side, 3), dtype=torch.uint8, generator=draws)
    ready = ready.permute(0, 3, 1, 2)  # as the training's own images lie, or
    ready = ready.contiguous() if given.layout == "contiguous" else ready
    labels = torch.arange(given.batch) % CLASSES
    floats = (ready.contiguous().float() / 255 - 0.5) / 0.25
    total = given.pairs * given.steps + given.steps
    made, step = timms(name, given.side, total), 0
    spec = spec_from_entry(entry(name, given.side))
    items = Labelled("/", ("x",) * given.batch, tuple((int(label),) for label in labels))
    times: dict[str, list[float]] = {"timm": [], "featune": []}
    marks: list[float] = []

    def turn(done: int, _: int) -> None:
        """Between our steps: after so many of them, as many of timm's."""
        nonlocal step
        marks.append(clock())
        if done % given.steps == 0:
            times["featune"].append((marks[-1] - turn.began) / given.steps)  # type: ignore[attr-defined]
            began = clock()
            for _ in range(given.steps):
                timms_step(made, floats, labels, step)
                step += 1
            times["timm"].append((clock() - began) / given.steps)
            turn.began = clock()  # type: ignore[attr-defined]

    with images_ready(ready):
        recipe = dataclasses.replace(RECIPE, steps=total, batch=given.batch)
        turn.began = clock()  # type: ignore[attr-defined]
        train(fresh_classifier(spec, CLASSES, 0), items, labels, spec.view, recipe, 0, Run(progress=turn))
    said(name, times, "ms per step", 1000)


@contextlib.contextmanager
def images_ready(images: Tensor) -> Iterator[None]:
    usual = Steps.images
    Steps.images = lambda self, first, last: (images for _ in range(first, last))  # type: ignore[method-assign]
    try:
        yield
    finally:
        Steps.images = usual  # type: ignore[method-assign]


def epochs(name: str, given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items = jpegs(Path(folder), given.images)
        spec = spec_from_entry(entry(name, given.side))
        per_epoch = given.images // given.batch
        rounds = given.pairs + 1
        recipe = dataclasses.replace(RECIPE, epochs=rounds, batch=given.batch)
        truth = torch.from_numpy(items.truth(CLASSES))
        times: dict[str, list[float]] = {}
        loaders = {
            f"timm, {workers} workers, prefetcher {'on' if ahead else 'off'}": loader(items, given, workers, ahead)
            for workers in (0, 1, 2) for ahead in (False, True)
        }  # fmt: skip
        made = timms(name, given.side, rounds * per_epoch)

        def others() -> None:
            for kind, batches in loaders.items():
                began = time.perf_counter()
                for step, (images, labels) in enumerate(batches):
                    timms_step(made, images, labels, step)
                times.setdefault(kind, []).append(time.perf_counter() - began)

        def run(kind: str, limit: int, between: bool) -> None:
            began = time.perf_counter()

            def note(done: int, _: int) -> None:
                nonlocal began
                if done % per_epoch == 0:
                    times.setdefault(kind, []).append(time.perf_counter() - began)
                    if between:
                        others()
                    began = time.perf_counter()

            model = fresh_classifier(spec, CLASSES, 0)
            found = train(model, items, truth, spec.view, recipe, 0, Run(progress=note, decoded=Decoded(limit)))
            heads = found.details["headspace"]
            print(f"  {kind}: headspace by its waits {heads:.3f}", flush=True)

        run("featune, decoded once", 2 << 30, True)
        run("featune, decoded each time", 0, False)
        said(name, {kind: values[1:] for kind, values in times.items()}, "s per epoch", 1)


def feeds(name: str, given: argparse.Namespace) -> None:
    with tempfile.TemporaryDirectory() as folder:
        items, spec = jpegs(Path(folder), given.images), spec_from_entry(entry(name, given.side))
        per_epoch = given.images // given.batch
        recipe = dataclasses.replace(RECIPE, epochs=given.pairs + 1, batch=given.batch)
        truth = torch.from_numpy(items.truth(CLASSES))
        some = torch.randint(0, 256, (given.batch, given.side, given.side, 3), dtype=torch.uint8).permute(0, 3, 1, 2)
        kept = Decoded()
        ways = {
            "images ready": lambda: images_ready(some.contiguous()), "decoded once": contextlib.nullcontext,
            "decoded each time": contextlib.nullcontext,
            **{f"spdl, {n} threads": lambda n=n: spdl_feeds(given.spdl, items, given.side, n) for n in (1, 2)},
        }  # fmt: skip
        times: dict[str, list[float]] = {way: [] for way in ways}
        for way in [*ways, *reversed(ways)]:
            marks: list[float] = []

            def note(done: int, _: int, marks: list[float] = marks) -> None:
                if done % per_epoch == 0:
                    marks.append(time.perf_counter())

            run = Run(progress=note, decoded=kept if way == "decoded once" else Decoded(0))
            with ways[way]():
                train(fresh_classifier(spec, CLASSES, 0), items, truth, spec.view, recipe, 0, run)
            times[way] += [after - before for before, after in itertools.pairwise(marks)]
        middle = {way: statistics.median(values) for way, values in times.items()}
        for way, values in times.items():
            print(f"  {name}, {way}: median {middle[way]:.4f} s per epoch, of "
                  f"{', '.join(f'{each:.3f}' for each in values)}")  # fmt: skip
        best = min((way for way in times if way.startswith("spdl")), key=middle.__getitem__)
        for own in ("decoded once", "decoded each time"):
            print(f"  {name}, {own}: {best} / ours {middle[best] / middle[own]:.3f}, headspace "
                  f"{middle[own] / middle['images ready']:.3f}", flush=True)  # fmt: skip


def frozen(name: str, given: argparse.Namespace) -> None:
    from featune.engine.finetune import prefix

    usual, per_epoch = prefix.kept_rows, given.images // given.batch
    with tempfile.TemporaryDirectory() as folder:
        items, spec = jpegs(Path(folder), given.images), spec_from_entry(entry(name, given.side))
        recipe = dataclasses.replace(
            RECIPE, epochs=given.pairs, batch=given.batch, trained=given.blocks,
            augmentation=Augmentation(crop="eval", hflip=0.0),
        )  # fmt: skip
        times: dict[str, list[float]] = {}
        decoded = Decoded()
        for kind, kept in (("once", usual), ("at each step", lambda *_: "switched off")):
            prefix.kept_rows = kept  # type: ignore[assignment]
            marks = [time.perf_counter()]

            def note(done: int, _: int, marks: list[float] = marks) -> None:
                if done % per_epoch == 0:
                    marks.append(time.perf_counter())

            truth = torch.from_numpy(items.truth(CLASSES))
            run = Run(progress=note, decoded=decoded)
            found = train(fresh_classifier(spec, CLASSES, 0), items, truth, spec.view, recipe, 0, run)
            times[kind] = [after - before for before, after in itertools.pairwise(marks)]
            print(f"  {name}, computed {kind}: s per epoch {', '.join(f'{each:.3f}' for each in times[kind])}; loss "
                  f"{found.details['last_loss']:.6f}; {found.details['frozen']}", flush=True)  # fmt: skip
        prefix.kept_rows = usual
        once, each = (statistics.median(values[1:]) for values in times.values())
        whole = sum(times["at each step"]) / sum(times["once"])
        print(f"  {name}: epochs after the first {each / once:.2f} times as fast, {given.pairs} epochs {whole:.2f}")


@contextlib.contextmanager
def spdl_feeds(packages: str, items: Labelled, side: int, threads: int) -> Iterator[None]:
    """SPDL decodes, crops, scales and flips (libavfilter) and makes batches, in place of the training's own images."""
    sys.path.append(packages)  # behind ours, so that numpy and torch stay
    import spdl.io
    from spdl.pipeline import PipelineBuilder

    def load(drawn: tuple[int, int]) -> np.ndarray:
        index, number = drawn
        rng = np.random.default_rng((index, number))
        packets = spdl.io.demux_image(str(items.file(index)))
        width, height = packets.width, packets.height
        share = np.sqrt(rng.uniform(0.08, 1.0))
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
                yield torch.from_numpy(next(batches)).permute(0, 3, 1, 2).contiguous()

    usual = Steps.images
    Steps.images = images  # type: ignore[method-assign]
    try:
        yield
    finally:
        Steps.images = usual  # type: ignore[method-assign]


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
        scale=(0.08, 1.0), hflip=0.5, color_jitter=0.0, num_workers=workers, persistent_workers=workers > 0,
        device=torch.device("cpu"), pin_memory=False,
    )  # fmt: skip


def jpegs(folder: Path, count: int) -> Labelled:
    """Of 500 x 375 pixels with structure at all scales, as photographs have."""
    for i in range(count):
        draws, image = np.random.default_rng(i), np.zeros((375, 500, 3))
        for grid in (4, 16, 64, 250):
            coarse = draws.normal(0, 60 / grid**0.35, (grid, grid, 3))
            layer = [
                np.asarray(Image.fromarray(coarse[..., c].astype(np.float32)).resize((500, 375), 3)) for c in range(3)
            ]
            image += np.stack(layer, 2)
        Image.fromarray((image + 128).clip(0, 255).astype(np.uint8)).save(folder / f"{i:04}.jpg", quality=90)
    names = tuple(f"{i:04}.jpg" for i in range(count))
    return Labelled(str(folder), names, tuple((i % CLASSES,) for i in range(count)))


def said(name: str, times: dict[str, list[float]], unit: str, factor: float) -> None:
    for kind, values in times.items():
        kept = values[1:] if unit.startswith("ms") else values
        print(f"  {name}, {kind}: median {factor * statistics.median(kept):.4g} {unit}, "
              f"of {', '.join(f'{factor * value:.4g}' for value in kept)}")  # fmt: skip
    ours = next(kind for kind in times if kind.startswith("featune"))
    others = {kind: values for kind, values in times.items() if kind.startswith("timm")}
    best = min(others, key=lambda kind: statistics.median(others[kind]))
    pairs = [other / own for own, other in zip(times[ours][1:], others[best][1:], strict=True)]
    print(f"  {name}: {best} / {ours}: median {statistics.median(pairs):.3f} of {len(pairs)} pairs", flush=True)


if __name__ == "__main__":
    sys.exit(main())
