"""CIFAR-10 and CIFAR-100: pickled batches, read without running code, written as one PNG per image."""

import functools
import pickle
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from featune.engine.errors import BadInput
from featune.engine.images import Labelled

from ..tasks import labelled_files
from .list_files import AGAIN, need, whole
from .unpacked_download import Copy, Found, Loader, copied, folder_of


def cifar10(raw: Path, variant: str, made: Path) -> Found:
    root = folder_of(raw, "cifar-10-batches-py", holds="batches.meta")
    files = {"train": [f"data_batch_{i}" for i in range(1, 6)], "test": ["test_batch"]}
    return _cifar(root, made, files, "labels", ("batches.meta", "label_names"))


def cifar100(raw: Path, variant: str, made: Path) -> Found:
    root = folder_of(raw, "cifar-100-python", holds="meta")
    return _cifar(root, made, {"train": ["train"], "test": ["test"]}, "fine_labels", ("meta", "fine_label_names"))


def _cifar(root: Path, made: Path, files: dict[str, list[str]], key: str, meta: tuple[str, str]) -> Found:
    """Pickled batches to one PNG per image; data is uint8 [n, 3072], all red, then all green, then all blue."""
    classes = tuple(map(str, _unpickled(root / meta[0], meta[1])[meta[1]]))
    splits: dict[str, Labelled] = {}
    copies: list[Copy] = []
    for split, names in files.items():
        batches = [_batch(root / name, key) for name in names]
        pixels = np.concatenate([data for data, _ in batches]).reshape(-1, 3, 32, 32).transpose(0, 2, 3, 1)
        sources = [(root / name,) for name, (data, _) in zip(names, batches, strict=True) for _ in data]
        paths = [f"{split}/{number:05}.png" for number in range(len(pixels))]
        items = labelled_files(made, paths, [label for _, labels in batches for label in labels])
        splits[split], more = copied(items, made, paths, functools.partial(_picture, pixels), sources)
        copies += more
    counted = {split: len(items) for split, items in splits.items()}
    return Found(splits, classes, counted, f"{root}: official train and test", copies=tuple(copies))


def _batch(path: Path, key: str) -> tuple[np.ndarray, list[int]]:
    """Pixels uint8 [n, 3072] and the label of each."""
    batch = _unpickled(path, "data", key)
    data, labels = np.asarray(batch["data"]), batch[key]
    if data.dtype != np.uint8 or data.shape != (len(labels), 3072):
        raise BadInput(
            f"{path}: uint8 [{len(labels)}, 3072] expected for {len(labels)} labels, {data.dtype} {list(data.shape)} "
            f"found; {AGAIN}"
        )
    return data, [whole(label, path) for label in labels]


def _picture(pixels: np.ndarray, index: int) -> Image.Image:
    return Image.fromarray(pixels[index])


class _Arrays(pickle.Unpickler):
    """Reads pickles that hold text, numbers and arrays; any other class could run code, and is refused."""

    def find_class(self, module: str, name: str) -> Any:
        if module in ("numpy.core.multiarray", "numpy._core.multiarray") and name == "_reconstruct":
            return np._core.multiarray._reconstruct  # type: ignore[attr-defined]
        if (module, name) in (("numpy", "ndarray"), ("numpy", "dtype")):
            return getattr(np, name)
        if (module, name) == ("_codecs", "encode"):
            return lambda text, encoding: text.encode(encoding)
        raise BadInput(f"a pickle asks for {module}.{name}; expected arrays and text only; fetch CIFAR again")


def _unpickled(path: Path, *keys: str) -> dict[str, Any]:
    """The dictionary in the file, with these keys among its own."""
    with open(need(path), "rb") as file:
        try:
            found = _Arrays(file, encoding="latin1").load()
        except BadInput:
            raise
        except Exception as error:  # half a pickle can raise anything
            raise BadInput(f"{path}: not a whole pickle ({error}); {AGAIN}") from error
    if not isinstance(found, dict) or not set(keys) <= set(found):
        raise BadInput(f"{path}: a pickled dictionary with {' and '.join(keys)} expected; {AGAIN}")
    return found


LOADERS: dict[str, Loader] = {"cifar10": cifar10, "cifar100": cifar100}
