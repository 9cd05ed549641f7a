"""`torch/NAME`: torchvision's data sets, as timm names and opens them."""

import dataclasses
import inspect
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput, Missing, nearest
from featune.engine.images import is_hidden

from ..progress import Progress
from .request import Data, Request, numbered, unlabelled
from .tar_members import packed
from .torchvision_items import listed, names_of, pack_of, pixels_of, targets_of

# What timm opens under other names than torchvision's, or with splits of its own.
TIMM = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist", "imagenet", "inaturalist", "inat",
        "places365", "image_folder", "folder")  # fmt: skip
LISTED = ("imagenet", "inaturalist", "inat", "places365", "image_folder", "folder")  # of TIMM, those that take a loader
FOLDERS = ("image_folder", "folder")
# Names of one split, of which a class may know any. Where it knows train and not train only, all others are not train.
SAME = (("train", "training"), ("val", "validation", "valid", "eval", "evaluation"), ("test", "testing"))
HALVES = ("train", "val", "test")
USUAL = ("train", "trainval", "val", "test")


def read_torch(request: Request, progress: Progress) -> Data:
    """Files are used where they lie; what no file holds is packed once as lossless PNG under the cache folder.

    Raises Missing where the data set is not under root and --download is not given or does not succeed.
    """
    name = request.rest.rpartition("/")[2].lower()
    found = _opened(request, name)
    count = min(len(found), request.limit or len(found))
    pixels = pixels_of(found)
    paths: list[str] = []
    if pixels is None:
        paths, targets = listed(request, found, count, progress)
    else:
        targets = targets_of(found)[:count]
    root = Path("/")
    if not paths:
        root, paths = packed(pack_of(found, pixels, count, progress), count, progress)
    names = names_of(found)
    if name in FOLDERS:
        paths, targets, names = _visible(request.folder, paths, targets, names or [])
    labels, classes = numbered(request.text, [None] * len(paths) if request.target_key == "" else targets, names)
    return Data(request.name, dataclasses.replace(unlabelled(root, paths), labels=labels), classes)


def _visible(
    folder: Path, paths: list[str], targets: list[Any], names: list[str]
) -> tuple[list[str], list[Any], list[str]]:
    """(files, their classes' names, all names) of a folder without hidden ones, which torchvision takes for data."""
    kept = [at for at, path in enumerate(paths) if not is_hidden(os.path.relpath(path, folder))]
    called = [None if targets[at] is None else names[targets[at]] for at in kept]
    return [paths[at] for at in kept], called, [name for name in names if not is_hidden(name)]


def torch_splits(request: Request, progress: Progress) -> list[str]:
    """The splits that the class knows by the usual names; none where it has no splits."""
    name = request.rest.rpartition("/")[2].lower()
    if name in FOLDERS:
        return [split for split in HALVES if (request.folder / split).is_dir()]
    if name in LISTED:
        return ["train", "val"]
    kind = _classes().get(name.replace("_", ""))
    takes = inspect.signature(kind).parameters if kind else {}
    if name in TIMM or "train" in takes:
        return ["train", "test"]
    if kind is None or "split" not in takes:
        return []
    return [split for split in USUAL if _is_known(dataclasses.replace(request, split=split, download=False), kind)]


def _is_known(request: Request, kind: Any) -> bool:
    """Whether the class takes the split, be it there or not."""
    try:
        _builder(request, kind)()
    except (ValueError, KeyError):
        return False
    except (RuntimeError, AssertionError, OSError, ImportError):
        return True
    return True


def _opened(request: Request, name: str) -> Any:
    """torchvision's data set; one that lists files gives (path, target) instead of opening them."""
    from timm.data import create_dataset

    if name in TIMM and request.split is None:
        raise BadInput(f"{request.text}: no split given; give --split, train or validation for example")
    if name in TIMM and name not in LISTED:
        _half(request)  # timm would read what it does not know as test
    build: Callable[[], Any]
    if name in TIMM:
        more = {"loader": str} if name in LISTED else {}
        build = lambda: create_dataset(  # noqa: E731
            f"torch/{name}", str(request.folder), split=request.split, download=request.download, **more
        )
    else:
        known = _classes()
        if name.replace("_", "") not in known:
            raise BadInput(f"{request.text}: torchvision has no {name}{nearest(name, {*known, *TIMM})}")
        build = _builder(request, known[name.replace("_", "")])
    try:
        return build()
    except ImportError as error:
        raise Missing(f"{request.text}: {error}; install what torchvision needs to read it") from error
    except (RuntimeError, AssertionError, OSError) as error:
        if "pip install" in str(error):
            raise Missing(f"{request.text}: {error}") from error
        tried = "could not be downloaded" if request.download else "is not there; give --download"
        raise Missing(f"{request.text} under {request.folder}: {tried}, or put the files there ({error})") from error
    except (ValueError, KeyError) as error:
        raise BadInput(f"{request.text}: {error}; choose another --split, or fetch the files again") from error


def _classes() -> dict[str, Any]:
    """torchvision's data sets by name, in small letters and without underscores."""
    import torchvision.datasets as sets

    return {name.lower(): getattr(sets, name) for name in sets.__all__ if inspect.isclass(getattr(sets, name))}


def _builder(request: Request, kind: Any) -> Callable[[], Any]:
    takes = inspect.signature(kind).parameters
    more_needed = [
        name for name, one in takes.items() if one.default is one.empty and one.kind is one.POSITIONAL_OR_KEYWORD
    ]
    if next(iter(takes)) != "root" or set(more_needed) - {"root", "split", "train"}:
        raise BadInput(
            f"{request.text}: torchvision's {kind.__name__}({', '.join(takes)}) needs more than a folder and a split; "
            "give a folder or a table of its images"
        )
    more: dict[str, Any] = {"loader": str} if "loader" in takes else {}
    if "download" in takes:
        more["download"] = request.download
    if "train" in takes or "split" in takes:
        if request.split is None:
            raise BadInput(f"{request.text}: no split given; give --split, train or test for example")
        if "train" in takes:
            more["train"] = _half(request) == "train"
        else:
            return lambda: _of_split(kind, request, more)
    elif request.split:
        raise BadInput(f"{request.text}: no split {request.split!r}, it has no splits; leave --split out")
    return lambda: kind(str(request.folder), **more)


def _of_split(kind: Any, request: Request, more: dict[str, Any]) -> Any:
    """The data set by the split's name, or by another name of the same that the class knows."""
    names = next((same for same in SAME if request.split in same), ())
    first = None
    for name in dict.fromkeys((request.split, *names)):
        try:
            return kind(str(request.folder), split=name, **more)
        except (ValueError, KeyError) as error:
            first = first or error
    assert first is not None
    raise first


def _half(request: Request) -> str:
    """train, val or test, the last two of which are one."""
    given = request.split or ""
    split = next((same[0] for same in SAME if given in same), given)
    if split not in HALVES:
        raise BadInput(
            f"{request.text}: no split {request.split!r}{nearest(split, HALVES)}; one of {', '.join(HALVES)}"
        )
    return split
