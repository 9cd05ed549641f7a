"""The log of a training: a JSON line for every step and evaluation, whole after a kill; other trackers by choice."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Protocol

from featune.engine.metrics import METRICS
from featune.engine.store import unwritable, write_text

NAMES = {"rate": "lr", "norm": "grad_norm"}  # of what the loop tells, as timm's summary and others call it


class Tracker(Protocol):
    """Another place to which a training's numbers go."""

    def note(self, values: Mapping[str, float], step: int) -> None: ...

    def close(self) -> None: ...


class LogFile:
    """Lines of `step`, `epoch`, `lr`, `loss`, `grad_norm` and `seconds`, and of `step`, `epoch`, `val` and `seconds`.

    step: how many were made when the line was written. seconds: of training so far, in all processes. A process that
    goes on after a kill tells some steps again; their earlier lines are removed. A number that is not finite is null.
    """

    def __init__(
        self, path: Path, *, trackers: Sequence[Tracker] = (), clock: Callable[[], float] = time.perf_counter
    ):  # fmt: skip
        self.path, self.clock, self.began = path, clock, clock()
        self.before = 0.0  # seconds of earlier processes
        self.is_new = True
        self.trackers = trackers

    def __call__(self, told: Mapping[str, Any]) -> None:
        line = {NAMES.get(key, key): value for key, value in told.items()}
        if "loss" in line:
            line["step"] += 1  # the loop counts steps from 0
        if self.is_new:
            self._begin(line)
            self.is_new = False
        line["seconds"] = round(self.before + self.clock() - self.began, 3)
        try:
            with open(self.path, "a", encoding="utf-8") as file:
                file.write(json.dumps({key: _finite(value) for key, value in line.items()}) + "\n")
        except OSError as error:
            raise unwritable(self.path, error) from error
        numbers = {name: value for name, value in line.items() if isinstance(value, (int, float)) and name != "step"}
        for tracker in self.trackers:
            tracker.note(numbers, line["step"])

    def close(self) -> None:
        for tracker in self.trackers:
            tracker.close()

    def _begin(self, first: Mapping[str, Any]) -> None:
        """Leave what was told before the first line of this process."""
        earlier = [each for each in read_log(self.path) if each["step"] < first["step"]]
        self.before = max((each["seconds"] for each in earlier), default=0.0)
        write_text(self.path, "".join(json.dumps(each) + "\n" for each in earlier))


def read_log(path: Path) -> list[dict[str, Any]]:
    """The lines of a log, in order; a line that a kill cut short is left out."""
    found = []
    for text in path.read_text(encoding="utf-8").splitlines() if path.exists() else ():
        try:
            found.append(json.loads(text))
        except ValueError:
            continue
    return found


def seconds_before(work: Path) -> float:
    """Of all trainings that earlier processes logged there, their looks at val included."""
    logs = (read_log(path) for path in work.glob("*.jsonl"))
    return float(sum(max((line["seconds"] for line in lines), default=0.0) for lines in logs))


def has_odds(metric: str) -> bool:
    """Whether its value is a share of images that are right, of all or, as in Kornblith et al. 2019, within classes."""
    return metric == "mean_per_class" or METRICS[metric].is_proportion


def steps_to_odds(lines: Sequence[Mapping[str, Any]], n: int, metric: str, share: float = 0.9) -> int | None:
    """Steps until val first has this share of the odds that it has at the last look; None where they are not known.

    They are known for a metric that has odds, with two looks or more, the first of them before training: of a training
    that an earlier version began, looks may be missing. n: images of val; half an image is added on each side, so that
    0 and 1 have odds. A look between epochs is not there, so the answer is a multiple of an epoch's steps. Kornblith
    et al. 2019 take the largest odds for the final ones.
    """
    looks = [(int(line["step"]), float(line["val"])) for line in lines if line.get("val") is not None]
    if not has_odds(metric) or len(looks) < 2 or looks[0][0] != 0:
        return None
    odds = [(step, (value * n + 0.5) / ((1 - value) * n + 0.5)) for step, value in looks]
    wanted = share * odds[-1][1]
    return next(step for step, value in odds if value >= wanted)


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
