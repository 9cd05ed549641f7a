"""The page in a Chromium without network: everything is drawn, legible and inside its frame."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_rows import REGIMES, failed, row, speeds, study

from featune.bench.estimators import ESTIMATORS
from featune.bench.report import write_report
from featune.bench.results import Estimate

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
    "usual": (study(), speeds(), 7),
    "single": ([row("a", "digits", source_top1=0.7)], [], 1),
    "large": ([failed(one) if at % 29 == 0 else one for at, one in enumerate(study(16, 12, (*REGIMES, "knn")))],
              speeds(16), 7),
}  # fmt: skip


@pytest.fixture(scope="module", params=STUDIES)
def written(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, int]:
    """A report, and the number of its figures."""
    rows, rates, count = STUDIES[request.param]
    out = tmp_path_factory.mktemp(request.param)
    estimates = [Estimate(one.cell.task, one.cell.model, name, "0" * 16, one.value, 0.1, 100)
                 for one in rows if one.cell.regime == "probe" for name in ESTIMATORS]  # fmt: skip
    notes = ["offline miniature"]
    return write_report(out, "A study", rows, rates, estimates, notes=notes, command="featune demo"), count


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
