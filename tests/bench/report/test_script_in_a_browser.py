"""The page's script in a Chromium without network: names, links, sorts, filters, hides, copies."""

import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from report_rows import failed, row, speeds, study

from featune.bench.report import write_report

CHROMIUM = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
QUIET = ("--no-sandbox", "--disable-gpu", "--disable-background-networking", "--no-first-run")
SHOWN = "#models tbody tr:not(.gone) th"
# Each text on the page with its contrast against what lies behind it; texts on a coloured cell of a drawing left out.
CONTRAST = """() => {
    const rgb = c => (c.match(/[\\d.]+/g) || [0, 0, 0, 0]).map(Number);
    const part = v => v <= 0.03928 ? v / 12.92 : Math.pow((v + 0.055) / 1.055, 2.4);
    const light = c => {
        const [r, g, b] = rgb(c).map(v => part(v / 255));
        return 0.2126 * r + 0.7152 * g + 0.0722 * b;
    };
    const behind = e => {
        for (; e; e = e.parentElement) {
            const c = getComputedStyle(e).backgroundColor;
            if (rgb(c)[3] !== 0) return c;
        }
        return 'rgb(255, 255, 255)';
    };
    const told = e => [...e.childNodes].some(n => n.nodeType === 3 && n.textContent.trim());
    return [...document.querySelectorAll('body *')].filter(
        e => e.getClientRects().length && !e.closest('#figure-ranks svg') && told(e)
    ).map(e => {
        const style = getComputedStyle(e), ground = light(behind(e));
        const own = light(e.ownerSVGElement ? style.fill : style.color);
        const ratio = (Math.max(own, ground) + 0.05) / (Math.min(own, ground) + 0.05);
        return [e.textContent.trim().slice(0, 40), ratio];
    }).filter(([, ratio]) => ratio < 4.5);
}"""

# Tables that reach beyond the page's right edge.
OVER = """() => [...document.querySelectorAll('table')].filter(
    table => table.getBoundingClientRect().right > innerWidth + 1
).map(table => table.parentElement.getAttribute('aria-label') || table.id)"""


@pytest.fixture(scope="module")
def chromium() -> Iterator[Any]:
    playwright = pytest.importorskip("playwright.sync_api")
    if not CHROMIUM:
        pytest.skip("no Chromium on this machine; install it or set $CHROMIUM")
    with playwright.sync_playwright() as driver:
        found = driver.chromium.launch(executable_path=CHROMIUM, args=list(QUIET))
        yield found
        found.close()


@pytest.fixture(scope="module")
def written(tmp_path_factory: pytest.TempPathFactory) -> Path:
    rows = [failed(one) if at == 11 else one for at, one in enumerate(study(8, 2, ("probe", "finetune")))]
    return write_report(tmp_path_factory.mktemp("script"), "A study", rows, speeds(8))


@pytest.fixture
def view(chromium: Any, written: Path) -> Iterator[Any]:
    yield from opened(chromium, written)


def opened(chromium: Any, path: Path, **options: Any) -> Iterator[Any]:
    """The page; afterwards nothing may have been said on the console or asked of a network."""
    context = chromium.new_context(offline=True, viewport={"width": 1200, "height": 900}, **options)
    said: list[str] = []
    page = context.new_page()
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: said.append(request.url) if request.url != path.as_uri() else None)
    page.goto(path.as_uri())
    yield page
    assert [each for each in said if not each.startswith("data:")] == []
    context.close()


def hover(view: Any, selector: str) -> None:
    point = view.locator(selector).first
    point.scroll_into_view_if_needed()
    box = point.bounding_box()
    view.mouse.move(box["x"] + box["width"] / 2, box["y"] + box["height"] / 2)


def test_a_pointer_near_a_point_names_the_model_and_marks_it_everywhere(view: Any) -> None:
    hover(view, '#figure-transfer use[data-m="0"]')
    tip = view.locator(".tip")
    assert tip.is_visible()
    assert tip.locator("b").inner_text() == "model_07.tiny_in1k"
    assert "images/s" in tip.inner_text()
    marked = view.evaluate("[...document.querySelectorAll('.on')].map(e => e.dataset.m)")
    assert set(marked) == {"0"}
    figures = view.evaluate("[...document.querySelectorAll('figure')].filter(f => f.querySelector('.on')).length")
    assert figures == view.locator("figure").count()
    assert view.locator("tr.on").count() >= 3
    hover(view, '#figure-tasks use[data-m="0"]')
    assert "frozen, probe" in tip.inner_text()
    assert "images/s" not in tip.inner_text(), "a panel of a task tells the task's numbers"
    view.mouse.move(2, 2)
    assert not tip.is_visible()
    assert view.locator(".on").count() == 0


def test_the_keyboard_walks_from_point_to_point(view: Any) -> None:
    view.locator("#figure-choice .panels svg").focus()
    view.keyboard.press("ArrowRight")
    view.keyboard.press("ArrowRight")
    tip = view.locator(".tip")
    seen = [tip.locator("b").inner_text()]
    for _ in range(5):
        view.keyboard.press("ArrowRight")
        seen.append(tip.locator("b").inner_text())
    assert len(set(seen)) > 2
    assert tip.get_attribute("role") == "status"
    view.keyboard.press("ArrowLeft")
    assert tip.locator("b").inner_text() == seen[-2]
    view.keyboard.press("Escape")
    assert not tip.is_visible()


def test_columns_sort_by_number_and_back(view: Any) -> None:
    before = view.locator(SHOWN).all_inner_texts()
    head = view.locator("#models thead th", has_text="images/s")
    head.locator("button").click()
    rates = [float(text.replace(",", "")) for text in view.locator("#models tbody td:last-child").all_inner_texts()]
    assert rates == sorted(rates, reverse=True)
    assert head.get_attribute("aria-sort") == "descending"
    head.locator("button").click()
    assert head.get_attribute("aria-sort") == "ascending"
    head.locator("button").click()
    assert view.locator(SHOWN).all_inner_texts() == before


def test_filtering_and_hiding_take_models_out_of_figures_and_tables(view: Any) -> None:
    view.locator(".tools input[type=search]").fill("model_03")
    assert view.locator(SHOWN).all_inner_texts() == ["model_03.tiny_in1k"]
    left = view.evaluate("[...document.querySelectorAll('use[data-m]:not(.gone)')].map(e => e.dataset.m)")
    assert len(set(left)) == 1
    assert view.locator("#table-1 tbody tr:not(.gone)").count() == 1
    view.locator(".tools button").click()
    assert view.locator(SHOWN).count() == 8
    view.locator("#models tbody input").first.uncheck()
    assert view.locator(SHOWN).count() == 8, "its box stays, to bring it back"
    assert view.locator("#table-1 tbody tr:not(.gone)").count() == 7
    assert "7 of 8 models" in view.locator(".tools span").inner_text()


def test_a_key_reads_the_name_of_each_model_once_and_not_of_each_line(view: Any) -> None:
    """A study of thousands of cells has as many lines; all but a few are of models that the first table names."""
    lines, read = view.evaluate("""() => {
        const field = document.querySelector('.tools input[type=search]'), first = document.querySelector('#models');
        const known = new Set([...first.tBodies[0].rows].map(line => line.dataset.m));
        const others = [...document.querySelectorAll('tr[data-m]')].filter(line => !known.has(line.dataset.m));
        const was = String.prototype.toLowerCase;
        let read = -1;  // for what is typed
        String.prototype.toLowerCase = function () { read += 1; return was.call(this); };
        field.value = 'model_03';
        field.dispatchEvent(new Event('input'));
        String.prototype.toLowerCase = was;
        return [known.size + others.length, read];
    }""")
    assert read == lines


def test_a_table_is_copied_as_it_is_shown(chromium: Any, written: Path) -> None:
    for view in opened(chromium, written, permissions=["clipboard-read", "clipboard-write"]):
        view.locator(".tools input[type=search]").fill("model_07")
        view.locator("#every-model button.copy").click()
        view.wait_for_function("document.querySelector('#every-model .copy').textContent === 'Copied'")
        lines = view.evaluate("navigator.clipboard.readText()").splitlines()
        assert len(lines) == 2
        assert lines[0].startswith("model,family,ImageNet,")
        assert lines[1].startswith("model_07.tiny_in1k,family 3,73.8,")
        assert "," not in lines[1].rpartition(",")[2]


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_every_text_stands_out_from_its_ground(chromium: Any, written: Path, scheme: str) -> None:
    for view in opened(chromium, written, color_scheme=scheme):
        assert view.evaluate(CONTRAST) == []


def test_without_its_script_the_page_is_whole(chromium: Any, written: Path) -> None:
    for view in opened(chromium, written, java_script_enabled=False):
        assert view.locator("#models tbody tr").count() == 8
        assert view.locator("button").count() == 0
        assert view.locator("figure .panels svg").first.is_visible()


def test_on_paper_no_table_is_cut_off_and_no_control_is_printed(chromium: Any, written: Path) -> None:
    for view in opened(chromium, written, color_scheme="dark"):
        view.emulate_media(media="print", color_scheme="dark")
        view.set_viewport_size({"width": 703, "height": 1000})  # A4 less its margins
        assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
        assert view.evaluate(OVER) == []
        assert not view.locator(".tools").is_visible()
        assert view.locator("button.copy:visible").count() == 0
        assert view.evaluate("getComputedStyle(document.body).backgroundColor") == "rgb(255, 255, 255)"


def test_hostile_names_are_text_and_break_no_layout(chromium: Any, tmp_path: Path) -> None:
    hebrew = "\u05de\u05d5\u05d3\u05dc"
    names = ["<script>document.title = 'bad'</script>", "n" * 200, hebrew, "'\"><img src=x onerror=alert(1)>"]
    rows = [
        row(name, task, regime, right=200 + 20 * at, source_top1=0.4 + 0.1 * at)
        for at, name in enumerate(names)
        for task in ("t", names[3])
        for regime in ("probe", "finetune")
    ]
    path = write_report(tmp_path, names[0], rows)
    for width in (400, 1920):
        for view in opened(chromium, path):
            view.set_viewport_size({"width": width, "height": 900})
            assert view.title() == names[0]
            assert view.locator("#models tbody tr").count() == 4
            assert view.locator("img").count() == 0
            assert view.evaluate("document.documentElement.scrollWidth <= innerWidth")
            hover(view, "#figure-transfer use[data-m]")
            assert view.locator(".tip b").inner_text() in names
