"""The report's HTML page: what `report.html.j2` is filled with."""

import dataclasses
import json
import math
import re
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from featune.engine.metrics import METRICS

from ..results import Lead, Results, Row, Speed, Transfer, metric_name, printable, row_order, short_label
from .figures import Figure, key_svg
from .findings import Finding
from .first_screen import answer
from .tables import recipes, task_table, throughput_table, training_table, transfer_table

if TYPE_CHECKING:
    from markupsafe import Markup


@dataclasses.dataclass(frozen=True)
class Heading:
    """What the reader is told beside the numbers.

    notes: to know before believing one. seed: of the drawn orders of models.
    """

    title: str
    notes: Sequence[str] = ()
    source_name: str = "ImageNet"
    command: str = ""
    seed: int = 0


def page_html(
    heading: Heading,
    rows: Sequence[Row],
    speeds: Sequence[Speed],
    results: Results,
    found: Sequence[Transfer],
    drawn: Sequence[tuple[Figure, Sequence[str]]],
    scored: Mapping[str, Any] | None = None,
    ahead: Sequence[Lead] = (),
    looked: Sequence[Finding] = (),
) -> str:
    """The page. drawn: the figures, each with the SVG of its panels."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("featune.bench.report", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.filters["breakable"] = _breakable
    environment.finalize = lambda value: value if isinstance(value, Markup) else printable(value)
    pictures = [
        {
            "name": one.name,
            "caption": one.caption,
            "number": at,
            "panels": [Markup(panel) for panel in panels],
            "keys": [
                [(text, Markup(key_svg(colour, shape)) if shape else "") for text, colour, shape in key]
                for key in one.keys
            ],
        }
        for at, (one, panels) in enumerate(drawn, 1)
    ]
    trainings, of_trainings = training_table(rows)
    return environment.get_template("report.html.j2").render(
        title=heading.title,
        answer=answer(results, found, heading.source_name, ahead),
        notes=heading.notes,
        figures=pictures,
        regimes=[short_label(regime) for regime in results.regimes],
        tables=[task_table(results, task) for task in results.tasks],
        correlations=transfer_table(found, results),
        looked=[one.said for one in looked],
        trainings=trainings,
        of_trainings=of_trainings,
        recipes=recipes(rows),
        throughput=throughput_table(speeds),
        busy=[one for one in speeds if one.loaded],
        failures=[row for row in sorted(rows, key=row_order) if row.error is not None],
        label=short_label,
        made=_how_made(rows, results, heading.command, heading.seed),
        metrics=_metric_definitions(results),
        environment=_environments(rows),
        version=_version(rows),
        splits=_splits(rows),
        scored=scored,
        files=[
            *("report.json", "results.csv", "correlations.csv"),
            *(["throughput.csv"] if speeds else []),
            *(["estimates.csv"] if scored else []),
            *(["estimators.csv"] if scored and scored["tables"] else []),
        ],
        source_name=heading.source_name,
        several_seeds=len({row.cell.seed for row in rows}) > 1,
    )


def _breakable(name: str) -> "Markup":
    """The name, escaped, with places to break a line after its separators."""
    from markupsafe import Markup, escape

    return Markup(re.sub(r"([_./\\-])(?=[^_./\\-])", r"\1<wbr>", str(escape(printable(name)))))


# --- How this was made


def _how_made(rows: Sequence[Row], results: Results, command: str, seed: int) -> list[tuple[str, str]]:
    counts = Counter("failed" if row.error is not None else "measured" for row in rows if row.source == "measured")
    facts = []
    if rows:
        done = f"{counts['measured']} finished, {counts['failed']} failed"
        size = f"{len(results.models)} × {len(results.tasks)} × {len(results.regimes)}"
        facts.append(("Cells", f"{done}; {size} models × tasks × regimes"))
        facts.append(("Seeds", ", ".join(str(one) for one in sorted({row.cell.seed for row in rows}))))
        facts.append(("Time of all cells, one after the other", _duration(math.fsum(row.seconds for row in rows))))
    published = sorted({row.source for row in rows} - {"measured"})
    if published:
        facts.append(("Numbers not measured here", ", ".join(published)))
    facts.append(("Drawn orders of models", f"all of up to 7 models, 2,000 of more, seed {seed}"))
    if command:
        facts.append(("Command", command))
    return facts


def _duration(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.0f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.1f} h"


def _metric_definitions(results: Results) -> list[tuple[str, str]]:
    """Each metric's name and the first sentence of its docstring."""
    found = []
    for name in sorted(set(results.metric.values())):
        words = " ".join((METRICS[name].prepare.__doc__ or "").split()) if name in METRICS else ""
        found.append(
            (metric_name(name), words.partition(". ")[0].rstrip(".") + "." if words else "as the rows name it.")
        )
    return found


def _environments(rows: Sequence[Row]) -> list[tuple[str, str]]:
    """Every fact of the rows' environments with all values that it took."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in _flat(row.environment):
            values.setdefault(name, set()).add(value)
    return [(name, ", ".join(sorted(found))) for name, found in sorted(values.items())]


def _version(rows: Sequence[Row]) -> str:
    """Featune's version, or all of them, by the rows' environments; empty where no row tells."""
    versions = [row.environment.get("versions") for row in rows]
    return ", ".join(sorted({str(one["featune"]) for one in versions if isinstance(one, Mapping) and "featune" in one}))


def _flat(facts: Mapping[str, Any], prefix: str = "") -> Iterable[tuple[str, str]]:
    for name, value in facts.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name} ")
        else:
            yield f"{prefix}{name}", value if isinstance(value, str) else json.dumps(value, default=str)


def _splits(rows: Sequence[Row]) -> tuple[list[str], list[tuple[str, list[str]]]]:
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
