"""The page: what its words and cells may not say, and what it must escape."""

import dataclasses
import re
from pathlib import Path

import pytest
from report_rows import REGIMES, failed, lines_of, page, row, speed, speeds, study, table_cells

from featune.bench.report import correlation_lines, write_report
from featune.bench.results import Row

# --- Words and cells


def test_a_failed_cell_is_its_error_and_never_a_zero(tmp_path: Path) -> None:
    rows = [failed(row("a", "digits")), row("b", "digits", right=300)]
    html = page(tmp_path, rows)
    assert "loss is not finite at step 120" in html
    assert "failed" in table_cells(html)
    assert not any(text.startswith("0.0") for text in table_cells(html))
    line = next(line for line in lines_of(tmp_path / "results.csv") if line["model"] == "a")
    assert (line["value"], line["low"], line["error"]) == ("", "", "loss is not finite at step 120")


def test_the_best_of_each_column_is_bold_and_a_tie_is_bold_twice(tmp_path: Path) -> None:
    rows = [row("a", "digits", right=180), row("b", "digits", right=270), row("c", "digits", right=270)]
    assert re.findall(r"<b>([\d.]+)</b>", page(tmp_path, rows)) == ["75.0", "75.0"]


def test_where_lower_is_better_the_lowest_is_best(tmp_path: Path) -> None:
    rows = [row("a", "digits", metric="log_loss", value=2.5, low=2.4, high=2.6, source_top1=0.5),
            row("b", "digits", metric="log_loss", value=1.25, low=1.2, high=1.3, source_top1=0.6)]  # fmt: skip
    html = page(tmp_path, rows)
    assert re.findall(r"<b>([\d.]+)</b>", html) == ["1.250"]
    assert "<figure" not in html


def test_seeds_are_averaged_and_said(tmp_path: Path) -> None:
    html = page(tmp_path, [row("a", "digits", right=180), row("a", "digits", right=216, seed=1)])
    assert any(text.startswith("55.0") and "2 seeds: 50.0 to 60.0" in text for text in table_cells(html))
    assert "means over seeds" in html


def test_few_models_are_called_few(tmp_path: Path) -> None:
    assert "read it as a sketch" in page(tmp_path / "few", study(6, 1, ("probe",)))
    assert "read it as a sketch" not in page(tmp_path / "many", study(12, 1, ("probe",)))
    assert all("too few models" in line for line in correlation_lines(study(3)))


def test_a_lead_counts_only_where_intervals_are_apart(tmp_path: Path) -> None:
    apart = [row("a", "digits", right=100), row("b", "digits", right=300)]
    assert "lies clear of the runner-up" in page(tmp_path / "apart", apart)
    close = [row("a", "digits", right=298), row("b", "digits", right=300)]
    assert "no lead is settled" in page(tmp_path / "close", close)


def test_the_page_says_how_many_images_each_split_has(tmp_path: Path) -> None:
    cells = table_cells(page(tmp_path, study(2, 1)))
    at = cells.index("1,000")
    assert cells[at : at + 3] == ["1,000", "200", "360"]


def test_the_page_says_which_version_made_the_numbers_where_the_rows_tell(tmp_path: Path) -> None:
    def made_by(*versions: str) -> list[Row]:
        return [row("a", f"task-{at}", environment={"versions": {"featune": told}}) for at, told in enumerate(versions)]

    assert "Made by Featune 0.3.1.</footer>" in page(tmp_path, made_by("0.3.1", "0.3.1"))
    assert "Made by Featune 0.3.1, 0.4.0.</footer>" in page(tmp_path, [*made_by("0.4.0", "0.3.1"), row("b", "task-0")])
    assert "Made by Featune.</footer>" in page(tmp_path, [row("a", "digits", environment={"device": "cpu"})])


# --- HTML


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a usual report."""
    out = tmp_path_factory.mktemp("usual")
    return write_report(out, "A study", study(), speeds(), notes=["offline miniature"], command="featune demo").parent


def test_the_page_fetches_nothing(usual: Path) -> None:
    html = (usual / "report.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//\w|@import|<script|<link[^>]+href=\"(?!data:)", html)
    assert set(re.findall(r'(?:src|href)="([^"#][^"]*)"', html)) == {
        "data:,", "results.csv", "correlations.csv", "throughput.csv",
    }  # fmt: skip


def test_ids_of_inlined_drawings_are_unique_and_every_reference_resolves(usual: Path) -> None:
    html = (usual / "report.html").read_text(encoding="utf-8")
    ids = re.findall(r'\bid="([^"]+)"', html)
    assert len(ids) == len(set(ids))
    assert set(re.findall(r'(?:href="#|url\(#)([^")]+)', html)) <= set(ids)


def test_names_are_text_whatever_they_hold(tmp_path: Path) -> None:
    nasty = "<script>alert(1)</script> & $x_1$ \\frac \x00 \ud800 {{ 7 * 7 }} 模型"
    rows = [row(nasty, nasty, regime, right=200 + at, source_top1=0.5, family=nasty)
            for at, regime in enumerate((*REGIMES, nasty))]  # fmt: skip
    rows.append(failed(row(nasty, "b"), nasty))
    html = page(tmp_path, rows, [speed(nasty, nasty, 50.0, device=nasty)], notes=[nasty], command=nasty)
    assert "<script" not in html
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert "\x00" not in html


def test_every_figure_of_the_page_is_a_png_too(usual: Path) -> None:
    html = (usual / "report.html").read_text(encoding="utf-8")
    named = set(re.findall(r'<figure id="figure-(\w+)"', html))
    assert named == {"transfer", "tasks", "regimes", "throughput"}
    assert {path.stem for path in (usual / "figures").glob("*.png")} == named


def test_source_accuracies_with_their_images_are_drawn_with_horizontal_bars(tmp_path: Path) -> None:
    def strokes(html: str) -> int:
        return html.partition('id="figure-transfer"')[2].partition("</figure>")[0].count("<path")

    rows = study(5)
    bare, known = page(tmp_path, rows), page(tmp_path, [dataclasses.replace(one, source_n=300) for one in rows])
    assert strokes(known) - strokes(bare) >= 5 * 3  # a bar per model and panel
    assert "the images behind the source accuracy" in known
    assert "the images behind the source accuracy" not in bare
