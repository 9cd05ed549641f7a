"""The report's files: report.html, report.json, results.csv; and what the terminal is told."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from featune.engine.store import plain, write_json, write_text

from ...report.figures import draw_all
from ...results import printable
from .. import Row, Setup
from .beyond_speed import recommendations
from .explaining import when
from .figures import NAMES, figures
from .page import page_document, page_html
from .published import Published
from .tables import results_csv


def write_report(
    out: Path, rows: Sequence[Row], document: Mapping[str, Any], published: Sequence[Published] = ()
) -> Path:
    """The path of `report.html`. document: of `session.run`; report.json is that, with the recommendations and, under
    `page`, all that the page prints.

    Each figure is also figures/<name>.png and .svg.
    """
    said = page_document(rows, document, published)
    drawn = figures(rows, document)
    said["figures"] = [
        {"name": one.name, "caption": printable(one.caption), "keys": [[each[0] for each in key] for key in one.keys]}
        for one in drawn
    ]
    write_json(out / "report.json", with_recommendations(rows, document) | {"page": said})
    pictures = draw_all(out / "figures", drawn, NAMES)
    write_text(out / "results.csv", results_csv(rows, document, published))
    write_text(out / "report.html", page_html(said, pictures))
    return out / "report.html"


def with_recommendations(rows: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
    return {**document, "recommended": [plain(each) for each in recommendations(rows, document)]}


def kept_line(document: Mapping[str, Any]) -> str:
    """What of the report an earlier run measured, and when; empty where all of it is new."""
    groups, kept = len(document["verdicts"]), document["kept"]
    if not kept:
        return ""
    if kept == groups:
        return f"Nothing was measured now: this was measured {when(document)}; --remeasure measures it again."
    return f"{kept} of {groups} groups were measured before: this was measured {when(document)}."


def summary_lines(rows: Sequence[Row], document: Mapping[str, Any]) -> list[str]:
    """The recommendations, the spread, and what is undecided or failed, in sentences."""
    lines = [kept] if (kept := kept_line(document)) else []
    for each in recommendations(rows, document):
        lines.append(f"{each.model}, {each.where}: {each.sentence}.")
    for search in document["searches"]:
        if search["batch"] is None and document["asked"].get("latency_limit_ms") is not None:
            setup = Setup(**search["setup"])
            limit = document["asked"]["latency_limit_ms"]
            lines.append(f"{setup.model} on {setup.name}: no batch keeps {limit:g} ms, so it has no throughput row.")
    lines.append(f"A/A spread of this machine: {document['spread']:.1%}.")
    for group in document["verdicts"]:
        for pair in group["pairs"]:
            if pair["word"] == "undecided":
                lines.append(f"{group['model']}, {group['mode']}: {pair['sentence']}.")
    absent = next((row.opened["no_energy"] for row in rows if row.opened.get("no_energy")), "")
    if absent:
        lines.append(f"No energy: {absent}.")
    return lines
