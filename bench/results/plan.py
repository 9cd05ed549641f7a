"""Which cells a study has, as its last run found them: what `status` and `report` need to read the rows.

A study file names models and images; only a run looks them up, which may execute a factory's code and fetch from the
hub. The run leaves its plan beside the rows, `<study file>.<device>.plan.json`, and the plan is data alone.
"""

import dataclasses
import json
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from featune.engine.errors import BadInput
from featune.engine.paths import as_name
from featune.engine.store import read_json, write_text

from ..stats import percentile_needs
from .checks import checked, read_checked
from .chosen_cells import Only
from .rows import Cell, Estimate, Row, RunStore, Speed

KEY = re.compile(r"[0-9a-f]{16}")
VERSION = 1


@dataclasses.dataclass(frozen=True)
class Labels:
    """What the report says of a model, which no number depends on."""

    source_top1: float | None = None
    source_n: int | None = None
    family: str = ""
    facts: Mapping[str, float] = dataclasses.field(default_factory=dict)


@dataclasses.dataclass(frozen=True)
class Plan:
    """file: SHA-256 of the study file that it was made of. labels: by the model's name.

    speeds: (model, key of the file of its throughput). estimates: those that were asked for, without values, or with
    the reason why there is none. folders: (task, the folder that it was prepared in, its digest).
    published: tables that the report shows beside the study; they are the file's, and not kept.
    """

    name: str
    file: str
    cells: tuple[Cell, ...]
    labels: Mapping[str, Labels]
    speeds: tuple[tuple[str, str], ...] = ()
    estimates: tuple[Estimate, ...] = ()
    notes: tuple[str, ...] = ()
    source_name: str = "ImageNet"
    folders: tuple[tuple[str, str, str], ...] = ()
    published: tuple[str, ...] = ()

    def rows(self, out: Path) -> list[Row]:
        """The rows that are there so far, failed ones among them, in the order of the cells, with today's labels."""
        return list(self.each_row(out))

    def each_row(self, out: Path) -> Iterator[Row]:
        """As `rows`, one after the other: a million of them take gigabytes together."""
        store, nothing = RunStore(out / "runs"), Labels()
        labels = {model: dataclasses.asdict(self.labels.get(model, nothing)) for model in {c.model for c in self.cells}}
        # The plan's cell in place of the row's, its equal, which has not made its name yet. What the labels say does
        # not touch the number.
        for cell in self.cells:
            if row := store.load(cell):
                yield dataclasses.replace(row, cell=cell, **labels[cell.model])

    def narrowed(self, only: Only) -> "Plan":
        """The same plan with the cells that are meant, and what else there is of their models and tasks."""
        models, tasks = only.names["model"], only.names["task"]
        return dataclasses.replace(
            self,
            cells=tuple(cell for cell in self.cells if cell in only),
            speeds=tuple(one for one in self.speeds if one[0] in models),
            estimates=tuple(one for one in self.estimates if one.model in models and one.task in tasks),
        )

    def known_speeds(self, out: Path) -> list[Speed]:
        found = [read_speed(speed_path(out, key), model) for model, key in self.speeds]
        return [one for one in found if one]

    def known_estimates(self, out: Path) -> list[Estimate]:
        """The estimates so far, failed and undefined ones among them."""
        return [found for one in self.estimates if (found := one if one.error else read_estimate(out, one))]


def plan_path(out: Path, study_file: Path, device: str) -> Path:
    return out / f"{as_name(study_file.stem)}.{as_name(device)}.plan.json"


def save_plan(path: Path, plan: Plan) -> None:
    cells = [list(dataclasses.astuple(cell)) for cell in plan.cells]
    estimates = [[one.task, one.model, one.name, one.inputs, one.error] for one in plan.estimates]
    labels = {model: dataclasses.asdict(one) for model, one in plan.labels.items()}
    value = {"version": VERSION, "name": plan.name, "file": plan.file, "notes": plan.notes, "labels": labels}
    value |= {"source_name": plan.source_name, "cells": cells, "speeds": plan.speeds, "estimates": estimates}
    value |= {"folders": plan.folders}
    # On one line: an indented one of 20,000 cells takes Python's own encoder.
    write_text(path, json.dumps(value, ensure_ascii=False) + "\n")


def load_plan(path: Path) -> Plan | None:
    """The plan that a run left, or None where none did. Raises BadInput for a file that is no plan of this version."""
    if not path.exists():
        return None
    value: Any = read_json(path)
    try:
        if value["version"] != VERSION:
            raise ValueError(f"version {value['version']!r}")
        speeds = tuple((str(model), key) for model, key in value["speeds"] if KEY.fullmatch(key))
        estimates = (dict(zip(("task", "model", "name", "inputs", "error"), one, strict=True))
                     for one in value["estimates"])  # fmt: skip
        return Plan(
            name=str(value["name"]),
            file=str(value["file"]),
            cells=tuple(checked(Cell(*cell)) for cell in value["cells"]),
            labels={str(model): checked(Labels(**one)) for model, one in value["labels"].items()},
            speeds=speeds,
            estimates=tuple(checked(Estimate(**one)) for one in estimates),
            notes=tuple(map(str, value["notes"])),
            source_name=str(value["source_name"]),
            folders=tuple((str(task), str(folder), str(digest)) for task, folder, digest in value["folders"]),
        )
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise BadInput(f"{path} is no plan of this version ({error}); `featune study run` writes it again") from error


# --- Files beside the rows


def speed_path(out: Path, key: str) -> Path:
    return out / "speeds" / f"{key}.json"


def estimate_path(out: Path, one: Estimate) -> Path:
    return out / "estimates" / one.file


def read_speed(path: Path, model: str) -> Speed | None:
    """The throughput that was kept under another name of the model, perhaps; None where there is none of ours.

    Earlier versions kept a p95 of too few calls.
    """
    value: Any = read_json(path)
    try:
        if not isinstance(value, dict):
            return None
        found = checked(Speed(**{**value, "model": model}))
        return found if found.iterations >= percentile_needs(95) else dataclasses.replace(found, p95_ms=None)
    except (TypeError, ValueError):  # of another version; what is missing can be measured again
        return None


def read_estimate(out: Path, asked: Estimate) -> Estimate | None:
    """What was measured of an estimate, or None where there is nothing of ours: what is missing can be made again."""
    found = read_checked(Estimate, estimate_path(out, asked))
    same = found and (found.task, found.model, found.name, found.inputs)
    return found if same == (asked.task, asked.model, asked.name, asked.inputs) else None
