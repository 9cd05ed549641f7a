"""Two studies compared cell by cell."""

import dataclasses

import pytest
from report_rows import row, study

from featune.bench.comparison import compare, comparison_lines


def test_a_study_equals_itself() -> None:
    rows = study(6)
    found = compare(rows, rows)
    assert len(found.pairs) == 6 * 3 * 3
    assert all(pair.comparable and pair.first == pair.second and not pair.other for pair in found.pairs)
    assert (found.only_first, found.only_second) == ((), ())
    assert all(change["mean"] == 0 for change in found.change.values())
    assert all(one == other for one, other in found.r.values())


def test_the_change_is_the_mean_of_the_cells_and_is_tested_over_tasks() -> None:
    before = [row(model, f"t{at}", right=180) for model in "ab" for at in range(4)]
    after = [row(model, f"t{at}", right=180 + 9 * (at + 1)) for model in "ab" for at in range(4)]
    change = compare(before, after).change["probe"]
    assert change["mean"] == pytest.approx((9 + 18 + 27 + 36) / 4 / 360)
    assert change["low"] < change["mean"] < change["high"]
    said = comparison_lines(compare(before, after))
    assert "second less first +6.2 points on average over 8 cells of 4 tasks" in said[1]


def test_other_metrics_splits_and_recipes_are_not_compared_but_told() -> None:
    one = row("a", "t", details={"n_train": 100, "recipe": {"epochs": 5}})
    others = {
        "metric": dataclasses.replace(one, metric="mean_per_class"),
        "test images": dataclasses.replace(one, n=10),
        "split": dataclasses.replace(one, details={**one.details, "n_train": 90}),
        "recipe": dataclasses.replace(one, details={**one.details, "recipe": {"epochs": 6}}),
    }
    for why, other in others.items():
        found = compare([one], [other])
        assert found.pairs[0].differs == (why,)
        assert found.change == {}
        assert f"not comparable, 1 cell: other {why}" in comparison_lines(found)


def test_other_images_in_a_split_of_the_same_size_or_another_view_are_not_compared() -> None:
    digests = {"train": "a", "val": "b", "test": "c"}
    one = row("a", "t", details={"images": digests, "view": {"side": 224}})
    others = {
        "images in the test split": {"images": digests | {"test": "d"}, "view": {"side": 224}},
        "images in train and val": {"images": digests | {"val": "d"}, "view": {"side": 224}},
        "view": {"images": digests, "view": {"side": 160}},
    }
    for why, details in others.items():
        assert compare([one], [row("a", "t", details=details)]).pairs[0].differs == (why,)
    old = compare([one], [row("a", "t")])
    assert old.pairs[0].comparable
    assert "note: view, which rows of an earlier version do not tell, differ in 1 comp" in comparison_lines(old)[-1]


def test_seeds_and_versions_are_told_and_failed_cells_are_absent() -> None:
    one = row("a", "t", environment={"versions": {"torch": "2"}})
    other = row("a", "t", seed=1, environment={"versions": {"torch": "3"}})
    found = compare([one, row("b", "t", error="no")], [other, row("c", "t")])
    assert found.pairs[0].comparable
    assert found.pairs[0].other == ("seeds", "versions")
    assert (found.only_first, found.only_second) == ((), (("t", "c", "probe"),))
    assert "note: seeds differ in 1 comparable cell" in comparison_lines(found)
