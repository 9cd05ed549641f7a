"""How fast a step of fine-tuning is, against timm's own parts: the same model, batch, optimizer, precision and threads.

    python benchmarks/finetune_speed.py step [--model resnet18 ...] [--side 112] [--batch 16] [--cpu] [--amp]
    python benchmarks/finetune_speed.py frozen [--model resnet18] [--side 112] [--batch 16] [--images 128] [--blocks 1]

step: forward, backward, update and schedule with images that are there, some steps of each in turn; ours by
`featune.engine.finetune.train` with its checks, norm and account. frozen: the head and the last block(s) learn, on eval
views; whole trainings of some epochs in turn, with what is frozen computed once (the time for it is in the first epoch)
and computed at each step. Epochs from files are in finetune_epochs.py.
"""

import argparse
import contextlib
import dataclasses
import itertools
import shutil
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
    parser.add_argument("what", choices=["step", "frozen"])
    parser.add_argument("--model", nargs="+", default=["resnet18", "vit_tiny_patch16_224", "mobilenetv3_small_100"])
    parser.add_argument("--side", type=int, default=112)
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--pairs", type=int, default=6)
    parser.add_argument("--steps", type=int, default=6, help="in a turn")
    parser.add_argument("--images", type=int, default=384)
    parser.add_argument(
        "--cpu", action="store_true", help="steps in the processor's seconds, for a machine that is shared"
    )
    parser.add_argument("--amp", action="store_true", help="bfloat16 autocast, in both")
    parser.add_argument("--blocks", type=int, default=1, help="that learn, of `frozen`")
    parser.add_argument("--layout", choices=["contiguous", "channels-last", "as-it-comes"], default="contiguous")
    given = parser.parse_args()
    global clock, RECIPE
    layout = {"contiguous": False, "channels-last": True, "as-it-comes": None}[given.layout]
    RECIPE = dataclasses.replace(RECIPE, channels_last=layout, amp=given.amp)
    clock = time.process_time if given.cpu else time.perf_counter
    print(versions(given), given.layout)
    print(f"side {given.side}, batch {given.batch}, {'processor' if given.cpu else 'wall'} seconds", flush=True)
    for name in given.model:
        {"step": steps, "frozen": frozen}[given.what](name, given)
    return 0


def versions(given: argparse.Namespace) -> str:
    kind = "bfloat16" if given.amp else "float32"
    vectors = torch.backends.cpu.get_cpu_capability()
    return f"torch {torch.__version__}, timm {timm.__version__}, {torch.get_num_threads()} threads, {vectors}, {kind}"


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


def timms_step(made: tuple, images: Tensor, labels: Tensor, step: int, amp: bool) -> None:  # type: ignore[type-arg]
    model, optimizer, schedule = made
    with torch.autocast("cpu", torch.bfloat16, enabled=amp):
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
    if given.layout == "channels-last":
        made[0].to(memory_format=torch.channels_last)
        floats = floats.to(memory_format=torch.channels_last)
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
                timms_step(made, floats, labels, step, given.amp)
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


def jpegs(folder: Path, count: int, size: tuple[int, int] = (500, 375), different: int | None = None) -> Labelled:
    """So many files with structure at all scales, as photographs have; beyond the different ones they are copies."""
    width, height = size
    different = min(different or count, count)
    for i in range(different):
        draws, image = np.random.default_rng(i), np.zeros((height, width, 3), np.float32)
        for grid in (*(each for each in (4, 16, 64, 250, 1000) if each < width // 2), width // 2):
            coarse = draws.normal(0, 60 / grid**0.35, (grid, grid, 3))
            for c in range(3):
                image[..., c] += np.asarray(Image.fromarray(coarse[..., c].astype(np.float32)).resize(size, 3))
        Image.fromarray((image + 128).clip(0, 255).astype(np.uint8)).save(folder / f"{i:04}.jpg", quality=90)
    for i in range(different, count):
        shutil.copy(folder / f"{i % different:04}.jpg", folder / f"{i:04}.jpg")
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
