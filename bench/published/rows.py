"""Published numbers as rows of the results, each with its source, so that a report shows them beside measured ones."""

from collections.abc import Sequence
from pathlib import Path

from featune.engine.accuracies import IMAGENET_IMAGES
from featune.engine.store import digest

from ..results import Cell, Row
from .importing import Published
from .shipped_tables import published


def published_rows(names: Sequence[str], folder: Path = Path()) -> list[Row]:
    """A row for each number of these tables, names or CSV files seen from `folder`; `source` is the table's name."""
    return [row for name in names for row in rows_of(published(name, folder))]


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
