"""Open a spec on a backend: make the artefact that is missing, check it against torch, open it."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

import torch
from torch import Tensor

from engine.errors import BadInput, nearest
from engine.models import ModelSpec, feature_model
from engine.runners import Runner, onnxruntime_runner, torch_runner
from engine.store import file_digest, locked, plain, read_json, write_json
from export.graph import graph_from_spec, graph_key
from export.parity import Parity, compare, require

BACKENDS = ("torch", "onnxruntime")


@dataclasses.dataclass(frozen=True)
class Artefact:
    """A graph file with its passing verdict. digest: SHA-256 of its bytes."""

    path: Path
    digest: str
    parity: Parity


def artefact(spec: ModelSpec, cache: Path, sample: Callable[[], Tensor]) -> Artefact:
    """The spec's checked graph file, exported where absent.

    sample: gives uint8 images [n, 3, side, side] of the user's data, the model's eval view; called only
    when a verdict is needed. Raises ParityFailed where the graph is not the model; it is then not kept.
    """
    path = cache / "graphs" / f"{graph_key(spec)}.onnx"
    verdict = path.with_suffix(".json")
    with locked(path):
        found = read_json(verdict)
        if found is None or not path.exists() or file_digest(path) != found["sha256"]:
            graph_from_spec(spec, path)
            parity = _check(spec, path, sample())
            found = {"sha256": file_digest(path), "parity": plain(parity)}
            write_json(verdict, found)
    return Artefact(path, found["sha256"], Parity(**found["parity"]))


@contextlib.contextmanager
def open_runner(
    spec: ModelSpec,
    backend: str,
    *,
    device: str = "cpu",
    cache: Path,
    sample: Callable[[], Tensor],
    threads: int | None = None,
) -> Iterator[Runner]:
    """A runner of the spec's features on a backend, checked before it is opened.

    Raises BadInput for an unknown backend, ParityFailed for a wrong export, Missing for an absent device.
    """
    check_backend(backend)
    if backend == "torch":
        with torch_runner(feature_model(spec), device) as runner:
            yield runner
        return
    with onnxruntime_runner(artefact(spec, cache, sample).path, device, threads=threads) as runner:
        yield runner


def check_backend(name: str) -> None:
    if name not in BACKENDS:
        raise BadInput(f"no backend named {name!r}{nearest(name, BACKENDS)}; one of {', '.join(BACKENDS)}")


def _check(spec: ModelSpec, graph: Path, images: Tensor) -> Parity:
    with (
        torch_runner(feature_model(spec)) as reference,
        onnxruntime_runner(graph) as candidate,
        torch.no_grad(),
    ):
        found = compare(reference, candidate, images)
    require(found, spec.name)
    return found
