"""Studies with more models than a reader looks through: what the page and the terminal leave to the CSV files."""

import dataclasses
import re
from pathlib import Path

import pytest
from report_rows import lines_of, row, speeds, study

from featune.bench.report import results_table, write_report
from featune.bench.report.tables import MOST_TRAININGS, training_table
from featune.bench.results import Cell, Right, collect, correlations, entry_log_odds, ranking
from featune.bench.stats import log_odds

ROWS = study(60, 4)


@pytest.fixture(scope="module")
def html(tmp_path_factory: pytest.TempPathFactory) -> str:
    out = tmp_path_factory.mktemp("large")
    return write_report(out, "A study", ROWS, speeds(60)).read_text(encoding="utf-8")


def test_of_very_many_models_those_that_stand_out_have_a_number(html: str) -> None:
    results = collect(ROWS)
    figure = html[html.index('id="figure-transfer"') : html.index('id="figure-tasks"')]
    drawn = set(re.findall(r">(\d+)</text>", figure))
    named = dict(re.findall(r"<span>(\d+)\xa0\xa0([^<]*)</span>", figure))
    assert drawn == set(named)
    assert 5 <= len(drawn) <= 10 * len(results.regimes)
    assert all(results.models[int(number) - 1] == name for number, name in named.items())
    for one in correlations(results, means_only=True):
        assert one.models[int(one.y.argmax())] in named.values()
    assert "Numbered: of each regime the 5 highest models and the 5 farthest from the line." in figure


def test_rows_of_models_are_drawn_for_the_highest_alone(html: str) -> None:
    figure = html[html.index('id="figure-regimes"') : html.index('id="figure-costs"')]
    panel = figure[: figure.index("Frozen against fine-tuned")]
    assert len(set(re.findall(r">(model_\d\d)\.tiny_in1k</text>", panel))) == 40
    assert "the 40 of 60 models that are highest in any regime" in figure
    assert "Shown are the 40 fastest of 60 models." in html


def test_every_number_of_a_large_study_is_on_the_page_and_in_the_csv_file(html: str, tmp_path: Path) -> None:
    assert len(re.findall(r'<tr data-m="\d+"><th class="name" scope="row">model_', html)) >= 60 * 4
    write_report(tmp_path, "A study", [one for one in ROWS if one.cell.regime == "probe"])
    assert len(lines_of(tmp_path / "results.csv")) == 240


def test_what_is_far_below_on_a_large_page_is_laid_out_when_it_comes_near(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = study(4, 1)
    assert "<main>" in write_report(tmp_path, "A study", rows).read_text(encoding="utf-8")
    monkeypatch.setattr("featune.bench.report.page.LARGE", 3)
    assert '<main class="large">' in write_report(tmp_path, "A study", rows).read_text(encoding="utf-8")


def test_the_terminal_shows_the_best_models_of_each_task() -> None:
    results = collect(ROWS)
    table = results_table(results)
    shown = [str(text) for text in table.columns[2]._cells]
    for task in results.tasks:
        for regime in results.regimes:
            assert set(ranking(results, task, regime)[:3]) <= set(shown)
    assert 3 * 4 <= table.row_count <= 9 * 4
    assert "report.html and results.csv have all" in str(table.caption)
    assert results_table(study(6)).row_count == 18


def test_of_very_many_trainings_those_with_something_to_know_are_listed() -> None:
    rows = [row(f"m{number}", "t", "finetune", details={"learning_rate": 0.1, "train_top1": 0.5 if number < 7 else 1.0})
            for number in range(MOST_TRAININGS + 1)]  # fmt: skip
    lines, said = training_table(rows)
    assert {line["model"] for line in lines} == {f"m{number}" for number in range(7)}
    assert said.startswith("Shown are the 7 of 401")
    lines, said = training_table(rows[1:])
    assert (len(lines), said) == (MOST_TRAININGS, "")
    short = [dataclasses.replace(one, details=rows[0].details) for one in rows]
    assert training_table(short)[1].startswith(f"Shown are the first {MOST_TRAININGS} of the 401 of 401")


def test_scores_are_read_of_the_models_that_lead_alone(tmp_path: Path) -> None:
    asked: list[Cell] = []

    class Watched(dict[Cell, Right]):
        def __contains__(self, cell: object) -> bool:
            assert isinstance(cell, Cell)
            asked.append(cell)
            return False

        def __len__(self) -> int:
            raise AssertionError("all scores are read")

    rows = [one for one in study(9, 1) if one.cell.regime == "probe"]
    write_report(tmp_path, "A study", rows, right=Watched())
    assert {cell.model for cell in asked} == set(ranking(collect(rows), "task-0", "probe")[:2])


def test_log_odds_of_one_number_are_those_of_an_array() -> None:
    for entry in collect(study(5, 1)).entries.values():
        assert entry.value is not None
        assert entry_log_odds(entry)[0] == pytest.approx(float(log_odds(entry.value, entry.n)), abs=1e-12)
