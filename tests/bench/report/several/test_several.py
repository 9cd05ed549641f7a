"""Pages about several reports."""

import dataclasses
import json
import re
from pathlib import Path

import pytest
from report_rows import failed, speeds, study

from featune.bench.report import write_report
from featune.bench.report.several import index_of, write_comparison, write_index
from featune.bench.results import Row
from featune.engine.errors import BadInput
from featune.engine.store import write_json


def shifted(rows: list[Row], by: float) -> list[Row]:
    """The same cells, `by` higher, of other weights."""
    found = []
    for row in rows:
        cell = dataclasses.replace(row.cell, inputs="1" * 16)
        found.append(dataclasses.replace(row, cell=cell, value=min(1.0, (row.value or 0) + by)))
    return found


def test_studies_are_compared_cell_by_cell_and_each_says_what_to_take(tmp_path: Path) -> None:
    rows = study(4, 2, ("probe", "finetune"))
    page = write_comparison(tmp_path, [("before", rows), ("after", shifted(rows, 0.05)), ("less", rows[:8])])
    html = page.read_text(encoding="utf-8")
    found = json.loads((tmp_path / "compare.json").read_text(encoding="utf-8"))
    assert [one["name"] for one in found["studies"]] == ["before", "after", "less"]
    assert all(one["take"] in html for one in found["studies"])
    assert [(one["first"], one["second"]) for one in found["comparisons"]] == [("before", "after"), ("before", "less")]
    first = found["comparisons"][0]
    assert len(first["cells"]) == 16
    assert all(cell["numbers"][1] - cell["numbers"][0] == pytest.approx(0.05) for cell in first["cells"])
    assert "second less first +5.0 points on average over 8 cells of 2 tasks" in html
    assert 'id="figure-cells-0"' in html
    assert html.count("<script") == 1
    assert (tmp_path / "figures" / "cells-0.png").exists()
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))


def test_one_study_or_one_without_rows_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="two or more"):
        write_comparison(tmp_path, [("alone", study(2, 1))])
    with pytest.raises(BadInput, match="empty: no row found"):
        write_comparison(tmp_path, [("a", study(2, 1)), ("empty", [])])


def test_the_index_has_a_line_for_each_report_below_the_folder(tmp_path: Path) -> None:
    rows = study(3, 1, ("probe",))
    write_report(tmp_path / "mine & yours", "<b>A study</b>", [*rows[:2], failed(rows[2])], speeds(3))
    sentences = ["Take a.", "Expect 90 %.", "One image takes 2 ms."]
    chosen = {"data": {"name": "photos"}, "sentences": sentences, "compared": 5}
    write_json(tmp_path / "choose" / "photos-1" / "choose.json", chosen)
    (tmp_path / "choose" / "photos-1" / "report.html").write_text("a page")
    write_comparison(tmp_path / "both", [("a", rows), ("b", rows)])
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "report.json").write_text('{"mine": 1}')
    (tmp_path / "other" / "report.html").write_text("not ours")
    page, lines = write_index(tmp_path)
    assert {line["path"] for line in lines} == {
        "mine & yours/report.html", "choose/photos-1/report.html", "both/compare.html",
    }  # fmt: skip
    html = page.read_text(encoding="utf-8")
    assert 'href="mine%20%26%20yours/report.html"' in html
    assert "&lt;b&gt;A study&lt;/b&gt;" in html
    said = {line["kind"]: line for line in lines}
    assert said["choose"]["said"] == "Take a. Expect 90 %."
    assert said["study"]["said"].startswith("Take model_")
    assert "2 finished, 1 failed" in said["study"]["size"]
    assert index_of(tmp_path) == list(lines), "the index itself is no report"


def test_a_folder_without_reports_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="no report found"):
        write_index(tmp_path)
    with pytest.raises(BadInput, match="no such folder"):
        write_index(tmp_path / "absent")
