"""What the loaders of official downloads share: find a file or say what is missing, read lists, write copies."""

import csv
import dataclasses
import functools
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from engine.decoding import read_image
from engine.encoded import file_of
from engine.errors import BadInput
from engine.images import Labelled, image_files

EVALUATION = 0.2  # Fang et al.'s code holds out int(0.2 n) of each class


@dataclasses.dataclass(frozen=True)
class Found:
    """What a loader found in a download.

    splits: train and test, and val where the data set has one (else it is cut from train). counted: the numbers
    that the catalogue declares, as found. note: how the splits came about. notes: what was left out, and why.
    """

    splits: dict[str, Labelled]
    classes: tuple[str, ...]
    counted: Mapping[str, int]
    note: str
    notes: tuple[str, ...] = ()


Loader = Callable[[Path, str, Path], Found]  # download, variant, folder for written images


def folder_of(raw: Path, *names: str, holds: str) -> Path:
    """The first of raw/<name>, or raw itself, that holds the file or folder `holds`."""
    for folder in (*(raw / name for name in names), raw):
        if (folder / holds).exists():
            return folder
    if not raw.is_dir():
        raise BadInput(f"{raw}: no such folder; give --raw the folder that the download was unpacked in")
    there = ", ".join(sorted(p.name for p in raw.iterdir())[:6]) or "nothing"
    expected = " or ".join(f"{name}/{holds}" for name in names)
    raise BadInput(f"{raw}: {expected or holds} expected, {there} found; unpack the download there or name its folder")


def need(*paths: Path) -> Path:
    """The first of the paths that exists."""
    for path in paths:
        if path.exists():
            return path
    raise BadInput(f"{' or '.join(map(str, paths))}: no such file; the download is partial, fetch and unpack it again")


def lines_of(path: Path) -> list[str]:
    """The lines that say something, without the space around them."""
    return [line.strip() for line in need(path).read_text(encoding="utf-8").splitlines() if line.strip()]


def rows_of(path: Path, *columns: str, delimiter: str = ",") -> list[dict[str, str]]:
    """The lines of a table that has these columns, by name."""
    with open(need(path), newline="", encoding="utf-8-sig") as file:
        rows = list(csv.DictReader(file, delimiter=delimiter))
    absent = [column for column in columns if not rows or column not in rows[0]]
    if absent:
        found = ", ".join(rows[0]) if rows else "nothing"
        raise BadInput(f"{path}: columns {', '.join(columns)} expected, {found} found; fetch the file again")
    return rows


def mat(path: Path) -> dict[str, Any]:
    """MATLAB's variables, without dimensions of length one."""
    from scipy.io import loadmat

    try:
        return loadmat(str(need(path)), squeeze_me=True)
    except (ValueError, TypeError, NotImplementedError) as error:
        raise BadInput(f"{path}: not a MATLAB file ({error}); fetch it again") from error


def items_of(root: Path, paths: Sequence[str], labels: Iterable[int | tuple[int, ...]], **more: Any) -> Labelled:
    numbers = tuple(label if isinstance(label, tuple) else (int(label),) for label in labels)
    return Labelled(str(root.absolute()), tuple(paths), numbers, **more)


def class_folders(folder: Path) -> tuple[str, ...]:
    """The names of a folder's folders, sorted; hidden ones are no classes."""
    return tuple(sorted(p.name for p in folder.iterdir() if p.is_dir() and not p.name.startswith(".")))


def folder_items(root: Path, folder: Path, classes: Sequence[str]) -> Labelled:
    """The images under `folder/<class>`, sorted within each class; paths are seen from root."""
    paths, labels = [], []
    for number, name in enumerate(classes):
        members = folder / name
        found = image_files(members) if members.is_dir() else []
        paths += [f"{members.relative_to(root).as_posix()}/{path}" for path in found]
        labels += [(number,)] * len(found)
    return Labelled(str(root.absolute()), tuple(paths), tuple(labels))


def absent_files(items: Labelled) -> list[int]:
    """The indices of images that are not on the disk."""
    found = functools.cache(os.path.isfile)  # many images may lie in one file
    return [i for i in range(len(items)) if not found(file_of(os.path.join(items.root, items.paths[i])))]


def require_files(items: Labelled) -> None:
    """Raise BadInput with the count and the first of the listed images that are not on the disk."""
    absent = absent_files(items)
    if absent:
        raise BadInput(
            f"{items.root}: {len(items)} listed images expected, {len(items) - len(absent)} found, "
            f"{items.paths[absent[0]]} is not there; the download is partial, fetch and unpack it again"
        )


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


def write_copies(
    items: Labelled, made: Path, names: Sequence[str], draw: Callable[[int], Image.Image], sources: Sequence[Path]
) -> Labelled:
    """`items` with image i replaced by what draw(i) gives, written as `made/<names[i]>` (PNG).

    A copy that is newer than its source is kept, so a killed run goes on where it was. Raises BadImages.
    """

    def write(index: int) -> None:
        target = made / names[index]
        if target.exists() and target.stat().st_mtime_ns >= sources[index].stat().st_mtime_ns:
            return
        target.parent.mkdir(parents=True, exist_ok=True)
        part = target.with_name(f".{target.name}.part")
        draw(index).save(part, format="PNG", compress_level=1)
        os.replace(part, target)

    with ThreadPoolExecutor() as pool:
        for _ in pool.map(write, range(len(items))):
            pass
    return dataclasses.replace(items, root=str(made.absolute()), paths=tuple(names))


def swapped_copies(splits: dict[str, Labelled], made: Path) -> dict[str, Labelled]:
    """The splits with red and blue exchanged, as a network sees what OpenCV reads and nobody converts."""
    return {split: _swapped(items, made) for split, items in splits.items()}


def _swapped(items: Labelled, made: Path) -> Labelled:
    require_files(items)
    names = [str(Path(path).with_suffix(".png")) for path in items.paths]
    # One image may be listed once per annotation; it is written once.
    once = items.take(list({name: index for index, name in enumerate(names)}.values()))
    own = [str(Path(path).with_suffix(".png")) for path in once.paths]
    files = [once.file(i) for i in range(len(once))]
    write_copies(once, made, own, lambda index: _bgr(files[index]), files)
    return dataclasses.replace(items, root=str(made.absolute()), paths=tuple(names))


def _bgr(path: Path) -> Image.Image:
    return Image.fromarray(np.asarray(read_image(path))[:, :, ::-1].copy())
