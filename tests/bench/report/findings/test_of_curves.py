"""How much there is to learn from, and how soon it is learned."""

import dataclasses
import math

import pytest
from scipy import stats

from featune.bench.report.figures.studies import report_figures
from featune.bench.report.findings.of_curves import convergence, curves
from featune.bench.results import Cell, Row, collect, curves_of


def row(model: str, task: str, regime: str, value: float, steps: int | None = None, seed: int = 0) -> Row:
    details = {} if steps is None else {"steps_to_90_percent_of_final_odds": steps, "training": {"steps": 400}}
    return Row(Cell(task, model, regime, seed, "x"), "top1", value, 1000, details=details)


def share(odds: float) -> float:
    """The value of 1,000 images whose log odds, with half an image on each side, are these."""
    return (1001 / (1 + math.exp(-odds)) - 0.5) / 1000


def test_levels_are_from_the_fewest_images_to_all() -> None:
    assert curves_of(["digits-50", "digits", "digits-5", "flowers", "plan-5"]) == {
        "digits": {"5": "digits-5", "50": "digits-50", "all": "digits"}
    }
    assert list(curves_of(["digits-50", "digits", "digits-5"])["digits"]) == ["5", "50", "all"]


def test_what_fine_tuning_adds_is_a_paired_t_interval_over_models_at_each_size() -> None:
    gains = {"digits-5": (2.0, 1.0, 1.5), "digits": (0.5, 0.25, 0.0)}
    rows = [
        row(f"m{at}", task, regime, share(at / 2 + (gain if regime == "finetune" else 0)))
        for task, of in gains.items()
        for at, gain in enumerate(of)
        for regime in ("finetune", "scratch")
    ]
    (found,) = curves(collect(rows))
    for level, task in (("5", "digits-5"), ("all", "digits")):
        low, high = stats.ttest_1samp(gains[task], 0).confidence_interval()
        assert found.numbers[level]["difference"] == pytest.approx(sum(gains[task]) / 3)
        assert (found.numbers[level]["low"], found.numbers[level]["high"]) == pytest.approx((low, high))
    assert "with 5 of each class 1.50 (0.26 to 2.74, 3 models); with all images 0.25" in found.said.replace("−", "-")


def test_a_curve_is_of_the_same_tasks_and_models_at_each_size() -> None:
    """Two tasks of other sizes were pooled, and a model without a point counted where it had one."""
    both = [
        row(model, task, regime, 0.6 if regime == "finetune" else 0.5)
        for model in ("a", "b")
        for task in ("digits-5", "digits-20", "digits", "shapes-5", "shapes")
        for regime in ("finetune", "scratch")
    ]
    (found,) = curves(collect(both))
    assert {level: (of["models"], len(of["tasks"])) for level, of in found.numbers.items()} == {
        "5": (2, 2),
        "all": (2, 2),
    }
    lacking = [each for each in both if (each.cell.model, each.cell.task) != ("b", "shapes-5")]
    (found,) = curves(collect(lacking))
    assert {level: of["models"] for level, of in found.numbers.items()} == {"5": 1, "all": 1}
    (panel,) = [
        panel
        for figure in report_figures(collect(lacking), [], [], "ImageNet")
        if figure.name == "sizes"
        for panel in figure.panels
        if panel.description.startswith("shapes")
    ]
    assert "mean accuracy of 1 model" in panel.description


def test_tasks_whose_test_images_differ_are_no_curve() -> None:
    """flowers-102 is no task of 102 images of each class of flowers."""
    rows = [row("a", "flowers", "finetune", 0.5), row("a", "flowers-102", "finetune", 0.5)]
    assert list(collect(rows).curves) == ["flowers"]
    assert not collect([rows[0], dataclasses.replace(rows[1], n=77)]).curves


def test_convergence_compares_the_cells_that_both_trainings_have() -> None:
    rows = [
        row("a", "digits", "finetune", 0.9, 40), row("a", "digits", "scratch", 0.8, 200),
        row("b", "digits", "finetune", 0.9, 120), row("b", "digits", "scratch", 0.8, 80),
        row("c", "digits", "finetune", 0.9, 80), row("a", "digits", "probe", 0.7),
    ]  # fmt: skip
    found = convergence(rows)
    assert found is not None
    assert [found.numbers[regime]["median"] for regime in ("finetune", "scratch")] == [80, 140]
    assert found.numbers["sooner"] == {"fine_tuned": 1, "pairs": 2}
    assert "fine-tuned after 80 of 400 steps" in found.said
    assert convergence([dataclasses.replace(rows[-1])]) is None


def test_the_figure_has_a_panel_for_each_task_with_sizes_and_a_line_for_each_regime() -> None:
    rows = [
        row(model, task, regime, 0.5)
        for model in ("a", "b")
        for task in ("digits-5", "digits", "flowers")
        for regime in ("probe", "finetune")
    ]
    drawn = {figure.name: figure for figure in report_figures(collect(rows), [], [], "ImageNet")}
    (panel,) = drawn["sizes"].panels
    assert panel.description.startswith("digits: mean accuracy of 2 models with 5 a class, all training images")
    assert "sizes" not in {
        figure.name
        for figure in report_figures(
            collect([each for each in rows if each.cell.task != "digits-5"]), [], [], "ImageNet"
        )
    }
