"""What is known of a public data set: an Entry, each fact with its source. TASKS in public_datasets.py lists them."""

import dataclasses
from collections.abc import Mapping

from featune.engine.errors import BadInput, nearest

DEFAULT = "default"
CUT = "val: 20 % of train by class, seed 0"

# Where facts are from.
F_CODE = "github.com/mlfoundations/imagenet-applications-transfer @5210027 (released code of Fang et al. 2023)"
PUDAE = "github.com/pudae/kaggle-hpa @3e7888c (BSD-2)"
MLE = "github.com/openai/mle-bench @783b15a"
TV = "torchvision 0.29 source"
K_TABLE = "Kornblith et al. 2019, table 1 (second-hand; EfficientNet's table 6 repeats most sizes)"
SIMCLR = "SimCLR (arXiv 2002.05709), appendix B.8"
SSLT = "github.com/linusericsson/ssl-transfer @416913f"
REAL = "github.com/google-research/reassessed-imagenet @bcd006f"


@dataclasses.dataclass(frozen=True)
class Archive:
    """A file to fetch: into `folder` under the download's root; md5 None where its publisher states none."""

    url: str
    md5: str | None
    folder: str = "."

    @property
    def name(self) -> str:
        return self.url.rpartition("/")[2]


@dataclasses.dataclass(frozen=True)
class Entry:
    """A public data set as a task.

    classes: their number. counts: what the loader counts in a whole download; anything else stops it. splits:
    the protocol of the default. variants: other protocols by name. steps: how to get the files into DIR.
    torchvision: the class whose download() unpacks the archives, and its arguments once per part.
    """

    name: str
    title: str
    classes: int
    metric: str
    counts: Mapping[str, int]
    splits: str
    licence: str
    steps: tuple[str, ...]
    sources: tuple[str, ...]
    collection: str
    multilabel: bool = False
    channels: int = 3
    variants: Mapping[str, str] = dataclasses.field(default_factory=dict)
    archives: tuple[Archive, ...] = ()
    torchvision: str = ""
    parts: tuple[Mapping[str, str], ...] = ({},)

    def check_variant(self, variant: str) -> None:
        known = (DEFAULT, *self.variants)
        if variant not in known:
            raise BadInput(f"{self.name}: no variant {variant!r}{nearest(variant, known)}; one of {', '.join(known)}")


def how_to_get(facts: Entry) -> str:
    """The steps that a person takes, DIR being the folder for --raw."""
    again = ("(what is there is not fetched again: remove a folder that is there in part)",) if facts.archives else ()
    return "get it as follows:\n" + "\n".join(f"  {step}" for step in (*facts.steps, *again))
