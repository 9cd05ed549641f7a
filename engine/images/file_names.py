"""Which files below a folder are images, by their names, and what is left out."""

import collections
import itertools
import os
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

from ..errors import BadInput

# Of the formats that `decoding.py` opens; docs/data.md lists them. In shards the first that a sample has is its image.
IMAGE_SUFFIXES = (".jpg", ".jpeg", ".png", ".webp", ".tif", ".tiff", ".bmp", ".gif", ".jfif", ".jpe", ".mpo", ".apng",
                  ".avif", ".jp2", ".j2k", ".jpx", ".ppm", ".pgm", ".pbm", ".pnm", ".dib")  # fmt: skip
# What lies beside images and is none: it is left out without a word, all else is counted.
COMPANIONS = (".txt", ".md", ".rst", ".pdf", ".html", ".htm", ".csv", ".tsv", ".parquet", ".pq", ".json", ".jsonl",
              ".xml", ".yaml", ".yml", ".toml", ".ini", ".cfg", ".cls", ".mat", ".npy", ".npz", ".pkl", ".h5", ".log",
              ".db", ".py", ".sh", ".ipynb", ".tar", ".zip", ".gz", ".tgz", ".xlsx")  # fmt: skip
# Folders that network drives, archivers and systems make beside the user's own, as hidden as those with a dot.
SYSTEM_FOLDERS = ("@eaDir", "__MACOSX", "#recycle", "@Recycle", "$RECYCLE.BIN", "System Volume Information",
                  "lost+found")  # fmt: skip


def image_files(folder: Path, left_out: collections.Counter[str] | None = None) -> list[str]:
    """The image files below a folder, seen from it, sorted as paths are, without hidden ones (`is_hidden`).

    Links to folders are followed, unless they lead back to a folder that they lie in. left_out: gets the number of
    files that are no images by their names, by suffix. Raises BadInput for a folder below that cannot be listed: its
    images would be missing in silence.
    """

    found = []
    for place, folders, files in _visible(folder):
        prefix = os.path.relpath(place, folder) + "/" if place != os.fspath(folder) else ""
        for name in itertools.chain(folders, files):  # a folder named like an image is reported as no image
            if is_image_name(name):
                found.append(prefix + name)
        if left_out is not None:
            count_left_out(files, left_out)
    # Text alone, for a million of Path objects takes half a gigabyte.
    return sorted(found, key=lambda path: path.replace("/", "\0"))


def holds_images(folder: Path) -> bool:
    """Whether there is an image in a folder or below it."""
    return any(is_image_name(name) for _, _, files in _visible(folder) for name in files)


def is_hidden(path: str) -> bool:
    """Whether a path's name, or a folder on its way, is hidden: by a dot, or as a system's own such as `@eaDir`."""
    return any((part[:1] == "." and part not in (".", "..")) or part in SYSTEM_FOLDERS for part in path.split("/"))


def is_image_name(name: str) -> bool:
    """Whether a file is an image by its name, which is not hidden."""
    return name.lower().endswith(IMAGE_SUFFIXES) and not name.startswith(".")


def count_left_out(names: Iterable[str], left_out: collections.Counter[str]) -> None:
    """Count the files that are no images by their names, by suffix; hidden ones and COMPANIONS are none of them."""
    for name in names:
        if not (is_image_name(name) or is_hidden(name)):
            suffix = os.path.splitext(name)[1].lower()
            if suffix not in COMPANIONS and not name.upper().startswith(("README", "LICENSE", "LICENCE")):
                left_out[suffix or "no suffix"] += 1


def describe_left_out(left_out: Mapping[str, int], shown: int = 5) -> str:
    """A sentence on the files that are no images by their names, or nothing where there are none."""
    if not left_out:
        return ""
    most = sorted(left_out.items(), key=lambda one: (-one[1], one[0]))
    listed = ", ".join(f"{count} {suffix}" for suffix, count in most[:shown])
    return (
        f"files left out: {listed}{', ...' if len(most) > shown else ''}; expected suffixes of images "
        f"({' '.join(IMAGE_SUFFIXES[:3])} ..., docs/data.md lists them), save others as .png or .jpg"
    )


def _visible(folder: Path) -> Iterator[tuple[str, list[str], list[str]]]:
    """`os.walk` with links followed, without hidden folders and those that lead back."""

    def refuse(error: OSError) -> None:
        raise BadInput(f"{error.filename}: cannot be listed: {error.strerror}; change its permissions or remove it")

    for place, folders, files in os.walk(folder, onerror=refuse, followlinks=True):
        folders[:] = [name for name in folders if not is_hidden(name)]
        yield place, folders, files
        folders[:] = [name for name in folders if not _leads_back(os.path.join(place, name))]


def _leads_back(folder: str) -> bool:
    """Whether it is a link to a folder that it lies in, be it through other links."""
    if not os.path.islink(folder):
        return False
    real = os.path.realpath(folder)
    above = (os.path.realpath(parent) for parent in Path(folder).absolute().parents)
    return any(os.path.commonpath([real, parent]) == real for parent in above)
