"""Data strings: one text that names a folder, a table, tar shards, a prepared task, or a data set of a library.

| text | images |
|---|---|
| `DIR` | flat, in class folders, or in train, val and test folders |
| `FILE.csv`, `FILE.parquet` | a table of paths, and labels if it has them |
| `FILE.tar`, a folder of tars | members of tars, read in place |
| a folder with task.json, `NAME` | a prepared task; by name where it lies under root |
| `wds/PATTERN` | WebDataset shards, read in place |
| `torch/NAME` | torchvision |
| `hfds/OWNER/NAME[:CONFIG]`, `hfds/DIR` | Hugging Face datasets |
| `generated/NAME[:SEED]` | drawn here, for trials and miniature studies |
"""

import dataclasses
from collections.abc import Callable
from pathlib import Path

from featune.engine.errors import BadInput, Missing, nearest

from ..catalogue import TASKS
from ..progress import Progress, Silent
from ..tasks import PARQUET, refuse_file
from .files import read_csv, read_folder, read_generated, read_tars, read_task
from .huggingface import read_hub
from .request import Data, Request, with_class_map
from .torchvision_names import read_torch
from .webdataset_shards import read_wds

LIBRARIES: dict[str, Callable[[Request, Progress], Data]] = {
    "torch": read_torch, "hfds": read_hub, "wds": read_wds, "generated": read_generated,
}  # fmt: skip
STREAMED = ("hfids", "tfds")  # timm's other prefixes, which have no order to come back to


def open_data(request: Request, progress: Progress | None = None) -> Data:
    """The images that a data string names, in an order that never changes, with labels where the source has them.

    Raises BadInput for a string, split, key or layout that is not understood, and Missing where a library or the
    data is not on this machine.
    """
    if request.limit is not None and request.limit < 1:
        raise BadInput(f"limit {request.limit} found; expected at least 1 image")
    data = _read(request, progress or Silent())
    if request.limit is not None:
        data = dataclasses.replace(data, items=data.items.take(range(min(request.limit, len(data.items)))))
    if request.channels is not None:
        data = dataclasses.replace(data, items=dataclasses.replace(data.items, channels=request.channels))
    if request.class_map is not None:
        data = with_class_map(data, request.class_map)
    if not len(data.items):
        raise BadInput(f"{data.name}: no images found; choose another --split or --class-map")
    return data


def library_of(text: str) -> str:
    """torch, hfds or wds where a data string begins with it, else nothing."""
    prefix, slash, _ = text.partition("/")
    return prefix.lower() if slash and prefix.lower() in LIBRARIES else ""


def _read(request: Request, progress: Progress) -> Data:
    if library := library_of(request.text):
        return LIBRARIES[library](request, progress)
    prefix, slash, _ = request.text.partition("/")
    if slash and prefix.lower() in STREAMED:
        raise BadInput(f"{request.text}: {prefix}/ streams without an order to come back to; use hfds/, wds/ or torch/")
    path = Path(request.text)
    suffix = path.suffix.lower()
    if suffix == ".csv" or suffix in PARQUET:
        return read_csv(request, path)
    if suffix == ".tar" and path.is_file():
        return read_tars(request, path, progress)
    if (path / "task.json").exists():
        return read_task(request, path)
    if path.is_dir():
        return read_tars(request, path, progress) if holds_tars(path) else read_folder(request, path)
    return _read_by_name(request)


def holds_tars(folder: Path) -> bool:
    """Whether tars lie in it and no folders."""
    found = [path for path in folder.iterdir() if not path.name.startswith(".")]
    return any(path.suffix == ".tar" for path in found) and not any(path.is_dir() for path in found)


def _read_by_name(request: Request) -> Data:
    folder = request.folder / request.text
    if (folder / "task.json").exists():
        return read_task(request, folder)
    if request.text in TASKS:
        raise Missing(f"{folder}: {request.text} is not prepared there; run `featune prepare {request.text} --raw DIR`")
    refuse_file(Path(request.text))
    known = [*TASKS, *(f"{prefix}/" for prefix in LIBRARIES)]
    raise BadInput(
        f"{request.text}: no such file, folder or prepared task{nearest(request.text, known)}; expected a folder, a "
        f".csv, .parquet or .tar file, a task's name, or torch/NAME, hfds/OWNER/NAME, wds/PATTERN"
    )
