"""What a study's command leaves: the report, the table or JSON, and the exit code."""

import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import typer

from ...terminal import json_text

if TYPE_CHECKING:
    from ...results import Cell, Estimate, Plan, Right, Row, Speed
    from ...study import Study


def finish(
    study: "Study | Plan",
    out: Path,
    rows: "Sequence[Row]",
    speeds: "Sequence[Speed]",
    estimates: "Sequence[Estimate]",
    right: "Mapping[Cell, Right]",
    as_json: bool,
    *,
    command: str,
    seed: int = 0,
    retry: str = "",
    asked: "Collection[Cell] | None" = None,
    least_rate: float | None = None,
) -> None:
    """Write the report, print the table or JSON, and leave with 1 if a cell failed.

    retry: the command that measures failed cells again. asked: the cells that the run was to measure, where not all.
    least_rate: images per second that the model to take has to run at.
    """
    from featune.engine.store import plain

    from ...published import published_rows
    from ...report import (
        choice_lines,
        correlation_lines,
        estimator_lines,
        finding_lines,
        results_table,
        speed_lines,
        write_report,
    )
    from ...results import collect

    shown = [*rows, *published_rows(study.published)]
    results = collect(shown)
    report = write_report(
        out, study.name, shown, speeds, estimates,
        notes=study.notes, source_name=study.source_name, command=command, seed=seed, right=right, results=results,
        least_rate=least_rate,
    )  # fmt: skip
    if as_json:
        measured = {"rows": plain(shown), "speeds": plain(speeds), "estimates": plain(estimates)}
        print(json_text(measured | {"report": str(report)}))
    else:
        from rich.console import Console

        console = Console(width=None if sys.stdout.isatty() else 120)
        console.print(results_table(collect(rows) if study.published else results))
        lines = choice_lines(results) + correlation_lines(results, study.source_name, seed)
        lines += finding_lines(shown, results, speeds, study.source_name, seed, right)
        lines += estimator_lines(
            collect(rows) if study.published else results, estimates, speeds, study.source_name, seed
        )
        for line in [*lines, *speed_lines(speeds)]:
            console.print(line, highlight=False, markup=False)
        console.print(f"report: {report}", highlight=False, markup=False, soft_wrap=True)
    failed = [row for row in rows if row.error and (asked is None or row.cell in asked)]
    if failed:
        reasons = dict.fromkeys(last_line(row.error) for row in failed)
        for reason in reasons:
            print(f"featune: failed: {reason}", file=sys.stderr)
        total = len(rows if asked is None else asked)
        remedy = f"`{retry}` measures them again" if retry else "run again to retry them"
        print(f"featune: {len(failed)} of {total} cells failed; {remedy}", file=sys.stderr)
        raise typer.Exit(1)


def last_line(text: str | None) -> str:
    """The message of a traceback, or the whole of a message of ours."""
    text = (text or "").strip()
    return text.split("\n")[-1] if text.startswith("Traceback") else text
