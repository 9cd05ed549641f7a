"""A study file to its entries, each read on its own, with all that is wrong with them."""

import dataclasses
from pathlib import Path
from typing import Any, TypeVar

from pydantic import BaseModel

from featune.engine.finetune import Recipe

from ...regimes import Setting
from .entries import ModelEntry, StudyEntry, TaskEntry
from .faults import Faults, expected
from .model_lists import with_all_models
from .pretraining import PretrainEntry, read_pretrain
from .settings import read_regimes
from .yaml_text import text_values

Entry = TypeVar("Entry", bound=BaseModel)
USUAL = ["probe", "finetune"]  # regimes of a file that names none


@dataclasses.dataclass(frozen=True)
class Parsed:
    """A file's entries. models, tasks: (number in the file, entry) of those that can be looked at further.

    faults: what was found so far; more may be added.
    """

    study: StudyEntry
    models: list[tuple[int, ModelEntry]]
    tasks: list[tuple[int, TaskEntry]]
    regimes: dict[str, tuple[str, Setting]]
    faults: Faults
    pretrain: tuple[PretrainEntry, Recipe] | None = None

    @property
    def model_count(self) -> int:
        """Of models, those that are pre-trained first among them."""
        return len(self.models) + (self.pretrain[0].count if self.pretrain else 0)


def parsed(path: Path) -> Parsed:
    """The file as it stands, its keys and types checked. Raises BadInput for what is no mapping of a study."""
    values, repeated = text_values(path)
    faults = Faults(path, repeated)
    pretrain = read_pretrain(values["pretrain"], faults) if "pretrain" in values else None
    if "pretrain" in values:
        values = {"models": [], **values}
    read = {**values, "models": values["models"] or [None]} if pretrain else values  # models may all be pre-trained
    study = faults.read(StudyEntry, read, (), {"name": "study", "models": [None], "tasks": [None]})
    assert study is not None, "every other key has a default"
    values = {**values, "models": with_all_models(values.get("models"), path.parent, faults)}
    models = _entries(ModelEntry, "models", values, faults)
    tasks = _entries(TaskEntry, "tasks", values, faults)
    regimes = read_regimes(values.get("regimes", USUAL), faults)
    return Parsed(study, models, tasks, regimes, faults, pretrain)


def _entries(kind: type[Entry], key: str, values: dict[Any, Any], faults: Faults) -> list[tuple[int, Entry]]:
    found = []
    given = values.get(key)
    for at, each in enumerate(given if isinstance(given, list) else []):
        if key == "models" and isinstance(each, str):
            each = {"architecture": each}  # a bare timm name
        if not isinstance(each, dict):
            faults.problems.append(f"{key}[{at}]: {expected('keys and values', each)}")
        elif entry := faults.read(kind, each, (key, at), {}):
            found.append((at, entry))
    return found
