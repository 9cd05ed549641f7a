"""Published numbers as rows of the results, each with its source, so that a report shows them beside measured ones."""

import csv
from collections.abc import Sequence
from pathlib import Path

from featune.engine.accuracies import IMAGENET_IMAGES
from featune.engine.store import digest

from ..results import Cell, Estimate, Row
from .importing import Published
from .shipped_tables import FOLDER, NAMES, published


def published_rows(names: Sequence[str], folder: Path = Path()) -> list[Row]:
    """A row for each number of these tables, names or CSV files seen from `folder`; `source` is the table's name."""
    return [row for name in names for row in rows_of(published(name, folder))]


def published_estimates(name: str) -> list[Estimate]:
    """The estimators' scores that come with a table, by the names of `featune.bench.estimators`; none for most."""
    path = FOLDER / f"{NAMES[name][0]}_estimators.csv" if name in NAMES else FOLDER / "none"
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as file:
        rows = list(csv.DictReader(line for line in file if not line.startswith("#")))
    known = [column for column in rows[0] if column not in ("task", "model")]
    return [Estimate(row["task"], row["model"], column, name, float(row[column])) for row in rows for column in known]


def rows_of(table: Published) -> list[Row]:
    """n is 0 where the number of test images is not known; then log odds are taken as they are."""
    tops = next(iter(table.imagenet.values()), {})
    inputs = digest([table.name, table.source])
    return [
        Row(
            cell=Cell(task, model, regime, 0, inputs),
            metric=table.metric[task],
            value=value,
            n=table.n.get(task, 0),
            source_top1=tops.get(model),
            source_n=IMAGENET_IMAGES["top1"] if model in tops else None,
            source=table.name,
        )
        for (regime, model, task), value in table.values.items()
    ]
