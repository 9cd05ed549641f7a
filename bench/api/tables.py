"""A study's rows for pandas, Arrow or any other table."""

import os
from pathlib import Path
from typing import Any

from ..study import rows_at

SHOWN = ("metric", "value", "low", "high", "n", "source_top1", "source_n", "family", "seconds", "source", "error")


def rows(study: str | os.PathLike[str]) -> list[dict[str, Any]]:
    """One flat dictionary for each row of a study file's last run, or of an output folder.

    `pandas.DataFrame(featune.rows("runs/mine"))` and `pyarrow.Table.from_pylist(featune.rows("runs/mine"))` are tables.
    The names are those of `results.csv`; value, low and high are fractions. Every row has the same keys.
    """
    found = rows_at(Path(study))
    facts = sorted({name for row in found for name in row.facts})
    return [
        {
            "task": row.cell.task, "model": row.cell.model, "regime": row.cell.regime, "seed": row.cell.seed,
            **{name: getattr(row, name) for name in SHOWN}, **{name: row.facts.get(name) for name in facts},
            "inputs": row.cell.inputs,
        }
        for row in found
    ]  # fmt: skip
