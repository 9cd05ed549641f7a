"""How the numbers came about: the machine, the clock, and what each number is, in words."""

from collections.abc import Mapping, Sequence
from typing import Any

from .. import Row


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
