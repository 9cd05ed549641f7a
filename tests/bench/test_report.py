"""The report: what it may not say, what it must escape, and what a browser makes of it."""

import csv
import dataclasses
import io
import os
import random
import re
import shutil
from collections.abc import Iterator
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from bench import figures
from bench.report import collect, correlation_lines, correlations, results_table, write_report
from bench.runs import Cell, Row, Speed
from bench.stats import clopper_pearson
from engine.errors import BadInput

REGIMES = ("probe", "finetune", "scratch")


def row(model: str, task: str, regime: str = "probe", right: int = 250, **facts: Any) -> Row:
    """A finished cell: `right` of 360 test images, with its exact interval."""
    interval = clopper_pearson(right, 360)
    finished = {"metric": "top1", "value": right / 360, "n": 360, "low": interval.low, "high": interval.high}
    return Row(Cell(task, model, regime, facts.pop("seed", 0), "0" * 16), **(finished | facts))


def study(models: int = 6, tasks: int = 3, regimes: tuple[str, ...] = REGIMES, seed: int = 0) -> list[Row]:
    """A study in which better source models transfer better, except from scratch."""
    rng = np.random.default_rng(seed)
    rows = []
    for number in range(models):
        for task in range(tasks):
            for regime in regimes:
                gain = 0 if regime == "scratch" else 90 * number / models
                right = int(200 + gain + 15 * (task % 4) + rng.integers(0, 25))
                rows.append(
                    row(f"model_{number:02}.tiny_in1k", f"task-{task}", regime, right,
                        source_top1=0.3 + 0.5 * number / models, family=f"family {number % 4}", seconds=2.5,
                        environment={"torch": "2.11", "device": "cpu"}, details={"n_train": 1000, "n_val": 200})
                )  # fmt: skip
    return rows


def failed(of: Row, error: str = "loss is not finite at step 120") -> Row:
    return dataclasses.replace(of, value=None, low=None, high=None, error=error)


def speed(model: str, backend: str, rate: float, **facts: Any) -> Speed:
    usual = {"precision": "fp32", "device": "cpu", "batch": 32, "threads": 2, "scope": "a"}
    times = {"median_ms": 32e3 / rate, "p95_ms": 40e3 / rate, "iterations": 20}
    return Speed(model, backend, images_per_second=rate, **(usual | times | facts))  # type: ignore[arg-type]


def speeds(models: int = 6) -> list[Speed]:
    names = [f"model_{number:02}.tiny_in1k" for number in range(models)]
    return [speed(name, backend, 100.0 + 50 * at + 30 * len(backend))
            for at, name in enumerate(names) for backend in ("torch", "onnxruntime")]  # fmt: skip


def page(out: Path, rows: list[Row], *more: Any, **options: Any) -> str:
    return write_report(out, "A study", rows, *more, **options).read_text(encoding="utf-8")


def table_cells(html: str) -> list[str]:
    """The text of every <td> of the page's tables."""

    class Cells(HTMLParser):
        def __init__(self) -> None:
            super().__init__()
            self.found: list[str] = []
            self.inside = False

        def handle_starttag(self, tag: str, attributes: Any) -> None:
            if tag == "td":
                self.inside = True
                self.found.append("")

        def handle_endtag(self, tag: str) -> None:
            self.inside = self.inside and tag != "td"

        def handle_data(self, data: str) -> None:
            if self.inside:
                self.found[-1] += data

    parser = Cells()
    parser.feed(html)
    return parser.found


def lines_of(path: Path) -> list[dict[str, str]]:
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(file))


# --- Numbers


def test_a_failed_cell_is_its_error_and_never_a_zero(tmp_path: Path) -> None:
    rows = [failed(row("a", "digits")), row("b", "digits", right=300)]
    html = page(tmp_path, rows)
    assert "loss is not finite at step 120" in html
    assert "failed" in table_cells(html)
    assert not any(text.startswith("0.0") for text in table_cells(html))
    line = next(line for line in lines_of(tmp_path / "results.csv") if line["model"] == "a")
    assert (line["value"], line["low"], line["error"]) == ("", "", "loss is not finite at step 120")


def test_a_failed_cell_moves_no_mean_and_no_correlation() -> None:
    rows = study()
    without = [one for one in rows if (one.cell.model, one.cell.task) != (rows[0].cell.model, "task-1")]
    with_failures = without + [failed(one) for one in rows if one not in without]
    for a, b in zip(correlations(collect(without)), correlations(collect(with_failures)), strict=True):
        assert (a.regime, a.task, a.models, a.r) == (b.regime, b.task, b.models, b.r)


def test_models_that_miss_a_task_are_left_out_of_the_mean_and_counted() -> None:
    rows = [one for one in study() if (one.cell.model, one.cell.task) != ("model_00.tiny_in1k", "task-1")]
    mean = next(one for one in correlations(collect(rows)) if one.regime == "probe" and not one.task)
    assert (len(mean.models), len(mean.tasks), mean.left_out) == (5, 3, 1)


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


def test_published_rows_stay_apart_from_measured_ones() -> None:
    rows = [row("a", "digits", right=180), row("a", "digits", right=270, source="Kornblith et al. 2019")]
    results = collect(rows)
    assert results.regimes == ("probe", "probe [Kornblith et al. 2019]")
    assert results.value("digits", "a", "probe") == 0.5


def test_two_metrics_on_one_task_are_two_tasks() -> None:
    rows = [row("a", "digits"), row("a", "digits", metric="mean_per_class")]
    assert collect(rows).tasks == ("digits (mean_per_class)", "digits (top1)")


def test_few_models_are_called_few(tmp_path: Path) -> None:
    assert "read it as a sketch" in page(tmp_path / "few", study(6, 1, ("probe",)))
    assert "read it as a sketch" not in page(tmp_path / "many", study(12, 1, ("probe",)))
    assert all("too few models" in line for line in correlation_lines(study(3)))


def test_an_interval_that_holds_zero_settles_nothing() -> None:
    lines = dict(zip(REGIMES, correlation_lines(study(8)), strict=True))
    assert "models score higher (r" in lines["finetune"]
    shuffled = [dataclasses.replace(one, source_top1=0.3 + 0.05 * ((int(one.cell.model[6:8]) * 3 + 2) % 8)) for one in
                study(8, regimes=("probe",))]  # fmt: skip
    assert "is not settled" in correlation_lines(shuffled)[0]


def test_a_lead_counts_only_where_intervals_are_apart(tmp_path: Path) -> None:
    apart = [row("a", "digits", right=100), row("b", "digits", right=300)]
    assert "lies clear of the runner-up" in page(tmp_path / "apart", apart)
    close = [row("a", "digits", right=298), row("b", "digits", right=300)]
    assert "no lead is settled" in page(tmp_path / "close", close)


# --- Files


def test_the_same_rows_in_any_order_give_the_same_bytes(tmp_path: Path) -> None:
    rows, rates = [*study(4, 2), failed(row("late", "task-0"))], speeds(4)
    write_report(tmp_path / "a", "A study", rows, rates)
    random.Random(3).shuffle(rows)
    random.Random(3).shuffle(rates)
    write_report(tmp_path / "b", "A study", rows, rates)
    names = sorted(path.relative_to(tmp_path / "a") for path in (tmp_path / "a").rglob("*") if path.is_file())
    assert {"results.csv", "correlations.csv", "throughput.csv", "report.html"} < {str(name) for name in names}
    for name in names:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes(), name


def test_the_csv_keeps_every_row_and_every_digit(tmp_path: Path) -> None:
    rows = [*study(3, 2), failed(row("x", "task-0"), 'two\nlines, and a "quote"')]
    write_report(tmp_path, "A study", rows)
    lines = lines_of(tmp_path / "results.csv")
    assert len(lines) == len(rows)
    assert {float(line["value"]) for line in lines if line["value"]} == {one.value for one in rows if one.value}
    assert 'two\nlines, and a "quote"' in {line["error"] for line in lines}
    assert (tmp_path / "results.csv").read_bytes().count(b"\r\n") == len(rows) + 1


def test_a_study_without_speeds_leaves_no_old_throughput_behind(tmp_path: Path) -> None:
    write_report(tmp_path, "A study", study(2, 1), speeds(2))
    assert (tmp_path / "figures" / "throughput.png").exists()
    write_report(tmp_path, "A study", study(2, 1))
    assert not (tmp_path / "throughput.csv").exists()
    assert not (tmp_path / "figures" / "throughput.png").exists()


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a usual report."""
    out = tmp_path_factory.mktemp("usual")
    return write_report(out, "A study", study(), speeds(), notes=["offline miniature"], command="featune demo").parent


def test_every_figure_of_the_page_is_a_png_too(usual: Path) -> None:
    html = (usual / "report.html").read_text(encoding="utf-8")
    named = set(re.findall(r'<figure id="figure-(\w+)"', html))
    assert named == {"transfer", "tasks", "regimes", "throughput"}
    assert {path.stem for path in (usual / "figures").glob("*.png")} == named


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


# --- Any study


@pytest.mark.parametrize(
    "rows",
    [
        pytest.param([row("a", "digits", source_top1=0.7)], id="one model, one task, one regime"),
        pytest.param([row("a", "digits")], id="no source accuracy"),
        pytest.param([row("a", "digits", low=None, high=None, source_top1=0.7)], id="no intervals"),
        pytest.param([failed(row("a", "digits"))], id="nothing but a failure"),
        pytest.param([row("a", "x", right=0, source_top1=0.0), row("b", "x", right=360, source_top1=1.0)], id="0, 1"),
        pytest.param([row("a", "x", source_top1=0.5), row("b", "y", source_top1=0.6)], id="no task in common"),
        pytest.param([row(m, "x", source_top1=0.5) for m in "abcd"], id="all models alike"),
        pytest.param([row("a", "x", metric="quadratic_kappa", value=-0.1, low=-0.2, high=0.1)], id="below zero"),
        pytest.param(study(5)[:17], id="half finished"),
        pytest.param(study(2, 2, ("knn", "finetune", "mine")), id="a regime of one's own"),
    ],
)  # fmt: skip
def test_any_study_has_a_report_and_a_table(rows: list[Row], tmp_path: Path) -> None:
    assert "</html>" in page(tmp_path, rows)
    assert results_table(rows).row_count >= 1
    assert (tmp_path / "correlations.csv").exists()


def test_speeds_alone_make_a_report(tmp_path: Path) -> None:
    assert "Throughput only" in page(tmp_path, [], speeds(2))


def test_nothing_at_all_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BadInput, match="run the study first"):
        write_report(tmp_path, "A study", [])


def test_the_terminal_table_takes_names_literally() -> None:
    from rich.console import Console

    console = Console(width=160, file=io.StringIO())
    console.print(results_table([row("[red]a[/red]", "digits"), failed(row("b", "digits"))]))
    text = console.file.getvalue()  # type: ignore[attr-defined]
    assert "[red]a[/red]" in text
    assert "69.4 [64.4–74.2]" in text
    assert "failed" in text


# --- Drawings


@pytest.mark.parametrize("limits", [(-0.4, 1.3), (2.0, 8.0), (1.0, 1.1), (-6.0, 6.0), (0.83, 0.86)])
def test_ticks_are_round_percentages_in_place_and_apart(limits: tuple[float, float]) -> None:
    ticks = figures.percent_ticks(limits, 300, 40)
    assert len(ticks) >= 2
    for at, text in ticks:
        share = float(text.removesuffix(" %")) / 100
        assert at == pytest.approx(np.log(share / (1 - share)))
        assert limits[0] <= at <= limits[1]
    assert all((b - a) * 300 / (limits[1] - limits[0]) >= 40 for (a, _), (b, _) in pairwise(ticks))


# --- In a browser


CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--disable-component-update",
         "--disable-sync", "--no-first-run")  # fmt: skip
# Text that is drawn, with the size at which it reaches the eye: the font's, times the drawing's scale.
SIZES = """() => [...document.querySelectorAll('body *')].filter(e =>
    [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim()) && e.getClientRects().length
).map(e => {
    const matrix = e.ownerSVGElement ? e.getScreenCTM() : null;
    const scale = matrix ? Math.sqrt(Math.abs(matrix.a * matrix.d - matrix.b * matrix.c)) : 1;
    return [e.textContent.trim().slice(0, 60), parseFloat(getComputedStyle(e).fontSize) * scale];
})"""
FIGURES = """() => [...document.querySelectorAll('figure .panels svg')].map(svg => {
    const box = svg.getBoundingClientRect();
    const drawn = [...svg.querySelectorAll('path')].filter(p => p.getTotalLength() > 0).length;
    const texts = [...svg.querySelectorAll('text')].map(t => t.getBoundingClientRect());
    const outside = texts.filter(t => t.left < box.left - 2 || t.right > box.right + 2
                                   || t.top < box.top - 2 || t.bottom > box.bottom + 2).length;
    return {width: box.width, height: box.height, drawn, outside, label: svg.getAttribute('aria-label')};
})"""


@pytest.fixture(scope="module")
def browser() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine; install it or set $CHROMIUM")
    with playwright.sync_playwright() as driver:
        chromium = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield chromium
        chromium.close()


STUDIES = {
    "usual": (study(), speeds(), 4),
    "single": ([row("a", "digits", source_top1=0.7)], [], 1),
    "large": ([failed(one) if at % 29 == 0 else one for at, one in enumerate(study(16, 12, (*REGIMES, "knn")))],
              speeds(16), 4),
}  # fmt: skip


@pytest.fixture(scope="module", params=STUDIES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A report, and the number of its figures."""
    rows, rates, count = STUDIES[request.param]
    out = tmp_path_factory.mktemp(request.param)
    return write_report(out, "A study", rows, rates, notes=["offline miniature"], command="featune demo"), count


@pytest.mark.parametrize(("width", "smallest"), [(1280, 11), (400, 10)])
def test_a_browser_without_network_shows_the_whole_report(
    written: tuple[Path, int], width: int, smallest: float, browser: Any
) -> None:
    path, count = written
    context = browser.new_context(viewport={"width": width, "height": 900}, offline=True)
    try:
        view, problems, requests = context.new_page(), [], []
        view.on("console", lambda message: problems.append(message.text))
        view.on("pageerror", lambda error: problems.append(str(error)))
        view.on("request", lambda request: requests.append(request.url))
        view.goto(path.as_uri())
        assert problems == []
        assert [url for url in requests if not url.startswith("data:")] == [path.as_uri()]
        assert view.locator("figure").count() == count
        assert view.evaluate("[...document.querySelectorAll('figure')].every(f => f.querySelector('.panels svg'))")
        for drawing in view.evaluate(FIGURES):
            assert drawing["width"] > 300, drawing
            assert drawing["height"] > 50, drawing
            assert drawing["drawn"] > 5, drawing
            assert drawing["outside"] == 0, drawing
            assert drawing["label"]
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        sizes = view.evaluate(SIZES)
        assert len(sizes) > 20
        assert [entry for entry in sizes if entry[1] < smallest] == []
    finally:
        context.close()
