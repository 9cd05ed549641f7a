"""Where the numbers come from: counts, seeds, recipes, metrics, splits, versions, devices."""

import json
import math
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from featune.engine.metrics import METRICS

from ..results import Results, Row, duration, metric_name


def how_made(rows: Sequence[Row], results: Results, command: str, seed: int) -> list[tuple[str, str]]:
    counts = Counter("failed" if row.error is not None else "measured" for row in rows if row.source == "measured")
    facts = []
    if rows:
        done = f"{counts['measured']} finished, {counts['failed']} failed"
        size = f"{len(results.models)} × {len(results.tasks)} × {len(results.regimes)}"
        facts.append(("Cells", f"{done}; {size} models × tasks × regimes"))
        facts.append(("Seeds", ", ".join(str(one) for one in sorted({row.cell.seed for row in rows}))))
        facts.append(("Time of all cells, one after the other", duration(math.fsum(row.seconds for row in rows))))
    published = sorted({row.source for row in rows} - {"measured"})
    if published:
        facts.append(("Numbers not measured here", ", ".join(published)))
    facts.append(("Drawn orders of models", f"all of up to 7 models, 2,000 of more, seed {seed}"))
    if command:
        facts.append(("Command", command))
    return facts


def metric_definitions(results: Results) -> list[tuple[str, str]]:
    """Each metric's name and the first sentence of its docstring."""
    found = []
    for name in sorted(set(results.metric.values())):
        words = " ".join((METRICS[name].prepare.__doc__ or "").split()) if name in METRICS else ""
        found.append(
            (metric_name(name), words.partition(". ")[0].rstrip(".") + "." if words else "as the rows name it.")
        )
    return found


def environments(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Every fact of the rows' environments with all values that it took."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in _flat(row.environment):
            values.setdefault(name, set()).add(value)
    return [(name, ", ".join(sorted(found))) for name, found in sorted(values.items())]


def version(rows: Sequence[Row]) -> str:
    """Featune's version, or all of them, by the rows' environments; empty where no row tells."""
    versions = [row.environment.get("versions") for row in rows]
    return ", ".join(sorted({str(one["featune"]) for one in versions if isinstance(one, Mapping) and "featune" in one}))


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def splits(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, list[str]]]]:
    """Names of the splits whose sizes the rows tell (details: n_train, n_val), and (task, sizes) for each task."""
    measured = [row for row in rows if row.source == "measured" and row.error is None]
    sizes = {
        "train": lambda row: row.details.get("n_train"),
        "val": lambda row: row.details.get("n_val"),
        "test": lambda row: row.n,
    }
    told = [name for name, size in sizes.items() if any(isinstance(size(row), int) for row in measured)]
    tasks = sorted({row.cell.task for row in measured})
    return told, [
        (task, [_either(sizes[name](row) for row in measured if row.cell.task == task) for name in told])
        for task in tasks
    ]


def _either(sizes: Iterable[Any]) -> str:
    return " or ".join(f"{size:,}" for size in sorted({size for size in sizes if isinstance(size, int)})) or "–"
