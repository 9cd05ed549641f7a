"""A study's rows for pandas, Arrow or any other table."""

import os
from pathlib import Path
from typing import Any

from ..study import images_right, rows_at

SHOWN = ("metric", "value", "low", "high", "n", "source_top1", "source_n", "family", "seconds", "source", "error")
ARITHMETIC = ("backend", "precision", "device")


def rows(study: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One flat dictionary for each row of a study file's last run, or of an output folder.

    `pandas.DataFrame(featune.rows("runs/mine"))` and `pyarrow.Table.from_pylist(featune.rows("runs/mine"))` are tables.
    The names are those of `results.csv`; value, low and high are fractions. backend, precision, device and versions say
    what a number was computed with. Every row has the same keys.
    """
    found = rows_at(Path(study))
    facts = sorted({name for row in found for name in row.facts})
    return [
        {
            "task": row.cell.task, "model": row.cell.model, "regime": row.cell.regime, "seed": row.cell.seed,
            **{name: getattr(row, name) for name in SHOWN}, **{name: row.facts.get(name) for name in facts},
            **{name: row.environment.get(name) for name in ARITHMETIC},
            "versions": ", ".join(f"{name} {of}" for name, of in (row.environment.get("versions") or {}).items()),
            "inputs": row.cell.inputs,
        }
        for row in found
    ]  # fmt: skip


def correctness(study: str | os.PathLike[str], task: str) -> dict[str, list[Any]]:
    """Which test images of a task each finished cell got right: columns, as `pandas.DataFrame` takes them.

    study: a study file that was run, or its output folder. image: the file, seen from the task's root; class: its name;
    then a column for each cell, `model/regime/seed`, with 1.0 for right, 0.0 for wrong, and NaN for an image that does
    not count. By the scores that were kept beside the rows. Raises BadInput for an unknown task, or one whose images
    have no right and wrong (several labels each).
    """
    images, classes, right = images_right(Path(study), task)
    cells = {f"{cell.model}/{cell.regime}/{cell.seed}": column for cell, column in right.items()}
    return {"image": images, "class": classes, **cells}
