"""Tiny images and models that tests share; all made here, nothing downloaded."""

import errno
import functools
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

os.environ["HF_HUB_OFFLINE"] = "1"  # a test that would reach for the hub fails at once instead of waiting
os.environ["OMP_NUM_THREADS"] = "1"  # tests run side by side; idle threads of small networks would only spin

from fake_tensorrt import Fake, installed

from featune.engine.images import Labelled
from featune.engine.models import ModelSpec, spec_from_entry, state_digest
from featune.export.graph import onnx_export


@pytest.fixture(scope="session", autouse=True)
def cache_of_its_own(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    """Tests leave the user's cache alone."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("FEATUNE_CACHE_DIR", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture
def files_of_at_most() -> Iterator[Callable[[int], None]]:
    """Files of this process can grow to so many bytes from the call on, to the end of the test."""
    resource = pytest.importorskip("resource")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    yield lambda most: resource.setrlimit(resource.RLIMIT_FSIZE, (most, before[1]))
    resource.setrlimit(resource.RLIMIT_FSIZE, before)


class Kept:
    """What torch made of a model, as long as the model stays the same: its graph, and the program where it is saved."""

    def __init__(self, graph: bytes, again: Callable[[], Any]):
        self.graph, self.again = graph, again

    @property
    def model_proto(self) -> Any:
        import onnx

        return onnx.load_from_string(self.graph)

    def save(self, *arguments: Any, **options: Any) -> None:
        self.again().save(*arguments, **options)


@pytest.fixture(scope="session", autouse=True)
def each_model_exported_once() -> Iterator[None]:
    """torch takes seconds to trace the smallest network, and dozens of tests need the graph of the same one.

    The same: architecture, view, weights and outputs. A factory's code may be anything, so it is always traced.
    """
    real, known = onnx_export._exported, dict[Any, bytes]()

    def exported(spec: ModelSpec, model: Any, example: Any, outputs: list[str], optimise: bool) -> Any:
        again = functools.partial(real, spec, model, example, outputs, optimise)
        if spec.is_factory:
            return again()
        key = (spec.digest, state_digest(model), str(model), tuple(example.shape), tuple(outputs), optimise)
        if key not in known:
            known[key] = again().model_proto.SerializeToString()
        return Kept(known[key], again)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(onnx_export, "_exported", exported)
        yield


COLOURS = {"blue": (40, 60, 200), "green": (50, 190, 70), "red": (210, 60, 50)}


def write_image(path: Path, colour: tuple[int, int, int], seed: int, size: tuple[int, int] = (48, 40)) -> Path:
    """A noisy plain image, by a seed."""
    noise = np.random.default_rng(seed).normal(0, 40, (size[1], size[0], 3))
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray((np.array(colour) + noise).clip(0, 255).astype(np.uint8)).save(path)
    return path


@pytest.fixture
def image_folder(tmp_path: Path) -> Callable[..., Path]:
    """Makes `<split>/<class>/<number>.png` for three colours; counts: images per class in each split."""

    def make(name: str = "colours", **counts: int) -> Path:
        counts = counts or {"train": 8, "val": 4, "test": 5}
        for number, (split, count) in enumerate(counts.items()):
            for kind, (colour, rgb) in enumerate(COLOURS.items()):
                for i in range(count):
                    write_image(tmp_path / name / split / colour / f"{i}.png", rgb, 1000 * number + 100 * kind + i)
        return tmp_path / name

    return make


@pytest.fixture
def items(tmp_path: Path) -> Labelled:
    """Eleven images of different sizes and their classes."""
    paths, labels = [], []
    for i in range(11):
        colour = list(COLOURS.values())[i % 3]
        write_image(tmp_path / "items" / f"{i:02}.png", colour, i, (40 + 3 * i, 60 - 2 * i))
        paths.append(f"{i:02}.png")
        labels.append((i % 3,))
    return Labelled(str(tmp_path / "items"), tuple(paths), tuple(labels))


@pytest.fixture(scope="session")
def spec() -> ModelSpec:
    """A residual network of 0.4 million random weights on 32 x 32 pixels."""
    return spec_from_entry({"architecture": "test_resnet", "pretrained": False, "side": 32})


@pytest.fixture
def trt(monkeypatch: pytest.MonkeyPatch) -> Callable[..., Fake]:
    """Puts a fake TensorRT and a fake GPU where the code finds the real ones."""
    return functools.partial(installed, monkeypatch)


def unpacked(path: Path | str) -> dict[str, Any]:
    """The arrays of an .npz, its file closed."""
    with np.load(path) as held:
        return dict(held)


@pytest.fixture
def refuse_writing(monkeypatch: pytest.MonkeyPatch) -> Callable[[], None]:
    """From its call on no file below is written or locked, as on a read-only disk or in another user's folder."""

    def refused(*arguments: Any, **options: Any) -> None:
        raise OSError(errno.EROFS, os.strerror(errno.EROFS))

    def refuse() -> None:
        monkeypatch.setattr("filelock.FileLock.acquire", refused)
        monkeypatch.setattr("tempfile.mkstemp", refused)
        monkeypatch.setattr("tempfile.mkdtemp", refused)

    return refuse
