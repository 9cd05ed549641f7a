"""The throughput report's page: first words, numbers that its JSON holds, links between drawings and tables."""

import base64
import dataclasses
import hashlib
import json
import os
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
from page_numbers import leaves, sections, template_numbers, tokens, unknown
from throughput_rows import document, row

from featune.bench.throughput import Configuration, Row, Setup
from featune.bench.throughput.report import Published, write_report
from featune.engine.store import plain

SECTIONS = {  # of the page, and the keys of report.json's `page` that hold its numbers
    "answer": ("answer", "recommended", "figures", "lines"), "rows": ("lines", "shows"), "figures": ("figures",),
    "verdicts": ("verdicts",), "beyond": ("beyond",), "batches": ("points",), "published": ("published",),
    "failures": ("failures",), "made": ("how", "facts"),
}  # fmt: skip
CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")


def sizes(model: str, seconds: float, backends: tuple[str, ...] = ("torch", "onnxruntime")) -> list[Row]:
    found = [row(backend, seconds / (1 + at) / size, model=model, configuration={"mode": f"batch {size}"})
             for at, backend in enumerate(backends) for size in (1, 8)]  # fmt: skip
    return [dataclasses.replace(each, configuration=dataclasses.replace(
        each.configuration, batch=int(each.configuration.mode[6:]))) for each in found]  # fmt: skip


def search(model: str, backend: str = "torch") -> dict[str, Any]:
    trials = [{"batch": size, "images_per_second": 40.0 + size} for size in (1, 2, 4)]
    return {"setup": plain(Setup(model, backend)), "batch": 8, "trials": trials}


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a report that has every section."""
    out = tmp_path_factory.mktemp("throughput")
    rows = [*sizes("resnet18.a1_in1k", 0.02), *sizes("resnet50.a1_in1k", 0.05)]
    rows[1] = dataclasses.replace(rows[1], marks=("drift: the second half took 1.21 times the first half's time",))
    rows.append(Row(Configuration(Setup("resnet50.a1_in1k", "tensorrt"), 7), error="no device 31"))
    columns = {"model": "resnet18.tv_in1k", "infer_samples_per_sec": "9000.5", "infer_step_time": "28.4",
               "infer_batch_size": "256", "infer_img_size": "224", "param_count": "11.69",
               "infer_gmacs": "1.82"}  # fmt: skip
    write_report(out, rows, document(rows, searches=[search("resnet18.a1_in1k")]), [Published(columns, "rtx4090")])
    return out


def html_of(written: Path) -> str:
    return (written / "report.html").read_text(encoding="utf-8")


def test_every_number_of_the_page_is_in_report_json(written: Path) -> None:
    text, said = sections(html_of(written)), json.loads((written / "report.json").read_text())["page"]
    assert set(text) == set(SECTIONS), "a section that nobody reads"
    prose = template_numbers("featune.bench.throughput.report", ("throughput.html.j2",))
    captions = {str(at) for at in range(1, 1 + len(said["figures"]))}
    for section, keys in SECTIONS.items():
        assert tokens(text[section]), section
        values = [leaf for key in keys for leaf in leaves(said[key])]
        assert unknown(text[section], values, prose | captions) == set(), section


def test_the_page_runs_its_one_script_and_loads_nothing(written: Path) -> None:
    html = html_of(written)
    [script] = re.findall(r"<script[^>]*>(.*?)</script>", html, flags=re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    policy = re.findall(r'Content-Security-Policy" content="([^"]*)"', html)[0].replace("&#39;", "'")
    assert f"default-src 'none'; script-src 'sha256-{digest}'" in policy
    assert not re.search(r"https?:|//\w|@import|\son\w+=", html)
    assert set(re.findall(r'(?:src|href)="([^"#][^"]*)"', html)) == {"data:,", "results.csv", "report.json"}


def test_every_point_of_the_drawings_has_a_line_in_the_table_that_it_names(written: Path) -> None:
    html = html_of(written)
    tables = {name: html.partition(f'<table id="{name}"')[2].partition("</table>")[0] for name in ("models", "points")}
    lines = {name: set(re.findall(r'<tr data-m="(\d+)"', table)) for name, table in tables.items()}
    assert lines["models"] == set(map(str, range(8)))
    assert lines["points"] == set(map(str, range(10))), "8 rows, and trials of the batches 2 and 4"
    drawn = {"models": set[str](), "points": set[str]()}
    for svg in re.findall(r"<svg .*?</svg>", html, flags=re.DOTALL):
        if named := re.findall(r'data-table="(\w+)"', svg):
            drawn[named[0]] |= set(re.findall(r'data-m="(\d+)"', svg))
    assert drawn == lines


def test_the_figures_are_files_too_and_those_of_an_earlier_report_go(tmp_path: Path) -> None:
    names = {f"{name}.{kind}" for name in ("speed", "curves", "accuracy") for kind in ("png", "svg")}
    rows = [*sizes("resnet18.a1_in1k", 0.02), *sizes("resnet50.a1_in1k", 0.05)]
    write_report(tmp_path, rows, document(rows))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == names
    write_report(tmp_path, rows[:1], document(rows[:1]))
    assert {path.name for path in (tmp_path / "figures").iterdir()} == {"speed.png", "speed.svg"}


def first_words(tmp_path: Path, rows: list[Row]) -> str:
    one = document(rows)
    groups = []
    for model in dict.fromkeys(each.configuration.setup.model for each in rows):
        [group] = document([each for each in rows if each.configuration.setup.model == model])["verdicts"]
        groups.append(group)
    one["verdicts"] = groups
    html = write_report(tmp_path, rows, one).read_text(encoding="utf-8")
    return re.sub(r"<[^>]*>|\s+", " ", html.partition('class="take"')[2].partition("</ul>")[0])


def test_one_backend_for_all_is_said_with_how_much_faster_it_is(tmp_path: Path) -> None:
    rows = [row(backend, seconds, model=model) for model in ("a", "b")
            for backend, seconds in (("torch", 0.02), ("onnxruntime", 0.01))]  # fmt: skip
    said = first_words(tmp_path, rows)
    assert "Take onnxruntime for a and b." in said
    assert "2.00 to 2.00 times as fast as torch in 2 of 2 comparisons." in said


def test_models_that_differ_are_named_with_their_backends_and_many_are_counted(tmp_path: Path) -> None:
    def of(models: str) -> list[Row]:
        return [row(backend, 0.02 / (1 + (backend == best)), model=model)
                for model in models for best in ("torch" if model in "cd" else "onnxruntime",)
                for backend in ("torch", "onnxruntime")]  # fmt: skip

    assert "Take onnxruntime for a and b; torch for c." in first_words(tmp_path / "few", of("abc"))
    assert "Take onnxruntime for 4 of 6 models; torch for 2 of 6 models." in first_words(
        tmp_path / "many", of("abcdef")
    )


def test_a_single_backend_is_no_choice_and_an_empty_report_says_so(tmp_path: Path) -> None:
    said = first_words(tmp_path, [row("torch", 0.02)])
    assert "resnet18.a1_in1k: only torch was measured, so there is nothing to choose between." in said
    assert re.search(r"Expect 49\.\d+ images per second \(batch 4, scope \(a\)", said)
    failed = [Row(Configuration(Setup("a", "torch"), 4), error="out of memory")]
    html = write_report(tmp_path, failed, document(failed, verdicts=[])).read_text(encoding="utf-8")
    assert "Nothing could be measured." in html
    assert "Failed, without a number: a on torch." in html


def test_in_a_browser_points_are_named_and_filtered_with_their_rows_and_paper_cuts_none_off(written: Path) -> None:
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine; install it or set $CHROMIUM")
    with playwright.sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        view, said = browser.new_page(viewport={"width": 400, "height": 900}), []
        view.on("console", lambda message: said.append(message.text))
        view.on("pageerror", lambda error: said.append(str(error)))
        view.goto((written / "report.html").as_uri())
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        view.locator('#figure-curves use[data-m="8"]').first.hover(force=True)
        tip = view.locator(".tip").inner_text()
        assert "resnet18.a1_in1k" in tip
        assert "short trial of the search" in tip
        assert view.locator("use.on").count() == 2, "in both panels"
        view.locator(".tools input[type=search]").fill("resnet50")
        assert "4 of 8 rows shown" in view.locator(".tools span").inner_text()
        assert view.locator("#points tbody tr:not(.gone)").count() == 4, "trials of the other model are gone too"
        view.locator(".tools input[type=search]").fill("resnet50.a1_in1k onnx")
        assert view.locator("#models tbody tr:not(.gone)").count() == 2
        view.emulate_media(media="print")
        view.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins
        tables = "[...document.querySelectorAll('table')].map(table => table.getBoundingClientRect().right)"
        assert max(view.evaluate(tables)) <= 704
        assert not view.locator(".tools").is_visible()
        assert said == []
        browser.close()
