"""What a file of features depends on, and what is asked of the store."""

import contextlib
import dataclasses
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager

from ..images import Decoder
from ..models import View
from ..runners import Runner
from ..store import digest

Open = Callable[[int], AbstractContextManager[Runner]]  # threads of one call -> the runner


@dataclasses.dataclass(frozen=True)
class FeatureKey:
    """All that a file of features depends on.

    model: `ModelSpec.digest`. images: `Labelled.content_digest`, the bytes of every file in order; labels
    do not touch features. backend: what computed them. artefact: digest of the graph file, empty for torch.
    output: "features", or "logits" of the source task. decoder: which way the views were made, by `rules`, a number
    that is raised when that way changes; versions of libraries are recorded with the rows and have no part in the key.
    """

    model: str
    view: View
    images: str
    backend: str
    precision: str = "fp32"
    artefact: str = ""
    decoder: Decoder = "fast"
    output: str = "features"
    rules: int = 1

    @property
    def name(self) -> str:
        return digest(self)


@dataclasses.dataclass(frozen=True)
class FeatureRequest:
    """One file of features to have. open: gives its runner, called only where the file is not there.

    label: the model's name, for people who list the store.
    """

    key: FeatureKey
    open: Open
    label: str = ""


def views_key(key: FeatureKey) -> FeatureKey:
    """Of the file of decoded views that the key's features are made from: rows uint8 [channels * side * side]."""
    return FeatureKey("", key.view, key.images, "views", precision="uint8", decoder=key.decoder, output="views")


def views_to_keep(wanted: Sequence[FeatureRequest]) -> list[FeatureRequest]:
    """The files of views to store beside the features: one for each distinct view."""

    @contextlib.contextmanager
    def flattening(threads: int) -> Iterator[Runner]:
        del threads
        yield lambda images: images.flatten(1).clone()

    keys = {views_key(each.key).name: views_key(each.key) for each in wanted}
    return [FeatureRequest(key, flattening, "decoded views") for key in keys.values()]
