"""Rows of features: from a model and images in memory, or in a store that resumes and is never stale."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Literal

import numpy as np
import torch

from ..errors import BadImages, BadInput
from ..images import Decoder, Labelled, folder_items
from ..machine import processors
from ..models import ModelSpec, View, feature_model, spec_from_string, with_channels
from ..runners import BatchLimit, Runner, device_kind, torch_runner
from .bottleneck import Verdict
from .decoder_processes import DecodeIn, check_decode_in, decoding
from .files import Rows
from .passes import NOT_FINITE, Setting, Stream, chunks
from .squares import Seconds

Progress = Callable[[int, int], None]  # images done, images in all
OnError = Literal["stop", "skip"]
CPU_BATCH, GPU_BATCH = 8, 128  # images; beyond 8 none of three models got faster on one thread, benchmarks/extract.md


def check_on_error(name: str) -> OnError:
    if name not in ("stop", "skip"):
        raise BadInput(f"on_error {name!r} found; expected stop or skip")
    return name  # type: ignore[return-value]


@dataclasses.dataclass(frozen=True)
class Options:
    """How a pass works; none of it changes a row beyond rounding.

    decode_in: "threads" of this process, or "processes", where so many threads decode that Python's lock holds them up.
    batch, workers: None for a short measured search where there are many images, else the usual ones. on_error:
    "stop" raises at the end of the pass, with every bad file listed and no file complete; "skip" leaves those
    images out and records them. keep_views: also store the decoded uint8 views, from which later passes need not
    decode. save_seconds: between safe points.
    """

    batch: int | None = None
    workers: int | None = None
    device: str = "cpu"
    on_error: OnError = "stop"
    keep_views: bool = False
    save_seconds: float = 5.0
    decode_in: DecodeIn = "threads"

    def __post_init__(self) -> None:
        check_on_error(self.on_error)
        check_decode_in(self.decode_in)
        device_kind(self.device)

    def setting(self) -> Setting:
        usual = CPU_BATCH if device_kind(self.device) == "cpu" else GPU_BATCH
        return Setting(self.batch or usual, self.workers or processors())


DEFAULT = Options()

SKIPPING = "--on-error skip"
SKIP = f"repair, remove or leave them out ({SKIPPING})"
LISTED = 20  # images in a message of the model's


@dataclasses.dataclass(frozen=True)
class Features:
    """Rows [n, width] float32 in the images' order, without those of `skipped`: (index, path, reason).

    kept: the index of each row's image. verdict: what the pass did and what limited it.
    """

    rows: Rows
    kept: Rows
    skipped: list[tuple[int, str, str]]
    verdict: Verdict


def extract(
    model: str | ModelSpec | Runner,
    images: str | os.PathLike[str] | Labelled,
    view: View | None = None,
    *,
    options: Options = DEFAULT,
    decoder: Decoder = "fast",
    progress: Progress | None = None,
) -> Features:
    """Features of images, in memory: `extract("resnet18", "photos/").rows`.

    model: a timm name or a spec, run by torch; or an open runner, with its `view`. images: a folder, or items.
    Raises BadImages with the whole list if a file cannot be read, unless the options say skip.
    """
    items = images if isinstance(images, Labelled) else folder_items(Path(images))
    with contextlib.ExitStack() as stack:
        if isinstance(model, str):
            model = spec_from_string(model)
        if isinstance(model, ModelSpec):
            model = with_channels(model, items.channels)
            view = model.view
            runner = stack.enter_context(torch_runner(feature_model(model), options.device))
        else:
            runner = model
        if view is None:
            raise BadInput("a runner does not say what it sees; give `view`, such as spec.view")
        account = Account(options, decoder, 1)
        stream = Stream(view, BatchLimit(runner, account.note))
        parts: list[Rows] = []
        bad: list[tuple[int, str]] = []
        squares = stack.enter_context(decoding(items, decoder, options.decode_in, account.setting.workers))
        for chunk in chunks(items, [stream], account.setting, squares, options.device):
            account.count(chunk.stop - chunk.start, chunk.seconds)
            rows, without = chunk.finite(0, 0)
            parts.append(rows)
            bad += without
            if progress:
                progress(chunk.stop, len(items))
    skipped = [(index, items.paths[index], reason) for index, reason in bad]
    parts = [part for part in parts if len(part)]
    name = model.name if isinstance(model, ModelSpec) else ""
    check_complete(skipped, items, sum(map(len, parts)), options.on_error, name)
    kept = np.setdiff1d(np.arange(len(items)), [index for index, _ in bad])
    return Features(np.concatenate(parts), kept, skipped, account.verdict(len(items)))


def check_complete(
    skipped: Sequence[tuple[int, str, str]], items: Labelled, rows: int, on_error: OnError, model: str = ""
) -> None:
    """Raises BadImages where images have no row and none may be skipped, and BadInput where none has one.

    model: its name, for people.
    """
    if skipped and all(reason == NOT_FINITE for _, _, reason in skipped) and (on_error == "stop" or not rows):
        named = ", ".join(str(items.file(index)) for index, _, _ in skipped[:LISTED])
        more = f", and {len(skipped) - LISTED} more" if len(skipped) > LISTED else ""
        out = f", or leave them out ({SKIPPING})" if rows else ""
        raise BadInput(
            f"{model or 'the model'}: its features hold NaN or infinity for {len(skipped)} of {len(items)} images, "
            "finite numbers expected; check its weights (a broken download, or saved in half precision)"
            f"{out}: {named}{more}"
        )
    if skipped and on_error == "stop":
        raise BadImages([(str(items.file(index)), reason) for index, _, reason in skipped], SKIP)
    if not rows:
        raise BadInput(f"none of the {len(items)} images could be read; the first: {skipped[0][1]}: {skipped[0][2]}")


class Account:
    """Counts what a pass does."""

    def __init__(self, options: Options, decoder: Decoder, models: int):
        self.options, self.decoder, self.models = options, decoder, models
        self.setting = options.setting()
        self.began = time.perf_counter()
        self.first: float | None = None
        self.images = 0
        self.seconds = Seconds()
        self.notes: list[str] = []

    def note(self, text: str) -> None:
        self.notes.append(text)

    def count(self, images: int, seconds: Seconds) -> None:
        if self.first is None:
            self.first = time.perf_counter() - self.began
        self.images += images
        self.seconds.add(seconds)

    @contextlib.contextmanager
    def writing(self) -> Iterator[None]:
        began = time.perf_counter()
        yield
        self.seconds.write += time.perf_counter() - began

    def verdict(self, total: int) -> Verdict:
        return Verdict(
            images=self.images,
            total=total,
            models=self.models,
            wall=time.perf_counter() - self.began,
            start=self.first or 0.0,
            seconds=self.seconds,
            setting=self.setting,
            device=torch.device(self.options.device).type,
            decoder=self.decoder,
            notes=tuple(self.notes),
        )
