"""The page: what its words and cells may not say, and what it must escape."""

import dataclasses
import re
from pathlib import Path

import numpy as np
import pytest
from report_rows import REGIMES, failed, lines_of, page, row, speed, speeds, study, table_cells

from featune.bench.report import correlation_lines, speed_lines, write_report
from featune.bench.results import Right, Row

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


def test_few_models_are_told_what_they_can_show_and_five_have_no_verdict(tmp_path: Path) -> None:
    assert "With 6 models only a correlation of about 0.81 or more" in page(tmp_path / "few", study(6, 1, ("probe",)))
    assert "only a correlation of about" not in page(tmp_path / "many", study(20, 1, ("probe",)))
    for models in (3, 4, 5):
        rows = study(models, 1)
        assert all("too few models" in line for line in correlation_lines(rows))
        html = page(tmp_path / str(models), rows)
        assert "a verdict needs 6" in html
        assert "Models with higher ImageNet accuracy" not in html


def test_without_scores_a_lead_counts_where_intervals_are_apart(tmp_path: Path) -> None:
    apart = [row("a", "digits", right=100), row("b", "digits", right=300)]
    assert "is settled (by intervals that lie clear of each other)" in page(tmp_path / "apart", apart)
    close = [row("a", "digits", right=298), row("b", "digits", right=300)]
    assert "settled in none (by intervals" in page(tmp_path / "close", close)


def test_with_scores_a_lead_is_judged_by_a_paired_test(tmp_path: Path) -> None:
    rows = [row("nfnet", "photographs", right=150), row("byobnet", "photographs", right=135)]
    b = np.arange(360) < 135
    a = (np.arange(360) < 150) & (np.arange(360) != 3)  # 15 images that b gets wrong, one that it gets right
    right = {one.cell: Right(which.astype(float), np.zeros(360, int)) for one, which in zip(rows, (a, b), strict=True)}
    assert "settled in none (by intervals" in page(tmp_path / "intervals", rows)
    html = page(tmp_path / "paired", rows, right=right)
    assert "is settled (by paired tests on the same test images, p at most 0.05)" in html


def test_a_range_of_pairs_is_called_one(tmp_path: Path) -> None:
    assert "points, and single pairs range from" in page(tmp_path, study(6))


def test_failed_and_collapsed_models_are_named_in_the_opening(tmp_path: Path) -> None:
    facts = {
        "test_classes": 10,
        "majority_test": 0.14,
        "majority_train": 0.12,
        "train_top1": 0.12,
        "learning_rate": 5e-4,
    }
    rows = [
        failed(row("broken", "digits", "finetune")),
        row("flat", "digits", "finetune", right=52, details=facts | {"predicted_classes": 1}),
        row("short", "digits", "finetune", right=50, details=facts | {"predicted_classes": 4, "recipe": {"epochs": 1}}),
    ]
    html = page(tmp_path, rows)
    opening = html.partition('aria-label="Answer"')[2].partition("</section>")[0]
    assert "as it failed: broken (fine-tuned on digits)" in opening
    assert "says nothing of the model: flat (fine-tuned on digits)" in opening
    assert "Best: short" in opening  # the flat one has more, and no merit in it
    cells = table_cells(html)
    assert any("collapsed: predicts one class" in text for text in cells)
    assert "14.0 / 12.0" in cells
    assert "no better than the most frequent class" in html
    assert "epochs 1" in html
    lines = {line["model"]: line for line in lines_of(tmp_path / "results.csv")}
    assert (lines["flat"]["train_top1"], lines["flat"]["majority_test"]) == ("0.12", "0.14")
    assert lines["flat"]["faults"].startswith("collapsed")
    said = " ".join(correlation_lines(rows))
    assert "as it failed: broken" in said
    assert "nothing of the model: flat" in said


def test_speeds_under_load_are_marked_on_the_page_and_in_the_terminal(tmp_path: Path) -> None:
    found = [speed("a", "torch", 29.5, loaded=True), speed("b", "torch", 134.0)]
    html = page(tmp_path, [row("a", "digits"), row("b", "digits")], found)
    assert any(text == "29.5measured under load" for text in table_cells(html))
    assert "--remeasure-speed" in html
    assert "1 of 2 speeds were measured under load (a)" in speed_lines(found)[0]
    assert speed_lines(found[1:]) == []


def test_colours_of_drawings_and_keys_are_the_pages_names_so_that_a_dark_scheme_changes_them(tmp_path: Path) -> None:
    html = page(tmp_path, study(6), speeds(6))
    assert "prefers-color-scheme: dark" in html
    named = set(re.findall(r"var\(--([a-z0-9]+), #", html))
    dark = html.partition("prefers-color-scheme: dark")[2].partition("</style>")[0]
    assert {"page", "ink", "muted", "rule", "c1", "c2", "c3"} <= named
    assert all(f"--{name}:" in dark for name in named)
    drawings = html.partition("<figure")[2]
    assert not re.findall(r"(?<!, )#[0-9a-f]{6}(?=[;\"])", drawings)


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
    assert not re.search(r"https?:|//\w|@import|<script\s|<link[^>]+href=\"(?!data:)", html)
    assert set(re.findall(r'(?:src|href)="([^"#][^"]*)"', html)) - {"results.parquet"} == {
        "data:,", "report.json", "report.md", "results.csv", "correlations.csv", "throughput.csv",
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
    assert html.count("<script") == 1, "our own"
    assert "&lt;script&gt;alert(1)&lt;/script&gt;" in html
    assert "{{ 7 * 7 }}" in html
    assert "\x00" not in html


def test_every_figure_of_the_page_is_a_png_too(usual: Path) -> None:
    html = (usual / "report.html").read_text(encoding="utf-8")
    named = set(re.findall(r'<figure id="figure-(\w+)"', html))
    assert named == {"choice", "transfer", "tasks", "regimes", "costs", "ranks", "throughput"}
    assert {path.stem for path in (usual / "figures").glob("*.png")} == named


def test_source_accuracies_with_their_images_are_drawn_with_horizontal_bars(tmp_path: Path) -> None:
    def strokes(html: str) -> int:
        """Straight lines; bars of a series are one path."""
        figure = html.partition('id="figure-transfer"')[2].partition("</figure>")[0]
        return sum(path.count("L") for path in re.findall(r' d="([^"]*)"', figure))

    rows = study(5)
    bare, known = page(tmp_path, rows), page(tmp_path, [dataclasses.replace(one, source_n=300) for one in rows])
    assert strokes(known) - strokes(bare) >= 5 * 3  # a bar per model and panel
    assert "the images behind the source accuracy" in known
    assert "the images behind the source accuracy" not in bare
