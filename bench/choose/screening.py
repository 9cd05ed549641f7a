"""What each candidate costs here: its file made and checked, milliseconds of one image, images per second."""

import dataclasses
import statistics
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from torch import Tensor

from featune.engine.errors import BadInput, FeatuneError
from featune.engine.features import FeatureRequest
from featune.engine.images import Labelled
from featune.engine.machine import processors
from featune.engine.models import with_channels
from featune.engine.runners import Runner, device_kind
from featune.export.commands import RunSettings, request_of_spec, sample_images

from ..throughput import measure
from .candidates import Backbone
from .journal import Journal

OPENING_SHARE = 0.35  # of the budget, after which no further candidate is opened
FEWEST = 2  # candidates that are opened whatever the budget
BATCH = {"cpu": 8, "cuda": 64}
SECONDS = 0.5  # of one measurement, after its warm-up
TRIES = 3


@dataclasses.dataclass(frozen=True)
class Opened:
    """A candidate that can be run. ms: median of one image at a time. images_per_second: in batches of `batch`.

    seconds: what opening it took, its file made and judged where the cache had none.
    """

    backbone: Backbone
    ms: float
    images_per_second: float
    batch: int
    seconds: float

    @property
    def name(self) -> str:
        return self.backbone.name


@dataclasses.dataclass(frozen=True)
class Place:
    """Where candidates run. cache: of features and graphs."""

    backend: str
    device: str
    cache: Path

    @property
    def how(self) -> RunSettings:
        return RunSettings(self.backend, self.device)

    def request(self, backbone: Backbone, items: Labelled) -> FeatureRequest:
        return request_of_spec(with_channels(backbone.spec, items.channels), items, self.how, self.cache)


def open_all(
    backbones: Sequence[Backbone],
    items: Labelled,
    place: Place,
    journal: Journal,
    *,
    seconds: float,
    max_ms: float | None = None,
    told: Callable[[str], None] = lambda text: None,
    speed: Callable[[Backbone, Labelled, Place], dict[str, Any]] | None = None,
) -> tuple[list[Opened], dict[str, str], dict[str, Opened]]:
    """(those that go on, {name: why not} of the others, those that were timed and are too slow).

    seconds: the whole budget, of which opening takes OPENING_SHARE; the candidates after that are left out, but for
    the first FEWEST. max_ms: a candidate that takes longer for one image is dropped.
    """
    measured = speed or speed_of
    found: list[Opened] = []
    out: dict[str, str] = {}
    slow: dict[str, Opened] = {}
    for backbone in backbones:
        if len(found) >= FEWEST and journal.seconds > OPENING_SHARE * seconds:
            out[backbone.name] = f"not tried: opening the models before it took {100 * OPENING_SHARE:.0f} % of the time"
            continue
        inputs = [backbone.spec.digest, items.channels, place.backend, place.device]

        def opened(backbone: Backbone = backbone) -> dict[str, Any]:
            try:
                return measured(backbone, items, place)
            except FeatuneError as error:
                return {"error": str(error)}

        value = journal.once(f"open {backbone.name}", inputs, opened)
        if "error" in value:
            out[backbone.name] = f"failed: {value['error']}"
            journal.forget(f"open {backbone.name}", inputs)
            told(f"{backbone.name}: {out[backbone.name]}")
            continue
        one = Opened(
            backbone, value["ms"], value["images_per_second"], value["batch"],
            journal.took(f"open {backbone.name}", inputs),
        )  # fmt: skip
        told(f"{one.name}: {one.ms:.3g} ms an image, {one.images_per_second:,.0f} images/s")
        if max_ms is not None and one.ms > max_ms:
            out[one.name] = f"dropped: {one.ms:.3g} ms an image, at most {max_ms:g} allowed"
            slow[one.name] = one
        else:
            found.append(one)
    return found, out, slow


def speed_of(backbone: Backbone, items: Labelled, place: Place) -> dict[str, Any]:
    """Opens a candidate, which makes and judges its file, and times it on images of the data."""
    threads = processors()
    spec = with_channels(backbone.spec, items.channels)
    batch = BATCH[device_kind(place.device)]
    images = sample_images(items, spec.view, batch)
    images = images.repeat(-(-batch // len(images)), 1, 1, 1)[:batch].to(place.device)
    with place.request(backbone, items).open(threads) as runner:
        alone, together = _seconds(runner, images[:1]), _seconds(runner, images)
    return {"ms": 1000 * alone, "images_per_second": batch / together, "batch": batch, "threads": threads}


def _seconds(runner: Runner, images: Tensor) -> float:
    """Median of a call. Measured again where other work took the processor between two calls, TRIES times at most."""
    for left in reversed(range(TRIES)):
        try:
            return statistics.median(measure(runner, images, seconds=SECONDS))
        except BadInput:
            if not left:
                raise
    raise AssertionError
