"""What a pass did, how fast, and what limited it."""

import dataclasses
from typing import Any

from .passes import Setting
from .squares import Seconds

PREPARING = ("read", "decode", "resize")  # what an image costs before a model sees it; done by the workers
ADVICE = {
    "read": "reading files: storage that is faster or nearer, or tar shards (wds/), would help",
    "decode": "decoding images: more processor cores would help, or --keep-views where you will extract again",
    "resize": "resizing images: more processor cores would help, or --keep-views where you will extract again",
    "copy": "copies between host and device: a larger batch would help",
    "compute": "the model: a lower precision whose gate passes, a smaller model or a GPU would help",
    "write": "writing the rows: a faster disk would help",
}
SHORT = 1.0  # seconds: below, what is done once (threads, first calls of a library) hides what limits a long pass


@dataclasses.dataclass(frozen=True)
class Verdict:
    """One pass's account. images: those that it went through, of `total`. wall, start: seconds.

    seconds: per stage, summed over the workers. start: until the first chunk came: sessions, first decode.
    notes: what happened on the way, such as a batch that was halved.
    """

    images: int
    total: int
    models: int
    wall: float
    start: float
    seconds: Seconds
    setting: Setting
    device: str
    decoder: str
    notes: tuple[str, ...] = ()

    @property
    def images_per_second(self) -> float:
        return self.images / self.wall if self.wall else 0.0

    @property
    def bottleneck(self) -> str:
        """The stage to look at first: the longest of those that prepare images, where these together took the most of
        what there was (the workers' time, or the GPU's), else the longest of the others.
        """
        stages = dataclasses.asdict(self.seconds)
        if self.device != "cpu":  # the GPU is one; the workers share what they do
            stages |= {name: stages[name] / self.setting.workers for name in PREPARING}
        preparing = sum(stages[name] for name in PREPARING)
        longest = max((name for name in stages if name not in PREPARING), key=stages.__getitem__)
        return max(PREPARING, key=stages.__getitem__) if preparing > stages[longest] else longest

    def sentence(self) -> str:
        """What limited the pass, and what would help."""
        if not self.images:
            return "nothing was computed: all rows were there"
        stages = dataclasses.asdict(self.seconds)
        if self.device == "cpu" or self.bottleneck in PREPARING:
            whole, of = self.wall * self.setting.workers, f"the time of {self.setting.workers} workers"
        else:
            whole, of = self.wall, "the time of the pass"
        busy = stages[self.bottleneck]
        found = f"{busy / whole:.0%} of {of} went into {ADVICE[self.bottleneck]}"
        parts = [name for name in PREPARING if stages[name] >= 0.1 * stages[self.bottleneck]]
        if self.bottleneck in PREPARING and len(parts) > 1:
            busy = sum(stages[name] for name in PREPARING)
            shares = ", ".join(f"{name} {stages[name] / whole:.0%}" for name in parts)
            remedy = ADVICE[self.bottleneck].partition(": ")[2]
            found = f"{busy / whole:.0%} of {of} went into preparing images ({shares}): {remedy}"
        return f"{found} (less than a second of work: a longer pass may say otherwise)" if self.wall < SHORT else found

    def lines(self) -> list[str]:
        """For people: rate, stages, sentence."""
        if not self.images:
            return [self.sentence()]
        stages = ", ".join(f"{name} {value:.1f}" for name, value in dataclasses.asdict(self.seconds).items())
        models = f"{self.models} models in one pass, " if self.models > 1 else ""
        found = [
            f"{self.images_per_second:.0f} images/s: {models}{self.images} images in {self.wall:.1f} s, of which "
            f"{self.start:.1f} until the first rows",
            f"seconds of {self.setting.workers} workers, batch {self.setting.batch}: {stages}",
            self.sentence(),
        ]
        return found + [f"note: {note}" for note in self.notes]

    def record(self) -> dict[str, Any]:
        """For files and --json."""
        found = dataclasses.asdict(self)
        return found | {
            "images_per_second": self.images_per_second,
            "bottleneck": self.bottleneck if self.images else None,
            "sentence": self.sentence(),
        }
