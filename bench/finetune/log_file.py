"""log.jsonl: a line of JSON for every step and every evaluation, whole after a kill; other trackers by choice."""

import json
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.store import unwritable, write_text

from .trackers import Tracker

NAMES = {"rate": "lr", "norm": "grad_norm"}  # of what the loop tells, as timm's summary and others call it


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


def _finite(value: Any) -> Any:
    return None if isinstance(value, float) and value - value != 0 else value
