"""Rows to what people read: a page that answers first, its figures, CSV files, and a table for the terminal.

Everything here is a pure function of the rows; the same rows in any order give the same bytes.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from featune.engine.errors import BadInput
from featune.engine.store import write_json, write_text

from ..estimators import judged
from ..results import (
    Cell,
    Estimate,
    Results,
    Right,
    Row,
    Speed,
    choice_of,
    collect,
    correlations,
    leads,
    printable,
    ranking,
    rates_of,
    short_label,
    source_text,
)
from .document import Heading, document_of
from .estimator_section import estimates_csv, estimators_csv, judged_lines, judgement
from .figures import draw_all
from .figures.studies import NAMES, report_figures
from .findings import closer_look
from .first_screen import sentence, trouble
from .other_forms import markdown, write_parquet
from .page import page_html
from .tables import correlations_csv, results_csv, sizes, table_cell, throughput_csv
from .taking import taken

if TYPE_CHECKING:
    from rich.table import Table

MOST_LINES = 200  # of the terminal's table; of more models and tasks it shows the best
BEST = 3
PARQUET = "results.parquet"


def write_report(
    out: Path,
    title: str,
    rows: Sequence[Row],
    speeds: Sequence[Speed] = (),
    estimates: Sequence[Estimate] = (),
    *,
    notes: Sequence[str] = (),
    source_name: str = "ImageNet",
    command: str = "",
    seed: int = 0,
    right: Mapping[Cell, Right] | None = None,
    results: Results | None = None,
    least_rate: float | None = None,
) -> Path:
    """The path of `report.html`, written under `out` with report.json, report.md, figures/*.png and *.svg, results.csv
    (and .parquet where pyarrow is installed) and correlations.csv, with throughput.csv of the speeds, and with
    estimates.csv and estimators.csv of the estimates.

    notes: what a reader must know before believing a number. seed: of the drawn orders of models. right: which test
    images the cells got right, where known, so that leads are judged by paired tests; by intervals otherwise.
    results: the rows collected, where the caller has them. least_rate: images per second that the
    model to take has to run at.
    Raises BadInput where there is neither a row nor a speed, no model is fast enough, or `out` cannot be written.
    """
    out = Path(out)
    if not rows and not speeds:
        raise BadInput(f"no results for {out}; run the study first")
    results = results or collect(rows)
    right = {} if right is None else right  # its truth value would read all scores
    found = correlations(results, seed)
    choice = choice_of(results, rows, speeds, right, least_rate)
    if choice is None and least_rate is not None:
        raise BadInput(f"no model is known to run at {least_rate:g} images per second; give less, or measure speeds")
    results.kept["choice"] = choice, rates_of(speeds)[1]  # the terminal asks for it next
    drawn = report_figures(results, found, speeds, source_name, rows, choice)
    measured = [row for row in rows if row.source == "measured"]
    own = results if len(measured) == len(rows) else collect(measured)  # published models take part in no judgement
    ahead = leads(results, right)
    looked = closer_look(results, found, rows, source_name, ahead, right, rates_of(speeds)[0], estimates)
    results.kept["looked"] = looked  # the terminal asks for it next
    scored = judged(own, estimates, speeds, seed)
    heading = Heading(title, notes, source_name, command, seed)
    said = judgement(scored, estimates, source_name)
    document = document_of(heading, rows, speeds, results, found, said, ahead, looked, choice)
    texts = {
        "results.csv": results_csv(rows),
        "correlations.csv": correlations_csv(found),
        "throughput.csv": throughput_csv(speeds) if speeds else None,
        "estimates.csv": estimates_csv(estimates) if estimates else None,
        "estimators.csv": estimators_csv(scored) if scored else None,
    }
    for name, text in texts.items():
        _write_or_remove(out / name, text)
    tables = [name for name, text in texts.items() if text is not None]
    if write_parquet(out / PARQUET, rows):
        tables.append(PARQUET)
    pictures = draw_all(out / "figures", drawn, NAMES)
    document["figures"] = [
        {"name": one.name, "caption": printable(one.caption), "keys": [[each[0] for each in key] for key in one.keys]}
        for one in drawn
    ]
    write_text(out / "report.html", page_html(document, pictures, ["report.json", "report.md", *tables]))
    write_text(out / "report.md", markdown(document))
    write_json(out / "report.json", document)
    return out / "report.html"


def finding_lines(
    rows: Sequence[Row],
    results: Results,
    speeds: Sequence[Speed] = (),
    source_name: str = "ImageNet",
    seed: int = 0,
    right: Mapping[Cell, Right] | None = None,
) -> list[str]:
    """What a closer look finds, a sentence each, for the terminal."""
    looked = results.kept.get("looked")
    if looked is None:
        found, ahead = correlations(results, seed, means_only=True), leads(results, right or {})
        looked = closer_look(results, found, rows, source_name, ahead, right, rates_of(speeds)[0])
    return [one.said for one in looked]


def choice_lines(results: Results) -> list[str]:
    """Which model to take, for the terminal; of results whose report was written."""
    choice, way = results.kept.get("choice", (None, ""))
    if choice is None:
        return []
    words = taken(results, choice, way)
    return [f"{words['take']} {words['expect']}", " ".join(words["sentences"])]


def _write_or_remove(path: Path, text: str | None) -> None:
    """A file of an earlier report that this one has nothing for would be taken for its own."""
    if text is None:
        path.unlink(missing_ok=True)
    else:
        write_text(path, text)


def correlation_lines(results: Results | Sequence[Row], source_name: str = "ImageNet", seed: int = 0) -> list[str]:
    """One sentence per regime, and what failed, collapsed or fell short, for the terminal."""
    table = results if isinstance(results, Results) else collect(results)
    said = [sentence(one, source_name) for one in correlations(table, seed, means_only=True)]
    return [*said, *trouble(table)]


def speed_lines(speeds: Sequence[Speed]) -> list[str]:
    """What is to be said of the speeds, for the terminal: nothing, where the machine was quiet."""
    busy = [one for one in speeds if one.loaded]
    if not busy:
        return []
    names = ", ".join(dict.fromkeys(printable(one.model) for one in busy))
    return [f"{len(busy)} of {len(speeds)} speeds were measured under load ({names}) and are too low; measure "
            "them again on a quiet machine: `featune study run` with --remeasure-speed"]  # fmt: skip


def estimator_lines(
    rows: Results | Sequence[Row],
    estimates: Sequence[Estimate],
    speeds: Sequence[Speed] = (),
    source_name: str = "ImageNet",
    seed: int = 0,
) -> list[str]:
    """Which cheap score ranks the models, one line per regime, for the terminal."""
    table = rows if isinstance(rows, Results) else collect(rows)
    return judged_lines(judged(table, estimates, speeds, seed), source_name)


def results_table(rows: Results | Sequence[Row]) -> "Table":
    """Models by regimes, task after task, for the terminal; the best of each task and regime in bold."""
    from rich.table import Table
    from rich.text import Text

    results = rows if isinstance(rows, Results) else collect(rows)
    few = len(results.models) * len(results.tasks) <= MOST_LINES
    kept = "" if few else f"; of each task the {BEST} best models of every regime: report.html and results.csv have all"
    table = Table(caption=f"percent where a metric is a share; in brackets its 95 % interval; best in bold{kept}")
    for name in ("task", "n", "model", "source"):
        table.add_column(name, justify="right" if name in ("n", "source") else "left", overflow="fold")
    for regime in results.regimes:
        table.add_column(Text(printable(short_label(regime))), justify="right")
    for task in results.tasks:
        models = results.models if few else _best(results, task)
        for at, model in enumerate(models):
            cells = [table_cell(results, task, model, regime) for regime in results.regimes]
            table.add_row(
                Text(printable(task) if at == 0 else ""),
                sizes(results, task) if at == 0 else "",
                Text(printable(model)),
                source_text(results, model),
                *(Text(cell["value"] + (f" [{cell['interval']}]" if cell["interval"] else "")
                       + (f" {cell['fault']}" if cell["fault"] else ""),
                       style="bold" if cell["best"] else "red" if cell["failed"] else "") for cell in cells),
                end_section=model == models[-1],
            )  # fmt: skip
    return table


def _best(results: Results, task: str) -> list[str]:
    """The models that are among the first of any regime, in the order of the table."""
    first = {model for regime in results.regimes for model in ranking(results, task, regime)[:BEST]}
    return [model for model in results.models if model in first]
