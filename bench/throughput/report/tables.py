"""Rows as CSV, with timm's names for the columns that timm has, and as a table for the terminal."""

import csv
import io
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ...results import printable
from .. import Row
from .beyond_speed import derived
from .published import Published

if TYPE_CHECKING:
    from rich.table import Table

# Of timm's benchmark.py, in its order and units: images/s, ms, images, pixels, millions, 1e9.
TIMM = ("model", "infer_samples_per_sec", "infer_step_time", "infer_batch_size", "infer_img_size", "param_count",
        "infer_gmacs")  # fmt: skip
OURS = ("backend", "precision", "device", "threads", "scope", "mode", "twin", "samples_per_sec_low",
        "samples_per_sec_high", "step_time_low", "step_time_high", "step_time_p90", "step_time_p95", "step_time_p99",
        "samples", "blocks", "outliers", "peak_resident_mb", "device_mb", "file_mb", "load_s", "export_s", "open_s",
        "first_call_s", "break_even_images", "share_of_peak", "joules_per_image", "cost_per_million", "headspace",
        "gate", "tf32", "marks", "error", "source")  # fmt: skip

CAPTION = (
    "(a) kernel only, data resident; (b) with host-device copies; (c) from files. ± half the 95 % interval. "
    "Break-even: images after which a longer build than torch's is earned back."
)


def results_csv(rows: Sequence[Row], document: Mapping[str, Any], published: Sequence[Published] = ()) -> str:
    """One line per row, those of timm's published results last, `source` telling them apart."""
    text = io.StringIO()
    writer = csv.DictWriter(text, (*TIMM, *OURS), restval="", lineterminator="\n")
    writer.writeheader()
    for row in rows:
        writer.writerow({key: _plain(value) for key, value in record(row, rows, document).items()})
    for one in published:
        writer.writerow({**one.columns, "source": f"published: {one.source}"})
    return text.getvalue()


def _plain(value: Any) -> Any:
    if isinstance(value, float):
        return "" if math.isnan(value) else f"{value:.6g}"
    return "" if value is None else value


def record(row: Row, rows: Sequence[Row], document: Mapping[str, Any]) -> dict[str, Any]:
    """The row's columns."""
    asked, setup, found = row.configuration, row.configuration.setup, row.summary
    more = derived(row, rows, document)
    built = row.opened.get("build", {}).get("seconds", {})
    outliers = found.get("outliers", {})
    return {
        "model": setup.model,
        "infer_samples_per_sec": found.get("images_per_second"),
        "infer_step_time": found.get("median_ms"),
        "infer_batch_size": asked.batch,
        "infer_img_size": more.side,
        "param_count": more.million_parameters,
        "infer_gmacs": more.gmacs,
        "backend": setup.backend,
        "precision": setup.precision,
        "device": setup.device,
        "threads": setup.threads,
        "scope": asked.scope,
        "mode": asked.mode,
        "twin": int(asked.twin),
        "samples_per_sec_low": found.get("images_per_second_low"),
        "samples_per_sec_high": found.get("images_per_second_high"),
        "step_time_low": found.get("median_ms_low"),
        "step_time_high": found.get("median_ms_high"),
        **{f"step_time_p{percent}": found.get(f"p{percent}_ms") for percent in (90, 95, 99)},
        "samples": found.get("samples"),
        "blocks": found.get("blocks"),
        "outliers": " ".join(f"{name}={count}" for name, count in outliers.items()),
        "peak_resident_mb": _megabytes(row.memory.get("peak_resident")),
        "device_mb": _megabytes(row.memory.get("device_by_all")),
        "file_mb": _megabytes(row.opened.get("bytes")),
        "load_s": built.get("load"),
        "export_s": built.get("export"),
        "open_s": built.get("open"),
        "first_call_s": built.get("first_call"),
        "break_even_images": more.break_even,
        "share_of_peak": more.peak_share,
        "joules_per_image": found.get("joules_per_image"),
        "cost_per_million": more.million_cost,
        "headspace": found.get("headspace"),
        "gate": gate_word(row),
        "tf32": more.tf32,
        "marks": "; ".join(row.marks),
        "error": row.error,
        "source": "measured",
    }


def gate_word(row: Row) -> str:
    """reference, passed, or none."""
    gate = row.opened.get("gate")
    if not gate:
        return "none"
    return "reference" if gate.get("reference") else "passed" if gate["passed"] else "failed"


def _megabytes(value: float | None) -> float | None:
    return None if value is None else value / 1e6


def terminal_table(rows: Sequence[Row], document: Mapping[str, Any], published: Sequence[Published] = ()) -> "Table":
    from rich.table import Table
    from rich.text import Text

    table = Table(caption=CAPTION)
    for name in ("model", "backend", "scope", "mode", "batch"):
        table.add_column(name, overflow="fold")
    for name in ("images/s", "±", "ms", "p95", "MB", "build s", "break-even", "of peak", "gate"):
        table.add_column(name, justify="right")
    table.add_column("to know", overflow="fold")
    before = ""
    for row in (row for row in rows if not row.configuration.twin):
        asked, one = row.configuration, record(row, rows, document)
        more = derived(row, rows, document)
        name = asked.setup.model if asked.setup.model != before else ""
        before = asked.setup.model
        head = (Text(printable(name)), asked.setup.name, f"({asked.scope})", asked.mode, str(asked.batch))
        if row.error is not None:
            table.add_row(*head, *[""] * 9, Text(printable(row.error), style="red"))
            continue
        half = (one["samples_per_sec_high"] - one["samples_per_sec_low"]) / 2 / row.rate
        table.add_row(
            *head, f"{row.rate:,.4g}", f"{half:.1%}", f"{one['infer_step_time']:,.4g}", number(one["step_time_p95"]),
            number(one["peak_resident_mb"]), number(more.build_seconds), images(more.break_even),
            "" if more.peak_share is None else f"{more.peak_share:.0%}", one["gate"], Text(one["marks"]),
        )  # fmt: skip
    for each in published:
        table.add_row(
            each.columns["model"], "published", "", printable(each.source), str(each.columns["infer_batch_size"]),
            each.columns["infer_samples_per_sec"], "", each.columns["infer_step_time"], *[""] * 6,
            "timm's own, on other hardware",
        )  # fmt: skip
    return table


def number(value: float | None) -> str:
    """Three digits; nothing for None."""
    if value is None:
        return ""
    if 0 < value < 0.01:
        return "<0.01"
    return f"{value:,.3g}" if value < 1000 else f"{value:,.0f}"


def images(value: float | None) -> str:
    """A number of images, in words where it is none."""
    if value is None:
        return ""
    return "never" if math.isinf(value) else f"{value:,.0f}"
