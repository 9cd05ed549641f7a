"""Rows of features from a runner, and the store that keeps them, resumes them and never lies about them."""

import dataclasses
import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from engine.errors import BadInput
from engine.images import Labelled, batches
from engine.models import View
from engine.runners import Runner
from engine.store import digest, file_digest, locked, plain, read_json, write_json

Progress = Callable[[int, int], None]  # images done, images in all
Rows = NDArray[np.float32]


@dataclasses.dataclass(frozen=True)
class FeatureKey:
    """All that a file of features depends on.

    model: `ModelSpec.digest`. images: `Labelled.content_digest`, the bytes of every file in order; labels
    do not touch features. backend: what computed them. artefact: digest of the graph file, empty for torch.
    """

    model: str
    view: View
    images: str
    backend: str
    precision: str = "fp32"
    artefact: str = ""
    decoder: str = "pil"

    @property
    def name(self) -> str:
        return digest(self)


def extract(
    runner: Runner,
    items: Labelled,
    view: View,
    *,
    batch: int = 64,
    workers: int | None = None,
    progress: Progress | None = None,
) -> Rows:
    """Features of every image, float32 [n, width], in the items' order.

    Raises BadImages with the whole list if any file cannot be read.
    """
    parts = []
    for images in batches(items, view, batch, workers=workers):
        parts.append(runner(images).cpu().numpy())
        if progress:
            progress(sum(map(len, parts)), len(items))
    if not parts:
        raise BadInput("no images to take features of; check the task's folder or CSV")
    return np.concatenate(parts)


class FeatureStore:
    """A folder of feature files: one `<key>.npy` [n, width] and one `<key>.json` that vouches for it.

    A file is complete or absent. Rows of unfinished work lie in `<key>.part`, with a `<key>.part.json` that
    counts those which are safely on the disk; the next call goes on from there.
    """

    def __init__(self, root: str | os.PathLike[str]):
        self.root = Path(root)

    def rows(
        self,
        key: FeatureKey,
        items: Labelled,
        open_runner: Callable[[], AbstractContextManager[Runner]],
        *,
        batch: int = 64,
        workers: int | None = None,
        progress: Progress | None = None,
        save_seconds: float = 5.0,
    ) -> Rows:
        """The key's rows as a read-only memmap, computed where absent. The runner is opened only if needed."""
        with locked(self.root / key.name):
            found = self.load(key, len(items))
            if found is None:
                with open_runner() as runner:
                    self._compute(key, items, runner, batch, workers, progress, save_seconds)
                found = self.load(key, len(items))
                assert found is not None
        return found

    def load(self, key: FeatureKey, n: int) -> Rows | None:
        """The key's rows, or None where there is no complete and undamaged file of n rows."""
        path, record = self._path(key, ".npy"), read_json(self._path(key, ".json"))
        if record is None or not path.exists() or record["rows"] != n:
            return None
        if file_digest(path) != record["sha256"]:
            return None
        return np.load(path, mmap_mode="r", allow_pickle=False)

    def _compute(
        self,
        key: FeatureKey,
        items: Labelled,
        runner: Runner,
        batch: int,
        workers: int | None,
        progress: Progress | None,
        save_seconds: float,
    ) -> None:
        part = self._path(key, ".part")
        record = read_json(self._path(key, ".part.json"))
        done, width = (record["rows"], record["width"]) if record and part.exists() else (0, 0)
        if done and part.stat().st_size < done * width * 4:
            done, width = 0, 0
        with open(part, "r+b" if done else "wb") as file:
            file.truncate(done * width * 4)
            file.seek(0, os.SEEK_END)
            saved = time.monotonic()
            for images in batches(items, key.view, batch, workers=workers, start=done):
                rows = runner(images).cpu().numpy()
                width = rows.shape[1]
                file.write(np.ascontiguousarray(rows, dtype=np.float32).data)
                done += len(rows)
                if progress:
                    progress(done, len(items))
                if time.monotonic() - saved > save_seconds:
                    self._save_progress(key, file, done, width)
                    saved = time.monotonic()
            self._save_progress(key, file, done, width)
        self._finish(key, done, width)

    def _save_progress(self, key: FeatureKey, file: Any, done: int, width: int) -> None:
        file.flush()
        os.fsync(file.fileno())
        write_json(self._path(key, ".part.json"), {"rows": done, "width": width})

    def _finish(self, key: FeatureKey, n: int, width: int) -> None:
        """Give the rows their header, their digest and their name; the record comes last."""
        if n == 0:
            raise BadInput("no images to take features of; check the task's folder or CSV")
        part, whole = self._path(key, ".part"), self._path(key, ".part.npy")
        rows = np.memmap(part, dtype=np.float32, mode="r", shape=(n, width))
        np.save(whole, rows, allow_pickle=False)
        with open(whole, "rb") as file:
            os.fsync(file.fileno())
        os.replace(whole, self._path(key, ".npy"))
        record = {
            "rows": n,
            "width": width,
            "sha256": file_digest(self._path(key, ".npy")),
            "key": plain(key),
        }
        write_json(self._path(key, ".json"), record)
        part.unlink()
        self._path(key, ".part.json").unlink()

    def _path(self, key: FeatureKey, suffix: str) -> Path:
        return self.root / f"{key.name}{suffix}"
