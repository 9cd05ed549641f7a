"""What the report says of the estimators."""

import csv
import dataclasses
from pathlib import Path

import numpy as np
import pytest
from report_rows import page, row, speeds, study, table_cells

from featune.bench.estimators import ESTIMATORS, judged
from featune.bench.report import estimator_lines as terminal_lines
from featune.bench.report.estimator_section import judged_lines
from featune.bench.results import Estimate, Row, collect

SECTION = "Which cheap score predicts transfer?"


def estimated(rows: list[Row], name: str = "logme", noise: float = 0.0, seed: int = 0) -> list[Estimate]:
    """An estimate that is the measured probe value and some noise."""
    rng = np.random.default_rng(seed)
    return [
        Estimate(one.cell.task, one.cell.model, name, "0" * 16, (one.value or 0.0) + noise * rng.normal(), 0.25, 1000)
        for one in rows
        if one.cell.regime == "probe"
    ]


def lines(rows: list[Row], estimates: list[Estimate]) -> list[str]:
    return judged_lines(judged(collect(rows), estimates), "ImageNet")


def test_a_report_without_estimators_says_nothing_of_them(tmp_path: Path) -> None:
    assert SECTION not in page(tmp_path, study())
    assert not (tmp_path / "estimators.csv").exists()


def test_every_score_of_every_regime_from_source_weights_has_its_line(tmp_path: Path) -> None:
    rows = study(8)
    estimates = [one for at, name in enumerate(ESTIMATORS) for one in estimated(rows, name, 0.03, at)]
    html = page(tmp_path, rows, speeds(8), estimates)
    section = html.partition(SECTION)[2].partition("</section>")[0]
    for named in [one.title for one in ESTIMATORS.values()] + ["ImageNet accuracy", "a model at random"]:
        assert section.count(f">{named}</th>") == 2, named
    assert "trained from scratch" not in section
    assert {"estimates.csv", "estimators.csv"} <= {path.name for path in tmp_path.iterdir()}
    assert 'href="estimators.csv"' in html


def test_the_csv_has_what_the_page_shows_in_every_digit(tmp_path: Path) -> None:
    rows = study(6)
    estimates = estimated(rows, noise=0.02)
    html = page(tmp_path, rows, (), estimates)
    with open(tmp_path / "estimators.csv", newline="") as file:
        table = list(csv.DictReader(file))
    whole = next(one for one in table if (one["score"], one["regime"], one["task"][:1]) == ("logme", "probe", "("))
    of = [one for one in table if (one["score"], one["regime"]) == ("logme", "probe") and one is not whole]
    assert float(whole["weighted_tau"]) == pytest.approx(np.mean([float(one["weighted_tau"]) for one in of]))
    assert float(whole["regret_points"]) == pytest.approx(np.mean([float(one["regret_points"]) for one in of]))
    shown = f"{float(whole['weighted_tau']):.2f}{float(whole['weighted_tau_low']):.2f} to"
    assert any(cell.startswith(shown) for cell in table_cells(html))
    with open(tmp_path / "estimates.csv", newline="") as file:
        kept = {(one["task"], one["model"]): float(one["value"]) for one in csv.DictReader(file)}
    assert kept == {(one.task, one.model): one.value for one in estimates}


def test_a_perfect_score_comes_first_and_costs_nothing() -> None:
    rows = study(8)
    probe = lines(rows, estimated(rows))[0]
    assert probe.startswith("Frozen features, linear probe: LogME ranks the models best (weighted τ\u00a0=\u00a01.00")
    assert "Its first choice is the best model on every task; the first by ImageNet accuracy" in probe
    assert "Judged together, every score beats chance" in probe


def test_noise_is_seldom_called_better_than_chance() -> None:
    rows = [dataclasses.replace(one, source_top1=None) for one in study(7, 2, ("probe",))]
    found = [line for seed in range(12) for line in lines(rows, estimated(rows, noise=100.0, seed=seed))]
    assert sum("None is settled to beat chance" in line for line in found) >= 10  # of 12, at a rate of 1 in 20
    assert not any("ImageNet" in line for line in found)


def test_nothing_is_settled_of_fewer_than_six_models_on_the_page_and_in_the_terminal(tmp_path: Path) -> None:
    for models in (3, 4, 5):
        rows = study(models, 1, ("probe", "finetune"))
        said = terminal_lines(rows, estimated(rows))
        assert all("With fewer than 6 models nothing is settled" in line for line in said)
        assert not any("beats chance" in line or "settled to rank" in line for line in said)
        assert "beats chance" not in page(tmp_path / str(models), rows, (), estimated(rows))


def test_two_models_are_too_few_to_rank() -> None:
    two = study(2)
    assert all(line.endswith("too few models to say which score ranks them.") for line in lines(two, estimated(two)))


def test_why_an_estimate_has_no_value_is_said_once_with_how_often(tmp_path: Path) -> None:
    rows = study(6, 3, ("probe",))
    lost = [dataclasses.replace(one, name="leep", value=None, error="Traceback\nno head") for one in estimated(rows)]
    html = page(tmp_path, rows, (), [*estimated(rows), *lost])
    assert html.count("LEEP on 6 models and 3 tasks: no head") == 1
    only = page(tmp_path, rows, (), lost)
    assert "LEEP on 6 models and 3 tasks: no head" in only
    assert not (tmp_path / "estimators.csv").exists()


def test_names_of_users_stay_text_and_one_task_is_no_mean(tmp_path: Path) -> None:
    rows = [row(f"<b>{at}", "<i>", right=200 + 10 * at, source_top1=0.5 + at / 20) for at in range(5)]
    html = page(tmp_path, rows, (), estimated(rows))
    assert "<i>" not in html
    assert "on this task" in html
    assert "on average" not in html.partition(SECTION)[2].partition("</ul>")[0]


def test_the_terminal_says_what_the_page_says(tmp_path: Path) -> None:
    rows = study(6)
    estimates = estimated(rows, noise=0.05)
    html = page(tmp_path, rows, (), estimates)
    for line in terminal_lines(rows, estimates):
        text = line.partition(": ")[2]
        assert text[1:] in html


def test_the_same_estimates_in_any_order_give_the_same_report(tmp_path: Path) -> None:
    rows = study(6, 2, ("probe", "finetune"))
    estimates = estimated(rows, noise=0.05)
    assert page(tmp_path / "a", rows, (), estimates) == page(tmp_path / "b", rows, (), estimates[::-1])
    assert (tmp_path / "a/estimates.csv").read_bytes() == (tmp_path / "b/estimates.csv").read_bytes()
