"""The folder that a fine-tuning leaves: whose it is, and its files."""

import dataclasses
import itertools
import logging
import os
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.finetune import Diverged, forget
from featune.engine.store import check_writable, plain, read_json, write_json

log = logging.getLogger("featune")
RUN, RESULT, LOG, PAGE, RECIPE = "run.json", "result.json", "log.jsonl", "report.html", "recipe.yaml"
PLURAL = {"data", "minutes", "settings of the recipe"}  # of what a run depends on
CONFUSION, MISTAKES, WORK, ROWS = "confusion.csv", "mistakes.csv", "work", "runs"
ENERGY = r"energy\d*\.json"  # of a process, in `work`


class CameToNothing(Diverged):
    """A run that ended without a model. folder: that it left. result: what its result.json says."""

    def __init__(self, said: str, folder: Path, result: dict[str, Any]):
        self.folder, self.result = folder, result
        super().__init__(said)


@dataclasses.dataclass(frozen=True)
class Folder:
    """asked: all that the result depends on, in words; the same is asked for when a run is resumed."""

    path: Path
    asked: Mapping[str, Any]

    def require_own(self) -> None:
        """Raises BadInput where the folder holds other files than a run's, or is read-only."""
        check_writable(self.path / RUN)
        others = sorted(each.name for each in self.path.iterdir() if not each.name.startswith("."))
        if others and read_json(self.path / RUN) is None:
            raise BadInput(
                f"{self.path}: a folder with {', '.join(others[:3])} found, an empty or a new one expected; give "
                "another --out"
            )

    def claim(self, alone: bool = True) -> None:
        """Make the folder this run's. Raises BadInput where it is another run's, is at work, or as `require_own` does.

        A run that came to nothing (its start was refused, or it ended without a model since trainings diverged) gives
        the folder up: its logs, trials, row and result are put aside, its kept steps stay. alone: no other process is
        at the folder.
        """
        self.require_own()
        known, wanted = read_json(self.path / RUN), plain(self.asked)
        if known == wanted and self.result is not None:
            return  # who reads it disturbs nobody
        if not alone:
            raise BadInput(f"{self.path}: another process trains there; wait for it, or give another --out")
        if known is None:
            write_json(self.path / RUN, self.asked)
        if known in (None, wanted):
            return
        found: dict[str, Any] = known if isinstance(known, dict) else {}
        other = [_another(key) for key in {**wanted, **found} if found.get(key) != wanted.get(key)]
        said = f"a run {_listed(other) or 'of another version'}"
        if not found or not self._came_to_nothing():
            raise BadInput(
                f"{self.path}: it holds {said}"
                + (
                    ", which is not at its end; give the options of that run to go on with it, or another --out"
                    if self.result is None
                    else ", which has ended, with its model; give another --out"
                )
            )
        kept = self._put_aside()
        write_json(self.path / RUN, self.asked)
        log.warning(
            "%s: it held %s, which came to nothing; this one begins anew, its logs are in %s", self.path, said, kept
        )

    def _came_to_nothing(self) -> bool:
        """Whether it ended without a model, or all that is there says something and is nothing to go on with."""
        if self.result is not None:
            return "error" in self.result
        return all(
            each.suffix == ".jsonl" or re.fullmatch(ENERGY, each.name) or (each / "step.json").exists()
            for each in self.work.glob("*")
        )

    def _put_aside(self) -> Path:
        """Where logs, trials, row and result are now. Kept steps stay where a message said that they are."""
        forget(self.work)
        numbers = itertools.count(1)
        aside = next(place for at in numbers if not (place := self.path / f"{WORK}-{at}").exists())
        self.work.mkdir(exist_ok=True)
        self.work.rename(aside)
        for name in (ROWS, RESULT):  # of a training that diverged
            if (self.path / name).exists():
                (self.path / name).rename(aside / name)
        for step in aside.glob("*-step*/step.json"):
            self.work.mkdir(exist_ok=True)
            step.parent.rename(self.work / step.parent.name)
        return aside

    @property
    def result(self) -> dict[str, Any] | None:
        """What an earlier call came to; None where it did not end."""
        found = read_json(self.path / RESULT)
        return found if isinstance(found, dict) else None

    def ended(self) -> dict[str, Any] | None:
        """As `result`, where there is a model. Raises CameToNothing where there is none."""
        known = self.result
        if known is None:
            return None
        self.clean()  # it may have been killed between the two
        if "error" in known:
            raise CameToNothing(
                f"an earlier run of this command ended so ({self.path / RESULT}); remove the folder, or change the "
                f"options, to train again: {known['error']}",
                self.path, known,
            )  # fmt: skip
        return known

    def end_without_model(self, result: dict[str, Any]) -> CameToNothing:
        """Write result.json, whose `error` says why. What is to be raised."""
        write_json(self.path / RESULT, result)
        self.clean()
        return CameToNothing(f"{result['error']}; its result is in {self.path / RESULT}", self.path, result)

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
