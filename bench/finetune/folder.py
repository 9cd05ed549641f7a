"""The folder that a fine-tuning leaves: whose it is, and its files."""

import dataclasses
import itertools
import logging
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.finetune import forget
from featune.engine.store import check_writable, plain, read_json, write_json

from ..training_log import read_log

log = logging.getLogger("featune")
RUN, RESULT, LOG, PAGE, RECIPE = "run.json", "result.json", "log.jsonl", "report.html", "recipe.yaml"
PLURAL = {"data", "minutes", "settings of the recipe"}  # of what a run depends on
CONFUSION, MISTAKES, WORK, ROWS = "confusion.csv", "mistakes.csv", "work", "runs"


@dataclasses.dataclass(frozen=True)
class Folder:
    """asked: all that the result depends on, in words; the same is asked for when a run is resumed."""

    path: Path
    asked: Mapping[str, Any]

    def claim(self, alone: bool = True) -> None:
        """Make the folder this run's. Raises BadInput where it is another run's, holds other files, or is read-only.

        A run of which there is nothing to go on with or to look up (its start was refused, or every training diverged)
        gives the folder up: its logs, trials and kept steps stay. alone: no other process is at the folder.
        """
        check_writable(self.path / RUN)
        known = read_json(self.path / RUN)
        if known is None:
            if others := sorted(each.name for each in self.path.iterdir() if not each.name.startswith(".")):
                raise BadInput(
                    f"{self.path}: a folder with {', '.join(others[:3])} found, an empty or a new one expected; give "
                    "another --out"
                )
            write_json(self.path / RUN, self.asked)
            return
        wanted = plain(self.asked)
        if known == wanted:
            return
        found: dict[str, Any] = known if isinstance(known, dict) else {}
        other = [_another(key) for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        said = f"a run {_listed(other) or 'of another version'}"
        if not alone or not found or not self._came_to_nothing():
            raise BadInput(
                f"{self.path}: it holds {said}; give another --out, or the options of that run to go on with it, or "
                "remove the folder"
            )
        kept = self._put_aside()
        write_json(self.path / RUN, self.asked)
        log.warning(
            "%s: it held %s, which came to nothing; this one begins anew, its logs are in %s", self.path, said, kept
        )

    def _came_to_nothing(self) -> bool:
        """Whether no training has a value, and none is left to go on with."""
        rows = [read_json(each) for each in (self.path / ROWS).glob("*.json")]
        trials = {each.name.partition(".")[0]: read_json(each) for each in (self.work / "trials").glob("*.json")}
        ended = self.result is not None and "error" not in self.result
        if ended or any(isinstance(one, dict) and one.get("error") is None for one in rows):
            return False
        if any(not isinstance(one, dict) or one.get("value") is not None for one in trials.values()):
            return False
        begun = {each.stem for each in self.work.glob("*.jsonl") if any(line["step"] for line in read_log(each))}
        return begun <= trials.keys()

    def _put_aside(self) -> Path:
        """Where the logs and trials are now. Kept steps stay where a message said that they are."""
        forget(self.work)
        numbers = itertools.count(1)
        aside = next(place for at in numbers if not (place := self.path / f"{WORK}-{at}").exists())
        self.work.mkdir(exist_ok=True)
        self.work.rename(aside)
        if self.result is not None:  # of a training that diverged
            (self.path / RESULT).rename(aside / RESULT)
        for step in aside.glob("*-step*/step.json"):
            self.work.mkdir(exist_ok=True)
            step.parent.rename(self.work / step.parent.name)
        return aside

    @property
    def result(self) -> dict[str, Any] | None:
        """What an earlier call came to; None where it did not end."""
        found = read_json(self.path / RESULT)
        return found if isinstance(found, dict) else None

    @property
    def work(self) -> Path:
        return self.path / WORK

    def clean(self) -> None:
        """Remove the checkpoints of a run that has ended, and what of its images was kept; logs and trials stay."""
        forget(self.work)


def _another(key: str) -> str:
    words = {"processes": "another number of processes", "scratch": "another choice of --scratch"}
    return words.get(key) or f"{'other' if key in PLURAL else 'another'} {key}"


def _listed(names: list[str]) -> str:
    return f"with {' and '.join(filter(None, [', '.join(names[:-1]), *names[-1:]]))}" if names else ""


def default_folder(model: str, task: str, key: str) -> Path:
    """Below `runs/finetune`; the same options give the same folder, so that a run that was stopped goes on."""
    from featune.engine.paths import as_name

    last = os.path.basename(model.rstrip("/")) if "/" in model else model
    return Path("runs", "finetune", f"{as_name(last, 60)}-{as_name(task, 60)}-{key[:8]}")
