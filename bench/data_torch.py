"""`torch/NAME`: torchvision's data sets, as timm names and opens them."""

import dataclasses
import hashlib
import inspect
import io
import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from bench.data import Data, Request, numbered, unlabelled
from bench.shards import Pack, packed
from engine.errors import BadInput, Missing, nearest
from engine.store import digest

# What timm opens under other names than torchvision's, or with splits of its own.
TIMM = ("cifar10", "cifar100", "mnist", "kmnist", "fashion_mnist", "qmnist", "imagenet", "inaturalist", "inat",
        "places365", "image_folder", "folder")  # fmt: skip
LISTED = ("imagenet", "inaturalist", "inat", "places365", "image_folder", "folder")  # of TIMM, those that take a loader
# timm's names of splits. Where a class knows train and not train only, all others are not train.
SYNONYMS = {"training": "train", "validation": "val", "valid": "val", "eval": "val", "evaluation": "val",
            "testing": "test"}  # fmt: skip
HALVES = ("train", "val", "test")
# Classes that list their files but take no loader: their files and targets.
FILES: dict[str, Callable[[Any], list[tuple[Any, Any]]]] = {
    "OxfordIIITPet": lambda found: list(zip(found._images, found._labels, strict=True)),
    "GTSRB": lambda found: list(found._samples),
}


def read_torch(request: Request) -> Data:
    """Files are used where they lie; arrays are packed once as lossless PNG under the cache folder.

    Raises Missing where the data set is not under root and --download is not given or does not succeed.
    """
    name = request.rest.rpartition("/")[2].lower()
    found = _opened(request, name)
    count = min(len(found), request.limit or len(found))
    listed = _listed(found, name, count)
    if listed is not None:
        paths = [os.path.abspath(path) for path, _ in listed]
        targets, root = [target for _, target in listed], Path("/")
    else:
        root, paths = packed(_pack(request, found), count)
        targets = list(_targets(found))[:count]
    labels, classes = numbered(request.text, [None] * count if request.target_key == "" else targets, _names(found))
    return Data(request.name, dataclasses.replace(unlabelled(root, paths), labels=labels), classes)


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
            raise BadInput(f"{request.text}: torchvision has no {name}{nearest(name, [*known, *TIMM])}")
        build = _builder(request, known[name.replace("_", "")])
    try:
        return build()
    except (RuntimeError, AssertionError, OSError) as error:
        tried = "could not be downloaded" if request.download else "is not there; give --download"
        raise Missing(f"{request.text} under {request.folder}: {tried}, or put the files there ({error})") from error
    except (ValueError, KeyError) as error:
        raise BadInput(f"{request.text}: {error}; choose another --split") from error


def _classes() -> dict[str, Any]:
    """torchvision's data sets by name, in small letters and without underscores."""
    import torchvision.datasets as sets

    return {name.lower(): getattr(sets, name) for name in sets.__all__ if inspect.isclass(getattr(sets, name))}


def _builder(request: Request, kind: Any) -> Callable[[], Any]:
    takes = inspect.signature(kind).parameters
    more: dict[str, Any] = {"loader": str} if "loader" in takes else {}
    if "download" in takes:
        more["download"] = request.download
    if "train" in takes or "split" in takes:
        if request.split is None:
            raise BadInput(f"{request.text}: no split given; give --split, train or test for example")
        if "train" in takes:
            more["train"] = _half(request) == "train"
        else:
            more["split"] = SYNONYMS.get(request.split, request.split)
    elif request.split:
        raise BadInput(f"{request.text}: no split {request.split!r}, it has no splits; leave --split out")
    return lambda: kind(str(request.folder), **more)


def _half(request: Request) -> str:
    """train, val or test, the last two of which are one."""
    split = SYNONYMS.get(request.split or "", request.split or "")
    if split not in HALVES:
        raise BadInput(
            f"{request.text}: no split {request.split!r}{nearest(split, HALVES)}; one of {', '.join(HALVES)}"
        )
    return split


def _listed(found: Any, name: str, count: int) -> list[tuple[str, Any]] | None:
    """(file, target) of each image where the data set has a file for each; else None."""
    if type(found).__name__ in FILES:
        return [(str(path), target) for path, target in FILES[type(found).__name__](found)[:count]]
    if getattr(found, "loader", None) is not str:
        return None
    return [found[number] for number in range(count)]


def _pack(request: Request, found: Any) -> Pack:
    if not hasattr(found, "data"):
        raise BadInput(
            f"{request.text}: {type(found).__name__} holds neither files nor arrays that can be named by their "
            "content; use hfds/, or `featune tasks` for a task of that name"
        )

    def draw(number: int) -> tuple[str, bytes]:
        encoded = io.BytesIO()
        found[number][0].save(encoded, "PNG", compress_level=1)
        return f"{number:08}.png", encoded.getvalue()

    pixels = np.ascontiguousarray(found.data)
    content = hashlib.sha256(pixels.data).hexdigest()
    return Pack(f"{type(found).__name__.lower()}-{digest([content, pixels.shape])}", len(found), draw)


def _targets(found: Any) -> Sequence[Any]:
    targets = getattr(found, "targets", None)
    targets = getattr(found, "labels", None) if targets is None else targets
    return np.asarray(targets).tolist() if targets is not None else [None] * len(found)


def _names(found: Any) -> list[str] | None:
    classes = getattr(found, "classes", None)
    return [name if isinstance(name, str) else ", ".join(name) for name in classes] if classes else None
