"""Probes on frozen features, fitted on train and judged on val: few images first, the clearly worse ones dropped."""

import dataclasses
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from featune.engine.features import FeatureStore, Options
from featune.engine.images import Labelled
from featune.engine.logistic_regression import KORNBLITH_PENALTIES
from featune.engine.probe import probe
from featune.engine.store import digest, written_whole

from ..data import Data
from ..features import note_origin
from ..progress import Progress
from ..regimes import Goodness
from ..tasks import Task
from .journal import Journal
from .rules import FROZEN, Tried, best, clearly_worse, rounds_of
from .screening import Opened, Place

PROBE_SHARE = 0.5  # of the time that is left, which a round of probes may take
LEAST_SHARE = 0.25  # which it is left at least
SPARE = 1.3  # times the seconds of the steps themselves: a tuning is started, timed and looked at too
FEWEST_IMAGES = 200  # of train in the first round, whatever the budget
LEAST_GROWTH = 1.3  # of the images of a further round


@dataclasses.dataclass(frozen=True)
class Splits:
    """What a round of probes is fitted on and judged by: train and val, or a draw of each."""

    task: Task
    train: Labelled
    val: Labelled
    seed: int

    @property
    def classes(self) -> int:
        return len(self.task.classes)

    def truth(self, items: Labelled) -> NDArray[Any]:
        """With -1 for unknown, which the fit leaves out and the metric too."""
        return items.truth(self.classes, self.task.multilabel, masked=True)

    def drawn(self, images: int) -> "Splits":
        """So many train images, and as many of val where there are more; a larger draw holds the smaller one."""
        if images >= len(self.train):
            return self
        return dataclasses.replace(
            self, train=_drawn(self.train, images, self.seed), val=_drawn(self.val, images, self.seed)
        )


def _drawn(items: Labelled, count: int, seed: int) -> Labelled:
    """In the items' order; where an image has one label, each class by its share, and one image of each first."""
    if count >= len(items):
        return items
    rng = np.random.default_rng(seed)
    order = rng.permutation(len(items))
    labels = np.array([each[0] if len(each) == 1 else 0 for each in items.labels])[order]
    place = np.empty(len(items))
    for label in np.unique(labels):
        where = np.flatnonzero(labels == label)
        place[where] = (np.arange(len(where)) + rng.random()) / len(where)
        place[where[0]] = -1
    chosen = order[np.argsort(place, kind="stable")[:count]]
    return items.take(sorted(chosen.tolist()))


@dataclasses.dataclass(frozen=True)
class Probes:
    """tried: of the last round, best first. splits: its images. out: {name: why it was dropped}.

    every: {name: (Tried, train images)} of the last round in which each candidate was. short: why the last round had
    not all images, empty where it had. whole: all images.
    """

    tried: tuple[Tried, ...]
    splits: Splits
    out: dict[str, str]
    every: dict[str, tuple[Tried, int]]
    whole: Splits
    short: str = ""

    def splits_of(self, images: int) -> Splits:
        """The images of an earlier round."""
        return self.whole.drawn(images)


def room(left: float, tuning: float) -> float:
    """Seconds that a round of probes may take: PROBE_SHARE of those left, less where the shortest tuning needs more.

    Down to LEAST_SHARE; where the rest would not do for a tuning even then, probes may take all.
    """
    needed = SPARE * tuning
    return min(PROBE_SHARE * left, left - needed) if needed <= (1 - LEAST_SHARE) * left else left


def probe_all(
    opened: Sequence[Opened],
    splits: Splits,
    place: Place,
    journal: Journal,
    *,
    deadline: float,
    tuning: Callable[[Sequence[str]], float],
    progress: Progress,
) -> Probes:
    """Rounds of probes. deadline: seconds of the journal by which all work is to end, but for the last scoring.

    tuning: of models, best first, the seconds of the shortest fine-tuning that is worth starting; infinite where none
    is asked for.
    """
    alive, out, every = list(opened), {}, dict[str, tuple[Tried, int]]()
    tried: tuple[Tried, ...] = ()
    used, fitting, whole = splits, 0.0, len(splits.train)
    ladder = rounds_of(whole)
    while ladder:
        wanted = ladder.pop(0)
        left = room(deadline - journal.seconds, tuning([one.name for one in alive]))
        each = math.fsum(1 / one.images_per_second for one in alive)
        fit = fitting / len(used.train) if tried else 0.0
        images = images_within(left, wanted, (whole, len(splits.val)), each, fit)
        if not tried:
            images = min(wanted, max(images, FEWEST_IMAGES))
        elif images < LEAST_GROWTH * len(used.train):
            break
        used, before = splits.drawn(images), journal.seconds
        rows = _rows(alive, used, place, journal, progress)
        passed = journal.seconds
        tried = tuple(_probed(one, used, rows, place, journal) for one in alive)
        fitting = journal.seconds - passed
        progress.say(
            f"probes of {len(alive)} models on {len(used.train):,} train and {len(used.val):,} val images: "
            f"{journal.seconds - before:.0f} s"
        )
        tried = tuple(sorted(tried, key=lambda one: (-one.good, one.ms, one.model)))
        every |= {one.model: (one, images) for one in tried}
        leader = best(tried)
        worse = clearly_worse(used.task.metric, used.truth(used.val), tried, leader, used.seed)
        for name, p in worse.items():
            out[name] = f"dropped: its probe on {images:,} images is worse than {leader.model}'s (p = {p:.2g})"
        by_name = {one.name: one for one in alive}
        alive = [by_name[one.model] for one in tried if one.model not in worse]
        if not ladder and images < whole:
            ladder.append(whole)  # what time may be left for
    short = f"probes saw {len(used.train):,} of {whole:,} train images, for lack of time"
    return Probes(tried, used, out, every, splits, short if len(used.train) < whole else "")


def images_within(seconds: float, wanted: int, sizes: tuple[int, int], each: float, fit: float) -> int:
    """Train images, `wanted` at most, of a round of probes that takes so many seconds; 0 where none do.

    sizes: of the whole train and val. each: seconds of an image by all models. fit: of the fits, by train image. A draw
    takes as many images of val as of train, where there are more; all of train go with all of val.
    """
    train, val = sizes

    def takes(images: int) -> float:
        return (images + (val if images >= train else min(images, val))) * each + images * fit

    low, high = 0, wanted
    while low < high:
        middle = (low + high + 1) // 2
        low, high = (middle, high) if takes(middle) <= seconds else (low, middle - 1)
    return low


Rows = Callable[[Opened, Labelled], NDArray[np.float32]]


def _rows(alive: Sequence[Opened], used: Splits, place: Place, journal: Journal, progress: Progress) -> Rows:
    """One decoding pass over train and one over val for all; afterwards the rows are read from the store."""
    store = FeatureStore(place.cache / "features")
    options = Options(device=place.device)
    for split, items in (("train", used.train), ("val", used.val)):
        requests = [place.request(one.backbone, items) for one in alive]
        keys = [each.key for each in requests]

        def extracted(split: str = split, items: Labelled = items, requests: Any = requests, keys: Any = keys) -> None:
            note_origin(store.root, keys, Data(f"{used.task.name}/{split}", items, used.task.classes))
            with progress.stage(f"features of {split} by {len(requests)} models") as advance:
                store.extract(items, requests, options=options, progress=advance)

        journal.once(f"pass {split}", [each.name for each in keys], extracted)

    def rows(one: Opened, items: Labelled) -> NDArray[np.float32]:
        return store.extract(items, [place.request(one.backbone, items)], options=options)[0].rows

    return rows


def _probed(one: Opened, used: Splits, rows: Rows, place: Place, journal: Journal) -> Tried:
    keys = [place.request(one.backbone, items).key.name for items in (used.train, used.val)]
    inputs = [keys, used.task.digest, used.task.metric, used.seed]

    def fitted() -> dict[str, Any]:
        good = Goodness(used.task.metric, used.truth(used.val))
        val = rows(one, used.val)
        found = probe(
            rows(one, used.train), used.truth(used.train), val, good.truth, lambda _, scores: good(scores),
            KORNBLITH_PENALTIES, classes=used.classes, refit=False,
        )  # fmt: skip
        scores = np.asarray(found(val), dtype=np.float32)
        call = int(np.flatnonzero(found.penalties == found.penalty)[0])
        save_scores(_scores_file(journal, inputs), scores)
        return {
            "good": float(found.val_values[call]), "penalty": found.penalty, "converged": found.converged,
            "options": good.details(call), "seconds": found.seconds,
        }  # fmt: skip

    value = journal.once(f"probe {one.name}", inputs, fitted)
    scores = np.load(_scores_file(journal, inputs), allow_pickle=False)
    return Tried(one.name, FROZEN, value["good"], scores, one.ms, value["options"])


def _scores_file(journal: Journal, inputs: object) -> Path:
    return journal.folder / "scores" / f"{digest(inputs)}.npy"


def save_scores(path: Path, scores: NDArray[np.float32]) -> None:
    with written_whole(path) as temporary:
        np.save(temporary, scores, allow_pickle=False)
