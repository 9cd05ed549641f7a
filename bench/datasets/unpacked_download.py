"""What the loaders of official downloads share: find a folder or say what is missing, list images, write copies."""

import contextlib
import dataclasses
import functools
import itertools
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
from PIL import Image

from featune.engine.errors import BadImages, BadInput
from featune.engine.images import Labelled, read_image

from ..progress import Progress
from ..tasks import where_else
from .list_files import AGAIN

NEAR = 50  # folders that an error looks into for what it misses
EVALUATION = 0.2  # Fang et al.'s code holds out int(0.2 n) of each class


@dataclasses.dataclass(frozen=True)
class Copy:
    """An image that a task needs changed: `file` is to hold, as PNG, what draw() makes of the files `sources`."""

    file: Path
    sources: tuple[Path, ...]
    draw: Callable[[], Image.Image]

    def is_there(self) -> bool:
        newest = max(source.stat().st_mtime_ns for source in self.sources)
        return self.file.exists() and self.file.stat().st_mtime_ns >= newest


@dataclasses.dataclass(frozen=True)
class Found:
    """What a loader found in a download.

    splits: train and test, and val where the data set has one (else it is cut from train). counted: the numbers
    that the catalogue declares, as found. note: how the splits came about. notes: what was left out, and why.
    copies: images of the splits that are still to be written, once the counts are right.
    """

    splits: dict[str, Labelled]
    classes: tuple[str, ...]
    counted: Mapping[str, int]
    note: str
    notes: tuple[str, ...] = ()
    copies: tuple[Copy, ...] = ()


Loader = Callable[[Path, str, Path], Found]  # download, variant, folder for written images


def folder_of(raw: Path, *names: str, holds: str) -> Path:
    """The first of raw/<name>, or raw itself, that holds the file or folder `holds`.

    Raises BadInput, which names a folder near raw that does hold it, if there is one.
    """
    for folder in (*(raw / name for name in names), raw):
        if (folder / holds).exists():
            return folder
    if not raw.is_dir():
        raise BadInput(f"{raw}: no such folder; give --raw the folder that the download was unpacked in")
    there = ", ".join(sorted(p.name for p in raw.iterdir())[:6]) or "nothing"
    expected = " or ".join(f"{name}/{holds}" for name in names)
    near = next((folder for folder in _near(raw) if (folder / holds).exists()), None)
    remedy = f"{holds} is in {near}: give --raw {near}" if near else "unpack the download there or name its folder"
    raise BadInput(f"{raw}: {expected or holds} expected, {there} found; {remedy}")


def _near(raw: Path) -> Iterator[Path]:
    """The folders one and two levels below, few of each, and the one above."""
    below = [Path(entry) for entry in itertools.islice((e for e in os.scandir(raw) if e.is_dir()), NEAR)]
    yield from sorted(below)
    for folder in sorted(below):
        yield from sorted(Path(e) for e in itertools.islice((e for e in os.scandir(folder) if e.is_dir()), NEAR))
    yield raw.absolute().parent


def seeded_evaluation(labels: Sequence[int], classes: int, seed: int) -> list[int]:
    """The indices that Fang et al.'s code evaluates on, sorted: int(0.2 n) of each class, by numpy's old generator.

    labels: in the download's own order, which the draw depends on. Source: get_aptos, get_cassava and get_eurosat
    of their released code (seeds 414, 414, 42).
    """
    rng, chosen = np.random.RandomState(seed), []
    known = np.asarray(labels)
    for number in range(classes):
        members = np.flatnonzero(known == number)
        chosen += rng.choice(members, int(EVALUATION * len(members)), replace=False).tolist()
    return sorted(chosen)


def evaluation_splits(items: Labelled, evaluation: Sequence[int], released: bool) -> dict[str, Labelled]:
    """train and test; as released, val is the test split, on which the released code chose its settings."""
    held = set(evaluation)
    splits = {"train": items.take([i for i in range(len(items)) if i not in held]), "test": items.take(evaluation)}
    return {"train": splits["train"], "val": splits["test"], "test": splits["test"]} if released else splits


def copied(
    items: Labelled,
    made: Path,
    names: Sequence[str],
    draw: Callable[[int], Image.Image],
    sources: Sequence[tuple[Path, ...]],
) -> tuple[Labelled, tuple[Copy, ...]]:
    """(`items` with image i at `made/<names[i]>`, how to write it there: what draw(i) makes of the files sources[i]).

    An image that is listed several times is written once.
    """
    copies = {name: Copy(made / name, sources[i], functools.partial(draw, i)) for i, name in enumerate(names)}
    return dataclasses.replace(items, root=str(made.absolute()), paths=tuple(names)), tuple(copies.values())


def require_sources(copies: Sequence[Copy]) -> None:
    """Raise BadInput with the first of the files that are to be copied and not there, and the number of the others."""
    absent = [file for copy in copies for file in copy.sources if not os.path.isfile(file)]
    if absent:
        elsewhere = where_else("/", str(absent[0]))
        raise BadInput(f"{absent[0]}: no such file, and {len(absent) - 1} more are not there{elsewhere}; {AGAIN}")


def write_copies(copies: Sequence[Copy], progress: Progress) -> None:
    """Write every copy, whole or not at all; one that is newer than its sources is kept.

    Raises BadImages with all sources that cannot be read, and BadInput where a copy cannot be written.
    """
    waiting = [copy for copy in copies if not copy.is_there()]
    problems: list[tuple[str, str]] = []
    if not waiting:
        return
    with progress.stage("writing images") as advance, ThreadPoolExecutor() as pool:
        for done, found in enumerate(pool.map(_write, waiting), 1):
            problems += found
            advance(done, len(waiting))
    if problems:
        raise BadImages(problems)


def _write(copy: Copy) -> tuple[tuple[str, str], ...]:
    """Problems with its sources, if there are any."""
    try:
        image = copy.draw()
    except BadImages as error:
        return error.problems
    part = copy.file.with_name(f".{copy.file.name}.part")
    try:
        copy.file.parent.mkdir(parents=True, exist_ok=True)
        image.save(part, format="PNG", compress_level=1)
        os.replace(part, copy.file)
    except OSError as error:
        with contextlib.suppress(OSError):
            part.unlink(missing_ok=True)
        raise BadInput(f"cannot write {copy.file}: {error.strerror}; make room or choose another --out") from error
    return ()


def swapped(found: Found, made: Path) -> Found:
    """The same with red and blue exchanged, as a network sees what OpenCV reads and nobody converts."""
    splits, copies = {}, list(found.copies)
    for split, items in found.splits.items():
        names = [str(Path(path).with_suffix(".png")) for path in items.paths]
        files = [items.file(i) for i in range(len(items))]
        splits[split], more = copied(items, made, names, functools.partial(_bgr, files), [(file,) for file in files])
        copies += more
    return dataclasses.replace(found, splits=splits, copies=tuple({copy.file: copy for copy in copies}.values()))


def _bgr(files: Sequence[Path], index: int) -> Image.Image:
    return Image.fromarray(np.asarray(read_image(files[index]))[:, :, ::-1].copy())
