"""The report's HTML page: what it prints as plain values, and the template filled with them."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...report.figures import Figure
from ...report.pages import drawings, page
from .. import Row
from .answer import answer
from .beyond_speed import derived, recommendations
from .explaining import facts, how
from .figures import first_of, points, shown_rows, top1_of
from .published import Published
from .tables import gate_word, images, number

PERCENTILES = (90, 95, 99)


def page_document(
    rows: Sequence[Row], document: Mapping[str, Any], published: Sequence[Published] = ()
) -> dict[str, Any]:
    """All that the page prints, by its sections. Texts are as printed; their numbers in full are in the rows."""
    shown = shown_rows(rows)
    found = recommendations(rows, document)
    return {
        "answer": answer(found, rows, document),
        "recommended": [
            {"model": one.model, "where": one.where, "sentence": one.sentence} for one in found
        ],
        "lines": [_line(row) for row in shown],
        "points": [
            {"place": one.place, "model": one.setup.model, "setup": one.setup.name, "batch": one.batch,
             "ms": f"{one.ms:,.4g}", "rate": f"{one.rate:,.4g}",
             "how": "short trial of the search" if one.row is None else "row, in turns"}
            for one in points(rows, document)
        ],
        "verdicts": [
            {"model": group["model"], "mode": group["mode"], "scope": group["scope"], "sentence": pair["sentence"],
             "word": pair["word"], "pairs": pair["pairs"], "looks": pair["looks"], "spread": f"{group['spread']:.1%}"}
            for group in document["verdicts"] for pair in group["pairs"]
        ],
        "beyond": [_beyond(row, rows, document) for row in shown],
        "published": [dict(one.columns) | {"source": one.source} for one in published],
        "failures": [_failure(row) for row in rows if row.error is not None and not row.configuration.twin],
        "how": how(rows, document),
        "facts": facts(document),
        "shows": {
            "price": document["asked"].get("price_per_hour") is not None,
            "headspace": any(row.summary.get("headspace") for row in shown),
            "gpu": "gpu" in document["environment"],
            "percentiles": [
                percent for percent in PERCENTILES if any(row.summary[f"p{percent}_ms"] is not None for row in shown)
            ],
            "energy": any(row.summary.get("joules_per_image") for row in shown),
        },
        "version": document["featune"],
    }  # fmt: skip


def page_html(said: Mapping[str, Any], drawn: Sequence[tuple[Figure, Sequence[str]]]) -> str:
    """said: of `page_document`. drawn: the figures, each with the SVG of its panels."""
    first = first_of([one for one, _ in drawn])
    pictures = drawings(drawn, of={"curves": "points"})
    models = list(dict.fromkeys(line["model"] for line in said["lines"]))
    values = {
        **said,
        "title": "Throughput"
        + (f" of {models[0]}" if len(models) == 1 else f" of {len(models)} models" if models else ""),
        "first": next((one for one in pictures if first and one["name"] == first.name), None),
        "figures": [one for one in pictures if not first or one["name"] != first.name],
    }
    return page("featune.bench.throughput.report", "throughput.html.j2", **values)


def _line(row: Row) -> dict[str, Any]:
    asked, found = row.configuration, row.summary
    return {
        "model": asked.setup.model,
        "setup": asked.setup.name,
        "scope": asked.scope,
        "mode": asked.mode,
        "batch": asked.batch if asked.scope != "c" else f"{asked.batch} of {row.blocks[0].images}",
        "rate": f"{row.rate:,.4g}",
        "interval": f"{found['images_per_second_low']:,.4g} to {found['images_per_second_high']:,.4g}",
        "median": f"{found['median_ms']:,.4g}",
        "percentiles": {str(percent): number(found[f"p{percent}_ms"]) or "–" for percent in PERCENTILES},
        "samples": f"{found['samples']:,} in {found['blocks']}",
        "outliers": _outliers(found["outliers"]),
        "gate": gate_word(row),
        "marks": list(row.marks),
    }


def _outliers(found: Mapping[str, int]) -> str:
    mild, severe = found["low_mild"] + found["high_mild"], found["low_severe"] + found["high_severe"]
    return f"{mild} + {severe}" if mild or severe else "none"


def _beyond(row: Row, rows: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
    asked, found, more = row.configuration, row.summary, derived(row, rows, document)
    built = row.opened.get("build", {}).get("seconds", {})
    top1 = top1_of(row)
    return {
        "model": asked.setup.model,
        "setup": asked.setup.name,
        "scope": asked.scope,
        "mode": asked.mode,
        "peak": _mb(row.memory.get("peak_resident")),
        "start": _mb(row.memory.get("resident_at_start")),
        "device": _mb(row.memory.get("device_by_all")),
        "file": _mb(row.opened.get("bytes")),
        "seconds": [number(built.get(name)) for name in ("load", "export", "open", "first_call")],
        "even": images(more.break_even),
        "parameters": number(more.million_parameters),
        "gmacs": number(more.gmacs),
        "top1": "" if top1 is None else f"{100 * top1:.1f}",
        "share": "" if more.peak_share is None else f"{more.peak_share:.0%}",
        "joules": number(found.get("joules_per_image")),
        "cost": number(more.million_cost),
        "headspace": number(found.get("headspace")),
        "tf32": more.tf32,
    }


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.0f}"


def _failure(row: Row) -> dict[str, Any]:
    asked = row.configuration
    return {"model": asked.setup.model, "setup": asked.setup.name, "scope": asked.scope, "mode": asked.mode,
            "batch": asked.batch, "error": row.error}  # fmt: skip
