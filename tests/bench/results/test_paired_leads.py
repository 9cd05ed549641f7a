"""Who leads, and whether that is settled."""

import numpy as np
import pytest
from report_rows import row

from featune.bench.results import Right, Row, collect, leads


def right(of: list[Row], wrong: dict[str, list[int]], n: int = 360) -> dict:
    """Each cell's correct images: all but those listed for its model."""
    found = {}
    for one in of:
        correct = np.ones(n)
        correct[wrong[one.cell.model]] = 0
        found[one.cell] = Right(correct, np.arange(n) % 4)
    return found


def test_a_lead_that_mcnemar_sees_is_settled_where_intervals_overlap() -> None:
    rows = [row("a", "digits", right=350), row("b", "digits", right=340)]
    wrong = {"a": list(range(10)), "b": list(range(20))}  # b is wrong wherever a is
    (lead,) = leads(collect(rows), right(rows, wrong))
    assert (lead.first, lead.second, lead.settled) == ("a", "b", True)
    assert lead.p == pytest.approx(2 / 2**10)
    (apart,) = leads(collect(rows), {})
    assert (apart.p, apart.settled) == (None, False)


def test_leads_pay_for_how_many_are_judged() -> None:
    rows = [row(model, task, right=350 if model == "a" else 343) for task in "cdefgh" for model in "ab"]
    wrong = {"a": list(range(10)), "b": list(range(17))}
    one = leads(collect(rows[:2]), right(rows[:2], wrong))
    all_of = leads(collect(rows), right(rows, wrong))
    assert one[0].settled
    assert [lead.settled for lead in all_of] == [False] * 6
    assert all_of[0].p == pytest.approx(6 * 2 / 2**7)


def test_several_seeds_and_means_over_classes_are_exchanged_image_by_image() -> None:
    rows = [
        row(model, "digits", right=count, seed=seed) for model, count in (("a", 350), ("b", 330)) for seed in (0, 1)
    ]
    found = leads(collect(rows), right(rows, {"a": list(range(10)), "b": list(range(30))}))
    assert found[0].settled
    per_class = [
        row("a", "digits", right=350, metric="mean_per_class"),
        row("b", "digits", right=330, metric="mean_per_class"),
    ]
    found = leads(collect(per_class), right(per_class, {"a": list(range(10)), "b": list(range(30))}))
    assert found[0].settled
    assert found[0].p is not None


def test_where_one_seeds_scores_are_gone_intervals_are_compared() -> None:
    rows = [
        row(model, "digits", right=count, seed=seed) for model, count in (("a", 350), ("b", 340)) for seed in (0, 1)
    ]
    known = right(rows, {"a": list(range(10)), "b": list(range(20))})
    known.pop(rows[0].cell)
    assert leads(collect(rows), known)[0].p is None


def test_a_collapsed_model_leads_nothing() -> None:
    flat = row("a", "digits", right=300, details={"predicted_classes": 1, "test_classes": 3})
    rows = [flat, row("b", "digits", right=200), row("c", "digits", right=100)]
    assert [(lead.first, lead.second) for lead in leads(collect(rows), {})] == [("b", "c")]


@pytest.mark.parametrize("uncounted", [[0], list(range(360))])
def test_models_of_which_other_images_count_or_none_are_judged_by_their_intervals(uncounted: list[int]) -> None:
    rows = [row("a", "digits", right=350), row("b", "digits", right=340)]
    known = right(rows, {"a": list(range(10)), "b": list(range(20))})
    for one in rows if len(uncounted) > 1 else rows[:1]:
        known[one.cell].correct[uncounted] = np.nan
    (lead,) = leads(collect(rows), known)
    assert (lead.p, lead.settled) == (None, False)
