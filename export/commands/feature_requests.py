"""From a model to the file of its features: the checked graph, the key that names it all, and how to open it."""

import contextlib
import dataclasses
import functools
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from featune.engine.errors import BadImages, BadInput
from featune.engine.features import FeatureKey, FeatureRequest
from featune.engine.images import Decoder, Labelled, eval_view, read_image
from featune.engine.models import LOGITS, ModelSpec, View, with_channels
from featune.engine.store import digest

from ..backends import (
    Asked,
    backend_named,
    library_of,
    open_artefact,
    open_plan,
    open_runner,
    read_plan,
    require_plan,
)
from ..contract import contract_of
from ..gate import own_sample, require_passing

SAMPLE = 64  # images of the data on which an export is compared with torch
CALIBRATION = 160  # for int8, which is calibrated on some and judged on the others


@dataclasses.dataclass(frozen=True)
class RunSettings:
    """How models run. backend, device, precision: as in `featune export`; decoder: see engine/images/views.py.

    allow_fallback: another provider than the device's may run, which the name of the features then says.
    """

    backend: str = "onnxruntime"
    device: str = "cpu"
    precision: str = "fp32"
    decoder: Decoder = "fast"
    allow_fallback: bool = False

    def place(self, backend: str) -> str:
        """The backend and device of rows, as their key has it."""
        return f"{backend}:{self.device}{' or fallback' if self.allow_fallback else ''}"


def request_of_spec(spec: ModelSpec, items: Labelled, how: RunSettings, cache: Path) -> FeatureRequest:
    """The file of features of a spec; its graph is made in the cache, and checked on the items, where absent.

    The spec is taken with the items' channels.
    """
    backend = backend_named(how.backend)
    backend.check(how.backend, how.device, how.precision)
    backend.require(how.device)
    spec = with_channels(spec, items.channels)

    @functools.cache
    def images() -> Tensor:
        return sample_images(items, spec.view, CALIBRATION if how.precision in ("int8", "auto") else SAMPLE)

    ready = backend.ready(Asked(spec, how.device, cache, images, precision=how.precision))
    key = FeatureKey(
        spec.digest,
        spec.view,
        items.content_digest,
        how.place(how.backend),
        ready.precision,
        ready.artefact,
        how.decoder,
        "logits" if spec.tap == LOGITS else "features",
    )

    def opened(threads: int) -> Any:
        return open_runner(
            spec, how.backend, device=how.device, cache=cache, sample=images, threads=threads,
            precision=how.precision, allow_fallback=how.allow_fallback,
        )  # fmt: skip

    return FeatureRequest(key, opened, spec.name)


def request_of_artefact(path: Path, items: Labelled, how: RunSettings, *, logits: bool = False) -> FeatureRequest:
    """The file of features of a file that `featune export` wrote, refused without a passing verdict.

    logits: its output of source classes in place of features. Raises BadInput where it has none, and where its images
    have other channels than the items.
    """
    contract, verdict = contract_of(path), require_passing(path)
    view = View(**contract["spec"]["view"])
    items.require_channels(view.channels)
    if logits and not contract.get("classes"):
        raise BadInput(f"{path} gives features, and no logits, which are needed; export it again with --logits")
    key = FeatureKey(
        digest(contract["spec"]), view, items.content_digest, how.place("onnxruntime"), contract["precision"],
        verdict["content"], how.decoder, "logits" if logits else "features",
    )  # fmt: skip

    def opened(threads: int) -> Any:
        output = "logits" if logits else None
        return open_artefact(path, how.device, threads=threads, output=output, allow_fallback=how.allow_fallback)

    return FeatureRequest(key, opened, contract["spec"]["name"])


def request_of_plan(path: Path, items: Labelled, how: RunSettings, *, logits: bool = False) -> FeatureRequest:
    """The file of features of a TensorRT plan, as of an artefact; it runs on the GPU that it was built for."""
    header, _ = read_plan(path)
    if logits and not header.contract.get("classes"):
        raise BadInput(f"{path} gives features, and no logits, which are needed; build it of an export with --logits")
    require_plan(header, path)
    if torch.device(how.device).type != "cuda":
        raise BadInput(f"{path} is a plan for {header.key.gpu}, found --device {how.device}; give --device cuda")
    contract = header.contract
    view = View(**contract["spec"]["view"])
    items.require_channels(view.channels)
    key = FeatureKey(
        digest(contract["spec"]), view, items.content_digest, how.place(library_of(header.key)), header.precision,
        header.content, how.decoder, "logits" if logits else "features",
    )  # fmt: skip
    output = "logits" if logits else None
    return FeatureRequest(key, lambda threads: open_plan(path, how.device, output=output), contract["spec"]["name"])


def sample_images(items: Labelled, view: View, count: int) -> Tensor:
    """uint8 [count or fewer, channels, side, side] of images spread over the items; unreadable ones are passed over.

    Where fewer than two can be read, the project's own sample set makes up for the others.
    """
    order = np.unique(np.linspace(0, len(items) - 1, min(len(items), 2 * count)).round().astype(int))
    order = np.concatenate([order[::2], order[1::2]])
    squares = []
    for index in order.tolist():
        with contextlib.suppress(BadImages):
            squares.append(eval_view(view)(read_image(items.file(index), items.channels)))
        if len(squares) == count:
            break
    if len(squares) < 2:
        squares += list(own_sample(view, count - len(squares)).images.numpy())
    return torch.from_numpy(np.stack(squares))
