"""How a browser bears a report's page: seconds until it is shown, elements, bytes.

python benchmarks/report_page.py [--models 300] [--tasks 18] [--regimes 3] [--runs 5] [--out DIR] [--page FILE]

Rows are made up; the report is written once and opened anew in headless Chromium ($CHROMIUM, or the one on the path),
through playwright, each time by a fresh process with nothing cached. The clock begins with the navigation. `shown`
ends when a frame has been drawn after the page's load event and its script. `hover` is the time to answer a pointer
on a point of the drawing with the most points, the first time and in the median. --page: opens that file instead.
"""

import argparse
import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from featune.bench.report import write_report
from featune.bench.results import Cell, Row, Speed

REGIMES = ("probe", "finetune", "scratch", "knn")
IMAGES = 200  # of each test split
ENVIRONMENT = {"versions": {"featune": "0.1.0", "torch": "2.11"}, "device": "cpu", "backend": "onnxruntime"}
FRAMES = "() => new Promise(done => requestAnimationFrame(() => requestAnimationFrame(() => done(performance.now()))))"
TIMES = """() => {
    const all = performance.getEntriesByType('navigation')[0];
    const paint = performance.getEntriesByName('first-contentful-paint')[0];
    return {parsed: all.domInteractive, loaded: all.loadEventEnd, paint: paint ? paint.startTime : NaN,
            elements: document.querySelectorAll('*').length};
}"""
HOVER = """() => {
    const drawings = [...document.querySelectorAll('.panels svg')];
    const points = svg => svg.querySelectorAll('use[data-m]');
    const most = drawings.sort((a, b) => points(b).length - points(a).length)[0];
    most.scrollIntoView();
    return [...points(most)].slice(0, 20).map(point => {
        const began = performance.now(), box = point.getBoundingClientRect();
        most.dispatchEvent(new PointerEvent('pointermove', {bubbles: true, clientX: box.x + box.width / 2,
                                                            clientY: box.y + box.height / 2}));
        document.body.offsetWidth;
        return performance.now() - began;
    });
}"""


def rows_of(models: int, tasks: int, regimes: int) -> tuple[list[Row], list[Speed]]:
    """Better models transfer better; every fifth training has something to know."""
    rng = np.random.default_rng(0)
    rows, speeds = [], []
    for number in range(models):
        name = f"model_{number:03}.tiny_in1k"
        for regime in REGIMES[:regimes]:
            for task in range(tasks):
                value = int(IMAGES * (60 + 30 * number / models + rng.integers(0, 10)) / 100) / IMAGES
                details = {"n_train": 1000, "n_val": 200, "train_top1": 0.5 if rng.integers(0, 5) == 0 else 0.99,
                           "learning_rate": 0.03}  # fmt: skip
                cell = Cell(f"task-{task}", name, regime, 0, "0" * 16)
                rows.append(Row(cell, "top1", value, IMAGES, value - 0.02, min(1.0, value + 0.02), seconds=1.5,
                                source_top1=0.5 + 0.4 * number / models, source_n=50_000,
                                family=f"family {number % 9}",
                                details={} if regime in ("probe", "knn") else details,
                                environment=ENVIRONMENT))  # fmt: skip
        rate = 1000.0 / (1 + number)
        speeds.append(Speed(name, "onnxruntime", "fp32", "cpu", 32, 2, "a", rate, 32e3 / rate, 40e3 / rate, 20))
    return rows, speeds


def opened(driver: Any, path: Path) -> dict[str, float]:
    """Milliseconds, and how many elements the page has."""
    chromium = os.environ.get("CHROMIUM") or shutil.which("chromium") or shutil.which("chromium-browser")
    browser = driver.chromium.launch(executable_path=chromium, args=["--no-sandbox", "--disable-gpu"])
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto(path.as_uri())
    shown = page.evaluate(FRAMES)
    found = page.evaluate(TIMES) | {"shown": shown}
    hovers = page.evaluate(HOVER)
    browser.close()
    return found | {"hover first": hovers[0], "hover": statistics.median(hovers)}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, usual in (("models", 300), ("tasks", 18), ("regimes", 3), ("runs", 5)):
        parser.add_argument(f"--{name}", type=int, default=usual)
    parser.add_argument("--out", type=Path, help="where the report is left; by default nowhere")
    parser.add_argument("--page", type=Path, help="a page to open instead")
    asked = parser.parse_args()
    from playwright.sync_api import sync_playwright

    with tempfile.TemporaryDirectory() as temporary, sync_playwright() as driver:
        path = asked.page
        if path is None:
            rows, speeds = rows_of(asked.models, asked.tasks, asked.regimes)
            began = time.perf_counter()
            path = write_report(asked.out or Path(temporary), "A large study", rows, speeds)
            print(f"written in {time.perf_counter() - began:.1f} s", flush=True)
        print(f"{path.stat().st_size / 1e6:.2f} MB", flush=True)
        found = []
        for run in range(asked.runs):
            found.append(opened(driver, path.absolute()))
            print(
                f"run {run + 1}: " + ", ".join(f"{name} {value:,.0f}" for name, value in found[-1].items()), flush=True
            )
        for name in ("paint", "loaded", "shown", "hover first", "hover"):
            values = [each[name] for each in found]
            print(f"{name}: median {statistics.median(values):,.0f} ms ({min(values):,.0f} to {max(values):,.0f})")


if __name__ == "__main__":
    main()
