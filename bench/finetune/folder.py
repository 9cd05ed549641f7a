"""The folder that a fine-tuning leaves: whose it is, and its files."""

import dataclasses
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.finetune import forget
from featune.engine.store import check_writable, plain, read_json, write_json

RUN, RESULT, LOG, PAGE, RECIPE = "run.json", "result.json", "log.jsonl", "report.html", "recipe.yaml"
CONFUSION, MISTAKES, WORK, ROWS = "confusion.csv", "mistakes.csv", "work", "runs"


@dataclasses.dataclass(frozen=True)
class Folder:
    """asked: all that the result depends on, in words; the same is asked for when a run is resumed."""

    path: Path
    asked: Mapping[str, Any]

    def claim(self) -> None:
        """Make the folder this run's. Raises BadInput where it is another run's, holds other files, or is read-only."""
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
        if not isinstance(known, dict) or known != wanted:
            other = [key for key in wanted if not isinstance(known, dict) or known.get(key) != wanted[key]]
            raise BadInput(
                f"{self.path}: it holds a run of another {_listed(other)}; give another --out, or the options of that "
                "run to go on with it"
            )

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


def _listed(names: list[str]) -> str:
    return " and ".join(filter(None, [", ".join(names[:-1]), *names[-1:]])) or "version"


def default_folder(model: str, task: str, key: str) -> Path:
    """Below `runs/finetune`; the same options give the same folder, so that a run that was stopped goes on."""
    from featune.engine.paths import as_name

    last = os.path.basename(model.rstrip("/")) if "/" in model else model
    return Path("runs", "finetune", f"{as_name(last, 60)}-{as_name(task, 60)}-{key[:8]}")
