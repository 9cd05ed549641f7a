"""The store of features: named by all that they depend on, resumed after a kill, verified when opened."""

import contextlib
import dataclasses
import os
import time
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch

from ..errors import BadImages, BadInput
from ..images import Labelled, read_image
from ..models import View
from ..runners import BatchLimit, out_of_memory
from ..store import locked, note_use, plain
from .batch_search import Search, setting_file
from .decoder_processes import decoding
from .extraction import DEFAULT, Account, Features, Options, Progress, check_complete
from .files import Part, Rows, Stored, open_stored
from .passes import NOT_FINITE, Stream
from .requests import FeatureKey, FeatureRequest, Open, views_key, views_to_keep
from .squares import stored_squares


class FeatureStore:
    """A folder of feature files, each named by its key; `files.py` keeps them."""

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)

    def rows(
        self,
        key: FeatureKey,
        items: Labelled,
        open_runner: Open,
        *,
        options: Options = DEFAULT,
        progress: Progress | None = None,
    ) -> Rows:
        """The key's rows as a read-only memmap, computed where absent. The runner is opened only if needed."""
        return self.extract(items, [FeatureRequest(key, open_runner)], options=options, progress=progress)[0].rows

    def extract(
        self,
        items: Labelled,
        wanted: Sequence[FeatureRequest],
        *,
        options: Options = DEFAULT,
        progress: Progress | None = None,
    ) -> list[Features]:
        """The features of every key, in one pass over the images for all that are not there yet.

        Each image is read and decoded once, whatever the number of models. A killed pass resumes.
        Raises BadImages as `extract` does; what was computed is kept for the next call.
        """
        if not len(items):
            raise BadInput("no images to take features of; check the task's folder or CSV")
        asked, wanted = wanted, list({each.key.name: each for each in wanted}.values())
        if len({each.key.decoder for each in wanted} | {each.key.images for each in wanted}) > 2:
            raise BadInput("one pass has one decoder and one set of images; extract the others by themselves")
        views = views_to_keep(wanted) if options.keep_views else []
        account = Account(options, wanted[0].key.decoder, len(wanted))
        every = [*wanted, *views]
        found = {each.key.name: self._current(each.key, items) for each in every}
        if any(stored is None for stored in found.values()):  # a store that cannot be written serves what it has
            with contextlib.ExitStack() as stack:
                for name in sorted(found):  # one order, or two could wait for ever
                    stack.enter_context(self._locked(name))
                found = {each.key.name: self._current(each.key, items) for each in every}
                absent = [each for each in every if found[each.key.name] is None]
                if absent:
                    self._compute(items, absent, options, account, progress)
                    found |= {each.key.name: self.load(each.key, len(items)) for each in absent}
        verdict = account.verdict(len(items))
        made = []
        for each in asked:
            stored = found[each.key.name]
            assert stored is not None
            skipped = [(index, items.paths[index], reason) for index, _, reason in stored.skipped]
            check_complete(skipped, items, len(stored.rows), options.on_error, each.label)
            made.append(Features(stored.rows, stored.kept, skipped, verdict))
        return made

    @contextlib.contextmanager
    def _locked(self, name: str) -> Iterator[None]:
        with contextlib.ExitStack() as stack:
            try:
                stack.enter_context(locked(self.root / name))
            except BadInput as error:
                raise BadInput(f"{self.root / name}.npy is not there whole, and cannot be made: {error}") from error
            yield

    def load(self, key: FeatureKey, n: int) -> Stored | None:
        """The key's file, or None where there is no complete and undamaged one of n images."""
        stored = open_stored(self.root / key.name)
        if stored is None or stored.record["images"] != n:
            return None
        note_use(self.root / f"{key.name}.npy")
        return stored

    def _current(self, key: FeatureKey, items: Labelled) -> Stored | None:
        """The key's file, unless it skipped an image that can be read by now: the limit of pixels may be another.

        Nor a file of before rows were looked at that holds NaN or infinity.
        """
        stored = self.load(key, len(items))
        if stored is not None and not stored.record.get("finite") and not np.isfinite(stored.rows).all():
            return None
        if stored is None or readable(items, [(index, reason) for index, _, reason in stored.skipped]):
            return None
        return stored

    def _compute(
        self,
        items: Labelled,
        absent: Sequence[FeatureRequest],
        options: Options,
        account: "Account",
        progress: Progress | None,
    ) -> None:
        with contextlib.ExitStack() as stack:
            parts = [Part(self.root / each.key.name, options.save_seconds) for each in absent]
            for part in parts:
                stack.callback(part.close)
                if part.done > len(items):  # a count of other images
                    part.rewind(0)
            better = readable(items, sorted({each for part in parts for each in part.bad}))
            for part in parts:
                if again := better.intersection(index for index, _ in part.bad):
                    part.rewind(min(again))
            if any(part.done < len(items) for part in parts):
                try:
                    self._fill(parts, items, absent, options, account, progress)
                except KeyboardInterrupt:
                    for part in parts:
                        part.save()
                    raise
            for part in parts:
                part.save()
            skipped = [[(index, items.paths[index], reason) for index, reason in part.bad] for part in parts]
            for each, part, bad in zip(absent, parts, skipped, strict=True):
                check_complete(bad, items, part.rows, options.on_error, each.label)
            verdict = account.verdict(len(items)).record()
            for each, part, bad in zip(absent, parts, skipped, strict=True):
                record = {"key": plain(each.key), "label": each.label, "skipped": bad, "pass": verdict, "finite": True}
                record["versions"] = {name: version(name) for name in ("pillow", "torch", "timm")}
                part.finish(record | {"made": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())})

    def _fill(
        self,
        parts: Sequence[Part],
        items: Labelled,
        absent: Sequence[FeatureRequest],
        options: Options,
        account: "Account",
        progress: Progress | None,
    ) -> None:
        """The rows that the parts lack: in one pass, or in several where the models do not fit into memory together."""
        left = list(zip(absent, parts, strict=True))
        while left:
            left = left[self._pass(left, items, options, account, progress) :]

    def _pass(
        self,
        left: Sequence[tuple[FeatureRequest, Part]],
        items: Labelled,
        options: Options,
        account: "Account",
        progress: Progress | None,
    ) -> int:
        """One pass of the first models of those left, as many as memory holds; returns how many.

        Raises BadInput where an image changed meanwhile.
        """
        threads = 1 if torch.device(options.device).type == "cpu" else account.setting.workers
        with contextlib.ExitStack() as stack:
            streams: list[Stream] = []
            for each, part in left:
                try:
                    runner = stack.enter_context(each.open(threads))
                except Exception as error:
                    if not streams or not out_of_memory(error):
                        raise
                    account.note(f"{each.label} did not fit into memory beside the others and has a pass of its own")
                    break
                streams.append(Stream(each.key.view, BatchLimit(runner, account.note), part.done))
            absent, parts = [each for each, _ in left[: len(streams)]], [part for _, part in left[: len(streams)]]
            stored = self._stored_views(items, [each.key for each in absent])
            squares = (
                stored_squares(items, stored)
                if stored
                else stack.enter_context(
                    decoding(items, absent[0].key.decoder, options.decode_in, account.setting.workers)
                )
            )
            search = Search(options.setting(), self._remembered(absent, options))
            for chunk in search.chunks(items, streams, squares, options.device):
                account.setting = search.setting
                account.count(chunk.stop - chunk.start, chunk.seconds)
                with account.writing():
                    for number, part in enumerate(parts):
                        if part.done < chunk.stop:
                            part.append(chunk.stop, *chunk.finite(number, part.done))
                if progress:
                    progress(chunk.stop, len(items))
        # The key was made of the files' bytes before they were decoded.
        if not stored and dataclasses.replace(items).content_digest != absent[0].key.images:
            for part in parts:
                part.discard()
            raise BadInput("images were changed while they were read; nothing was kept, run again")
        return len(streams)

    def _remembered(self, absent: Sequence[FeatureRequest], options: Options) -> Path | None:
        """Where the best setting is remembered; None where the user has set it."""
        if options.batch is not None or options.workers is not None:
            return None
        models = [
            f"{each.key.model}{each.key.artefact} {each.key.backend} {each.key.precision} {options.decode_in}"
            for each in absent
        ]
        return setting_file(self.root / "settings", models, options.device)

    def _stored_views(self, items: Labelled, keys: Sequence[FeatureKey]) -> dict[View, Stored]:
        """The files of decoded views, if all are there, else none."""
        stored: dict[View, Stored] = {}
        for key in keys:
            found = None if key == views_key(key) else stored.get(key.view) or self._current(views_key(key), items)
            if found is None:
                return {}
            stored[key.view] = found
        return stored


def readable(items: Labelled, bad: Sequence[tuple[int, str]]) -> set[int]:
    """Those of the images, each with what was wrong with it, that can be read now: it has passed."""
    found = set()
    for index in [index for index, reason in bad if reason != NOT_FINITE]:
        with contextlib.suppress(BadImages):
            read_image(items.file(index), items.channels)
            found.add(index)
    return found
