"""`hfds/owner/name[:config]`: data sets of the Hugging Face hub, or a folder in one of its layouts."""

import contextlib
import dataclasses
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, Missing
from featune.engine.images import image_files
from featune.engine.store import digest

from ..progress import Progress, Silent
from ..tasks import class_folders, images_lie_in, split_folders
from .files import chosen_splits
from .request import Data, Request, marked, numbered, unlabelled
from .tar_members import Pack, packed

BATCH = 1000


def read_hub(request: Request, progress: Progress) -> Data:
    """Images that the data set names as files are used where they lie; encoded bytes are packed once, unchanged.

    Without --download only what the library's cache or a local folder holds is read. The image column is `image`
    or the only one of images, the target `label` or the only column of class labels; keys name others.
    Raises Missing where `datasets` is not installed, or the data set is not here.
    """
    datasets = _library()
    found = _opened(request, datasets, progress)
    count = min(len(found), request.limit or len(found))
    key = request.input_key or _only(request, found, "image", datasets.Image, "--input-key")
    if key is None or key not in found.column_names:
        raise BadInput(f"{request.text}: no column {key or 'of images'}; found {', '.join(found.column_names)}")
    images = found.select_columns([key]).cast_column(key, datasets.Image(decode=False))
    root, paths = _in_place(request, images, key, count) or packed(_pack(request, images, found, key), count, progress)
    labels, classes = numbered(request.text, *_targets(request, found.select(range(count)), datasets))
    return Data(request.name, dataclasses.replace(unlabelled(root, paths), labels=labels), classes)


def hub_splits(request: Request, progress: Progress) -> list[str]:
    """The names of the splits, none where the data set has none."""
    datasets = _library()
    found = _loaded(dataclasses.replace(request, split=None), datasets, progress)
    return list(found) if isinstance(found, datasets.DatasetDict) else []


def _library() -> Any:
    try:
        import datasets
    except ImportError as error:
        raise Missing("datasets is not installed, which hfds/ needs; pip install 'featune[data]'") from error
    return datasets


def _opened(request: Request, datasets: Any, progress: Progress) -> Any:
    """One data set, the splits that are asked for joined."""
    found = _loaded(request, datasets, progress)
    if not isinstance(found, datasets.DatasetDict):
        return found
    parts = [found[split] for split in chosen_splits(request, found)]
    return parts[0] if len(parts) == 1 else datasets.concatenate_datasets(parts)


def _loaded(request: Request, datasets: Any, progress: Progress) -> Any:
    path, colon, config = request.rest.rpartition(":")
    name, part = (path, config) if colon else (request.rest, None)
    try:
        if os.path.isdir(name) and any((Path(name) / file).exists() for file in ("state.json", "dataset_dict.json")):
            found = datasets.load_from_disk(name)
        else:
            offline = not request.download and not os.path.exists(name)
            with _offline(datasets, offline), _muted(datasets, isinstance(progress, Silent)):
                cache = None if request.root is None else str(request.root)
                found = datasets.load_dataset(name, part, split=request.split, cache_dir=cache)
    except (ConnectionError, FileNotFoundError) as error:
        tried = "cannot be fetched" if request.download else "is not on this machine; give --download to fetch it"
        raise Missing(f"{request.text} {tried} ({error})") from error
    except (ValueError, datasets.exceptions.DatasetsError) as error:
        said = str(error).rstrip(".")
        named = any(word in said.lower() for word in ("split", "config"))
        remedy = "choose another --split or configuration" if named else "repair the files or fetch them again"
        raise BadInput(f"{request.text}: {said}; {remedy}") from error
    if request.split is None and isinstance(found, datasets.DatasetDict) and os.path.isdir(name):
        _require_all_images(request, Path(name), sum(map(len, found.values())))
    return found


def _require_all_images(request: Request, folder: Path, rows: int) -> None:
    """The library takes a class folder whose name holds train, val or test for a split, and drops the others."""
    listed = len(image_files(folder))
    if rows >= listed or any(folder.glob("metadata.*")) or split_folders(folder):
        return
    if all(images_lie_in(folder / name) for name in class_folders(folder)):
        raise BadInput(
            f"{request.text}: {listed} images expected, {rows} found, since the library takes folders whose names hold "
            "train, val or test for splits; where they are classes, give the folder itself, without hfds/"
        )


@contextlib.contextmanager
def _offline(datasets: Any, wanted: bool) -> Iterator[None]:
    """The library's offline mode, in which it takes a data set from its cache or not at all."""
    names = [name for name in ("HF_HUB_OFFLINE", "HF_DATASETS_OFFLINE") if hasattr(datasets.config, name)]
    before = {name: getattr(datasets.config, name) for name in names}
    for name in names:
        setattr(datasets.config, name, wanted or before[name])
    try:
        yield
    finally:
        for name, value in before.items():
            setattr(datasets.config, name, value)


@contextlib.contextmanager
def _muted(datasets: Any, wanted: bool) -> Iterator[None]:
    """The library without the progress bars of its own, where ours are silent."""
    shown = wanted and not datasets.are_progress_bars_disabled()
    if shown:
        datasets.disable_progress_bars()
    try:
        yield
    finally:
        if shown:
            datasets.enable_progress_bars()


def _only(request: Request, found: Any, usual: str, kind: Any, option: str) -> str | None:
    """The usual column, or the only one of a kind, or None. Raises BadInput where there are several."""
    if usual in found.column_names:
        return usual
    columns = [name for name, feature in found.features.items() if isinstance(_innermost(feature), kind)]
    if len(columns) > 1:
        raise BadInput(f"{request.text}: columns {', '.join(columns)} found; name one by {option}")
    return columns[0] if columns else None


def _innermost(feature: Any) -> Any:
    """The feature of a list's elements."""
    while hasattr(feature, "feature"):
        feature = feature.feature
    return feature


def _in_place(request: Request, images: Any, key: str, count: int) -> tuple[Path, list[str]] | None:
    """(root, files) where the data set holds paths and no bytes."""
    paths: list[str] = []
    for start in range(0, count, BATCH):
        cells = images[start : min(start + BATCH, count)][key]
        if any(cell is None or cell["bytes"] is not None or not cell["path"] for cell in cells):
            return None
        paths += [os.path.abspath(cell["path"]) for cell in cells]
    absent = next((path for path in paths if not os.path.isfile(path)), None)
    if absent:
        raise BadInput(f"{request.text}: {absent} is listed and not there; fetch the data set again")
    return Path("/"), paths


def _pack(request: Request, images: Any, found: Any, key: str) -> Pack:
    def draw(number: int) -> tuple[str, bytes]:
        cell = images[number][key]
        if not cell or not (cell["bytes"] or cell["path"]):
            raise BadInput(f"{request.text}: row {number} has no image in column {key}; choose another --input-key")
        suffix = Path(cell["path"] or "").suffix or ".img"
        return f"{number:08}{suffix}", cell["bytes"] or Path(cell["path"]).read_bytes()

    # The fingerprint names the rows, whatever became of the files that they were read from.
    key_of_all = digest([request.rest, request.split, key, found._fingerprint])
    return Pack(f"hfds-{Path(request.rest).name.replace(':', '-')}-{key_of_all}", len(found), draw)


def _targets(request: Request, found: Any, datasets: Any) -> tuple[list[Any], list[str] | None]:
    """(targets, class names if the data set has them)."""
    fields = request.target_fields
    key = request.target_key
    if key is None:
        key = _only(request, found, "label", datasets.ClassLabel, "--target-key")
    if not key:
        return [None] * len(found), None
    absent = [name for name in fields or (key,) if name not in found.column_names]
    if absent:
        raise BadInput(f"{request.text}: no column {absent[0]}; found {', '.join(found.column_names)}")
    if fields:
        columns = [found[name][:] for name in fields]
        return [marked(request, row) for row in zip(*columns, strict=True)], list(fields)
    return list(found[key][:]), getattr(_innermost(found.features[key]), "names", None)
