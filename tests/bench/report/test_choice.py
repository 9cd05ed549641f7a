"""Which model to take, by how much another may be better, and what a point of accuracy costs."""

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from report_rows import page, row, speed, speeds, study

from featune.bench.report import choice_lines
from featune.bench.report.bill import bill
from featune.bench.results import Right, Row, choice_of, collect, frontier
from featune.engine.errors import BadInput


def test_the_model_to_take_has_the_highest_mean_over_the_tasks_that_all_have() -> None:
    rows = [
        row("steady", "one", right=300), row("steady", "two", right=300),
        row("uneven", "one", right=340), row("uneven", "two", right=240),
        row("absent", "one", right=355),
    ]  # fmt: skip
    choice = choice_of(collect(rows), rows)
    assert choice is not None
    assert (choice.chosen.model, choice.tasks, choice.left_out) == ("steady", ("one", "two"), 1)
    assert choice.chosen.value == pytest.approx(300 / 360)
    assert [one.model for one in choice.options] == ["steady", "uneven"]


def test_a_limit_of_speed_leaves_what_is_fast_enough(tmp_path: Path) -> None:
    rows = [row("large", "digits", right=330), row("small", "digits", right=300)]
    rates = [speed("large", "torch", 50.0), speed("small", "torch", 500.0)]
    limited = choice_of(collect(rows), rows, rates, least_rate=100.0)
    assert limited is not None
    assert (limited.chosen.model, limited.compared) == ("small", 1)
    html = page(tmp_path, rows, rates, least_rate=100.0)
    assert "Take small, frozen, with a linear classifier on its features, the best that runs at 100 images" in html
    assert "Nothing else could be compared with it." in html
    assert "50 images per second: large" not in html, "it is slower than what is taken"
    results = collect(rows)
    assert choice_lines(results) == [], "before the report"
    page(tmp_path, rows, rates, results=results)
    assert choice_lines(results)[0].startswith("Take large, frozen")
    with pytest.raises(BadInput, match="no model is known to run at 1000 images per second"):
        page(tmp_path, rows, rates, least_rate=1000.0)


def test_tasks_that_the_model_to_take_lacks_are_named(tmp_path: Path) -> None:
    """It lacks the task that the others lead, and the page said that it was ahead on every task."""
    rows = [
        row("first", "one", right=340), row("first", "two", right=340),
        row("other", "one", right=300), row("other", "two", right=300), row("other", "three", right=350),
    ]  # fmt: skip
    html = page(tmp_path, rows, [])
    assert "It has the highest number on each of these 2 tasks, of the pairs compared; not among them: three." in html


def test_a_collapsed_model_is_never_taken() -> None:
    rows = [row("flat", "digits", right=300, details={"predicted_classes": 1, "test_classes": 10}), row("b", "digits")]
    choice = choice_of(collect(rows), rows)
    assert choice is not None
    assert choice.chosen.model == "b"


@pytest.mark.parametrize("uncounted", [slice(0, 1), slice(None)])
def test_models_of_which_other_images_count_or_none_are_compared_by_their_intervals(uncounted: slice) -> None:
    rows = [row("a", "digits", right=212), row("b", "digits", right=208)]
    right = {one.cell: Right(np.repeat([1.0, 0.0], [200, 160]), np.zeros(360, int)) for one in rows}
    right[rows[1].cell].correct[uncounted] = np.nan
    choice, wide = choice_of(collect(rows), rows, right=right), choice_of(collect(rows), rows)
    assert choice is not None
    assert wide is not None
    assert (choice.not_better_by, choice.paired) == (wide.not_better_by, False)


def test_on_the_same_images_the_bound_is_walds_with_an_image_on_each_side() -> None:
    """Hand-worked: 12 images that a alone gets right, 8 that b alone does, of 360; one-sided at 0.05 / 2."""
    from scipy.stats import norm

    a, b = np.zeros(360), np.zeros(360)
    a[:200] = b[:200] = 1
    a[200:212], b[212:220] = 1, 1
    rows = [row("a", "digits", right=212), row("b", "digits", right=208)]
    right = {one.cell: Right(which, np.zeros(360, int)) for one, which in zip(rows, (a, b), strict=True)}
    choice = choice_of(collect(rows), rows, right=right)
    mean = (9 - 13) / 362  # of b less a
    expected = mean + norm.isf(0.025) * math.sqrt(((9 + 13) / 362 - mean**2) / 362)
    assert choice is not None
    assert choice.paired
    assert choice.not_better_by == pytest.approx(expected)
    wide = choice_of(collect(rows), rows)
    assert wide is not None
    assert not wide.paired
    assert wide.not_better_by > choice.not_better_by, "intervals alone know less"


def test_only_the_scores_of_those_that_may_be_better_are_read() -> None:
    asked: list[str] = []

    class Watched(dict):  # type: ignore[type-arg]
        def __contains__(self, cell: object) -> bool:
            asked.append(cell.model)  # type: ignore[attr-defined]
            return super().__contains__(cell)

    rows = [row(f"m{at}", "digits", right=350 - 20 * at) for at in range(12)]
    correct = {one.cell: Right((np.arange(360) < round(360 * (one.value or 0))).astype(float), np.zeros(360, int))
               for one in rows}  # fmt: skip
    choice = choice_of(collect(rows), rows, right=Watched(correct))
    assert choice is not None
    assert choice.not_better_by == 0.0
    assert {"m0", "m1"} <= set(asked) <= {f"m{at}" for at in range(6)}


def test_the_frontier_is_what_nothing_beats_in_both() -> None:
    rows = [row("best", "t", right=330), row("slow", "t", right=320), row("fast", "t", right=300), row("bad", "t")]
    rates = [speed(name, "torch", rate) for name, rate in (("best", 50), ("slow", 40), ("fast", 90), ("bad", 90))]
    choice = choice_of(collect(rows), rows, rates)
    assert choice is not None
    assert [one.model for one in frontier(choice.options, "rate")] == ["best", "fast"]


def test_the_bill_divides_minutes_and_images_per_second_by_points() -> None:
    """Hand-worked: 36 images of 360 are 10 points, for 300 s more; another model has 5 more for 100 images a second."""
    rows = [
        dataclasses.replace(row("a", "t", right=216), seconds=60.0),
        dataclasses.replace(row("a", "t", "finetune", right=252), seconds=360.0),
        dataclasses.replace(row("b", "t", "finetune", right=270), seconds=360.0),
    ]
    rates = [speed("a", "torch", 150.0), speed("b", "torch", 50.0)]
    results = collect(rows)
    lines = bill(results, choice_of(results, rows, rates))
    tuned = next(line for line in lines if line["what"] == "fine-tuning a")
    assert (tuned["points"], tuned["minutes"]) == (pytest.approx(10), pytest.approx(5))
    assert (tuned["minutes_per_point"], tuned["images_per_second"]) == (pytest.approx(0.5), None)
    larger = next(line for line in lines if line["what"].startswith("b, fine-tuned instead of a"))
    assert larger["points"] == pytest.approx(5)
    assert (larger["images_per_second"], larger["images_per_second_per_point"]) == (-100, pytest.approx(-20))


def costing(one: Row, kwh: float | None, said: str = "the processors") -> Row:
    return dataclasses.replace(one, seconds=60.0, kwh=kwh, kwh_said=said)


def test_the_bill_has_kwh_where_the_machine_told_them(tmp_path: Path) -> None:
    """Hand-worked: 36 images of 360 are 10 points, for 0.3 - 0.1 kWh."""
    rows = [costing(row("a", "t", right=216), 0.1), costing(row("a", "t", "finetune", right=252), 0.3)]
    results = collect(rows)
    [line] = [each for each in bill(results, choice_of(results, rows)) if each["what"] == "fine-tuning a"]
    assert (line["kwh"], line["kwh_per_point"]) == (pytest.approx(0.2), pytest.approx(0.02))
    html = page(tmp_path, rows)
    assert '<th scope="col">kWh a point</th>' in html
    assert "<td>+0.2</td><td>0.02</td>" in html
    assert "kWh of the processors." in html
    assert "took 60 s and 0.3 kWh here" in html
    assert "| kWh | kWh a point |" in (tmp_path / "report.md").read_text(encoding="utf-8")


def test_energies_are_written_out_and_small_ones_are_wh(tmp_path: Path) -> None:
    """Hand-worked: 10 points for 0.062 - 0.02 Wh, a cell of some seconds at 30 W; and for 250 - 100 kWh."""

    def words(frozen: float, tuned: float) -> tuple[str, str, str]:
        rows = [costing(row("a", "t", right=216), frozen), costing(row("a", "t", "finetune", right=252), tuned)]
        html = page(tmp_path, rows)
        [line] = json.loads((tmp_path / "report.json").read_text(encoding="utf-8"))["bill"]
        assert line["kwh"] == pytest.approx(tuned - frozen), "a file keeps one unit"
        return line["text"]["kwh"], line["text"]["kwh_per_point"], html

    *small, html = words(2e-5, 6.2e-5)
    assert small == ["+0.042", "0.0042"]
    assert '<th scope="col">Wh</th><th scope="col">Wh a point</th>' in html
    assert "Wh of the processors." in html
    assert "took 60 s and 0.062 Wh here" in html
    assert "| Wh | Wh a point |" in (tmp_path / "report.md").read_text(encoding="utf-8")
    *large, html = words(100.0, 250.0)
    assert large == ["+150", "15"]
    assert "took 60 s and 250 kWh here" in html
    less, per_point, _ = words(0.3, 0.1)
    assert (less, per_point) == ("−0.2", "−0.02")


def test_a_machine_that_tells_no_energy_is_said_to(tmp_path: Path) -> None:
    absent = "not told by this machine: it has no counter"
    rows = [
        costing(row("a", "t", right=216), None, absent),
        costing(row("a", "t", "finetune", right=252), None, absent),
    ]
    html = page(tmp_path / "none", rows)
    assert "Energy not told by this machine: it has no counter." in html
    assert "kWh a point" not in html
    some = [costing(row("a", "t", right=216), 0.1), rows[1]]
    html = page(tmp_path / "some", some)
    assert "Energy of some cells not told by this machine" in html
    assert "kWh of" not in html, "no column has any"
    others = [costing(row("b", "t", right=200), 0.1), costing(row("b", "t", "finetune", right=250), 0.3)]
    html = page(tmp_path / "most", [*some, *others])
    assert "kWh of the processors. Energy of some cells not told by this machine" in html
    results = collect(some)
    assert {each["kwh"] for each in bill(results, choice_of(results, some))} == {None}, "a half is no difference"


def test_the_first_screen_names_the_model_its_accuracy_speed_and_cost(tmp_path: Path) -> None:
    html = page(tmp_path, study(6), speeds(6))
    first = html.partition('id="answer"')[2].partition('class="matter"')[0]
    best = choice_of(collect(study(6)), study(6), speeds(6))
    assert best is not None
    assert f"Take {best.chosen.model}, " in first
    assert f"Expect a mean top-1 accuracy of {100 * best.chosen.value:.1f}\xa0% over the 3 tasks" in first
    assert f"It runs at {best.chosen.rate:,.0f} images per second here" in first
    assert "a task here, from the images to the test score" in first
    assert "likely to be better by more than" in first
    assert 'id="figure-choice"' in first
    assert "Did ImageNet accuracy matter here?" not in first
    assert html.index("Did ImageNet accuracy matter here?") < html.index('id="every-model"')
