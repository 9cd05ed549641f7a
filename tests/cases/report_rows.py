"""Made-up rows and speeds for the tests of the report, and readers of what it writes."""

import csv
import dataclasses
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np

from featune.bench.report import write_report
from featune.bench.results import Cell, Row, Speed
from featune.bench.stats import clopper_pearson

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
