"""The report's HTML page, one file with everything in it."""

from collections.abc import Mapping, Sequence
from typing import Any

from ...report.figures import Figure, key_svg
from ...results import printable
from .. import Row
from .beyond_speed import derived, recommendations
from .published import Published
from .tables import gate_word, images, number


def page_html(
    rows: Sequence[Row],
    document: Mapping[str, Any],
    pictures: Sequence[tuple[Figure, Sequence[str]]],
    published: Sequence[Published] = (),
) -> str:
    """pictures: the figures, each with the SVG of its panels."""
    from jinja2 import Environment, PackageLoader, StrictUndefined
    from markupsafe import Markup

    loader = PackageLoader("featune.bench.throughput.report", "")
    environment = Environment(loader=loader, autoescape=True, undefined=StrictUndefined, trim_blocks=True,
                              lstrip_blocks=True)  # fmt: skip
    environment.finalize = lambda value: value if isinstance(value, Markup) else printable(value)
    drawn = [
        {
            "name": one.name,
            "caption": one.caption,
            "number": at,
            "panels": [Markup(panel) for panel in panels],
            "key": [(text, Markup(key_svg(colour, shape))) for key in one.keys for text, colour, shape in key],
        }
        for at, (one, panels) in enumerate(pictures, 1)
    ]
    shown = [row for row in rows if not row.configuration.twin]
    return environment.get_template("throughput.html.j2").render(
        recommended=_by_model(rows, document),
        lines=[_line(row, rows, document) for row in shown if row.error is None],
        failures=[row for row in shown if row.error is not None],
        beyond=[_beyond(row, rows, document) for row in shown if row.error is None],
        verdicts=document["verdicts"],
        spread=document["spread"],
        figures=drawn,
        published=published,
        facts=facts(document),
        how=how(rows, document),
        priced=document["asked"].get("price_per_hour") is not None,
        headspace=any(row.summary.get("headspace") for row in shown),
        on_gpu="gpu" in document["environment"],
        energy=any(row.summary.get("joules_per_image") for row in shown),
        version=document["featune"],
    )


def _by_model(rows: Sequence[Row], document: Mapping[str, Any]) -> list[tuple[str, list[tuple[str, str]]]]:
    found: dict[str, list[tuple[str, str]]] = {}
    for each in recommendations(rows, document):
        where = each.mode if each.scope == "c" else f"{each.mode}, scope ({each.scope})"
        found.setdefault(each.model, []).append((where, each.sentence))
    return list(found.items())


def _line(row: Row, rows: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
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
        "percentiles": [number(found[f"p{percent}_ms"]) or "–" for percent in (90, 95, 99)],
        "samples": f"{found['samples']:,} in {found['blocks']}",
        "outliers": _outliers(found["outliers"]),
        "gate": gate_word(row),
        "marks": row.marks,
    }


def _outliers(found: Mapping[str, int]) -> str:
    mild, severe = found["low_mild"] + found["high_mild"], found["low_severe"] + found["high_severe"]
    return f"{mild} + {severe}" if mild or severe else "none"


def _beyond(row: Row, rows: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
    asked, found, more = row.configuration, row.summary, derived(row, rows, document)
    built = row.opened.get("build", {}).get("seconds", {})
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
        "share": "" if more.peak_share is None else f"{more.peak_share:.0%}",
        "joules": number(found.get("joules_per_image")),
        "cost": number(more.million_cost),
        "headspace": number(found.get("headspace")),
        "tf32": more.tf32,
    }


def _mb(value: float | None) -> str:
    return "" if value is None else f"{value / 1e6:,.0f}"


def facts(document: Mapping[str, Any]) -> list[tuple[str, str]]:
    """The environment and the machine's peak, for people."""
    here, peak = document["environment"], document["peak"]
    found = [
        ("Measured", when(document)),
        ("Written", str(document["made"])),
        ("Machine", f"{here['machine']}, {here['system']}"),
        ("Processor", f"{here['processor']}; {here['processors']} for this process"),
        ("Instruction sets", " ".join(here["instruction_sets"]) or "not told"),
        ("Memory", f"{here['memory_bytes'] / 1e9:.0f} GB" if here["memory_bytes"] else "not told"),
        ("Processor's clock", f"{here['megahertz']:.0f} MHz" if here["megahertz"] else "the kernel does not tell"),
    ]
    if "gpu" in here:
        found.append(("GPU", f"{here['gpu']}, driver {here.get('driver', 'not told')}, CUDA {here['cuda']}"))
    if "error" not in peak:
        copied = f"{peak['gigabytes_per_second']:,.1f} GB/s read and written by a copy"
        busy = "; other work was there, so that both are too low" if peak["loaded"] else ""
        found.append(("Measured peak", f"{peak['gmacs_per_second']:,.0f} G fp32 multiply-adds/s; {copied}{busy}"))
    found.append(("TF32", f"{here['tf32']} in every fp32 row"))
    found.append(("Versions", ", ".join(f"{name} {number}" for name, number in here["versions"].items())))
    return found


def when(document: Mapping[str, Any]) -> str:
    """When the rows were measured, which may be long before the report was written."""
    first, last = document["measured"]
    return f"at {last}" if first == last else f"from {first} to {last}"


def how(rows: Sequence[Row], document: Mapping[str, Any]) -> list[str]:
    """What the clock was and what the numbers are, in sentences."""
    effort = document["asked"]["effort"]
    data = document["asked"]["source"].get("data")
    absent = next((row.opened["no_energy"] for row in rows if row.opened.get("no_energy")), "")
    unsettled = [row for row in rows if row.error is None and not row.warm.get("settled", True)]
    found = [
        f"Each configuration had a worker process of its own, which stayed alive and took turns with the others of "
        f"its group: {effort['rounds']} blocks of at least {effort['seconds']:g} s (fewer where calls are long, as the "
        "table says), in random orders each followed by its mirror image. The first call of a block is not timed.",
        "Every worker was warmed up until two windows of calls in a row had medians within 5 %; "
        + (f"{len(unsettled)} did not settle and are marked." if unsettled else "all settled."),
        "A row's median is that of its blocks' medians. Its 95 % interval draws blocks, not calls. A percentile is "
        "given from 36 calls (p90), 72 (p95) or 368 (p99) on, where its distribution-free interval has an upper end. "
        "Outliers are Tukey's, mild + severe; none is dropped.",
        "Faster: the interval of the ratio lies beyond the noise, which is 1 % or this machine's A/A spread, whichever "
        "is larger. Equal: it lies within 3 % on both sides, the spread added. What was undecided, and each lead of "
        "less than 5 %, was measured once more in fresh workers; such a lead counts only where both looks show it. "
        "Intervals of ratios are of 97.1 %, so that both looks together are wrong in 5 % of cases.",
        "Inputs take turns; every fourth block, and the last, ends with a check that no call changed its input or gave "
        "rows of others. " + (f"Images: {data}." if data else "Images: the project's sample set."),
        "Build seconds are those of one fresh process: loading the model, making and judging its artefact, opening it "
        "(for torch-compile the compilation), the first call.",
        "Share of the peak: multiply-adds of the whole timm model, by images per second, over those of the matrix "
        "product measured in the same run.",
    ]
    if absent:
        found.append(f"No energy: {absent}.")
    return found
